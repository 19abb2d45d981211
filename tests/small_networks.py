"""Small networks with chosen sizes and seeded contents, and inputs for them."""

from dataclasses import replace

import numpy as np

from model.network import DenseLayer, InputCoding, IntegerNetwork, Readout, Reset

__all__ = ["changed", "network", "samples"]


def network(*sizes, seed=1, timesteps=3, input_bits=None, density=0.4, gain=9, threshold=12,
            bias=4, leak=(), reset=Reset.SOFT, v_init=0, membrane_bits=14,
            z_max=1, readout=Readout.LAST) -> IntegerNetwork:
    """Return a network of layers of these sizes; ``input_bits`` makes its input static."""
    rng = np.random.default_rng(seed)

    def layer(inputs, outputs, *, last):
        weights = np.where(rng.random((outputs, inputs)) < density,
                           rng.choice([-1, 1], (outputs, inputs)), 0)
        return DenseLayer(
            weights=weights.astype(np.int8),
            gain_plus=rng.integers(1, gain, outputs, endpoint=True),
            gain_minus=rng.integers(1, gain, outputs, endpoint=True),
            bias=rng.integers(-bias, bias, outputs, endpoint=True),
            threshold=(np.zeros(outputs, int) if last
                       else rng.integers(1, threshold, outputs, endpoint=True)),
            leak=leak, reset=reset, v_init=v_init, membrane_bits=membrane_bits,
            z_max=1 if last else z_max,
            readout=readout if last else None)

    return IntegerNetwork(
        input=InputCoding.SPIKES if input_bits is None else InputCoding.STATIC,
        input_bits=input_bits or 1, timesteps=timesteps,
        layers=tuple(layer(inputs, outputs, last=number == len(sizes) - 2)
                     for number, (inputs, outputs) in enumerate(zip(sizes, sizes[1:],
                                                                    strict=False))))


def changed(whole: IntegerNetwork, number: int, **changes) -> IntegerNetwork:
    """Return the network with some fields of one layer changed."""
    layers = list(whole.layers)
    layers[number] = replace(layers[number], **changes)
    return replace(whole, layers=tuple(layers))


def samples(whole: IntegerNetwork, count: int, *, seed=1, density=0.4) -> np.ndarray:
    """Return random inputs of a network, a share ``density`` of them not zero."""
    rng = np.random.default_rng(seed)
    shape = ((count, whole.inputs) if whole.input is InputCoding.STATIC
             else (count, whole.timesteps, whole.inputs))
    values = rng.integers(1, whole.input_max, shape, endpoint=True)
    return np.where(rng.random(shape) < density, values, 0).astype(np.uint8)
