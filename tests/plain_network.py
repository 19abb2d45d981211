"""The equations of an integer network in plain loops over Python integers."""

import itertools

import numpy as np

from model.network import DenseLayer, InputCoding, Merge, MergeLayer, Readout, Reset

__all__ = ["each_pool", "plain", "plain_current"]


def plain(network, sample):
    """Run one sample with loops: spikes and membranes [layer][step][neuron], the result."""
    static = network.input is InputCoding.STATIC
    frames = [sample] * network.timesteps if static else list(sample)
    # What later layers see: [step] -> map (C, H, W) of Python integers.
    seen = {-1: [np.array(frame, object).reshape(network.input_shape) for frame in frames]}
    all_spikes, all_membranes, result = [], [], None
    for number, layer in enumerate(network.layers):
        sources = layer.sources or (number - 1,)
        joined = [np.concatenate(maps) for maps in zip(*(seen[s] for s in sources), strict=True)]
        from_static = static and sources == (-1,)
        maps = [joined[start] if from_static else sum(joined[start:start + layer.window])
                for start in range(0, len(joined), layer.window)]
        state, spikes, membranes = {}, [], []
        for source in maps:
            currents = (merged_current(layer, source) if isinstance(layer, MergeLayer)
                        else plain_current(layer, source))
            fired = np.zeros(currents.shape, object)
            stored = np.zeros(currents.shape, object)
            for place in itertools.product(*map(range, currents.shape)):
                v = state.get(place, getattr(layer, "v_init", 0))
                fired[place], state[place] = plain_step(layer, v, currents[place], place[0])
                stored[place] = state[place]
            spikes.append(fired)
            membranes.append(stored)
        pool = getattr(layer, "pool", (1, 1))
        seen[number] = [each_pool(fired, pool, max) for fired in spikes]
        all_spikes.append([fired.ravel().tolist() for fired in spikes])
        all_membranes.append([stored.ravel().tolist() for stored in membranes])
        if layer.readout is Readout.LAST:
            result = all_membranes[-1][-1]
        elif layer.readout is Readout.SUM:
            result = [sum(column) for column in zip(*all_membranes[-1], strict=True)]
    return all_spikes[:-1], all_membranes, result


def each_pool(maps, pool, function):
    """Apply a function to the values of each window of a map."""
    channels, height, width = maps.shape
    result = np.zeros((channels, height // pool[0], width // pool[1]), object)
    for c, y, x in itertools.product(*map(range, result.shape)):
        result[c, y, x] = function(
            maps[c, y * pool[0] + i, x * pool[1] + j]
            for i in range(pool[0]) for j in range(pool[1]))
    return result


def plain_current(layer, source):
    """Return the currents (outputs, rows, columns) of one map, of one step."""
    source = each_pool(source, layer.sum_pool, sum)
    if isinstance(layer, DenseLayer):
        source = source.reshape(-1, 1, 1)
        weights = layer.weights.reshape(*layer.weights.shape, 1, 1)
        stride, padding, groups = (1, 1), (0, 0), 1
    else:
        weights = layer.weights
        stride, padding, groups = layer.stride, layer.padding, layer.groups
    outputs, inputs, *kernel = weights.shape
    pool = getattr(layer, "pool", (1, 1))
    shape = [((source.shape[i + 1] + 2 * padding[i] - kernel[i]) // stride[i] + 1)
             // pool[i] * pool[i] for i in (0, 1)]
    currents = np.zeros((outputs, *shape), object)
    for o, y, x in itertools.product(*map(range, currents.shape)):
        plus = minus = 0
        first = o // (outputs // groups) * inputs
        for c, i, j in itertools.product(range(inputs), *map(range, kernel)):
            row, column = y * stride[0] + i - padding[0], x * stride[1] + j - padding[1]
            if 0 <= row < source.shape[1] and 0 <= column < source.shape[2]:
                count = source[first + c, row, column]
                plus += count if weights[o, c, i, j] == 1 else 0
                minus += count if weights[o, c, i, j] == -1 else 0
        currents[o, y, x] = (int(layer.gain_plus[o]) * plus - int(layer.gain_minus[o]) * minus
                             + int(layer.bias[o]))
    return currents


def merged_current(layer, source):
    """Return what the neurons of a merge sum, in whole counts."""
    a, b = np.split(source, 2)
    return b - a if layer.operation is Merge.AND_NOT else a + b


def plain_step(layer, v, current, channel):
    """Return the spike and the stored membrane."""
    if isinstance(layer, MergeLayer):
        if layer.operation is Merge.AND_NOT:
            # The second and not the first, whatever was before.
            return max(current, 0), min(current, 0)
        threshold, bits = layer.threshold, layer.membrane_bits
        if layer.signed and layer.reset is Reset.HARD:
            most = min(layer.z_max, 2 ** (bits - 1) - 1)
            return min(max(current, -most), most), 0
        shifts = ()
    else:
        threshold, bits, shifts = int(layer.threshold[channel]), layer.membrane_bits, layer.leak
    v = v - sum(v // 2 ** k for k in shifts) + current
    v = min(max(v, -(2 ** (bits - 1))), 2 ** (bits - 1) - 1)
    if layer.readout is not None:
        return 0, v
    z = 0
    while z < layer.z_max and v >= (z + 1) * threshold:
        z += 1
    while layer.signed and -z < layer.z_max and v < (z - 1) * threshold:
        z -= 1
    if z and layer.reset is Reset.HARD:
        return z, 0
    return z, v - z * threshold
