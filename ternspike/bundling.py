"""What bundling over time saves a network, and what it costs: a table of windows and modes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from model.bundling import Bundled, measure, search
from model.data import Dataset
from model.network import IntegerNetwork
from ternspike.samples import Samples, test_samples

__all__ = ["BUNDLES", "Row", "bundling", "summarise_bundling"]

#: Planes that a core may take at once.
BUNDLES = (1, 2, 4)


@dataclass(frozen=True, eq=False)
class Row:
    """One way to bundle.

    Members
    -------
    loss
        What the accuracy on calibration samples was allowed to fall by; None: nothing collapses.
    calibration, test
        What it does with the calibration samples and with the test samples.
    """

    loss: float | None
    calibration: Bundled
    test: Bundled


def bundling(
    network: IntegerNetwork, dataset: Dataset, losses: Sequence[float], *, count: int, seed: int,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Row]:
    """Measure a network as it is, bundled exactly, and collapsed within each loss.

    Parameters
    ----------
    losses
        Shares of the calibration samples, 0..1.
    count
        Calibration samples, the first of the training set, and test samples at most.
    progress
        Called with what is done, trials made and trials of this round.

    Raises
    ------
    DataError
        If the samples do not suit the network.
    """
    count = min(count, len(dataset.train_x))
    training = replace(dataset, test_x=dataset.train_x, test_y=dataset.train_y)
    known = test_samples(network, training, count, seed)
    test = test_samples(network, dataset, min(count, len(dataset.test_x)), seed)

    def row(loss: float | None, bundle: int) -> Row:
        if loss is None:
            found = measure(network, known.inputs, known.labels, bundle)
        else:
            def report(done: int, total: int) -> None:
                if progress is not None:
                    progress(f"Loss {loss:.2%}, {bundle} planes", done, total)

            found = search(network, known.inputs, known.labels, loss, bundle=bundle,
                           progress=report)
        return Row(loss, found, _measured(found, test))

    return [row(loss, bundle) for loss in (None, *losses) for bundle in BUNDLES]


def _measured(found: Bundled, samples: Samples) -> Bundled:
    """Return what a network does with the test samples."""
    return measure(found.network, samples.inputs, samples.labels, found.bundle)


def summarise_bundling(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the rows as numbers for JSON; fetches and energies (pJ) a test sample."""
    first = rows[0].test
    return [{
        "mode": "exact" if row.loss is None else "collapse",
        "loss": row.loss,
        "planes": row.test.bundle,
        "steps": [row.test.network.steps(number)
                  for number in range(len(row.test.network.layers))],
        "accuracy_calibration": row.calibration.accuracy,
        "accuracy_test": row.test.accuracy,
        "fetches": row.test.fetches,
        "fetches_ratio": first.fetches / row.test.fetches if row.test.fetches else None,
        "energy": row.test.energy,
        "energy_ratio": first.energy / row.test.energy,
    } for row in rows]
