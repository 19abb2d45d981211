"""Neurons that change nothing vanish from an integer network.

What a core skips is what is not there. A neuron whose weights are all 0 still has a lane, a visit
in every step and a bit in the columns that its readers scan; it costs nothing only when it is no
part of the network. `without` takes given neurons out, `shrink` all that can go. The readout of
what `shrink` returns is the same for every input, bit for bit, as three kinds of neurons go only:

* *silent* ones, which no input can make spike (`model.bounds`), or which spike in no step because
  they have no weights and their bias is too small;
* *unread* ones: whatever they spike, each weight on it is 0;
* *constant* ones, which have no weights, but spike the same count in every step. First the biases
  of their readers take over what they bring (`absorb`), which makes them unread. At the border of a
  map that is padded they bring less, so that they stay where a reader pads.

On a map a neuron stands for a channel, with all its pixels. A merge, or a depthwise convolution,
reads channel by channel; its channel goes together with those that it reads, or stays with them.
Layers around other convolutions in groups keep all channels. All of this is ours.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from model.integer_layers import INT32_MAX, INT32_MIN
from model.network import (
    ConvLayer,
    DenseLayer,
    InputCoding,
    IntegerNetwork,
    Merge,
    MergeLayer,
    NetworkError,
    NeuronLayer,
)

__all__ = ["absorb", "places", "removable", "shrink", "tied", "unread", "without"]


def shrink(network: IntegerNetwork) -> IntegerNetwork:
    """Return the network without all neurons that can go; its readout is the same for any input.

    The input and the readout keep their sizes, and a layer keeps at least one neuron.
    """
    while True:
        absorbed = absorb(network)
        gone = removable(absorbed)
        if any(each.any() for each in gone.values()):
            network = without(absorbed, gone)
        elif absorbed is network:
            return network
        else:
            network = absorbed


def without(network: IntegerNetwork, gone: Mapping[int, np.ndarray]) -> IntegerNetwork:
    """Return the network without some neurons, or channels.

    It equals the network on every input for which none of them spikes, and on any input if they are
    unread. Samples for it have only the `places` of the input that are left.

    Parameters
    ----------
    gone
        Of each layer that loses some, by its number, bool (channels,): which ones. -1 stands for
        channels of the input, which are values if it is a vector.

    Raises
    ------
    NetworkError
        If the readout or a whole layer would go, channels would go of one source of a merge and not
        of the other, or a convolution's groups would be of different sizes; names the layer.
    """
    last = len(network.layers) - 1
    kept = {number: np.ones(network.shape(number)[0], bool) for number in range(-1, last + 1)}
    for number, each in gone.items():
        kept[number] = _kept(network, number, each)
    layers = []
    for number, layer in enumerate(network.layers):
        read = [kept[source] for source in network.sources(number)]
        if isinstance(layer, MergeLayer):
            if not all(np.array_equal(each, kept[number]) for each in read):
                raise NetworkError("loses other channels than what it merges", f"layer {number}",
                                   "the same of both sources and of the merge")
            layers.append(layer)
        else:
            layers.append(_smaller(network, number, layer, kept[number], np.concatenate(read)))
    _, height, width = network.shape(-1)
    return replace(network, layers=tuple(layers),
                   input_shape=(int(kept[-1].sum()), height, width))


def places(network: IntegerNetwork, number: int, gone: np.ndarray) -> np.ndarray:
    """Return which values of a layer's spikes, or of the input (-1), are left.

    Parameters
    ----------
    gone
        bool (channels,).

    Returns
    -------
    np.ndarray
        bool (values,), in the order channel, row, column, after max pooling.
    """
    channels, height, width = network.shape(number)
    return np.repeat(_kept(network, number, gone), height * width)


def unread(network: IntegerNetwork, number: int) -> np.ndarray:
    """Return which channels of a layer, or of the input (-1), meet no weight but 0.

    Merges, and depthwise convolutions too, are asked nothing: their channels are those below.

    Returns
    -------
    np.ndarray
        bool (channels,).
    """
    channels = network.shape(number)[0]
    read = np.zeros(channels, bool)
    for reader, layer in enumerate(network.layers):
        if number not in network.sources(reader) or reader in _own(network):
            continue
        assert not isinstance(layer, MergeLayer)
        sources = network.sources(reader)
        before = sources[:sources.index(number)]
        begin = sum(network.shape(source)[0] for source in before)
        meets = np.abs(_by_channel(network, reader, layer)).max(axis=(0, 2)) > 0
        read |= meets[begin:begin + channels]
    return ~read


def absorb(network: IntegerNetwork) -> IntegerNetwork:
    """Let biases take over what neurons without weights bring that spike alike in every step.

    Weights on them become 0, except in a layer that pads, whose pixels do not all meet the whole
    kernel. Nothing else changes: every membrane and spike stays as it was. Returns the network
    itself if there is nothing to take over.
    """
    counts = [counts for _, counts in _constant(network)]
    layers, changed = list(network.layers), False
    for number, layer in enumerate(network.layers):
        if isinstance(layer, MergeLayer) or (
                isinstance(layer, ConvLayer) and layer.padding != (0, 0)):
            continue
        sources = network.sources(number)
        if -1 in sources:
            continue
        constant = np.concatenate([counts[source] for source in sources])
        area = layer.sum_pool[0] * layer.sum_pool[1] * layer.window
        weights = _by_channel(network, number, layer)
        plus, minus = ((weights == sign).sum(axis=2) @ constant * area for sign in (1, -1))
        bias = layer.bias + layer.gain_plus * plus - layer.gain_minus * minus
        # A bias that its type does not hold stays, and so do the weights.
        fits = (bias >= INT32_MIN) & (bias <= INT32_MAX)
        taken = np.outer(fits, constant != 0)[..., np.newaxis] & (weights != 0)
        if taken.any():
            layers[number] = replace(layer, bias=np.where(fits, bias, layer.bias),
                                     weights=_stored(layer, np.where(taken, 0, weights)))
            changed = True
    return replace(network, layers=tuple(layers)) if changed else network


def removable(network: IntegerNetwork) -> dict[int, np.ndarray]:
    """Return which neurons, or channels, can go while the readout stays, for any input.

    Returns
    -------
    dict
        Of each hidden layer bool (channels,); at least one stays.
    """
    last = len(network.layers) - 1
    silent = _silent(network)
    free = {number: silent[number] | unread(network, number) for number in range(last)}
    gone = {number: np.zeros_like(each) for number, each in free.items()}
    sources = [network.sources(number) for number in range(last + 1)]
    for group in tied(sources, _own(network), {-1, last} | _fixed(network)):
        together = np.min([free[number] for number in group], axis=0)
        if together.all():
            together[0] = False
        for number in group:
            gone[number] = together
    return gone


def tied(sources: Sequence[tuple[int, ...]], own: Iterable[int], fixed: Iterable[int],
         ) -> list[tuple[int, ...]]:
    """Return groups of layers whose channels go together, each layer in at most one group.

    Parameters
    ----------
    sources
        What each layer reads, -1 being the input.
    own
        Layers that read channel by channel: each channel has its own of every source.
    fixed
        Layers that keep all channels, and with them their group.
    """
    groups = {number: {number} for number in range(-1, len(sources))}
    for number in own:
        for source in sources[number]:
            joined = groups[number] | groups[source]
            groups |= {each: joined for each in joined}
    found = {tuple(sorted(group)) for group in groups.values() if not group & set(fixed)}
    return sorted(found)


def _own(network: IntegerNetwork) -> set[int]:
    """Return the layers that read channel by channel: merges and depthwise convolutions."""
    return {number for number, layer in enumerate(network.layers)
            if isinstance(layer, MergeLayer) or _depthwise(network, number)}


def _depthwise(network: IntegerNetwork, number: int) -> bool:
    """Return whether a layer is a convolution with a group for each channel of one source."""
    layer = network.layers[number]
    return (isinstance(layer, ConvLayer) and layer.groups > 1
            and layer.inputs == layer.outputs == layer.groups and len(network.sources(number)) == 1)


def _fixed(network: IntegerNetwork) -> set[int]:
    """Return the layers around other convolutions in groups: the layer, and what it reads."""
    found = set()
    for number, layer in enumerate(network.layers):
        if isinstance(layer, ConvLayer) and layer.groups > 1 and not _depthwise(network, number):
            found |= {number, *network.sources(number)}
    return found


def _silent(network: IntegerNetwork) -> list[np.ndarray]:
    """Return which channels of each hidden layer spike for no input."""
    constant, found = _constant(network), []
    for number, layer in enumerate(network.layers[:-1]):
        if isinstance(layer, MergeLayer):
            a, b = (found[source] for source in layer.sources)
            found.append(b if layer.operation is Merge.AND_NOT else a & b)
            continue
        bounds, (alike, counts) = network.bounds(number), constant[number]
        threshold = layer.threshold.astype(np.int64)
        spikes = bounds.membrane_high >= threshold
        if layer.signed:
            spikes |= bounds.membrane_low < -threshold
        found.append(~spikes | (alike & (counts == 0)))
    return found


def _constant(network: IntegerNetwork) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return which channels of each hidden layer count the same in every step, and how much.

    Only those without weights are asked, of merges none.

    Returns
    -------
    list of pairs
        bool (channels,); int64 (channels,), 0 where it is not constant.
    """
    from model.golden import execute

    # What has no weights spikes for one input as for any other.
    static = network.input is InputCoding.STATIC
    steps = () if static else (network.timesteps,)
    trace = execute(network, np.zeros((1, *steps, network.inputs), np.uint8))
    found = []
    for number, spikes in enumerate(trace.spikes):
        channels = network.shape(number)[0]
        trains = spikes[0].astype(np.int64).reshape(len(spikes[0]), channels, -1)[..., 0]
        weights = network.layer(number).weights.reshape(channels, -1)
        alike = (trains == trains[0]).all(axis=0) & ~weights.any(axis=1)
        found.append((alike, np.where(alike, trains[0], 0)))
    return found


