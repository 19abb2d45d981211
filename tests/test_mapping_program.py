"""Memory contents and input beats against a reading of them in Python."""

import random
from dataclasses import replace

import numpy as np
import pytest

from hw.memory_map import INDEX_WIDTH, PROGRAM_WIDTH, program_words, regions
from hw.parameters import CoreParameters
from hw.shapes import FireLayer
from mapping.program import compile_network
from model.network import Readout, Reset, leak
from tests.small_networks import changed, network, samples

CORES = {
    "one plane": CoreParameters(
        banks=3, lanes=12, planes=1, neurons=3, scan=4, weight_depth=128, spike_depth=64,
        neuron_depth=128, program_depth=4, readout_depth=16),
    "three planes": CoreParameters(
        banks=3, lanes=3, planes=3, neurons=1, scan=4, weight_depth=256, spike_depth=64,
        neuron_depth=256, program_depth=5, readout_depth=16, membrane_width=16),
    "wide lanes": CoreParameters(
        banks=5, lanes=40, planes=2, neurons=8, scan=8, weight_depth=64, spike_depth=64,
        neuron_depth=64, program_depth=4, readout_depth=64),
}

NETWORKS = {
    "spikes": network(17, 14, 5, timesteps=4),
    "static": network(29, 40, 14, 9, input_bits=5, v_init=-3, leak=(2,)),
    "counts": network(15, 13, 9, 4, timesteps=2, z_max=5),
}
#: What the planes of a network's hidden spikes are worth.
LEVELS = {1: [1], 5: [2, 2, 1]}

ALL = pytest.mark.parametrize(
    ("whole", "p"), [(whole, p) for whole in NETWORKS.values() for p in CORES.values()],
    ids=[f"{whole} on {p}" for whole in NETWORKS for p in CORES])


def field(word, index, width, *, is_signed):
    """Return one of the fields of equal width that make a row."""
    value = word >> index * width & (1 << width) - 1
    return value - (1 << width) if is_signed and value >> width - 1 else value


