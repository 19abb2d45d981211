import json
import re
import struct
import zlib
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

from hw.parameters import PRESETS
from mapping.cycles import estimate
from model.data import DataError, Dataset
from model.energy import energy
from model.golden import execute
from model.network import (
    ConvLayer,
    DenseLayer,
    InputCoding,
    IntegerNetwork,
    Merge,
    MergeLayer,
    Readout,
    Reset,
)
from sim.run import SimulationResult
from ternspike import drawing, report
from ternspike import evaluation as evaluations
from ternspike.activity import energy_of
from ternspike.evaluation import Evaluation, evaluate
from ternspike.samples import Samples
from ternspike.samples import test_samples as first_samples
from ternspike.summary import summarise


def decode(content: bytes) -> np.ndarray:
    """Return the pixels of a PNG that has one kind of row: unfiltered."""
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(content):
        size, = struct.unpack(">I", content[at:at + 4])
        kind, body = content[at + 4:at + 8], content[at + 8:at + 8 + size]
        assert struct.unpack(">I", content[at + 8 + size:at + 12 + size])[0] == zlib.crc32(
            kind + body)
        chunks[kind], at = body, at + 12 + size
    width, height, *kind = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert kind == [8, 6, 0, 0, 0] and list(chunks)[-1] == b"IEND"
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 4)


def network(coding=InputCoding.STATIC, timesteps=3, z_max=1) -> IntegerNetwork:
    rng = np.random.default_rng(3)

    def layer(inputs, outputs, last):
        return DenseLayer(
            rng.integers(-1, 2, (outputs, inputs)), gain_plus=np.full(outputs, 3),
            gain_minus=np.full(outputs, 2), bias=np.zeros(outputs, int),
            threshold=np.full(outputs, 0 if last else 400), membrane_bits=20,
            z_max=1 if last else z_max, readout=Readout.SUM if last else None)

    static = coding is InputCoding.STATIC
    return IntegerNetwork(coding, 8 if static else 1, timesteps,
                          (layer(12, 7, False), layer(7, 4, True)),
                          {"accuracy_float": "0.5", "accuracy_ternary": "nan"})


def evaluated(net, samples: Samples, *, late=0, spoil=(), parts=None) -> Evaluation:
    """Return an evaluation whose simulation is a copy of the golden model.

    It takes ``late`` cycles more than the model says; the classes of samples ``spoil`` are wrong.
    """
    trace = execute(net, samples.inputs)
    classes = trace.classes.copy()
    classes[list(spoil)] = (classes[list(spoil)] + 1) % net.outputs

    def simulate(program, inputs, *, part, progress, **options):
        assert not options["waves"] and inputs is samples.inputs
        if parts is not None:
            parts.append(part)
        progress(len(part))
        cycles = estimate(program, inputs, trace.spikes).cycles + late
        of = slice(part.start, part.stop)
        return SimulationResult(
            tuple(spikes[of] for spikes in trace.spikes),
            tuple(membranes[of] for membranes in trace.membranes), trace.readout[of], classes[of],
            cycles[of], int(cycles[of].sum()), int(cycles[0]), 1)

    with mock.patch("sim.run.simulate", simulate):
        return evaluate(net, samples, "medium", PRESETS["medium"])


def evaluation(name="mine", coding=InputCoding.STATIC, spoil=(), z_max=1) -> Evaluation:
    """Return an evaluation of nine samples by a dense network."""
    rng = np.random.default_rng(4)
    shape, most = ((3, 4), 256) if coding is InputCoding.STATIC else ((3, 12), 2)
    images = rng.integers(0, most, (9, *shape)).astype(np.uint8)
    labels = np.arange(9) % 4
    net = network(coding, z_max=z_max)
    samples = first_samples(net, Dataset(name, images, labels, images, labels))
    return evaluated(net, samples, late=1, spoil=spoil)


# Pictures

def test_png():
    pixels = np.random.default_rng(1).integers(0, 256, (5, 3, 4)).astype(np.uint8)
    np.testing.assert_array_equal(decode(drawing.png(pixels)), pixels)


