"""The report: one HTML file that holds all it shows and needs no network."""

import functools
import math
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from model.accounting import describe, sizes
from model.network import (
    ConvLayer,
    DenseLayer,
    InputCoding,
    IntegerNetwork,
    MergeLayer,
    NeuronLayer,
    Readout,
)
from ternspike import drawing
from ternspike.evaluation import Evaluation
from ternspike.samples import Samples

__all__ = ["render"]

#: How the data sets are written in text.
TITLES = {"digits": "Handwritten digits", "mnist": "MNIST", "fashion-mnist": "Fashion-MNIST",
          "cifar10": "CIFAR-10", "salinas-a": "Salinas-A", "fsdd": "Free Spoken Digit Dataset",
          "nmnist": "N-MNIST, a subset"}

#: The largest confusion matrix, pictures of weights and maps, and gallery that are readable.
MOST_CLASSES = 20
MOST_TILES = 128
MOST_ROWS, MOST_COLUMNS = 256, 1024
MOST_MAPS = 32
#: Maps of a layer in a row; of many layers one row each is enough to see.
ROW_OF_MAPS = 16
MANY_LAYERS = 8
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
        preset=summary["core"]["name"].split(",")[0],
        chain=_chain(summary),
        misses=len(misses),
        confusion=_confusion(evaluation),
        gallery=_gallery(evaluation, misses),
        sample=_sample(evaluation),
        weights=_weights(evaluation),
        depth_charts=_depth_charts(summary),
        merges=any(not layer["weights"] for layer in summary["layers"]),
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
    environment.filters["sizes"] = sizes
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

    # Accuracies of different samples can't be compared.
    some = None
    if summary["samples"] < summary["samples_available"]:
        some = (f"golden model, of these {_number(summary['samples'])} images; those before: of "
                f"all {_number(summary['samples_available'])}")
    return [
        {"name": "Float", "accuracy": accuracy["float"],
         "detail": "full-precision spiking network, the teacher"},
        {"name": "Ternary", "accuracy": accuracy["ternary"],
         "detail": against("ternary", "float", "weights of −, 0, +")},
        {"name": "Integer", "accuracy": accuracy["integer"],
         "detail": some or against("integer", "ternary", "folded to integers, golden model")},
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
        {"uri": drawing.digit_image(_image(samples.images[number])),
         "label": int(samples.labels[number]), "found": int(found[number])}
        for number in [*wrong, *hits[spread]]
    ]


def _is_image(samples: Samples) -> bool:
    """Return whether a sample is a picture whose values the network takes.

    It has two axes, or three of which the first are one or three channels.
    """
    channels, *pixels = samples.images.shape[1:]
    picture = len(pixels) == 1 or (len(pixels) == 2 and channels in (1, 3))
    return picture and samples.inputs.ndim == 2


def _image(sample: np.ndarray) -> np.ndarray:
    """Return a picture as `drawing.digit_image` takes it: the only channel is no axis."""
    return sample[0] if sample.ndim == 3 and len(sample) == 1 else sample


def _sample(evaluation: Evaluation) -> dict[str, Any]:
    """Return the closest decision's way through the network, as the RTL recorded it."""
    network, samples, shown = evaluation.network, evaluation.samples, evaluation.closest
    layers = [_layer(network, number, spikes, membranes)
              for number, (spikes, membranes) in enumerate(
                  zip(shown.spikes, shown.membranes, strict=False))]
    last = network.layers[-1]
    start = np.full((1, network.outputs), network.layer(len(network.layers) - 1).v_init)
    history = np.concatenate([start, shown.membranes[-1]])
    result = "last value decides" if last.readout is Readout.LAST else "sum decides"
    found = int(evaluation.simulation.classes[shown.number])
    details = {InputCoding.STATIC: f"{network.input_bits}-bit values as bit planes",
               InputCoding.SPIKES: "one picture a time step",
               InputCoding.SAMPLES: f"{network.input_bits}-bit values, new in each time step"}
    return {
        "number": shown.number,
        "label": int(samples.labels[shown.number]),
        "right": shown.right,
        "planes": _planes(evaluation, shown.number),
        "input_detail": details[network.input],
        "layers": layers,
        "readout": Markup(drawing.line_chart(
            history, found, "time step", f"Readout membranes; the core chose class {found}")),
        "readout_detail": f"membranes of the {network.outputs} classes; the {result}",
    }


