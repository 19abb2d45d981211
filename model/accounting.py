"""What a network costs to store, and what it consists of, as plain numbers.

Memory is counted in full: every array that the network file stores, at the width it is stored
with. Energy is counted in `model.energy`, which is at hand here too.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from model.energy import EnergyReport, LayerEnergy, energy
from model.network import ConvLayer, IntegerNetwork, Layer, MergeLayer
from model.network_format import encode, stored_arrays
from model.weight_codes import sparse_bytes, trit_bytes

__all__ = [
    "EnergyReport", "LayerEnergy", "LayerMemory", "MemoryReport", "arch", "describe", "energy",
    "memory", "sizes", "summary",
]


@dataclass(frozen=True)
class LayerMemory:
    """What one layer takes, in bytes; arrays begin at a byte. A merge takes nothing.

    Members
    -------
    weights, nonzero
        Numbers of weights, and of those that are not 0.
    codes
        2 bits a weight, as on the chip: a plus mask and a minus mask.
    packed
        Five weights a byte: 1.6 bits a weight.
    sparse
        A bitmap of the weights that are not 0, and a sign bit for each of them: 1 + density bits
        a weight. (Compressed sparse rows need more than that unless nearly all weights are 0.)
    stored
        The smaller of these two, as in the file.
    neurons
        Gains, biases and thresholds, each array in the smallest type that holds it.
    reference
        The same layer in full precision: 4 bytes a weight and a bias. (Scale and shift of batch
        norm are folded there too, and a threshold is 1.)
    """

    weights: int
    nonzero: int
    codes: int
    packed: int
    sparse: int
    stored: int
    neurons: int
    reference: int


@dataclass(frozen=True)
class MemoryReport:
    """What a network takes; see `LayerMemory` for the encodings.

    Members
    -------
    layers
        First to last.
    file
        Bytes of the whole network file, its header and metadata included.
    """

    layers: tuple[LayerMemory, ...]
    file: int

    def total(self, encoding: str) -> int:
        """Return the bytes of all layers with all parameters: codes, packed, sparse or stored."""
        return self.sum(encoding) + self.sum("neurons")

    def sum(self, member: str) -> int:
        """Return the sum of one member over all layers."""
        return sum(getattr(layer, member) for layer in self.layers)

    def compression(self, encoding: str) -> float:
        """Return how many times smaller than full precision that is: 4 (weights + biases) / total.

        That is the bookkeeping C = 32 n_all / (2 n_ternary + 32 n_fp) in bits, with the real sizes
        of all that is not ternary in the place of 32 n_fp.
        """
        return self.sum("reference") / self.total(encoding)

    @property
    def density(self) -> float:
        """The fraction of weights that are not 0."""
        return self.sum("nonzero") / self.sum("weights")

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers; ``file`` counts the header and the metadata, too."""
        return {
            "count": self.sum("weights"),
            "density": self.density,
            "bytes_reference": self.sum("reference"),
            "bytes_parameters": self.sum("neurons"),
            "bytes_codes": self.total("codes"),
            "bytes_packed": self.total("packed"),
            "bytes_sparse": self.total("sparse"),
            "bytes_stored": self.total("stored"),
            "bytes_file": self.file,
            "compression_codes": self.compression("codes"),
            "compression_packed": self.compression("packed"),
            "compression_sparse": self.compression("sparse"),
            "compression_stored": self.compression("stored"),
            "compression_file": self.sum("reference") / self.file,
            "layers": [asdict(layer) for layer in self.layers],
        }


def memory(network: IntegerNetwork) -> MemoryReport:
    """Count what a network takes in each encoding of its weights."""
    return MemoryReport(tuple(map(_layer_memory, network.layers)), len(encode(network)))


def arch(network: IntegerNetwork) -> str:
    """Return the layers of a network in short, as ``784-256-10`` or ``2x6x6-8C3P2-add@0,1-AG-10``.

    The input, then each layer: the neurons of a dense one; ``8C3S2G4P2``, the channels and the
    kernel of a convolution, its stride, groups and max pooling; the name of a merge. ``A2`` is the
    sum pooling of the next layer, ``AG`` that of the whole map. After ``@`` stands what a layer
    reads if it is not the one before, and after ``W`` its window. Padding is not told.
    """
    items = [sizes(network.shape(-1))]
    for number, layer in enumerate(network.layers):
        sum_pool = network.layer(number).sum_pool
        if sum_pool != (1, 1):
            whole = sum_pool == network.source_shape(number)[1:]
            items.append("AG" if whole else f"A{_pair(sum_pool)}")
        item = _item(layer)
        if layer.window > 1:
            item += f"W{layer.window}"
        if network.sources(number) != (number - 1,):
            read = ("input" if source < 0 else str(source) for source in network.sources(number))
            item += f"@{','.join(read)}"
        items.append(item)
    return "-".join(items)