def picture(uri: str) -> np.ndarray:
    import base64
    head, content = uri.split(",")
    assert head == "data:image/png;base64"
    return decode(base64.b64decode(content))


def test_trits_have_three_colours():
    pixels = picture(drawing.trit_image(np.array([[-1, 0, 1]])))
    assert [tuple(pixel) for pixel in pixels[0]] == [
        (*drawing.MINUS, 255), drawing.ZERO, (*drawing.PLUS, 255)]


def test_spikes_are_the_stronger_the_more_they_count():
    assert picture(drawing.spike_image(np.array([[0, 1]], bool)))[0, :, 3].tolist() == [0, 255]
    counts = np.array([[0, 1, 2, 5]], np.uint8)
    assert picture(drawing.spike_image(counts, 5))[0, :, 3].tolist() == [0, 51, 102, 255]


def test_tiles_stand_in_a_grid():
    weights = np.array([[1] * 6, [0] * 6, [-1] * 6])
    pixels = picture(drawing.trit_tiles(weights, (2, 3), 2))
    assert pixels.shape == (2 * 3 - 1, 2 * 4 - 1, 4)
    assert tuple(pixels[1, 2]) == (*drawing.PLUS, 255)
    assert tuple(pixels[0, 4]) == drawing.ZERO
    assert tuple(pixels[3, 0]) == (*drawing.MINUS, 255)
    assert not pixels[:, 3].any() and not pixels[2].any() and not pixels[3:, 4:].any()


def test_membranes_fade_towards_zero():
    pixels = picture(drawing.membrane_image(np.array([[-20, -5, 0, 5, 10]]), np.full(5, 10)))
    assert pixels[0, :, 3].tolist() == [255, 128, 0, 128, 255]
    assert tuple(pixels[0, 1, :3]) == drawing.MINUS
    assert tuple(pixels[0, 3, :3]) == drawing.PLUS


@pytest.mark.parametrize("places", [[10.0], [10, 11, 30], [5, 5, 5, 5], [0, 9, 18, 100, 101]])
def test_labels_keep_apart(places):
    moved = drawing._apart(places, 10)
    ordered = sorted(moved)
    assert all(after - before >= 10 - 1e-9
               for before, after in zip(ordered, ordered[1:], strict=False))
    assert sum(moved) == pytest.approx(sum(places))


@pytest.mark.parametrize("low, high", [(0, 1), (-170, 93), (0, 4), (99_000, 101_000), (5, 5)])
def test_ticks_are_few_and_inside(low, high):
    ticks = drawing._ticks(low, high)
    assert 1 <= len(ticks) <= 8
    assert all(low <= tick <= high for tick in ticks)


@pytest.mark.parametrize("bound, sides", [
    (100, ("end", "end")), (500, ("end", "end")), (985, ("end", "end")), (20, ("start", "end"))])
def test_marks_are_named_outside(bound, sides):
    chart = drawing.histogram(np.array([0, 500, 1000]), {"mean": 990.0, "bound": float(bound)},
                              "cycles", "histogram")
    found = dict((name, side) for side, name in re.findall(
        r'class="label mark (\w+)"[^>]*>(\w+)', chart))
    assert (found["bound"], found["mean"]) == sides
    middle = drawing.histogram(np.array([0, 1000]), {"mean": 600.0, "bound": 590.0}, "x", "y")
    assert 'mark start"' in middle and 'mark end"' in middle


def test_charts_of_flat_data():
    assert "NaN" not in drawing.line_chart(np.zeros((2, 3)), 0, "step", "flat")
    assert "nan" not in drawing.histogram(np.full(4, 7), {"mean": 7.0}, "cycles", "flat")


# Numbers

