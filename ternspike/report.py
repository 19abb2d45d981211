"""The report: one HTML file that holds all it shows and needs no network."""

import functools
import math
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from model.network import DenseLayer, InputCoding, Readout
from ternspike import drawing
from ternspike.evaluation import Evaluation
from ternspike.samples import Samples

__all__ = ["render"]

#: How the data sets are written in text.
TITLES = {"digits": "Handwritten digits", "mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}

#: The largest confusion matrix, picture of weights and gallery that is still readable.
MOST_CLASSES = 20
MOST_TILES = 128
GALLERY = 48


def render(evaluation: Evaluation, summary: dict[str, Any], command: str) -> str:
    """Return the page.

    Parameters
    ----------
    summary
        What `ternspike.summary.summarise` made of the evaluation.
    command
        What a reader must type to get the same.
    """
    classes = evaluation.simulation.classes
    misses = np.flatnonzero(classes != evaluation.samples.labels)
    return _environment().get_template("report.html.jinja").render(
        css=Markup(Path(__file__).with_name("report.css").read_text(encoding="utf-8")),
        s=summary,
        dataset_title=TITLES.get(summary["dataset"], summary["dataset"]),
        chain=_chain(summary),
        misses=len(misses),
        confusion=_confusion(evaluation),
        gallery=_gallery(evaluation, misses),
        sample=_sample(evaluation, _hardest(evaluation)),
        weights=_weights(evaluation),
        cycles_chart=_cycles_chart(evaluation, summary),
        cycles_caption=_cycles_caption(summary),
        memory=_memory(summary),
        energy=_energy(summary),
        energy_caption=_energy_caption(summary),
        command=command,
    )


@functools.cache
def _environment() -> jinja2.Environment:
    """Return the template engine with the filters that write numbers."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True,
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["percent"] = _percent
    environment.filters["number"] = _number
    environment.filters["energy"] = _picojoules
    return environment


def _percent(share: float | None, digits: int = 1) -> str:
    """Write 0..1 as a percentage; nothing known is a dash."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def _number(value: float, digits: int = 0) -> str:
    """Write a number with narrow spaces between thousands."""
    return f"{value:,.{digits}f}".replace(",", "\u202f")


def _picojoules(value: float) -> str:
    """Write an energy given in picojoules with a fitting unit."""
    for unit in ("pJ", "nJ", "µJ"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} mJ"


def _chain(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the four accuracies on the way from training to hardware."""
    accuracy = summary["accuracy"]

    def against(stage: str, base: str, otherwise: str) -> str:
        if accuracy[stage] is None or accuracy[base] is None:
            return otherwise
        points = 100 * (accuracy[stage] - accuracy[base])
        return f"{points:+.2f} points against {base}".replace("-", "−")

    return [
        {"name": "Float", "accuracy": accuracy["float"],
         "detail": "full-precision spiking network, the teacher"},
        {"name": "Ternary", "accuracy": accuracy["ternary"],
         "detail": against("ternary", "float", "weights of −, 0, +")},
        {"name": "Integer", "accuracy": accuracy["integer"],
         "detail": against("integer", "ternary", "folded to integers, golden model")},
        {"name": "RTL", "accuracy": accuracy["rtl"],
         "detail": "Verilog of the core under Verilator"},
    ]


def _confusion(evaluation: Evaluation) -> list[list[dict[str, Any]]]:
    """Return rows of cells: how often each true class was taken for each class."""
    size = evaluation.network.outputs
    counts = np.zeros((size, size), np.int64)
    np.add.at(counts, (evaluation.samples.labels, evaluation.simulation.classes), 1)
    if size > MOST_CLASSES:
        counts = counts[:MOST_CLASSES, :MOST_CLASSES]
    totals = np.maximum(counts.sum(axis=1), 1)
    return [
        # A single one must be seen, too.
        [{"count": int(count), "share": max(math.ceil(100 * count / totals[row]), 25),
          "kind": "none" if not count else "right" if row == column else "wrong"}
         for column, count in enumerate(line)]
        for row, line in enumerate(counts)
    ]


def _gallery(evaluation: Evaluation, misses: np.ndarray) -> list[dict[str, Any]]:
    """Return some images with their classes: up to half of them wrong, the others in order."""
    samples, found = evaluation.samples, evaluation.simulation.classes
    if not _is_image(samples):
        return []
    wrong = misses[:GALLERY // 2]
    hits = np.flatnonzero(found == samples.labels)
    # Right ones from all over the set, because a set may be sorted by class.
    spread = np.linspace(0, len(hits) - 1, min(GALLERY - len(wrong), len(hits))).astype(int)
    return [
        {"uri": drawing.digit_image(samples.images[number]),
         "label": int(samples.labels[number]), "found": int(found[number])}
        for number in [*wrong, *hits[spread]]
    ]


def _is_image(samples: Samples) -> bool:
    """Return whether a sample is a picture: two axes, and the network takes its values."""
    return samples.images.ndim == 3 and samples.inputs.ndim == 2


def _hardest(evaluation: Evaluation) -> int:
    """Return the sample whose decision was the closest, of those that are right (or of all)."""
    readout = np.sort(evaluation.simulation.readout, axis=1)
    margins = readout[:, -1] - readout[:, -2] if readout.shape[1] > 1 else readout[:, 0]
    right = np.flatnonzero(evaluation.simulation.classes == evaluation.samples.labels)
    among = right if len(right) else np.arange(len(margins))
    return int(among[np.argmin(margins[among])])


def _sample(evaluation: Evaluation, number: int) -> dict[str, Any]:
    """Return one sample's way through the network, as the RTL recorded it."""
    network, samples, simulation = evaluation.network, evaluation.samples, evaluation.simulation
    layers = []
    for layer, spikes, membranes in zip(
            network.layers, simulation.spikes, simulation.membranes, strict=False):
        here = spikes[number]
        layers.append({
            "spikes": drawing.spike_image(here, layer.z_max),
            "spikes_detail": f"{np.count_nonzero(here)} from {layer.outputs} neurons" + (
                f", full colour: {layer.z_max}" if layer.z_max > 1 else ""),
            "membranes": drawing.membrane_image(membranes[number], layer.threshold),
            "membranes_detail": "after each step",
        })
    last = network.layers[-1]
    start = np.full((1, network.outputs), last.v_init)
    history = np.concatenate([start, simulation.membranes[-1][number]])
    result = "last value decides" if last.readout is Readout.LAST else "sum decides"
    found = int(simulation.classes[number])
    return {
        "number": number,
        "label": int(samples.labels[number]),
        "right": found == samples.labels[number],
        "planes": _planes(evaluation, number),
        "input_detail": (f"{network.input_bits}-bit values as bit planes"
                         if network.input is InputCoding.STATIC else "one picture a time step"),
        "layers": layers,
        "readout": Markup(drawing.line_chart(
            history, found, "time step", f"Readout membranes; the core chose class {found}")),
        "readout_detail": f"membranes of the {network.outputs} classes; the {result}",
    }


def _planes(evaluation: Evaluation, number: int) -> list[dict[str, str]]:
    """Return the input of a sample, and the bits of it that the core counts."""
    network, samples = evaluation.network, evaluation.samples
    values = samples.inputs[number]
    if network.input is InputCoding.STATIC:
        shape = samples.images.shape[1:] if _is_image(samples) else (1, network.inputs)
        image = values.reshape(shape)
        planes = [{"name": "value", "uri": drawing.digit_image(image)}]
        return planes + [
            {"name": f"bit {bit}", "uri": drawing.spike_image(image >> bit & 1)}
            for bit in reversed(range(network.input_bits))
        ]
    side = math.isqrt(network.inputs)
    shape = (side, side) if side * side == network.inputs else (1, network.inputs)
    return [{"name": f"step {step + 1}", "uri": drawing.spike_image(plane.reshape(shape))}
            for step, plane in enumerate(values[:16])]


def _weights(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return a picture of each layer's weights."""
    pictures = []
    for number, layer in enumerate(evaluation.network.layers):
        name = f"Layer {number + 1}, {layer.inputs} → {layer.outputs}"
        if number == 0 and _is_image(evaluation.samples):
            pictures.append({"name": name} | _fields(layer, evaluation.samples.images.shape[1:]))
            continue
        pictures.append({
            "name": name, "uri": drawing.trit_image(layer.weights), "width": 70,
            "caption": f"One row each of the {layer.outputs} neurons, one column each of the "
                       f"{layer.inputs} inputs.",
        })
    return pictures


def _fields(layer: DenseLayer, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the picture of weights that look at an image: one tile a neuron."""
    shown = layer.weights[:MOST_TILES]
    which = (f"the {layer.outputs} neurons" if len(shown) == layer.outputs
             else f"the first {len(shown)} of {layer.outputs} neurons")
    return {
        "uri": drawing.trit_tiles(shown, (shape[0], shape[1]), 16),
        "width": 52,
        "caption": f"One tile each of {which}: what it wants to see, "
                   f"{shape[0]}×{shape[1]} pixels.",
    }


def _cycles_chart(evaluation: Evaluation, summary: dict[str, Any]) -> Markup:
    """Return the distribution of measured cycles."""
    cycles = summary["cycles"]
    return Markup(drawing.histogram(
        evaluation.simulation.cycles[1:] if len(evaluation.samples) > 1
        else evaluation.simulation.cycles,
        {"mean": cycles["mean"], "bound": cycles["bound_mean"]},
        "cycles from the result before to this one", "Histogram of cycles an image"))


def _cycles_caption(summary: dict[str, Any]) -> str:
    """Return how well the cycle model did."""
    cycles, samples = summary["cycles"], summary["samples"]
    if not cycles["samples_off_model"]:
        model = f"The cycle model is exact: it predicted the cycles of all {samples} images."
    else:
        share = abs(cycles["mean"] / cycles["model_mean"] - 1)
        model = (f"The cycle model is off by {_percent(share, 2)} in the mean; "
                 f"{cycles['samples_off_model']} of {samples} images differ, by at most "
                 f"{cycles['largest_difference']}.")
    return (f"{model} While one image computes, the next is loaded; the first, which waits for "
            f"its own loading, took {cycles['latency_first']} cycles.")


def _memory(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the table of memory."""
    weights = summary["weights"]
    rows = [{"name": "float32", "bytes": weights["bytes_reference"], "ratio": 1.0}]
    for name, key in (("2-bit codes, on chip", "codes"), ("bitmap and signs", "sparse"),
                      ("five trits a byte, in the file", "packed")):
        rows.append({"name": name, "bytes": weights[f"bytes_{key}"],
                     "ratio": weights[f"compression_{key}"]})
    return rows


def _energy(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the table of energy."""
    energy = summary["energy"]
    return [
        {"name": name, "reference": energy[f"{key}_reference"], "own": energy[key],
         "ratio": energy[f"ratio_{key}"], "skipping": energy[f"ratio_{key}_skipping"]}
        for name, key in (("Operations", "ops"),
                          ("and memory, packed words", "memory"),
                          ("and memory, number by number", "memory_per_access"))
    ]


def _energy_caption(summary: dict[str, Any]) -> str:
    """Return where the numbers of energy come from."""
    known = "its own" if summary["energy"]["reference_measured"] else "the ternary network's"
    return (f"Models, not measurements, of {summary['samples']} images; the reference spikes at "
            f"{known} rates. Operations: 45 nm, Horowitz 2014. Packed words: 10 pJ for each 64 "
            "bits. Number by number: Lemaire et al. 2022, the same for 2 bits as for 32.")
