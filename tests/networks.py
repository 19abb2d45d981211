"""Random networks that fit a core, for hypothesis, and the cores they run on."""

import numpy as np
from hypothesis import strategies as st

from hw.parameters import CoreParameters
from model.network import DenseLayer, InputCoding, IntegerNetwork, Readout, Reset

__all__ = ["CORES", "networks", "samples"]

#: Small cores, odd in different ways: several planes at once, few lanes, lanes that one visit
#: does not cover, two leaks, one port for the weights.
CORES = {
    "planes1": CoreParameters(
        banks=4, lanes=8, planes=1, neurons=2, scan=4, weight_depth=256, spike_depth=128,
        neuron_depth=256, program_depth=5, readout_depth=32, count_width=8,
        current_width=28, membrane_width=20, leak_terms=2, leak_shift_max=6),
    "planes2": CoreParameters(
        banks=3, lanes=6, planes=2, neurons=3, scan=4, weight_depth=256, spike_depth=128,
        neuron_depth=300, program_depth=5, readout_depth=32, count_width=8,
        current_width=28, membrane_width=18, leak_terms=1, shared_weight_port=True),
    "planes4": CoreParameters(
        banks=2, lanes=4, planes=4, neurons=1, scan=6, queue_depth=8, weight_depth=512,
        spike_depth=100, neuron_depth=512, program_depth=4, readout_depth=20, count_width=7,
        current_width=26, membrane_width=16, leak_terms=2),
}

_DENSITIES = [0.0, 0.1, 0.5, 1.0]


@st.composite
def networks(draw, core: CoreParameters) -> IntegerNetwork:
    """Draw a network of one to three layers, with everything that the core can do.

    Sizes lie around the core's own, weights and membranes at their extremes are as likely as
    ordinary ones.
    """
    static = draw(st.booleans(), label="static input")
    input_bits = draw(st.integers(1, 4)) if static else 1
    depth = draw(st.integers(1, 3))
    sizes = [draw(st.integers(1, 24), label="inputs")]
    sizes += [draw(st.integers(1, 2 * core.lanes + 3)) for _ in range(depth)]
    layers = tuple(
        draw(_layers(core, inputs, outputs, last=number == depth - 1))
        for number, (inputs, outputs) in enumerate(zip(sizes, sizes[1:], strict=False)))
    return IntegerNetwork(
        input=InputCoding.STATIC if static else InputCoding.SPIKES, input_bits=input_bits,
        timesteps=draw(st.integers(1, 6), label="timesteps"), layers=layers)


@st.composite
def _layers(draw, core: CoreParameters, inputs: int, outputs: int, *, last: bool) -> DenseLayer:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed of the arrays"))
    density = draw(st.sampled_from(_DENSITIES))
    signs = draw(st.sampled_from([(-1, 1), (1,), (-1,)]), label="signs")
    weights = np.where(rng.random((outputs, inputs)) < density,
                       rng.choice(signs, (outputs, inputs)), 0)
    membrane_bits = draw(st.integers(3, core.membrane_width))
    limit = 1 << membrane_bits - 1
    leak = draw(st.lists(st.integers(1, core.leak_shift_max), max_size=core.leak_terms))
    gain = draw(st.sampled_from([0, 1, 16, 500]), label="largest gain")
    threshold = draw(st.sampled_from([1, 5, limit - 1, 2 * limit]), label="largest threshold")
    bias = draw(st.sampled_from([0, 3, 2 * limit]), label="largest bias")
    return DenseLayer(
        weights=weights.astype(np.int8),
        gain_plus=rng.integers(0, gain, outputs, endpoint=True),
        gain_minus=rng.integers(0, gain, outputs, endpoint=True),
        bias=rng.integers(-bias, bias, outputs, endpoint=True),
        threshold=(np.zeros(outputs, int) if last
                   else rng.integers(1, max(1, threshold), outputs, endpoint=True)),
        leak=tuple(leak), reset=draw(st.sampled_from(Reset)),
        v_init=draw(st.sampled_from([0, -limit, limit - 1])), membrane_bits=membrane_bits,
        z_max=1 if last else draw(st.sampled_from([1, 1, 2, 3, 5, 7, 12, 15]), label="z_max"),
        readout=draw(st.sampled_from(Readout)) if last else None)


@st.composite
def samples(draw, network: IntegerNetwork) -> np.ndarray:
    """Draw one to three samples: random ones of some density, all zero or all at the maximum."""
    count = draw(st.integers(1, 3))
    shape = ((count, network.inputs) if network.input is InputCoding.STATIC
             else (count, network.timesteps, network.inputs))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed of the samples"))
    density = draw(st.sampled_from(_DENSITIES))
    values = rng.integers(1, network.input_max, shape, endpoint=True)
    if density == 1.0:
        values[:] = network.input_max
    return np.where(rng.random(shape) < density, values, 0).astype(np.uint8)