def test_summary_has_what_is_promised():
    content = json.loads(json.dumps(summarise(evaluation(), 7), allow_nan=False))
    assert set(content["accuracy"]) == {"float", "ternary", "integer", "rtl"}
    assert content["accuracy"]["float"] == 0.5
    assert content["accuracy"]["ternary"] is None, "metadata that is no share is not believed"
    assert content["mismatches"] == 0
    assert content["samples"] == 9
    assert content["cycles"]["mean"] == pytest.approx(content["cycles"]["model_mean"] + 1)
    assert content["cycles"]["bound_mean"] > 0
    assert content["cycles"]["samples_off_model"] == 9
    for key in ("count", "density", "compression_codes", "compression_stored"):
        assert content["weights"][key] > 0
    for key in ("ratio_ops", "ratio_memory"):
        assert content["energy"][key] > 0
    assert content["core"]["name"] == "medium" and content["core"]["banks"] == 16
    assert content["seed"] == 7
    bundles = content["bundling"]["rows"]
    assert [row["planes"] for row in bundles] == [1, 2, 4]
    assert bundles[0]["fetches_ratio"] == 1 < bundles[1]["fetches_ratio"]
    assert len(content["layers"]) == 2


# The page

def render(made):
    return report.render(made, summarise(made, 1), "make demo")


def test_page_holds_all_it_shows():
    page = render(evaluation())
    assert not re.search(r"<script|<link|src=\"(?!data:)|url\(|https?:", page)
    assert page.count("<h2>") == 8
    assert "Bit for bit the golden model" in page
    assert "make demo" in page


def test_page_is_well_formed():
    from html.parser import HTMLParser

    class Checker(HTMLParser):
        empty = {"meta", "img", "br"}

        def __init__(self):
            super().__init__()
            self.open = []

        def handle_starttag(self, tag, attrs):
            if tag not in self.empty:
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    checker = Checker()
    checker.feed(render(evaluation()))
    assert checker.open == []


def test_page_tells_a_mismatch():
    page = render(evaluation(spoil=[5]))
    assert "Bit for bit" not in page
    assert "1 of" in page and "sample 5" in page


def test_page_of_spikes():
    page = render(evaluation(coding=InputCoding.SPIKES))
    assert "step 3" in page and "bit 7" not in page


def test_page_of_counts():
    made = evaluation(z_max=3)
    assert max(spikes.max() for spikes in made.closest.spikes) == 3
    layer = summarise(made, 1)["layers"][0]
    assert layer["z_max"] == 3 and layer["mean_count"] > layer["spike_rate"]
    assert "full colour: 3" in render(made)
    assert "full colour: " not in render(evaluation())


def test_page_escapes_names():
    page = render(evaluation(name="<script>alert(1)</script>"))
    assert "<script>" not in page


def test_page_shows_the_closest_right_decision():
    labels = np.arange(9) % 4
    readout = np.zeros((9, 4), np.int64)
    readout[np.arange(9), labels] = [50, 40, 30, 20, 60, 70, 80, 90, 95]
    result = SimulationResult((np.arange(9).reshape(9, 1, 1),), (), readout, labels.copy(),
                              labels, 0, 0, 1)
    found = evaluations._closest(result, labels, 100)
    assert (found.number, found.margin, found.right) == (103, 20, True)
    assert found.spikes[0].tolist() == [[3]]
    result.classes[3] += 1
    assert evaluations._closest(result, labels, 0).number == 2
    found = evaluations._closest(replace(result, classes=labels + 1), labels, 0)
    assert (found.number, found.right) == (3, False), "none is right"


def test_large_networks_stay_readable():
    """The picture of a layer is limited, and so is the table of classes."""
    ones = np.ones(300, int)
    layer = DenseLayer(np.random.default_rng(1).integers(-1, 2, (300, 12)), ones, ones, ones, ones)
    fields = report._fields(layer, (3, 4))
    assert picture(fields["uri"]).shape == (8 * 4 - 1, 16 * 5 - 1, 4)
    assert "first 128 of 300" in fields["caption"]


# Networks of maps

