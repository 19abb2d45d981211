"""The golden executor: what every other realisation must equal bit for bit.

It runs an `IntegerNetwork` with PyTorch, layer by layer over all steps of a batch of samples, by
the equations of `model.network`. Only the counts P and N are computed in floating point, as matrix
products: of 32-bit floats where no count of the layer reaches 2^24, else of 64-bit floats, because
a count is at most 2^20 values of at most 255, far below 2^53. So every partial sum is an exact
integer, in whatever order it is taken. A convolution is such a product, too, of the values under
the kernel at each pixel; PyTorch's own may be by faster algorithms that multiply by fractions. All
else is 64-bit integers, which `model.network`'s limits keep below 2^61.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from model.network import (
    ConvLayer,
    InputCoding,
    IntegerNetwork,
    NetworkError,
    Readout,
    Reset,
    leak,
)

__all__ = ["Trace", "execute"]

# How many numbers an intermediate of a batch may have: 2^24 of 64 bits are 128 MiB.
MAX_VALUES = 1 << 24
# All integers up to here are 32-bit floats.
EXACT_FLOAT32 = 1 << 24


@dataclass(frozen=True, eq=False)
class Trace:
    """What a network did with N samples.

    Members
    -------
    spikes
        (N, T, neurons), one for each spiking layer, all but the readout, before max pooling: uint8
        counts 0..z_max, or int8 -z_max..z_max of a signed layer. T are the layer's own steps, the
        neurons of a map lie in the order channel, row, column. Empty if the execution was not
        recorded.
    membranes
        int32 (N, T, neurons), one for each layer, the readout included: what is stored after the
        step, so after saturation and reset. Empty if the execution was not recorded, and without
        neurons for layers whose spikes were known.
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
    known: Sequence[np.ndarray] = (),
) -> Trace:
    """Run a network.

    Parameters
    ----------
    network
        What to run.
    inputs
        Integers of input_min..input_max: (N, inputs) for static input, otherwise (N, T, inputs);
        in the order channel, row, column.
    batch
        How many samples are computed at once at most; large maps take fewer. It changes speed and
        memory, no result.
    record
        Whether the trace holds spikes and membranes, or the results only.
    known
        The spikes of the first layers, as a trace of the same samples has them: these layers are
        not run again.

    Raises
    ------
    NetworkError
        If the inputs, or known spikes, are not of the network's shape, type and range.
    ValueError
        If the batch is not positive.
    """
    if batch < 1:
        raise ValueError(f"Batch must be a positive integer, not {batch!r}")
    samples = _checked(network, np.asarray(inputs))
    numbers = range(len(network.layers))
    _check_known(network, len(samples), known)
    layers = [_Layer(network, number) for number in numbers[len(known):]]
    largest = max(network.steps(number) * math.prod(network.fired_shape(number))
                  for number in numbers)
    batch = max(1, min(batch, MAX_VALUES // largest))
    parts = [
        _run(network, layers, samples[start:start + batch], record,
             [spikes[start:start + batch] for spikes in known])
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
    masks
        Floats (groups, 2 * outputs / groups, inputs of a neuron): of each group the masks of the
        +1 weights, then those of the -1 weights.
    gain_plus, gain_minus, bias, threshold
        int64 (outputs, 1): the same for all pixels of a channel.
    """

    def __init__(self, network: IntegerNetwork, number: int):
        layer = network.layer(number)
        self.spec = layer
        self.groups = layer.groups if isinstance(layer, ConvLayer) else 1
        _, self.height, self.width = network.fired_shape(number)
        weights = layer.weights.reshape(self.groups, layer.outputs // self.groups, -1)
        masks = np.concatenate([weights == 1, weights == -1], axis=1)
        bounds = network.bounds(number)
        exact = int((bounds.plus + bounds.minus).max()) < EXACT_FLOAT32
        self.masks = torch.from_numpy(masks.astype(np.float32 if exact else np.float64))
        self.gain_plus, self.gain_minus, self.bias, self.threshold = (
            torch.from_numpy(array.astype(np.int64)).unsqueeze(1)
            for array in (layer.gain_plus, layer.gain_minus, layer.bias, layer.threshold))

    def current(self, summed: torch.Tensor) -> torch.Tensor:
        """Return I, int64 (N, T, outputs, pixels), from summed counts (N, T, C, H, W)."""
        maps = summed.flatten(0, 1)
        pixels = maps.shape[2] * maps.shape[3]
        size = max(1, MAX_VALUES // (self.masks[0, 0].numel() * self.groups * pixels))
        counts = torch.cat([self._counts(part.to(self.masks.dtype)) for part in maps.split(size)])
        plus, minus = counts.unflatten(1, (self.groups, 2, -1)).unbind(2)
        current = (self.gain_plus * plus.flatten(1, 2).long()
                   - self.gain_minus * minus.flatten(1, 2).long() + self.bias)
        return current.unflatten(0, summed.shape[:2])

    def _counts(self, maps: torch.Tensor) -> torch.Tensor:
        """Return P and N of each group, floats (maps, 2 * outputs, pixels), from maps of floats."""
        layer = self.spec
        if not isinstance(layer, ConvLayer):
            return (maps.flatten(1) @ self.masks[0].T).unsqueeze(2)
        columns = torch.nn.functional.unfold(
            maps, layer.kernel, padding=layer.padding, stride=layer.stride)
        across = (maps.shape[-1] + 2 * layer.padding[1] - layer.kernel[1]) // layer.stride[1] + 1
        fired = columns.unflatten(-1, (-1, across))[..., :self.height, :self.width].flatten(-2)
        return (self.masks @ fired.unflatten(1, (self.groups, -1))).flatten(1, 2)

    def step(
        self, membrane: torch.Tensor, current: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the stored membrane and the counts of the spikes, int64, after one step."""
        layer = self.spec
        membrane = leak(membrane, layer.leak) + current
        membrane = membrane.clamp(layer.membrane_min, layer.membrane_max)
        if layer.readout is not None:
            return membrane, torch.zeros_like(membrane)
        spikes = self._count(membrane)
        if layer.signed:
            spikes -= self._count(~membrane)
        if layer.reset is Reset.SOFT:
            return membrane - spikes * self.threshold, spikes
        return membrane.masked_fill(spikes != 0, 0), spikes

    def _count(self, membrane: torch.Tensor) -> torch.Tensor:
        """Return how many thresholds a membrane holds; a negative one none, it is never divided."""
        return (membrane.clamp(min=0) // self.threshold).clamp(max=self.spec.z_max)


@torch.inference_mode()
def _run(
    network: IntegerNetwork, layers: list[_Layer], samples: np.ndarray, record: bool,
    known: Sequence[np.ndarray],
) -> Trace:
    """Run one batch through the layers after those whose spikes are known."""
    static = network.input is InputCoding.STATIC
    # What later layers see of the input and of each layer, as long as one of them reads it.
    seen = {-1: samples[:, np.newaxis] if static else samples}
    last_reader = {source: number for number in range(len(network.layers))
                   for source in network.sources(number)}
    all_spikes, all_membranes = list(known), [spikes[..., :0].astype(np.int32) for spikes in known]
    seen |= {number: network.pooled(number, spikes) for number, spikes in enumerate(known)
             if last_reader.get(number, 0) >= len(known)}
    for number, layer in enumerate(layers, len(known)):
        sources = network.sources(number)
        summed = network.summed(number, [seen[source] for source in sources])
        current = layer.current(torch.from_numpy(summed))
        # The one current of a static input is used in every step.
        current = current.expand(-1, network.steps(number), -1, -1)
        membranes, spikes = _steps(layer, current)
        seen[number] = network.pooled(number, spikes)
        for source in sources:
            if last_reader[source] == number:
                del seen[source]
        if record:
            all_spikes.append(spikes)
            all_membranes.append(membranes)
    # The readout was last.
    summed = network.layers[-1].readout is Readout.SUM
    readout = membranes.sum(axis=1, dtype=np.int64) if summed else membranes[:, -1].astype(np.int64)
    return Trace(
        spikes=tuple(all_spikes[:-1]) if record else (),
        membranes=tuple(all_membranes) if record else (),
        readout=readout,
        # NumPy's argmax gives the lowest index of equal values; PyTorch's promises nothing.
        classes=readout.argmax(axis=1),
    )


def _steps(layer: _Layer, current: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return a layer's membranes and spikes of all steps, (N, T, neurons), from its currents."""
    membranes = torch.empty(current.shape, dtype=torch.int32)
    spikes = torch.empty(current.shape, dtype=torch.int8 if layer.spec.signed else torch.uint8)
    membrane = torch.full_like(current[:, 0], layer.spec.v_init)
    for step in range(current.shape[1]):
        membrane, spikes[:, step] = layer.step(membrane, current[:, step])
        membranes[:, step] = membrane
    return membranes.flatten(2).numpy(), spikes.flatten(2).numpy()


def _joined(parts: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """Join the arrays of all batches, layer by layer."""
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def _check_known(network: IntegerNetwork, samples: int, known: Sequence[np.ndarray]) -> None:
    """Raise if known spikes are not those of the network's first layers."""
    if len(known) >= len(network.layers):
        raise NetworkError(f"are those of {len(known)} layers", "known spikes",
                           f"at most {len(network.layers) - 1}")
    for number, spikes in enumerate(known):
        wanted = samples, network.steps(number), math.prod(network.fired_shape(number))
        if spikes.shape != wanted:
            raise NetworkError(f"have shape {spikes.shape}", f"known spikes of layer {number}",
                               f"{wanted}")
        layer = network.layer(number)
        low, high = -layer.z_max if layer.signed else 0, layer.z_max
        if spikes.size and (spikes.min() < low or spikes.max() > high):
            raise NetworkError(f"hold {int(spikes.min())}..{int(spikes.max())}",
                               f"known spikes of layer {number}", f"{low}..{high}")


def _checked(network: IntegerNetwork, inputs: np.ndarray) -> np.ndarray:
    """Return the inputs, or raise if the network can't take them."""
    static = network.input is InputCoding.STATIC
    wanted = (network.inputs,) if static else (network.timesteps, network.inputs)
    if inputs.shape[1:] != wanted or inputs.ndim != len(wanted) + 1:
        raise NetworkError(f"have shape {inputs.shape}", "inputs",
                           f"(samples, {', '.join(map(str, wanted))})")
    if inputs.dtype != np.bool_ and not np.issubdtype(inputs.dtype, np.integer):
        raise NetworkError(f"have type {inputs.dtype}", "inputs", "integers")
    low, high = network.input_min, network.input_max
    if inputs.size and (inputs.min() < low or inputs.max() > high):
        raise NetworkError(f"hold {int(inputs.min())}..{int(inputs.max())}", "inputs",
                           f"{low}..{high}")
    return inputs.astype(np.int16)