def sizes(shape: Sequence[int]) -> str:
    """Return the shape of a map in short, as ``3x32x32``; that of a vector is its length."""
    channels, *pixels = shape
    return str(channels) if pixels == [1, 1] else "x".join(map(str, shape))


def summary(network: IntegerNetwork) -> dict[str, Any]:
    """Return what there is to know about a network without running it, ready for JSON."""
    return {
        "input": network.input.value,
        "input_bits": network.input_bits,
        "input_shape": list(network.shape(-1)),
        "input_signed": network.input_signed,
        "timesteps": network.timesteps,
        "inputs": network.inputs,
        "outputs": network.outputs,
        "arch": arch(network),
        "layers": [
            describe(network, number) | {"bounds": network.bounds(number).to_dict()}
            for number in range(len(network.layers))
        ],
        "memory": memory(network).to_dict(),
        "metadata": dict(network.metadata),
    }


def describe(network: IntegerNetwork, number: int) -> dict[str, Any]:
    """Return the geometry and the ranges of the numbers of one layer.

    A merge has the numbers of the convolution that it is, but no weights.
    """
    layer, own = network.layer(number), network.layers[number]
    weights = 0 if isinstance(own, MergeLayer) else layer.weights.size
    plus, minus = (int(np.count_nonzero(layer.weights == sign)) if weights else 0
                   for sign in (1, -1))
    described: dict[str, Any] = {
        "kind": _item(own),
        "sources": list(network.sources(number)),
        "source_shape": list(network.source_shape(number)),
        "fired_shape": list(network.fired_shape(number)),
        "shape": list(network.shape(number)),
        "steps": network.steps(number),
        "window": layer.window,
        "sum_pool": list(layer.sum_pool),
        "inputs": layer.inputs,
        "outputs": layer.outputs,
        "weights": weights,
        "plus": plus,
        "minus": minus,
        "density": (plus + minus) / weights if weights else None,
        "leak": list(layer.leak),
        "reset": layer.reset.value,
        "readout": None if layer.readout is None else layer.readout.value,
        "v_init": layer.v_init,
        "membrane_bits": layer.membrane_bits,
        "z_max": layer.z_max,
        "signed": layer.signed,
    }
    for name in ("gain_plus", "gain_minus", "bias", "threshold"):
        array = getattr(layer, name)
        described[name] = [int(array.min()), int(array.max())]
    return described


def _layer_memory(layer: Layer) -> LayerMemory:
    """Count one layer."""
    if isinstance(layer, MergeLayer):
        return LayerMemory(0, 0, 0, 0, 0, 0, 0, 0)
    arrays = stored_arrays(layer)
    stored = arrays.pop("weights").nbytes
    nonzero = int(np.count_nonzero(layer.weights))
    return LayerMemory(
        weights=layer.weights.size,
        nonzero=nonzero,
        codes=-(-layer.weights.size // 4),
        packed=trit_bytes(layer.weights.size),
        sparse=sparse_bytes(layer.weights.size, nonzero),
        stored=stored,
        neurons=sum(array.nbytes for array in arrays.values()),
        reference=4 * (layer.weights.size + layer.outputs),
    )


def _item(layer: Layer) -> str:
    """Return a layer in short; see `arch`."""
    if isinstance(layer, MergeLayer):
        return layer.operation.value
    if not isinstance(layer, ConvLayer):
        return str(layer.outputs)
    item = f"{layer.outputs}C{_pair(layer.kernel)}"
    if layer.stride != (1, 1):
        item += f"S{_pair(layer.stride)}"
    if layer.groups > 1:
        item += f"G{layer.groups}"
    return item if layer.pool == (1, 1) else f"{item}P{_pair(layer.pool)}"


def _pair(sizes: tuple[int, int]) -> str:
    """Return a height and a width in short."""
    height, width = sizes
    return str(height) if height == width else f"{height}x{width}"