def maps(inputs=1, coding=InputCoding.STATIC, most=256, signed=False, kept=True) -> Evaluation:
    """Return an evaluation of a residual network of maps, the simulation a copy of the golden."""
    rng = np.random.default_rng(5)

    def conv(outputs, inputs, threshold, **fields):
        ones = np.ones(outputs, int)
        return ConvLayer(rng.integers(-1, 2, (outputs, inputs, 3, 3)), 3 * ones, 2 * ones, ones,
                         threshold * ones, padding=(1, 1), membrane_bits=20, **fields)

    ones = np.ones(4, int)
    read = DenseLayer(rng.integers(-1, 2, (4, 40)), ones, ones, ones, 0 * ones, membrane_bits=20,
                      readout=Readout.SUM, sum_pool=(2, 2))
    layers = (conv(6, inputs, 2 * most), conv(6, 6, 9, signed=signed),
              MergeLayer(Merge.ADD, (0, 1), z_max=1 if kept else 2, signed=signed,
                         reset=Reset.SOFT if kept else Reset.HARD),
              conv(40, 6, 9, window=3, pool=(2, 2)), read)
    static = coding is InputCoding.STATIC
    net = IntegerNetwork(coding, int(most - 1).bit_length(), 3, layers,
                         input_shape=(inputs, 4, 4))
    shape = (inputs, 4, 4) if static else (3, inputs, 4, 4)
    images = rng.integers(0, most, (5, *shape)).astype(np.uint8)
    labels = np.arange(5) % 4
    samples = first_samples(net, Dataset("maps", images, labels, images, labels))
    return evaluated(net, samples)


def test_page_of_many_layers(monkeypatch):
    """Of each layer of many a row of maps is shown, and of a merge that keeps nothing no row."""
    page = render(maps(kept=False))
    assert "the first 32 of 40 channels" in page
    assert page.count("Membranes after the last step: blue") == 3
    assert render(maps()).count("Membranes after the last step: blue") == 4
    monkeypatch.setattr(report, "MANY_LAYERS", 4)
    assert "the first 16 of 40 channels" in render(maps())


def test_page_of_a_changed_core():
    """The changes stand in the text, where a line can break, not in the heading."""
    made = replace(maps(), core="medium,planes=1,lanes=64")
    page = render(made)
    assert "on core <em>medium</em></h1>" in page
    assert "<code>medium,planes=1,lanes=64</code>." in page
    assert "<code>medium" not in render(maps()).partition("</h1>")[2].partition("<section>")[0]


def test_accuracies_of_different_samples_are_not_compared():
    made = evaluation()
    summary = summarise(made, 1)
    assert summary["samples"] == summary["samples_available"] == 9
    summary["accuracy"]["ternary"] = 0.5
    assert "points against ternary" in report.render(made, summary, "")
    page = report.render(made, summary | {"samples_available": 10}, "")
    assert "points against ternary" not in page
    assert "of these 9 images; those before: of all 10" in page


def test_inputs_that_are_no_images_are_tiles():
    net = network_of_maps(InputCoding.STATIC, (5, 2, 3))
    tiled = report._tiled(net, np.arange(30))
    assert tiled.shape == (2 * 2, 3 * 3)
    assert tiled[:2, 3:6].tolist() == [[6, 7, 8], [9, 10, 11]]
    assert tiled[2:, :3].tolist() == [[18, 19, 20], [21, 22, 23]]
    assert not tiled[2:, 6:].any()
    vector = network_of_maps(InputCoding.STATIC, (12, 1, 1))
    assert report._tiled(vector, np.arange(12)).tolist() == np.arange(12).reshape(3, 4).tolist()
    bands = network_of_maps(InputCoding.STATIC, (4, 1, 3))
    assert report._tiled(bands, np.arange(12)).tolist() == np.arange(12).reshape(4, 3).tolist()


@pytest.mark.parametrize("made", [
    dict(), dict(inputs=3), dict(inputs=2), dict(signed=True),
    dict(coding=InputCoding.SPIKES, most=2), dict(coding=InputCoding.SAMPLES, most=16)])
def test_page_of_maps(made):
    page = render(maps(**made))
    assert "nan" not in page.lower()
    assert "the sum of all steps" in page and "the first 32 of 40 channels" in page
    assert "6C3" in page and "40C3P2" in page and "Merges are orange" in page
    assert page.count('class="bar other"') == 2, "one merge in each of two charts"


