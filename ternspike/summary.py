"""The numbers of an evaluation, ready for JSON and for the report."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mapping.cycles import CycleEstimate
from model.accounting import arch, describe, memory
from model.network import IntegerNetwork
from ternspike import __version__
from ternspike.activity import energy_of
from ternspike.bundling import exact_bundles
from ternspike.evaluation import Evaluation, Prediction

__all__ = ["arch", "float_activity", "summarise", "summarise_prediction", "trained_accuracy"]

#: Samples that tell what bundling saves.
BUNDLED = 100


def trained_accuracy(metadata: Mapping[str, str], stage: str) -> float | None:
    """Return the accuracy, 0..1, that training wrote into a network for ``float`` or ``ternary``.

    None if it is not there or is not a share: the metadata of a file is not to be relied on.
    """
    return _share(metadata.get(f"accuracy_{stage}"))


def float_activity(network: IntegerNetwork) -> list[float] | None:
    """Return the activity of the full-precision network, as `energy_of` takes it, if known."""
    texts = network.metadata.get("activity_float", "").split()
    shares = [share for share in map(_share, texts) if share is not None]
    return shares if len(shares) == len(network.layers) - 1 else None


def summarise_prediction(prediction: Prediction) -> dict[str, Any]:
    """Return what golden model, accounting and cycle model know, without a simulation.

    Cycles and events are means over the samples; energies are picojoules a sample.
    """
    network, samples, estimate = prediction.network, prediction.samples, prediction.estimate
    weights = memory(network).to_dict()
    reference = float_activity(network)
    costs = energy_of(network, samples.inputs, prediction.activity, reference).to_dict()
    return {
        "version": __version__,
        "dataset": samples.dataset,
        "arch": arch(network),
        "timesteps": network.timesteps,
        "samples": len(samples),
        "samples_available": samples.available,
        "core": {"name": prediction.core} | prediction.program.parameters.to_dict(),
        "cycles": {
            "model_mean": float(np.mean(estimate.cycles)),
            "bound_mean": float(np.mean(estimate.bound)),
        },
        "weights": weights,
        "energy": costs | {"reference_measured": reference is not None},
        "layers": _layers(network, costs["layers"], estimate),
    }


def summarise(evaluation: Evaluation, seed: int) -> dict[str, Any]:
    """Return the content of ``report.json``: accuracies 0..1, cycles and energies a sample."""
    simulation, comparison = evaluation.simulation, evaluation.comparison
    labels, metadata = evaluation.samples.labels, evaluation.network.metadata
    known = summarise_prediction(evaluation)
    differences = np.abs(evaluation.estimate.cycles - simulation.cycles)
    correct = int(np.sum(simulation.classes == labels))
    return known | {
        "seed": seed,
        "accuracy": {
            "float": trained_accuracy(metadata, "float"),
            "ternary": trained_accuracy(metadata, "ternary"),
            "integer": float(np.mean(evaluation.trace.classes == labels)),
            "rtl": correct / len(labels),
        },
        "bundling": {"samples": len(labels[:BUNDLED]), "rows": exact_bundles(
            evaluation.network, evaluation.samples.inputs[:BUNDLED], labels[:BUNDLED])},
        "correct": correct,
        "mismatches": comparison.mismatches,
        "compared": comparison.compared,
        "first_mismatch": None if comparison.first is None else str(comparison.first),
        "cycles": {"mean": float(np.mean(simulation.cycles))} | known["cycles"] | {
            "total": simulation.total_cycles,
            "latency_first": simulation.latency_first,
            "samples_off_model": int(np.count_nonzero(differences)),
            "largest_difference": int(differences.max()),
        },
    }


def _layers(
    network: IntegerNetwork, costs: list[dict[str, Any]], estimate: CycleEstimate,
) -> list[dict[str, Any]]:
    """Return each layer's size, activity and cycles; see `model.accounting.summary`."""
    told = ("kind", "sources", "source_shape", "shape", "steps", "inputs", "outputs", "z_max",
            "signed", "weights")
    layers = []
    for number, (cost, cycles) in enumerate(zip(costs, estimate.layers, strict=True)):
        described = describe(network, number)
        layers.append({name: described[name] for name in told} | {
            "density": cost["density"],
            "activity": cost["input_activity"],
            "spike_rate": cost["spike_rate"],
            "mean_count": cost["mean_count"],
            "total_count": cost["total_count"],
            "events_mean": float(np.mean(cycles.events)),
            "weight_fetches_mean": float(np.mean(cycles.weight_fetches)),
            "model_mean": float(np.mean(cycles.cycles)),
            "bound_mean": float(np.mean(cycles.bound)),
            "use": float(np.mean(cycles.bound) / max(np.mean(cycles.cycles), 1)),
        })
    return layers


def _share(text: str | None) -> float | None:
    """Return a number of 0..1 that a text holds, or None."""
    try:
        share = float(text or "")
    except ValueError:
        return None
    return share if 0 <= share <= 1 else None