def _layer(
    network: IntegerNetwork, number: int, spikes: np.ndarray, membranes: np.ndarray,
) -> dict[str, Any]:
    """Return the pictures of what a layer did with a sample, arrays (steps, neurons)."""
    layer = network.layer(number)
    channels, *pixels = network.fired_shape(number)
    maps = pixels != [1, 1]
    most = layer.z_max * (len(spikes) if maps else 1)
    counts = f"{_number(int(np.count_nonzero(spikes)))} from {_number(spikes.shape[1])} neurons" + (
        f", full colour: {most}" if most > 1 else "")
    if not maps:
        return {
            "name": f"Layer {number + 1}",
            "steps": len(spikes),
            "spikes": drawing.spike_image(spikes, layer.z_max),
            "spikes_detail": counts,
            "membranes": drawing.membrane_image(membranes, layer.threshold),
            "membranes_detail": "after each step",
        }
    # Of maps all steps would be too much to see: their sum, and where the membranes end.
    shown = min(channels, MOST_MAPS if len(network.layers) <= MANY_LAYERS else ROW_OF_MAPS)
    total = spikes.sum(axis=0, dtype=np.int64).reshape(channels, *pixels)[:shown]
    end = membranes[-1].reshape(channels, *pixels)[:shown]
    some = "" if shown == channels else f"the first {shown} of {channels} channels"
    summed = "the sum of all steps" if len(spikes) > 1 else ""
    row = min(shown, ROW_OF_MAPS)
    # A merge that counts all it gets keeps nothing.
    empty = isinstance(network.layers[number], MergeLayer) and not end.any()
    return {
        "name": f"Layer {number + 1}, {describe(network, number)['kind']}",
        "steps": None,
        "width": min(52, 0.56 * row * (pixels[1] + 1)),
        "spikes": drawing.map_tiles(total, most, row),
        "spikes_detail": "; ".join(filter(None, [counts, summed, some])),
        "membranes": None if empty else drawing.map_tiles(end, layer.threshold[:shown], row),
        "membranes_detail": "after the last step",
    }


def _planes(evaluation: Evaluation, number: int) -> list[dict[str, str]]:
    """Return the input of a sample, and the bits of it that the core counts."""
    network, samples = evaluation.network, evaluation.samples
    values = samples.inputs[number]
    if network.input is not InputCoding.STATIC:
        largest = max(network.input_max, -network.input_min)
        return [{"name": f"step {step + 1}",
                 "uri": drawing.spike_image(_tiled(network, plane), largest)}
                for step, plane in enumerate(values[:16])]
    if _is_image(samples):
        image = _image(values.reshape(samples.images.shape[1:]))
    else:
        image = _tiled(network, values)
    value = (drawing.spike_image(image, -network.input_min) if network.input_signed
             else drawing.digit_image(image))
    planes = [{"name": "value", "uri": value}]
    for bit in reversed(range(network.input_bits)):
        plane = image >> bit & 1
        uri = drawing.digit_image(255 * plane) if image.ndim == 3 else drawing.spike_image(plane)
        planes.append({"name": f"bit {bit}", "uri": uri})
    return planes