def test_summary_tells_activity_by_depth():
    made = maps(signed=True)
    layers = json.loads(json.dumps(summarise(made, 1), allow_nan=False))["layers"]
    assert [layer["kind"] for layer in layers] == ["6C3", "6C3", "add", "40C3P2", "4"]
    assert [layer["steps"] for layer in layers] == [3, 3, 3, 1, 1]
    assert layers[2]["sources"] == [0, 1] and layers[2]["density"] is None
    assert layers[3]["source_shape"] == [6, 4, 4] and layers[3]["shape"] == [40, 2, 2]
    trace = execute(made.network, made.samples.inputs)
    for layer, spikes in zip(layers, trace.spikes, strict=False):
        sizes = np.abs(spikes.astype(int))
        assert layer["mean_count"] == pytest.approx(sizes.mean())
        assert layer["total_count"] == pytest.approx(sizes.sum() / 5)
    assert layers[1]["total_count"] > 0 and layers[4]["total_count"] is None


# Parts of the samples

def divided(made: Evaluation, size: int, monkeypatch, **options) -> Evaluation:
    """Return the same evaluation by parts of so many samples at most."""
    def parts(samples, values, most):
        return [range(start, min(start + size, samples)) for start in range(0, samples, size)]

    monkeypatch.setattr(evaluations, "_parts", parts)
    return evaluated(made.network, made.samples, **options)


@pytest.mark.parametrize("make", [
    lambda: evaluation(z_max=3), lambda: evaluation(coding=InputCoding.SPIKES), maps,
    lambda: maps(signed=True), lambda: maps(coding=InputCoding.SAMPLES, most=16)])
def test_parts_change_nothing(make, monkeypatch):
    whole = make()
    options = dict(late=2, spoil=[2, 4])
    whole = divided(whole, len(whole.samples), monkeypatch, **options)
    wanted = summarise(whole, 1)
    assert wanted["mismatches"] == 2 and wanted["first_mismatch"].startswith("sample 2, layer")
    for size in (1, 3):
        parts = []
        made = divided(whole, size, monkeypatch, parts=parts, **options)
        assert len(parts) > 1 and max(map(len, parts)) == size
        assert summarise(made, 1) == wanted
        assert render(made) == render(whole)
        assert made.closest.number == whole.closest.number
        np.testing.assert_array_equal(made.trace.readout, whole.trace.readout)


@pytest.mark.parametrize("made", [dict(), dict(signed=True)])
@pytest.mark.parametrize("reference", [None, [0.0, 0.25, 0.5, 1.0]])
def test_energy_of_sums_is_that_of_all_spikes(made, reference, monkeypatch):
    made = divided(maps(**made), 2, monkeypatch)
    inputs = made.samples.inputs
    assert energy_of(made.network, inputs, made.activity, reference) == energy(
        made.network, inputs, execute(made.network, inputs), reference)


@pytest.mark.parametrize("samples, values, most, sizes", [
    (10, 5, 50, [10]), (10, 5, 49, [5, 5]), (10, 5, 15, [2, 3, 2, 3]), (3, 5, 4, [1, 1, 1]),
    (1, 5, 1000, [1])])
def test_parts_are_equal_and_small(samples, values, most, sizes):
    parts = list(evaluations._parts(samples, values, most))
    assert [len(part) for part in parts] == sizes
    assert [number for part in parts for number in part] == list(range(samples))


def test_progress_is_told_of_all_samples(monkeypatch):
    told = []
    whole = evaluation()
    monkeypatch.setattr(evaluations, "SIMULATED_VALUES", 1)
    monkeypatch.setattr(evaluations, "PREDICTED_VALUES", 1)
    result = whole.simulation

    def simulate(program, inputs, *, part, progress, **options):
        progress(1)
        of = slice(part.start, part.stop)
        return replace(result, readout=result.readout[of], classes=result.classes[of],
                       cycles=result.cycles[of])

    monkeypatch.setattr("sim.run.simulate", simulate)
    evaluate(whole.network, whole.samples, "medium", PRESETS["medium"],
             progress=lambda *what: told.append(what))
    assert told == [("Simulate the RTL", done) for done in range(10)] + [
        ("Predict the cycles", done) for done in range(9)]


