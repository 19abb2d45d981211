"""Float networks of maps: exactly what the integer network does, where numbers are exact."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model.architecture import ConvSpec, parse
from model.data import Coding
from model.fold import FoldSettings, blank, fold
from model.golden import execute
from model.layers import SpikingNetwork, Synapses, _channels_last, as_inputs
from model.network import Merge, MergeLayer, Readout, Reset
from model.neuron import NeuronSettings
from model.quantise import QuantiserSettings

SEED = 3
SAMPLES, STEPS = 20, 4


def exact(arch: str, neuron: NeuronSettings, **changes) -> SpikingNetwork:
    """Return a ternary network of dyadic numbers, whose currents lie around its threshold."""
    model = SpikingNetwork(parse(arch), STEPS, neuron=neuron, quantiser=QuantiserSettings(),
                           **changes)
    generator = torch.Generator().manual_seed(SEED)

    def draw(shape: torch.Size, values: list[float]) -> torch.Tensor:
        return torch.tensor(values)[torch.randint(len(values), shape, generator=generator)]

    for layer in model.weighted_layers():
        norm, shape = layer.norm, layer.norm.bias.shape
        assert norm.running_mean is not None and norm.running_var is not None
        norm.eps = 0
        with torch.no_grad():
            layer.weight.copy_(draw(layer.weight.shape, [-1, 0, 1]))
            norm.running_var.fill_(1)
            norm.running_mean.copy_(draw(shape, [-0.5, 0, 0.5]))
            norm.weight.copy_(draw(shape, [-0.5, 0.25, 0.5, 1]))
            norm.bias.copy_(draw(shape, [0, 0.25, 0.5]))
    return model.eval()


def events(model: SpikingNetwork) -> np.ndarray:
    """Return random binary samples."""
    shape = (SAMPLES, STEPS, model.architecture.inputs)
    return np.random.default_rng(SEED).integers(0, 2, shape, dtype=np.uint8)


ARCHITECTURES = {
    "convolutions": "2x9x8-6C3S2-8C3-5",
    "one dimension": "3x1x20-6C1x5S1x2-8C1x3P1x2-5",
    "even kernels": "2x9x8-6C2-8C4x2S2x1-5",
    "groups": "4x6x6-8C3G4-8C3G8-5",
    "max pooling": "2x9x8-6C3P2-8C3P2x1-5",
    "average pooling": "2x9x8-6C3-A2-8C3-AG-5",
    "average of the input": "2x9x8-A2-6C3-12-5",
    "depth": "7x5x5-3C3D3/2-6C3-5",
    "dense": "30-12-12-5",
    "pooled block": "2x9x8-6C3P2-R6(add3)-5",
    "strided block": "2x9x8-6C3-R8S2(add)-5",
    "barrier": "2x9x8-6C3-R6(barrier)-R6(barrier2)-5",
    "concatenation": "2x9x8-6C3-R6(cat)-R8S2(cat)-6C3-5",
    "concatenation, merged": "2x9x8-6C3-R6(cat)-R8(add)-5",
}


@pytest.mark.parametrize("neuron", [
    NeuronSettings(), NeuronSettings(z_max=3), NeuronSettings(z_max=2, signed=True),
    NeuronSettings(reset=Reset.HARD, v_init=0.5), NeuronSettings(signed=True, reset=Reset.HARD),
], ids=["binary", "counts", "signed counts", "hard", "signed, hard"])
@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=ARCHITECTURES.keys())
def test_integers_do_the_same(arch, neuron):
    """Every spike of every layer, and the readout."""
    same(exact(arch, neuron))


@pytest.mark.parametrize("merge", ["or", "iand"])
@pytest.mark.parametrize("readout", Readout)
def test_binary_merges_do_the_same(merge, readout):
    same(exact(f"2x9x8-6C3-R6({merge})-R8S2({merge})-5", NeuronSettings(), readout=readout))


def same(model: SpikingNetwork) -> None:
    """Fold the network and compare."""
    inputs, labels = events(model), np.zeros(SAMPLES, int)
    weighted = len(model.spiking_layers()) + 1
    settings = FoldSettings(shifts=(7,) * weighted, membrane_bits=26)
    network, report = fold(model, Coding.EVENTS, inputs, labels, settings)
    assert network.input_shape == model.architecture.shape
    assert report.calibration.mismatches == (0,) * len(model.hidden)
    with torch.no_grad():
        activity = model(as_inputs(inputs))
    readout = execute(network, inputs).readout * float(network.metadata["readout_unit"])
    np.testing.assert_array_equal(readout / STEPS, activity.logits.numpy())
    for number, fired in enumerate(activity.spikes):
        assert fired.shape[2:] == network.fired_shape(number)
        assert 0 < fired.count_nonzero() < fired.numel()


def test_merges():
    """Sums within what a count can be, with what is too much lost or kept; logic of two spikes."""
    a = torch.tensor([3.0, 0, 2, 0])[:, None, None, None, None]
    b = torch.tensor([2.0, 1, 2, 0])[:, None, None, None, None]
    ones, others = (torch.tensor(bits)[:, None, None, None, None]
                    for bits in ([0.0, 0, 1, 1], [0.0, 1, 0, 1]))
    for name, pair, expected in (
        ("add", (a, b), [3, 1, 3, 0]), ("add4", (a, b), [4, 1, 4, 0]),
        ("barrier", (a, b), [3, 3, 3, 1]), ("barrier5", (a, b), [5, 1, 4, 0]),
        ("or", (ones, others), [0, 1, 1, 1]), ("iand", (ones, others), [0, 1, 0, 0]),
    ):
        neuron = NeuronSettings(z_max=3 if name[:2] in ("ad", "ba") else 1)
        model = SpikingNetwork(parse(f"1x3x3-2C3-R2({name})-2"), 4, neuron=neuron)
        found = model.firing_layers()[-1](*pair)
        assert found.flatten().tolist() == expected, name


@pytest.mark.parametrize(("name", "expected"), [
    ("add", (1, 1)), ("barrier", (1, 1)), ("or", (0, 1)), ("iand", (-1, 1))])
def test_gradients_of_merges(name, expected):
    """An addition passes gradients also where it saturates; logic has those of its polynomial."""
    a, b = (torch.tensor(bit).expand(2, 1, 1, 1, 1).clone().requires_grad_() for bit in (0., 1.))
    model = SpikingNetwork(parse(f"1x3x3-2C3-R2({name})-2"), 2, neuron=NeuronSettings())
    model.firing_layers()[-1](a, b).sum().backward()
    assert a.grad is not None and b.grad is not None
    assert (a.grad.unique().item(), b.grad.unique().item()) == expected


@pytest.mark.parametrize("arch", [*ARCHITECTURES.values(), "2x9x8-6C3-R6(or)-R8S2(iand)-5"])
def test_every_parameter_gets_a_gradient(arch):
    model = SpikingNetwork(parse(arch), STEPS, neuron=NeuronSettings(),
                           quantiser=QuantiserSettings(), seed=SEED)
    model(as_inputs(events(model))).logits.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


@pytest.mark.parametrize("channels", [1, 3])
def test_convolutions_keep_the_channels_last(channels):
    """Of one channel, too: what they return is in order, and the same."""
    maps, weight = torch.randn(4, channels, 6, 5), torch.randn(8, channels, 3, 3)
    ordered = _channels_last(maps)
    sums = F.conv2d(ordered, weight, padding=1)
    assert ordered.equal(maps) and sums.movedim(1, -1).is_contiguous()
    torch.testing.assert_close(sums, F.conv2d(maps, weight, padding=1))


def test_static_input_is_that_of_every_step():
    model = exact("2x9x8-6C3P2-8C3-5", NeuronSettings(z_max=3))
    pixels = torch.rand((5, 144), generator=torch.Generator().manual_seed(SEED))
    with torch.no_grad():
        static, repeated = model(pixels), model(pixels.expand(STEPS, -1, -1))
    torch.testing.assert_close(static.logits, repeated.logits)
    for ours, theirs in zip(static.spikes, repeated.spikes, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("depth", "step"), [(3, 1), (3, 2), (5, 3), (7, 1)])
def test_depth_is_a_3d_convolution(depth, step):
    spec = parse(f"7x6x5-4C3D{depth}/{step}S2-3").layers[0]
    assert isinstance(spec, ConvSpec)
    generator = torch.Generator().manual_seed(SEED)
    layer = Synapses(spec, None, generator)
    source = torch.randn((2, 7, 6, 5), generator=generator)
    expected = F.conv3d(source[:, None], layer.weight[:, None], stride=(step, 2, 2),
                        padding=(0, 1, 1)).flatten(1, 2)
    with torch.no_grad():
        layer.norm.eval().eps = 0
        torch.testing.assert_close(layer.current(source), expected)


def test_depth_shares_codes():
    """Lowered kernels have the signs and scales of the one that they come from."""
    model = exact("7x6x5-4C3D3/2-3", NeuronSettings())
    layer = model.spiking_layers()[0]
    codes = layer.codes()
    assert codes is not None and codes.signs.shape == (12, 7, 3, 3)
    assert codes.scale_plus.shape == codes.scale_minus.shape == (12,)
    signs = codes.signs.view(4, 3, 7, 3, 3)
    for position in range(3):
        covered = slice(2 * position, 2 * position + 3)
        np.testing.assert_array_equal(signs[:, position, covered], layer.weight.detach())
        assert signs[:, position].count_nonzero() == layer.weight.count_nonzero()


def test_blank_network():
    """What a shape takes is known before anything is trained."""
    network = blank(parse("1x9x8-4C3P2-R4(barrier)-A2-5"), 3, Coding.STATIC,
                    NeuronSettings(z_max=3))
    assert network.timesteps == 3 and network.input_shape == (1, 9, 8)
    merged = network.layers[3]
    assert isinstance(merged, MergeLayer) and merged.operation is Merge.ADD
    assert merged.z_max == 3 and merged.reset is Reset.SOFT
    assert not any(network.layer(number).weights.any() for number in (0, 1, 2, 4))
