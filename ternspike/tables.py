"""The results of the commands as tables for a terminal."""

from collections.abc import Mapping
from typing import Any

from model.accounting import sizes
from ternspike.console import show

__all__ = ["bundling", "estimate", "evaluation", "info", "run", "training"]


def training(summary: Mapping[str, Any]) -> None:
    """Print what a training reached."""
    fold, pruned = summary["fold"], summary["pruned"]
    counts = _counts(summary["levels"])
    show(f"{summary['dataset']}, {summary['arch']}, T = {summary['timesteps']}{counts}", [
        *_accuracies(summary["accuracy"]),
        ("spikes that rounding changed",
         f"{fold['spike_mismatches']:,} of {fold['spikes_compared']:,}"),
        ("shifts of the layers", ", ".join(map(str, fold["shifts"]))),
        ("bits of the membranes", ", ".join(map(str, fold["membrane_bits"]))),
        *(() if pruned is None else (
            ("pruned to", pruned["arch"]),
            ("weights that are not 0", f"{pruned['density']:.1%}"))),
    ])


def evaluation(summary: Mapping[str, Any]) -> None:
    """Print what the RTL did."""
    cycles, weights, energy = summary["cycles"], summary["weights"], summary["energy"]
    show(f"{summary['dataset']}, {summary['arch']}, T = {summary['timesteps']}, "
         f"{summary['samples']:,} samples on {summary['core']['name']}", [
        *_accuracies(summary["accuracy"]),
        ("mismatches", f"{summary['mismatches']:,} of {summary['compared']:,}"),
        ("cycles a sample", f"{cycles['mean']:,.1f}"),
        ("  by the cycle model", f"{cycles['model_mean']:,.1f}"),
        ("  at the bound", f"{cycles['bound_mean']:,.1f}"),
        ("weights", f"{weights['count']:,}, {weights['density']:.1%} not 0"),
        ("memory against float32", f"{weights['compression_stored']:.2f} x smaller"),
        ("energy of operations", f"{energy['ratio_ops']:.2f} x lower"),
    ])


def run(summary: Mapping[str, Any]) -> None:
    """Print what a device did."""
    device, core, cycles = summary["device"], summary["core"], summary["cycles"]
    traffic, seconds = summary["bytes"], summary["seconds"]
    microseconds = cycles["mean"] / device["clock"] * 1e6
    show(f"{summary['dataset']}, {summary['arch']}, T = {summary['timesteps']}, "
         f"{summary['samples']:,} samples on {device['port']}", [
        ("core", f"{core['banks']} banks, {core['lanes']} lanes, {device['clock'] / 1e6:g} MHz"),
        *([] if device["baud"] is None else [("serial line", f"{device['baud']:,} baud")]),
        *_accuracies(summary["accuracy"]),
        ("mismatches", f"{summary['mismatches']:,} of {summary['compared']:,}"),
        ("cycles a sample", f"{cycles['mean']:,.1f}, {microseconds:,.1f} us"),
        ("bytes", f"{traffic['sent']:,} sent, {traffic['received']:,} received"),
        ("seconds", f"{seconds['load']:.2f} to load, {seconds['run']:.2f} to run"),
    ])


def estimate(summary: Mapping[str, Any]) -> None:
    """Print what is predicted."""
    cycles, energy = summary["cycles"], summary["energy"]
    rows = [
        (str(number), layer["kind"], _shape(layer), f"{layer['activity']:.1%}",
         "" if layer["mean_count"] is None else f"{layer['mean_count']:.3f}",
         f"{layer['events_mean']:,.1f}", f"{layer['weight_fetches_mean']:,.1f}",
         f"{layer['model_mean']:,.1f}", f"{layer['bound_mean']:,.1f}")
        for number, layer in enumerate(summary["layers"])
    ]
    show(f"{summary['arch']}, T = {summary['timesteps']} on {summary['core']['name']}; means of "
         f"{summary['samples']:,} samples of {summary['dataset']}", rows,
         ("layer", "kind", "shape", "activity", "mean count", "events", "weight words", "cycles",
          "bound"))
    show("A sample", [
        ("cycles", f"{cycles['model_mean']:,.1f}"),
        ("  at the bound", f"{cycles['bound_mean']:,.1f}"),
        ("energy of operations", _energy(energy, "ops")),
        ("energy with memory", _energy(energy, "memory")),
    ])