def test_maps_are_tiles():
    values = np.zeros((3, 2, 2), int)
    values[0, 0, 0], values[1, 1, 1] = 4, -1
    pixels = picture(drawing.map_tiles(values, np.array([2, 2, 2]), 2))
    assert pixels.shape == (2 * 3 - 1, 2 * 3 - 1, 4)
    assert tuple(pixels[0, 0]) == (*drawing.PLUS, 255)
    assert tuple(pixels[1, 4]) == (*drawing.MINUS, 128)
    assert tuple(pixels[0, 1]) == tuple(pixels[3, 0]) == drawing.ZERO
    assert not pixels[:, 2].any() and not pixels[2].any() and not pixels[3:, 3:].any()


def test_pictures_have_colours():
    image = np.arange(12).reshape(3, 2, 2)
    assert picture(drawing.digit_image(image))[1, 0].tolist() == [2, 6, 10, 255]


@pytest.mark.parametrize("count", [1, 12, 40, 64])
def test_bars_of_few_and_of_many_layers(count):
    chart = drawing.bar_chart([0.25] * count, ["64C3"] * count, [False] * count, "layer", "all")
    assert chart.count("<rect") == count
    assert ("64C3" in chart) == (count == 1 or count == 12)
    assert (">layer<" in chart) == (count > 12)
    assert "nan" not in drawing.bar_chart([0.0], ["a"], [True], "layer", "silent")


# Samples

def network_of_maps(coding, shape, timesteps=3):
    ones = np.ones(2, int)
    read = DenseLayer(np.ones((2, int(np.prod(shape))), int), ones, ones, ones, 0 * ones,
                      readout=Readout.LAST)
    return IntegerNetwork(coding, 8 if coding is not InputCoding.SPIKES else 1, timesteps, (read,),
                          input_shape=shape)


@pytest.mark.parametrize("coding, shape, sample, fits", [
    (InputCoding.STATIC, (1, 4, 5), (4, 5), True),
    (InputCoding.STATIC, (3, 4, 5), (3, 4, 5), True),
    (InputCoding.STATIC, (60, 1, 1), (3, 4, 5), True),
    (InputCoding.STATIC, (3, 4, 5), (4, 5, 3), False),
    (InputCoding.STATIC, (1, 4, 5), (20,), False),
    (InputCoding.SAMPLES, (2, 1, 1), (3, 2), True),
    (InputCoding.SAMPLES, (1, 1, 4), (3, 1, 1, 4), True),
    (InputCoding.SAMPLES, (2, 1, 1), (4, 2), False),
    (InputCoding.SAMPLES, (2, 1, 1), (3, 3), False),
])
def test_samples_are_the_maps_of_the_network(coding, shape, sample, fits):
    images = np.arange(7 * np.prod(sample)).reshape(7, *sample) % 200
    data = Dataset("mine", images, np.arange(7) % 2, images, np.arange(7) % 2)
    made = network_of_maps(coding, shape)
    if not fits:
        with pytest.raises(DataError, match="mine: samples have"):
            first_samples(made, data)
        return
    found = first_samples(made, data, 5)
    steps = () if coding is InputCoding.STATIC else (3,)
    assert found.inputs.shape == (5, *steps, made.inputs)
    assert np.array_equal(found.inputs.ravel(), images[:5].ravel())


def test_a_network_of_fewer_input_bits():
    images = np.arange(60, dtype=np.uint8).reshape(3, 4, 5) * 4
    data = Dataset("mine", images, np.arange(3) % 2, images, np.arange(3) % 2)
    made = replace(network_of_maps(InputCoding.STATIC, (1, 4, 5)), input_bits=3,
                   metadata={"input_shift": "5"})
    assert np.array_equal(first_samples(made, data).inputs, images.reshape(3, 20) >> 5)
    with pytest.raises(DataError, match="metadata have input_shift '-1', expected 0..7"):
        first_samples(replace(made, metadata={"input_shift": "-1"}), data)