def _tiled(network: IntegerNetwork, values: np.ndarray) -> np.ndarray:
    """Return the input of a step as a picture: its channels side by side, row by row.

    Channels that are single rows, as the bands of a sound are, lie below one another.
    """
    channels, height, width = network.shape(-1)
    columns = 1 if height == 1 < width else math.isqrt(channels - 1) + 1
    rows = math.ceil(channels / columns)
    tiles = np.zeros((rows * columns, height, width), values.dtype)
    tiles[:channels] = values.reshape(channels, height, width)
    grid = tiles.reshape(rows, columns, height, width).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width)


def _weights(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return a picture of each layer's weights."""
    network, pictures = evaluation.network, []
    for number, layer in enumerate(network.layers):
        if isinstance(layer, MergeLayer):
            continue
        source, fired = network.source_shape(number), network.fired_shape(number)
        name = {"name": f"Layer {number + 1}, {sizes(source)} → {sizes(fired)}"}
        images = number == 0 and _is_image(evaluation.samples)
        if isinstance(layer, ConvLayer) and layer.weights.shape[1] <= 4:
            pictures.append(name | _kernels(layer))
        elif images and isinstance(layer, DenseLayer) and layer.sum_pool == (1, 1) and len(
                _image(evaluation.samples.images[0]).shape) == 2:
            pictures.append(name | _fields(layer, evaluation.samples.images.shape[-2:]))
        else:
            pictures.append(name | _matrix(layer))
    return pictures


def _kernels(layer: ConvLayer) -> dict[str, Any]:
    """Return the picture of a convolution of few inputs: one tile an output."""
    inputs, height, width = layer.weights.shape[1:]
    shown = layer.weights[:MOST_TILES].reshape(-1, inputs * height * width)
    above = f", its {inputs} inputs one above another" if inputs > 1 else ""
    return {
        "uri": drawing.trit_tiles(shown, (inputs * height, width), 32),
        "width": min(52, 0.5 * (width + 1) * min(len(shown), 32)),
        "caption": f"One tile each of {_which(len(shown), layer.outputs, 'channels')}: a kernel of "
                   f"{height}×{width}{above}.",
    }


def _matrix(layer: NeuronLayer) -> dict[str, Any]:
    """Return the picture of weights as a matrix: one row a neuron or channel."""
    matrix = layer.weights.reshape(layer.outputs, -1)
    shown = matrix[:MOST_ROWS, :MOST_COLUMNS]
    what, each = (("neurons", "inputs") if layer.weights.ndim == 2
                  else ("channels", "weights of its kernels"))
    return {
        "uri": drawing.trit_image(shown), "width": min(70, 0.3 * shown.shape[1]),
        "caption": f"One row each of {_which(len(shown), layer.outputs, what)}, one column each of "
                   f"{_which(shown.shape[1], matrix.shape[1], each)}.",
    }


def _which(shown: int, count: int, what: str) -> str:
    """Return which of the rows or columns a picture shows."""
    return f"the {count} {what}" if shown == count else f"the first {shown} of {count} {what}"


def _fields(layer: DenseLayer, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the picture of weights that look at an image: one tile a neuron."""
    shown = layer.weights[:MOST_TILES]
    return {
        "uri": drawing.trit_tiles(shown, (shape[0], shape[1]), 16),
        "width": 52,
        "caption": f"One tile each of {_which(len(shown), layer.outputs, 'neurons')}: what it "
                   f"wants to see, {shape[0]}×{shape[1]} pixels.",
    }


def _depth_charts(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Return how much the layers spike, from the first to the last that does."""
    layers = [layer for layer in summary["layers"] if layer["mean_count"] is not None]
    if not layers:
        return []
    names = [layer["kind"] for layer in layers]
    marked = [not layer["weights"] for layer in layers]
    return [
        {"name": name, "chart": Markup(drawing.bar_chart(
            [layer[key] for layer in layers], names, marked, "layer", name))}
        for key, name in (("mean_count", "Mean count of a neuron in a step"),
                          ("total_count", "Count of all spikes of an image"))
    ]


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
                      ("five trits a byte", "packed"), ("as stored in the file", "stored")):
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
