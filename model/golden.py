"""The golden executor: what every other realisation must equal bit for bit.

It runs an `IntegerNetwork` with PyTorch, layer by layer over all steps of a batch of samples, by
the equations of `model.network`. Only the counts P and N are computed in floating point, as a
matrix product of 64-bit floats: a count is at most 2^20 inputs times 255, far below 2^53, so that
every partial sum is an exact integer in whatever order it is taken. All else is 64-bit integers,
which `model.network`'s limits keep below 2^61.
"""

from dataclasses import dataclass

import numpy as np
import torch

from model.network import (
    DenseLayer,
    InputCoding,
    IntegerNetwork,
    NetworkError,
    Readout,
    Reset,
    leak,
)

__all__ = ["Trace", "execute"]


@dataclass(frozen=True, eq=False)
class Trace:
    """What a network did with N samples.

    Members
    -------
    spikes
        uint8 (N, T, outputs), one for each spiking layer, all but the readout: counts 0..z_max.
        Empty if the execution was not recorded.
    membranes
        int32 (N, T, outputs), one for each layer, the readout included: what is stored after the
        step, so after saturation and reset. Empty if the execution was not recorded.
    readout
        int64 (N, outputs): the last membrane or the sum of the membranes.
    classes
        int64 (N,): the index of the largest readout value, the lowest one if several are equal.
    """

    spikes: tuple[np.ndarray, ...]
    membranes: tuple[np.ndarray, ...]
    readout: np.ndarray
    classes: np.ndarray


def execute(
    network: IntegerNetwork, inputs: np.ndarray, *, batch: int = 1024, record: bool = True,
) -> Trace:
    """Run a network.

    Parameters
    ----------
    network
        What to run.
    inputs
        Integers of 0..2^input_bits-1: (N, inputs) for static input, (N, T, inputs) for spikes.
    batch
        How many samples are computed at once; it changes speed and memory, no result.
    record
        Whether the trace holds spikes and membranes, or the results only.

    Raises
    ------
    NetworkError
        If the inputs are not of the network's shape, type and range.
    ValueError
        If the batch is not positive.
    """
    if batch < 1:
        raise ValueError(f"Batch must be a positive integer, not {batch!r}")
    samples = _checked(network, np.asarray(inputs))
    layers = [_Layer(layer) for layer in network.layers]
    parts = [
        _run(network, layers, samples[start:start + batch], record)
        for start in range(0, max(len(samples), 1), batch)
    ]
    return Trace(
        spikes=_joined([part.spikes for part in parts]),
        membranes=_joined([part.membranes for part in parts]),
        readout=np.concatenate([part.readout for part in parts]),
        classes=np.concatenate([part.classes for part in parts]),
    )


class _Layer:
    """The tensors of a layer.

    Members
    -------
    planes
        float64 (inputs, 2 * outputs): the masks of the +1 weights, then of the -1 weights.
    gain_plus, gain_minus, bias, threshold
        int64 (outputs,).
    """

    def __init__(self, layer: DenseLayer):
        self.spec = layer
        masks = np.concatenate([layer.weights == 1, layer.weights == -1])
        self.planes = torch.from_numpy(masks.T.astype(np.float64))
        self.gain_plus = torch.from_numpy(layer.gain_plus.astype(np.int64))
        self.gain_minus = torch.from_numpy(layer.gain_minus.astype(np.int64))
        self.bias = torch.from_numpy(layer.bias.astype(np.int64))
        self.threshold = torch.from_numpy(layer.threshold.astype(np.int64))

    def current(self, source: torch.Tensor) -> torch.Tensor:
        """Return I, int64 (..., outputs), from counts of any type, (..., inputs)."""
        plus, minus = (source.double() @ self.planes).long().chunk(2, dim=-1)
        return self.gain_plus * plus - self.gain_minus * minus + self.bias

    def step(
        self, membrane: torch.Tensor, current: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the stored membrane and the counts of the spikes, int64, after one step."""
        layer = self.spec
        membrane = leak(membrane, layer.leak) + current
        membrane = membrane.clamp(layer.membrane_min, layer.membrane_max)
        if layer.readout is not None:
            return membrane, torch.zeros_like(membrane)
        # A negative membrane is silent; it is never divided.
        spikes = (membrane.clamp(min=0) // self.threshold).clamp(max=layer.z_max)
        if layer.reset is Reset.SOFT:
            return membrane - spikes * self.threshold, spikes
        return membrane.masked_fill(spikes > 0, 0), spikes


@torch.inference_mode()
def _run(
    network: IntegerNetwork, layers: list[_Layer], samples: np.ndarray, record: bool,
) -> Trace:
    """Run one batch."""
    source = torch.from_numpy(samples.astype(np.float64))
    all_spikes, all_membranes = [], []
    for number, layer in enumerate(layers):
        current = layer.current(source)
        if number == 0 and network.input is InputCoding.STATIC:
            # The one current of a static input is used in every step.
            current = current.unsqueeze(1).expand(-1, network.timesteps, -1)
        membranes, source = _steps(layer, current)
        all_spikes.append(source)
        all_membranes.append(membranes)
    last = all_membranes[-1]
    summed = network.layers[-1].readout is Readout.SUM
    readout = (last.sum(dim=1) if summed else last[:, -1]).numpy()
    return Trace(
        spikes=tuple(spikes.numpy() for spikes in all_spikes[:-1]) if record else (),
        membranes=tuple(each.int().numpy() for each in all_membranes) if record else (),
        readout=readout,
        # NumPy's argmax gives the lowest index of equal values; PyTorch's promises nothing.
        classes=readout.argmax(axis=1),
    )


def _steps(layer: _Layer, current: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a layer's membranes and spikes of all steps from its currents, all (N, T, outputs)."""
    membranes = torch.empty(current.shape, dtype=torch.int64)
    spikes = torch.empty(current.shape, dtype=torch.uint8)
    membrane = torch.full_like(current[:, 0], layer.spec.v_init)
    for step in range(current.shape[1]):
        membrane, spikes[:, step] = layer.step(membrane, current[:, step])
        membranes[:, step] = membrane
    return membranes, spikes


def _joined(parts: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """Join the arrays of all batches, layer by layer."""
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def _checked(network: IntegerNetwork, inputs: np.ndarray) -> np.ndarray:
    """Return the inputs, or raise if the network can't take them."""
    static = network.input is InputCoding.STATIC
    wanted = (network.inputs,) if static else (network.timesteps, network.inputs)
    if inputs.shape[1:] != wanted or inputs.ndim != len(wanted) + 1:
        raise NetworkError(f"have shape {inputs.shape}", "inputs",
                           f"(samples, {', '.join(map(str, wanted))})")
    if inputs.dtype != np.bool_ and not np.issubdtype(inputs.dtype, np.integer):
        raise NetworkError(f"have type {inputs.dtype}", "inputs", "integers")
    if inputs.size and (inputs.min() < 0 or inputs.max() > network.input_max):
        raise NetworkError(f"hold {int(inputs.min())}..{int(inputs.max())}", "inputs",
                           f"0..{network.input_max}")
    return inputs
