"""Folding: exact where numbers are exact, close elsewhere, and refused where it can't fit."""

import dataclasses

import numpy as np
import pytest
import torch

from model.architecture import DenseSpec, parse
from model.data import Coding
from model.fold import (
    FoldError,
    FoldSettings,
    RealLayer,
    fold,
    real_layers,
    round_layer,
    rounding_cost,
)
from model.golden import execute
from model.layers import SpikingNetwork, as_inputs
from model.network import DenseLayer, InputCoding, IntegerNetwork, Readout, Reset
from model.neuron import NeuronSettings
from model.quantise import QuantiserSettings, StepSettings

SEED = 7


def network(*, arch="20-16-12-5", neuron=None, timesteps=4, **changes) -> SpikingNetwork:
    """Return a ternary network whose batch norms have seen something, some slopes negative."""
    model = SpikingNetwork(parse(arch), timesteps, neuron=neuron or NeuronSettings(),
                           quantiser=QuantiserSettings(), seed=SEED, **changes)
    generator = torch.Generator().manual_seed(SEED)
    for layer in model.weighted_layers():
        norm = layer.norm
        with torch.no_grad():
            norm.weight.copy_(torch.randn(norm.weight.shape, generator=generator))
            norm.bias.copy_(torch.randn(norm.bias.shape, generator=generator) * 0.5 + 0.3)
            assert norm.running_mean is not None and norm.running_var is not None
            norm.running_mean.copy_(torch.randn(norm.bias.shape, generator=generator) * 0.2)
            norm.running_var.copy_(torch.rand(norm.bias.shape, generator=generator) + 0.5)
    return model.eval()