@ALL
def test_weights(whole, p):
    """Each trit is where bank, column, tile and lane say."""
    program = compile_network(whole, p)
    banks = program.memories["weights"]
    assert len(banks) == p.banks
    for layer, where in zip(whole.layers, program.plan.layers, strict=True):
        columns = -(-layer.inputs // p.banks)
        assert where.walk.words == where.tiles * columns
        for tile in range(where.tiles):
            for column in range(columns):
                for bank in range(p.banks):
                    word = banks[bank][where.weights + tile * columns + column]
                    for lane in range(p.lanes):
                        neuron, channel = tile * p.lanes + lane, column * p.banks + bank
                        inside = neuron < layer.outputs and channel < layer.inputs
                        trit = layer.weights[neuron, channel] if inside else 0
                        # Lanes of one neuron unit lie side by side, two bits each.
                        group, unit = divmod(lane, p.neurons)
                        bits = word >> 2 * (unit * p.lanes // p.neurons + group) & 3
                        assert bits == {1: 1, 0: 0, -1: 2}[trit]
                        assert word >> 2 * p.lanes == 0
    assert {len(bank) for bank in banks} == {program.plan.used["weights"]}


@ALL
def test_gains(whole, p):
    """A plane has gains of its own, scaled by its weight."""
    program = compile_network(whole, p)
    rows = program.memories["gains"]
    for number, (layer, where) in enumerate(zip(whole.layers, program.plan.layers, strict=True)):
        weights = ([1 << bit for bit in range(whole.input_bits)] if number == 0
                   else LEVELS[whole.layers[number - 1].z_max])
        planes = len(weights)
        assert where.static == (number == 0 and planes > 1)
        for neuron in range(where.tiles * p.lanes):
            tile, group, unit = (neuron // p.lanes, neuron % p.lanes // p.neurons,
                                 neuron % p.neurons)
            for plane in range(planes):
                row = rows[where.gains + (tile * planes + plane) * p.tile_groups + group]
                for sign, gains in enumerate((layer.gain_plus, layer.gain_minus)):
                    expected = int(gains[neuron]) * weights[plane] if neuron < layer.outputs else 0
                    assert field(row, 2 * unit + sign, p.gain_width, is_signed=True) == expected
    assert len(rows) == program.plan.used["gains"]


def per_neuron(rows, first, neurons, p, width, *, is_signed):
    """Return a parameter of the first neurons of a layer."""
    return [field(rows[first + neuron // p.neurons], neuron % p.neurons, width,
                  is_signed=is_signed) for neuron in range(neurons)]


@ALL
def test_biases_hold_the_first_membrane(whole, p):
    """A first step from zero with the leaked v_init in its bias is a first step from v_init."""
    program = compile_network(whole, p)
    rows = program.memories["biases"]
    for layer, where in zip(whole.layers, program.plan.layers, strict=True):
        biases, first = (per_neuron(rows, at, layer.outputs, p, p.current_width, is_signed=True)
                         for at in (where.biases, where.first_biases))
        assert biases == layer.bias.tolist()
        assert first == (layer.bias + leak(layer.v_init, layer.leak)).tolist()
        assert (where.first_biases == where.biases) == (layer.v_init == 0)
    assert len(rows) == program.plan.used["biases"]


@ALL
def test_thresholds(whole, p):
    """A threshold a plane of the count, tile by tile.

    They are what a spike adds to the membrane. Readouts, and lanes without a neuron, have one that
    no membrane reaches.
    """
    program = compile_network(whole, p)
    rows = program.memories["thresholds"]
    never = 1 << p.membrane_width - 1
    for layer, where in zip(whole.layers, program.plan.layers, strict=True):
        lanes = where.tiles * p.lanes
        weights = LEVELS[layer.z_max]
        found = per_neuron(rows, where.thresholds, lanes * len(weights), p, p.membrane_width + 1,
                           is_signed=True)
        for level, weight in enumerate(weights):
            expected = [-never] * lanes
            if layer.readout is None:
                expected[:layer.outputs] = (-layer.threshold * weight).tolist()
            of_level = [found[(tile * len(weights) + level) * p.lanes:][:p.lanes]
                        for tile in range(where.tiles)]
            assert sum(of_level, []) == expected
    assert len(rows) == program.plan.used["thresholds"]


def test_threshold_above_every_membrane_is_never():
    p = CORES["three planes"]
    never = 1 << p.membrane_width - 1
    whole = changed(NETWORKS["spikes"], 0,
                    threshold=np.array([never - 1, never, never + 1, 2**31 - 1] + [1] * 10))
    program = compile_network(whole, p)
    assert per_neuron(program.memories["thresholds"], 0, 5, p, p.membrane_width + 1,
                      is_signed=True) == [1 - never, -never, -never, -never, -1]


@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("readout", Readout)
@pytest.mark.parametrize("shifts", [(), (3,), (2, 3)])
def test_modes_of_a_layer(reset, readout, shifts):
    p = replace(CORES["one plane"], leak_terms=2)
    program = compile_network(
        network(9, 7, 4, reset=reset, readout=readout, leak=shifts, membrane_bits=11), p)
    words, count = program.memories["fire"], program_words(FireLayer(p))
    first, last = (
        FireLayer(p).from_bits(sum(word << n * PROGRAM_WIDTH
                                   for n, word in enumerate(words[at:at + count]))
                               & (1 << FireLayer(p).size) - 1)
        for at in (0, count))
    assert len(words) == 2 * count
    for layer in (first, last):
        assert list(layer.leak) == [*shifts, 0, 0][:2]
        assert layer.hard == (reset is Reset.HARD)
        assert layer.sign_bit == 10
    assert (first.readout, first.sum, first.last) == (0, 0, 0)
    assert (last.readout, last.sum, last.last) == (1, readout is Readout.SUM, 1)


@ALL
def test_config_writes_make_the_image(whole, p):
    """Decoded as the hardware does, the writes give the memories' contents, row for row."""
    program = compile_network(whole, p)
    memories: dict[tuple[str, int], dict[int, int]] = {}
    by_number = {region.number: region for region in regions(p).values()}
    seen = set()
    for address, value in program.config_writes():
        assert address not in seen
        seen.add(address)
        region = by_number[address >> INDEX_WIDTH]
        index = address & (1 << INDEX_WIDTH) - 1
        chunk, index = index % (1 << region.chunk_bits), index >> region.chunk_bits
        bank, row = index % (1 << region.bank_bits), index >> region.bank_bits
        assert chunk < region.chunks
        assert bank < region.banks
        assert row < region.depth
        assert 0 <= value < 1 << region.chunk_width
        rows = memories.setdefault((region.name, bank), {})
        rows[row] = rows.get(row, 0) | value << chunk * region.chunk_width

    expected = {}
    for name, contents in program.image().items():
        for bank, rows in enumerate(contents if name == "weights" else [contents]):
            expected[name, bank] = dict(enumerate(rows))
    assert memories == expected


@ALL
def test_pack_inputs(whole, p):
    """Bit ``channel % lanes`` of beat ``channel // lanes`` of each plane, lowest bit first."""
    program = compile_network(whole, p)
    inputs = samples(whole, 2)
    packed = program.pack_inputs(inputs)
    static = program.plan.layers[0].static
    planes = whole.input_bits if static else whole.timesteps
    beats = -(-whole.inputs // p.lanes)
    assert packed.dtype == np.uint8
    assert packed.shape == (2, planes * beats, -(-p.lanes // 8))
    rebuilt = np.zeros_like(inputs)
    for sample, plane, beat in np.ndindex(2, planes, beats):
        word = int.from_bytes(packed[sample, plane * beats + beat].tobytes(), "little")
        for lane in range(8 * packed.shape[2]):
            channel = beat * p.lanes + lane
            if word >> lane & 1:
                assert lane < p.lanes
                assert channel < whole.inputs
                if static:
                    rebuilt[sample, channel] |= 1 << plane
                else:
                    rebuilt[sample, plane, channel] = 1
    assert (rebuilt == inputs).all()


def test_pack_inputs_of_no_sample():
    program = compile_network(NETWORKS["spikes"], CORES["one plane"])
    assert program.pack_inputs(np.zeros((0, 4, 17), np.uint8)).shape == (0, 8, 2)


@pytest.mark.parametrize(("name", "inputs", "message"), [
    ("spikes", np.zeros((2, 17), int), r"Inputs must have the shape \(samples, 4, 17\), not"),
    ("spikes", np.zeros((2, 5, 17), int), r"shape \(samples, 4, 17\), not \(2, 5, 17\)"),
    ("spikes", np.zeros(17, int), r"shape \(samples, 4, 17\), not \(17,\)"),
    ("static", np.zeros((2, 28), int), r"shape \(samples, 29\), not \(2, 28\)"),
    ("static", np.zeros((2, 3, 29), int), r"shape \(samples, 29\), not \(2, 3, 29\)"),
    ("spikes", np.full((1, 4, 17), 2), r"Inputs must be in 0\.\.1, not 2\.\.2"),
    ("static", np.full((1, 29), 32), r"Inputs must be in 0\.\.31, not 32\.\.32"),
    ("static", np.full((1, 29), 0.5), "Inputs must be integers, not float64"),
    ("static", np.arange(-1, 28)[None], r"Inputs must be in 0\.\.31, not -1\.\.27"),
])
def test_pack_inputs_refuses(name, inputs, message):
    program = compile_network(NETWORKS[name], CORES["one plane"])
    with pytest.raises(ValueError, match=message):
        program.pack_inputs(inputs)


def test_program_names_its_sizes():
    program = compile_network(NETWORKS["static"], CORES["one plane"])
    assert program.network is NETWORKS["static"]
    assert program.parameters is CORES["one plane"]


def test_random_sizes_fill_what_the_plan_says():
    """The memories have the rows that the plan counted, whatever the sizes."""
    seed = 71
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(40):
        p = rng.choice(list(CORES.values()))
        sizes = [rng.randint(1, 40), *(rng.randint(1, 16) for _ in range(rng.randint(1, 3)))]
        whole = network(*sizes, seed=rng.randrange(1000), timesteps=rng.randint(1, 4),
                        input_bits=rng.choice([None, 1, 4]), v_init=rng.choice([0, 2]))
        program = compile_network(whole, p)
        for name, used in program.plan.used.items():
            if name in ("gains", "biases", "thresholds"):
                assert len(program.memories[name]) == used
        assert {len(bank) for bank in program.memories["weights"]} == {program.plan.used["weights"]}