def _by_channel(network: IntegerNetwork, number: int, layer: NeuronLayer) -> np.ndarray:
    """Return a layer's weights, int8 (outputs, channels of all sources, places).

    Those of other groups are 0.
    """
    channels = network.source_shape(number)[0]
    groups = layer.groups if isinstance(layer, ConvLayer) else 1
    parts = layer.weights.reshape(groups, layer.outputs // groups, channels // groups, -1)
    whole = np.zeros((groups, *parts.shape[1:2], groups, *parts.shape[2:]), np.int8)
    whole[np.arange(groups), :, np.arange(groups)] = parts
    return whole.reshape(layer.outputs, channels, -1)


def _stored(layer: NeuronLayer, weights: np.ndarray, groups: int | None = None) -> np.ndarray:
    """Return weights (outputs, channels, places) as a layer, of so many groups, has them."""
    if isinstance(layer, DenseLayer):
        return weights.reshape(len(weights), -1)
    assert isinstance(layer, ConvLayer)
    groups = groups or layer.groups
    outputs, channels, _ = weights.shape
    parts = weights.reshape(groups, outputs // groups, groups, channels // groups, *layer.kernel)
    own = parts[np.arange(groups), :, np.arange(groups)]
    return own.reshape(outputs, channels // groups, *layer.kernel)


def _kept(network: IntegerNetwork, number: int, gone: np.ndarray) -> np.ndarray:
    """Return which channels stay, bool (channels,), or raise if none may go or all would."""
    where = "input" if number < 0 else f"layer {number}"
    gone = np.asarray(gone)
    channels = network.shape(number)[0]
    if gone.dtype != np.bool_ or gone.shape != (channels,):
        raise NetworkError(f"loses {gone.dtype} of the shape {gone.shape}", where,
                           f"bool of the shape ({channels},), its channels")
    if number == len(network.layers) - 1 and gone.any():
        raise NetworkError("is read out, and would lose neurons", where, "none")
    if gone.all():
        raise NetworkError(f"would lose all {channels} channels", where, "at least one that stays")
    return ~gone


def _smaller(network: IntegerNetwork, number: int, layer: NeuronLayer, outputs: np.ndarray,
             inputs: np.ndarray) -> NeuronLayer:
    """Return a layer with the outputs, and the channels of its sources, that are kept."""
    changes = {name: getattr(layer, name)[outputs]
               for name in ("gain_plus", "gain_minus", "bias", "threshold")}
    weights = _by_channel(network, number, layer)[outputs][:, inputs]
    if isinstance(layer, ConvLayer) and layer.groups > 1:
        sizes = {(int(outs.sum()), int(ins.sum())) for outs, ins in zip(
            np.split(outputs, layer.groups), np.split(inputs, layer.groups), strict=True)}
        # A group may vanish as a whole.
        sizes.discard((0, 0))
        if len(sizes) > 1 or 0 in min(sizes):
            raise NetworkError(
                f"would have groups of {' and '.join(map(str, sorted(sizes)))} outputs and inputs",
                f"layer {number}", "groups of one size")
        groups = int(outputs.sum()) // min(sizes)[0]
        return replace(layer, weights=_stored(layer, weights, groups), groups=groups, **changes)
    return replace(layer, weights=_stored(layer, weights), **changes)