def bundling(summary: Mapping[str, Any]) -> None:
    """Print what bundling over time saves."""
    rows = [
        (_bundle(row), str(row["planes"]), " ".join(map(str, row["steps"])),
         f"{row['accuracy_calibration']:.1%}", f"{row['accuracy_test']:.1%}",
         f"{row['fetches'] / 1000:,.1f}", f"{row['fetches_ratio']:.2f}",
         f"{row['energy'] / 1000:,.1f}", f"{row['energy_ratio']:.2f}")
        for row in summary["rows"]
    ]
    show(f"{summary['arch']}, T = {summary['timesteps']}; means of up to {summary['samples']:,} "
         f"test samples of {summary['dataset']}", rows,
         ("bundling", "P", "steps", "known", "test", "k fetch", "less", "nJ", "less"))


def info(summary: Mapping[str, Any]) -> None:
    """Print what a network consists of."""
    memory = summary["memory"]
    signed = ", signed" if summary["input_signed"] else ""
    coding = f"{summary['input']}, {summary['input_bits']} bit{signed}"
    layers = [(str(number), layer) for number, layer in enumerate(summary["layers"])]
    show(f"{summary['arch']}, T = {summary['timesteps']}, input {coding}", [
        (number, layer["kind"], _shape(layer), f"{layer['weights']:,}",
         "" if layer["density"] is None else f"{layer['density']:.1%}",
         " ".join(map(str, layer["leak"])) or "none",
         f"read {layer['readout']}" if layer["readout"]
         else f"{layer['reset']} reset{_counts(layer['z_max'], layer['signed'])}")
        for number, layer in layers
    ], ("layer", "kind", "shape", "weights", "density", "leak", "ends with"))
    show("Integers of the neurons", [
        (number, _range(layer["gain_plus"]), _range(layer["gain_minus"]), _range(layer["bias"]),
         _range(layer["threshold"]))
        for number, layer in layers
    ], ("layer", "gain +", "gain -", "bias", "threshold"))
    show("Bounds, proven from the weights", [
        (number, _range([bounds["current_min"], bounds["current_max"]]),
         _range([bounds["membrane_min"], bounds["membrane_max"]]),
         str(bounds["membrane_bits_needed"]),
         f"{layer['membrane_bits']}{', may saturate' if bounds['saturates'] else ''}")
        for number, layer in layers
        for bounds in [layer["bounds"]]
    ], ("layer", "current", "membrane", "bits needed", "bits"))
    show("Memory, all parameters", [
        ("float32", f"{memory['bytes_reference']:,} bytes"),
        *((name, f"{memory[f'bytes_{key}']:,} bytes, {memory[f'compression_{key}']:.2f} x smaller")
          for name, key in (("2-bit codes", "codes"), ("bitmap and signs", "sparse"),
                            ("five trits a byte", "packed"),
                            ("as stored", "stored"), ("the file", "file"))),
    ])
    if summary["metadata"]:
        show("Metadata", sorted(summary["metadata"].items()))


def _accuracies(accuracy: Mapping[str, float | None]) -> list[tuple[str, str]]:
    """Return a row for each accuracy that is known."""
    return [(f"accuracy, {stage}", f"{share:.2%}")
            for stage, share in accuracy.items() if share is not None]


def _shape(layer: Mapping[str, Any]) -> str:
    """Return the maps that a layer reads and gives."""
    return f"{sizes(layer['source_shape'])} > {sizes(layer['shape'])}"


def _bundle(row: Mapping[str, Any]) -> str:
    """Return what a way to bundle is called."""
    if row["mode"] == "exact":
        return "none" if row["planes"] == 1 else "exact"
    return f"<= {row['loss']:.1%}"


def _counts(z_max: int, signed: bool = False) -> str:
    """Return what to add of spikes that count."""
    if signed:
        return f", counts -{z_max} to {z_max}"
    return f", counts to {z_max}" if z_max > 1 else ""


def _energy(energy: Mapping[str, Any], kind: str) -> str:
    """Return an energy and how much lower than full precision it is."""
    return (f"{energy[kind] / 1000:,.2f} nJ, {energy[f'ratio_{kind}']:.2f} x lower than full "
            f"precision")


def _range(ends: list[int]) -> str:
    """Return the ends of a range, or its only value."""
    low, high = ends
    return f"{low:,}" if low == high else f"{low:,}..{high:,}"
