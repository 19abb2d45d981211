"""What bundling over time saves a network, and what it costs: a table of windows and modes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from model.bundling import Bundled, measure, search
from model.data import Dataset
from model.network import IntegerNetwork
from ternspike.samples import test_samples

__all__ = ["BUNDLES", "Row", "bundling", "exact_bundles", "summarise_bundling"]

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
    from model.golden import execute

    count = min(count, len(dataset.train_x))
    training = replace(dataset, test_x=dataset.train_x, test_y=dataset.train_y)
    known = test_samples(network, training, count, seed)
    test = test_samples(network, dataset, min(count, len(dataset.test_x)), seed)

    def rows(loss: float | None, found: IntegerNetwork) -> list[Row]:
        traces = [execute(found, each.inputs) for each in (known, test)]
        return [Row(loss, *(measure(found, each.inputs, each.labels, bundle, trace=trace)
                            for each, trace in zip((known, test), traces, strict=True)))
                for bundle in BUNDLES]

    table = rows(None, network)
    for loss in losses:
        # What is best for a core that takes several planes at once is good for one that does not.
        found = search(network, known.inputs, known.labels, loss, bundle=BUNDLES[-1],
                       progress=progress and partial(progress, f"Loss {loss:.2%}"))
        table += rows(loss, found.network)
    return table


def summarise_bundling(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the rows as numbers for JSON; fetches and energies (pJ) a test sample."""
    first = rows[0].test
    return [{
        "mode": "exact" if row.loss is None else "collapse",
        "loss": row.loss,
        "steps": [row.test.network.steps(number)
                  for number in range(len(row.test.network.layers))],
        "accuracy_calibration": row.calibration.accuracy,
        "accuracy_test": row.test.accuracy,
    } | _costs(row.test, first) for row in rows]


def exact_bundles(network: IntegerNetwork, inputs: np.ndarray, labels: np.ndarray,
                  ) -> list[dict[str, Any]]:
    """Return what exact bundles of each size cost as numbers for JSON, against none."""
    from model.golden import execute

    trace = execute(network, inputs)
    found = [measure(network, inputs, labels, bundle, trace=trace) for bundle in BUNDLES]
    return [_costs(each, found[0]) for each in found]


def _costs(bundled: Bundled, first: Bundled) -> dict[str, Any]:
    """Return fetches and energy (pJ) a sample, and how many times less than at first."""
    return {
        "planes": bundled.bundle,
        "fetches": bundled.fetches,
        "fetches_ratio": first.fetches / max(bundled.fetches, 1),
        "energy": bundled.energy,
        "energy_ratio": first.energy / bundled.energy,
    }