def pixels(samples: int = 200, inputs: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Return random 8-bit samples and labels."""
    random = np.random.default_rng(SEED)
    return (random.integers(0, 256, (samples, inputs), dtype=np.uint8),
            random.integers(0, 5, samples))


def spikes(samples: int = 200, steps: int = 4, inputs: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Return random binary samples and labels."""
    random = np.random.default_rng(SEED)
    return (random.integers(0, 2, (samples, steps, inputs)).astype(np.uint8),
            random.integers(0, 5, samples))


def exact_layer(**changes) -> RealLayer:
    """Return four channels whose units are 1/8, 1/8, 1/4 and that of a constant neuron."""
    values = RealLayer(
        spec=DenseSpec((3, 1, 1), 4, (-1,)),
        signs=np.array([[1, -1, 0], [1, 1, -1], [-1, 1, 1], [0, 0, 0]], np.int8), source_min=0,
        source_max=1,
        plus=np.array([1.5, 0.5, 1.0, 0.0]), minus=np.array([1.0, 1.0, 2.0, 0.0]),
        bias=np.array([0.25, -0.25, 0.75, 1.0]), threshold=np.array([1.0, 2.0, 0.5, 2.0]),
        v_init=0.0, leak=(), reset=Reset.SOFT, z_max=1, signed=False, saturation=None,
        readout=None)
    return values._replace(**changes)


def test_round_layer_by_hand():
    layer, unit = round_layer(exact_layer(), 3)
    assert unit.tolist() == [0.125, 0.125, 0.25, 2 / 4096]
    assert layer.gain_minus.tolist() == [8, 8, 8, 0]
    assert layer.gain_plus.tolist() == [12, 4, 4, 0]
    assert layer.bias.tolist() == [2, -2, 3, 2048]
    assert layer.threshold.tolist() == [8, 16, 2, 4096]


def test_each_channel_takes_the_best_ratio():
    """At shift 3 a gain of 8, 7, 6 or 5: 1.3 is nearest to 9/7, 0.8 is 4/5."""
    layer, unit = round_layer(exact_layer(plus=np.array([1.3, 0.8, 2.0, 0.0])), 3)
    assert layer.gain_minus.tolist() == [7, 5, 8, 0] and layer.gain_plus.tolist() == [9, 4, 8, 0]
    np.testing.assert_allclose(unit[:3], [1 / 7, 1 / 5, 2 / 8])


def test_channel_without_minus_weights_takes_its_unit_from_the_plus_ones():
    real = exact_layer(minus=np.zeros(4), signs=np.abs(exact_layer().signs))
    layer, unit = round_layer(real, 2)
    assert layer.gain_minus.tolist() == [0, 0, 0, 0] and layer.gain_plus.tolist() == [4, 4, 4, 0]
    assert unit[:3].tolist() == [1.5 / 4, 0.5 / 4, 1.0 / 4]


def test_readout_shares_one_unit():
    layer, unit = round_layer(exact_layer(threshold=None, readout=Readout.LAST), 4)
    assert unit.tolist() == [0.125] * 4
    assert layer.gain_plus.tolist() == [12, 4, 8, 0] and layer.gain_minus.tolist() == [8, 8, 16, 0]
    assert layer.bias.tolist() == [2, -2, 6, 8] and layer.threshold.tolist() == [0] * 4


def test_initial_membrane_shares_one_unit():
    layer, unit = round_layer(exact_layer(v_init=0.5), 4)
    assert len(set(unit.tolist())) == 1 and layer.v_init == 4
    assert layer.threshold.tolist() == [8, 16, 4, 16]


def test_exact_thresholds():
    """Units are whole parts of the thresholds; gains that are whole parts, too, stay exact."""
    threshold = np.array([0.9, 0.3, 2 / 3, 2.0])
    real = exact_layer(plus=np.array([0.7, 0.5, 1.0, 0.0]), minus=np.array([0.3, 1.0, 2.0, 0.0]),
                       threshold=threshold)
    layer, unit = round_layer(real, 3, exact_thresholds=True)
    np.testing.assert_allclose(layer.threshold * unit, threshold, rtol=1e-12)
    assert (layer.gain_plus[0], layer.gain_minus[0], layer.threshold[0]) == (14, 6, 18)
    assert (layer.gain_plus[2], layer.gain_minus[2], layer.threshold[2]) == (3, 6, 2)
    rounded, unit = round_layer(real, 3)
    assert np.abs(rounded.threshold * unit - threshold).max() > 0.01


def test_a_threshold_far_below_a_gain_is_rounded():
    real = exact_layer(threshold=np.full(4, 0.003))
    layer, unit = round_layer(real, 3, exact_thresholds=True)
    assert max(layer.gain_plus.max(), layer.gain_minus.max()) <= 255
    assert (layer.threshold[:3] == 1).all() and (unit[:3] > 0.003).all()


def test_exact_thresholds_in_a_network():
    """With an initial membrane, too, which shares one unit."""
    for v_init in (0.0, 0.5):
        model = network(neuron=NeuronSettings(v_init=v_init, threshold=0.77))
        settings = FoldSettings(shifts=(7, 7, 7), exact_thresholds=True, membrane_bits=26)
        folded, report = fold(model, Coding.STATIC, *pixels(), settings)
        for number, real in enumerate(real_layers(model, Coding.STATIC)[:-1]):
            _, unit = round_layer(real, 7, exact_thresholds=True)
            np.testing.assert_allclose(folded.layer(number).threshold * unit, 0.77, rtol=1e-6)
        assert sum(report.calibration.mismatches) < 0.01 * sum(report.calibration.compared)


def test_extreme_channels_get_a_coarser_unit():
    """Gains stay within 8 bits, bias and threshold within 20, by powers of two."""
    real = exact_layer(plus=np.array([1000.0, 1.0, 1.0, 0.0]),
                       minus=np.array([1.0, 2.0**-30, 1.0, 0.0]),
                       bias=np.array([0.0, 0.0, 1e9, 0.0]))
    layer, unit = round_layer(real, 4)
    assert layer.gain_plus.max() <= 255 and layer.gain_minus.max() <= 255
    assert np.abs(layer.bias).max() < 1 << 19 and layer.threshold.max() < 1 << 19
    assert np.all(np.log2(unit[:3]) % 1 == 0)
    assert layer.threshold.min() >= 1
    np.testing.assert_allclose(layer.gain_plus[0] * unit[0], 1000, rtol=0.01)
    np.testing.assert_allclose(layer.bias[2] * unit[2], 1e9, rtol=1e-5)


@pytest.mark.parametrize("z_max", [1, 3])
def test_the_highest_level_has_20_bits(z_max):
    layer, unit = round_layer(exact_layer(threshold=np.full(4, 1e6), z_max=z_max), 4)
    assert 1 << 17 < z_max * layer.threshold[0] < 1 << 19
    np.testing.assert_allclose(layer.threshold * unit, 1e6, rtol=1e-3)


@pytest.mark.parametrize("z_max", [1, 3])
@pytest.mark.parametrize("reset", Reset)
def test_exact_numbers_give_exact_spikes(reset, z_max):
    """With dyadic parameters nothing is rounded: float64 and integers agree on every spike."""
    real = exact_layer(reset=reset, z_max=z_max)
    layer, unit = round_layer(real, 3)
    assert real.threshold is not None
    zero = np.zeros(1, np.int32)
    readout = DenseLayer(np.ones((1, 4), np.int8), zero, zero, zero, zero, readout=Readout.LAST)
    inputs = np.random.default_rng(SEED).integers(0, 2, (500, 8, 3))
    trace = execute(IntegerNetwork(InputCoding.SPIKES, 1, 8, (layer, readout)), inputs)
    v = np.zeros((500, 4))
    for t in range(8):
        plus, minus = (inputs[:, t] @ (real.signs == sign).T for sign in (1, -1))
        v += real.plus * plus - real.minus * minus + real.bias
        fired = np.clip(v // real.threshold, 0, z_max)
        v = v - fired * real.threshold if reset is Reset.SOFT else np.where(fired, 0, v)
        np.testing.assert_array_equal(trace.spikes[0][:, t], fired)
        np.testing.assert_array_equal(trace.membranes[0][:, t] * unit, v)
    assert trace.spikes[0].any((0, 1)).all() and trace.spikes[0].max() == z_max


def test_real_layers_are_the_float_network():
    """Scales, batch norm, input scale and swapped signs, multiplied out, give its currents."""
    model = network()
    inputs, _ = pixels()
    for layer, real in zip(model.spiking_layers()[:1], real_layers(model, Coding.STATIC),
                           strict=False):
        slope = layer.norm.weight.detach().numpy()
        assert (slope < 0).any() and (slope > 0).any()
        assert (real.plus >= 0).all() and (real.minus >= 0).all()
        plus, minus = (inputs.astype(float) @ (real.signs == sign).T for sign in (1, -1))
        with torch.no_grad():
            current = layer.current(as_inputs(inputs)[..., None, None]).flatten(1).numpy()
        np.testing.assert_allclose(real.plus * plus - real.minus * minus + real.bias, current,
                                   rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("leak", [(), (2,), (1, 3)])
@pytest.mark.parametrize("readout", Readout)
@pytest.mark.parametrize("z_max", [1, 3])
def test_fine_folding_hardly_changes_spikes(reset, leak, readout, z_max):
    neuron = NeuronSettings(leak=leak, reset=reset, z_max=z_max)
    model = network(neuron=neuron, readout=readout, readout_leak=leak)
    inputs, labels = pixels()
    settings = FoldSettings(shifts=(7, 7, 7), membrane_bits=32)
    folded, report = fold(model, Coding.STATIC, inputs, labels, settings)
    cost = report.calibration
    assert folded.layer(0).leak == leak and folded.layers[-1].readout is readout
    assert [layer.z_max for layer in folded.layers] == [z_max, z_max, 1]
    assert cost.compared == (200 * 4 * 16, 200 * 4 * 12)
    assert cost.mismatches[0] < 0.01 * cost.compared[0]
    assert cost.mismatches[1] < 0.06 * cost.compared[1]
    assert cost.class_changes <= 10


def test_constant_neuron():
    """A slope of 0 leaves a neuron that ignores its inputs."""
    model = network()
    with torch.no_grad():
        model.spiking_layers()[0].norm.weight[3] = 0
        model.spiking_layers()[0].norm.bias[3] = 0.4
    inputs, labels = pixels()
    folded, _ = fold(model, Coding.STATIC, inputs, labels)
    fired = execute(folded, inputs).spikes[0][:, :, 3]
    assert (fired == [False, False, True, False]).all()


def test_initial_membrane_is_folded():
    model = network(neuron=NeuronSettings(v_init=0.5))
    inputs, labels = pixels()
    settings = FoldSettings(shifts=(7, 7, 7), membrane_bits=32)
    folded, report = fold(model, Coding.STATIC, inputs, labels, settings)
    assert folded.layer(0).v_init > 0 and folded.layer(2).v_init == 0
    assert report.calibration.mismatches[0] < 0.02 * report.calibration.compared[0]


def test_trained_leak_is_folded():
    """Each layer's own, as the shifts that training saw."""
    model = network(neuron=NeuronSettings(learn_leak=True, leak_terms=2))
    for layer, leak in zip(model.spiking_layers(), (0.6, 0.9), strict=True):
        assert layer.leak is not None
        with torch.no_grad():
            layer.leak.fill_(leak)
    folded, report = fold(model, Coding.STATIC, *pixels(), FoldSettings(shifts=(7, 7, 7)))
    assert [folded.layer(number).leak for number in range(3)] == [(2, 3), (3,), ()]
    assert sum(report.calibration.mismatches) < 0.01 * sum(report.calibration.compared)


@pytest.mark.parametrize("bits", [1, 4])
def test_fewer_input_bits(bits):
    """The integer network takes what is left of the values, and tells how much that is."""
    model = network()
    whole = real_layers(model, Coding.STATIC)[0]
    model.input_bits = bits
    fewer = real_layers(model, Coding.STATIC)[0]
    np.testing.assert_allclose(fewer.plus, whole.plus * 2**(8 - bits))
    assert fewer.source_max == 2**bits - 1
    inputs, labels = pixels()
    folded, report = fold(model, Coding.STATIC, inputs, labels,
                          FoldSettings(shifts=(7, 7, 7), membrane_bits=32))
    cost = report.calibration
    assert folded.input_bits == bits and folded.metadata["input_shift"] == str(8 - bits)
    assert execute(folded, inputs >> (8 - bits)).spikes[0].any()
    assert cost.mismatches[0] < 0.01 * cost.compared[0]
    assert rounding_cost(model, folded, inputs, labels) == cost


def test_spike_input():
    model = network()
    inputs, labels = spikes()
    folded, report = fold(model, Coding.EVENTS, inputs, labels, FoldSettings(shifts=(7, 7, 7)))
    assert folded.input is InputCoding.SPIKES and folded.input_bits == 1
    assert report.calibration.mismatches[0] < 0.01 * report.calibration.compared[0]
    assert folded.metadata["coding"] == "events"


def test_search_takes_the_smallest_harmless_shifts():
    model = network()
    inputs, labels = pixels(1000)
    folded, report = fold(model, Coding.STATIC, inputs, labels, metadata={"dataset": "noise"})
    chosen = tuple(layer.shift for layer in report.layers)
    assert not report.calibration.measurable
    assert folded.metadata["dataset"] == "noise"
    assert folded.metadata["shifts"] == " ".join(map(str, chosen))
    # The last layer was searched last: any smaller shift of it does harm.
    for shift in range(chosen[-1]):
        settings = FoldSettings(shifts=(*chosen[:-1], shift))
        assert fold(model, Coding.STATIC, inputs, labels, settings)[1].calibration.measurable


@pytest.mark.parametrize("arch", ["20-16-12-5", "2x6x6-4C3-R4(add2)-5"])
def test_search_runs_settled_layers_once(arch, monkeypatch):
    """What it finds is what it finds if it runs all of them each time."""
    model = network(arch=arch)
    inputs, labels = pixels(inputs=model.architecture.inputs)
    found, report = fold(model, Coding.STATIC, inputs, labels)
    settled = []
    monkeypatch.setattr("model.fold._settled", lambda references, network, layers: (
        settled.append(layers) or references))
    whole, same = fold(model, Coding.STATIC, inputs, labels)
    assert found.metadata == whole.metadata and report == same
    assert settled == ([1, 2, 2] if arch[2] == "-" else [1, 2, 4, 4])


@pytest.mark.parametrize("z_max", [1, 5])
def test_report_tells_the_widths_in_use(z_max):
    model = network(neuron=NeuronSettings(z_max=z_max))
    inputs, labels = pixels()
    folded, report = fold(model, Coding.STATIC, inputs, labels)
    for number, told in enumerate(report.layers):
        layer = folded.layer(number)
        assert max(layer.gain_plus.max(), layer.gain_minus.max()) < 1 << told.gain_bits <= 256
        assert np.abs(layer.bias).max() <= 1 << (told.bias_bits - 1)
        assert layer.threshold.max() < 1 << told.threshold_bits
        assert told.membrane_bits == layer.membrane_bits == folded.bounds(number).membrane_bits
        assert not told.saturates


def test_membranes_that_would_be_too_wide_saturate():
    model = network()
    inputs, labels = pixels()
    shifts = (4, 4, 4)
    _, free = fold(model, Coding.STATIC, inputs, labels, FoldSettings(shifts=shifts))
    assert not any(layer.saturates for layer in free.layers)
    narrow = free.layers[0].membrane_bits - 1
    folded, report = fold(model, Coding.STATIC, inputs, labels,
                          FoldSettings(shifts=shifts, membrane_bits=narrow))
    assert report.layers[0].saturates and folded.layers[0].membrane_bits == narrow
    assert folded.layers[2].membrane_bits == free.layers[2].membrane_bits < narrow


@pytest.mark.parametrize("saturation", [1.0, 1.5])
def test_membranes_that_saturated_in_training_are_as_narrow(saturation):
    model = network(neuron=NeuronSettings(saturation=saturation))
    inputs, labels = pixels()
    folded, report = fold(model, Coding.STATIC, inputs, labels, FoldSettings(shifts=(4, 4, 4)))
    for layer in folded.layers[:2]:
        largest = saturation * np.max(layer.threshold)
        assert largest <= 1 << layer.membrane_bits - 1 <= 2 * largest
    assert report.layers[0].saturates
    free, _ = fold(network(), Coding.STATIC, inputs, labels, FoldSettings(shifts=(4, 4, 4)))
    assert folded.layers[2].membrane_bits == free.layers[2].membrane_bits
    assert folded.layers[0].membrane_bits < free.layers[0].membrane_bits


def test_search_weighs_saturation_against_rounding():
    """Where no shift is harmless the search takes the least bad one: here not the finest."""
    model = network()
    inputs, labels = spikes(1000)
    narrow = FoldSettings(membrane_bits=7)
    _, report = fold(model, Coding.EVENTS, inputs, labels, narrow)
    finest = dataclasses.replace(narrow, shifts=(7, *(layer.shift for layer in report.layers[1:])))
    _, worse = fold(model, Coding.EVENTS, inputs, labels, finest)
    assert report.calibration.measurable and report.layers[0].shift < 7
    assert report.calibration.logit_noise < worse.calibration.logit_noise


def test_cost_on_other_samples():
    model = network()
    inputs, labels = pixels()
    folded, report = fold(model, Coding.STATIC, inputs, labels)
    assert rounding_cost(model, folded, inputs, labels) == report.calibration
    fewer = rounding_cost(model, folded, inputs[:50], labels[:50])
    assert fewer.samples == 50
    assert fewer.integer_accuracy == np.mean(execute(folded, inputs[:50]).classes == labels[:50])


def test_measurable_harm():
    inputs, labels = pixels()
    _, report = fold(network(), Coding.STATIC, inputs, labels)
    none = dataclasses.replace(report.calibration, samples=1000, class_changes=0, logit_noise=0.09,
                               float_accuracy=0.9, integer_accuracy=0.9)
    assert not none.measurable
    assert dataclasses.replace(none, logit_noise=0.11).measurable
    assert dataclasses.replace(none, class_changes=11).measurable
    assert dataclasses.replace(none, class_changes=9, integer_accuracy=0.891).measurable
    assert not dataclasses.replace(none, class_changes=9, integer_accuracy=0.895).measurable


def test_refusals():
    inputs, labels = pixels()
    with pytest.raises(FoldError, match="layer 0: membranes need .. bits, the limit is 8, and"):
        fold(network(), Coding.STATIC, inputs, labels,
             FoldSettings(membrane_bits=8, saturate=False))
    with pytest.raises(FoldError, match="2 shifts are given for 3 layers"):
        fold(network(), Coding.STATIC, inputs, labels, FoldSettings(shifts=(4, 4)))
    full = SpikingNetwork(parse("20-8-5"), 4, neuron=NeuronSettings())
    with pytest.raises(FoldError, match="layer 0: weights are full precision"):
        fold(full, Coding.STATIC, inputs, labels)
    bits = SpikingNetwork(parse("20-8-5"), 4, neuron=NeuronSettings(), quantiser=StepSettings(4))
    with pytest.raises(FoldError, match="layer 0: weights are 4 bits wide; only ternary layers"):
        fold(bits, Coding.STATIC, inputs, labels)
    broken = network()
    with torch.no_grad():
        broken.spiking_layers()[1].norm.bias[0] = float("nan")
    with pytest.raises(FoldError, match="layer 1: a parameter is not finite"):
        fold(broken, Coding.STATIC, inputs, labels)


@pytest.mark.parametrize(("changes", "message"), [
    ({"shifts": (4, 8)}, r"Shifts must be within 0..7, not \(4, 8\)"),
    ({"membrane_bits": 33}, "Membrane width must be within 2..32 bits, not 33"),
    ({"membrane_bits": 1}, "Membrane width must be within 2..32 bits, not 1"),
    ({"samples": 0}, "Calibration samples must be at least 1, not 0"),
])
def test_bad_settings(changes, message):
    with pytest.raises(FoldError, match=message):
        FoldSettings(**changes)
