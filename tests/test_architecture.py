"""Architectures: what a text stands for, the shapes that follow, and every fault named."""

import pytest

from model.architecture import ArchitectureError, ConvSpec, DenseSpec, MergeSpec, parse
from model.network import Merge, Reset


@pytest.mark.parametrize(("text", "sizes"), [
    ("784-256-10", (784, 256, 10)), ("4-2", (4, 2)), ("1-1-1-1", (1, 1, 1, 1))])
def test_dense(text, sizes):
    found = parse(text)
    assert (found.inputs, *(layer.outputs[0] for layer in found.layers)) == sizes
    assert [layer.weight_shape for layer in found.layers if isinstance(layer, DenseSpec)] == [
        (outputs, inputs) for inputs, outputs in zip(sizes, sizes[1:], strict=False)]
    assert [layer.sources for layer in found.layers] == [(n - 1,) for n in range(len(sizes) - 1)]
    assert found.classes == sizes[-1]


def test_convolutions():
    found = parse("3x32x20-16C5S2-64C3G8P2-A2x1-32C1x4S1x2-AG-10")
    strided, grouped, averaged, readout = found.layers
    assert found.shape == (3, 32, 20) and found.inputs == 1920
    assert strided == ConvSpec((3, 32, 20), 16, (5, 5), (-1,), stride=(2, 2))
    assert isinstance(strided, ConvSpec) and strided.padding == (2, 2)
    assert strided.outputs == strided.seen == (16, 16, 10)
    assert grouped == ConvSpec((16, 16, 10), 64, (3, 3), (0,), groups=8, pool=(2, 2))
    assert isinstance(grouped, ConvSpec) and grouped.weight_shape == (64, 2, 3, 3)
    assert grouped.outputs == (64, 16, 10) and grouped.seen == (64, 8, 5)
    assert averaged == ConvSpec((64, 8, 5), 32, (1, 4), (1,), (2, 1), stride=(1, 2))
    assert isinstance(averaged, ConvSpec) and averaged.padding == (0, 1)
    assert averaged.outputs == (32, 4, 2)
    assert readout == DenseSpec((32, 4, 2), 10, (2,), (4, 2))
    assert found.readout.weight_shape == (10, 32)


@pytest.mark.parametrize(("text", "shape", "positions"), [
    ("20x7x7-8C3D7-3", (8, 7, 3, 3), 14), ("20x7x7-8C3D6/3-3", (8, 6, 3, 3), 5),
    ("20x7x7-8C3D20-3", (8, 20, 3, 3), 1)])
def test_depth(text, shape, positions):
    layer = parse(text).layers[0]
    assert isinstance(layer, ConvSpec)
    assert layer.weight_shape == shape and layer.outputs == (8 * positions, 7, 7)


@pytest.mark.parametrize(("name", "merge", "reset"), [
    ("add", Merge.ADD, Reset.HARD), ("barrier", Merge.ADD, Reset.SOFT),
    ("or", Merge.OR, Reset.HARD), ("iand", Merge.AND_NOT, Reset.HARD)])
def test_block(name, merge, reset):
    below, first, second, merged, _ = parse(f"1x8x8-4C3-R4({name})-10").layers
    assert [below.sources, first.sources, second.sources] == [(-1,), (0,), (1,)]
    assert merged == MergeSpec((4, 8, 8), merge, reset, (2, 0))


def test_block_that_changes_the_shape():
    *_, first, second, around, merged, readout = parse("1x8x8-4C3P2-R6S2(add3)-10").layers
    assert isinstance(around, ConvSpec) and isinstance(first, ConvSpec)
    assert first == ConvSpec((4, 4, 4), 6, (3, 3), (0,), stride=(2, 2))
    assert around == ConvSpec((4, 4, 4), 6, (1, 1), (0,), stride=(2, 2))
    assert second.sources == (1,) and merged.sources == (2, 3) and readout.sources == (4,)
    assert isinstance(merged, MergeSpec) and merged.levels == 3


def test_concatenation():
    wide = parse("1x8x8-4C3-R6(cat)-5C3-10").layers[3]
    assert wide.sources == (2, 0) and wide.source == (10, 8, 8)
    layers = parse("1x8x8-4C3-R6(cat)-R10(or)-10").layers
    around, merged = layers[5:7]
    assert layers[3].sources == around.sources == (2, 0) and merged.sources == (4, 5)
    assert isinstance(around, ConvSpec) and around.kernel == (1, 1)


@pytest.mark.parametrize("text", ["", "784", "784-", "-784-10", "0-10", "1x2-10", "1x2x3x4-10"])
def test_not_an_architecture(text):
    with pytest.raises(ArchitectureError, match="^Architecture "):
        parse(text)


@pytest.mark.parametrize(("text", "message"), [
    ("784--10", "'' is not understood"),
    ("784-0-10", "'0' is not understood: it must be like 256, 64C3S2, A2 or R64"),
    ("784-x-10", "'x' is not understood"),
    ("784-2.5-10", "'2.5' is not understood"),
    ("784-²-10", "'²' is not understood"),
    ("1x8x8-4C3P2S2-10", "'4C3P2S2' is not understood"),
    ("1x8x8-4C3-R4(xor)-10", r"'R4\(xor\)' is not understood"),
    ("1x8x8-4C3-R4(or2)-10", r"'R4\(or2\)' is not understood"),
    ("1x8x8-4C9-10", "'4C9' has a kernel of 9 by 9, more than 7"),
    ("1x8x8-4C3S1x8-10", "'4C3S1x8' has a stride of 1 by 8, more than 7"),
    ("1x8x8" + "-4C3" * 64 + "-10", "'10' is more than 64 layers"),
    ("1x8x8-4C3-6C3G4-10", "'6C3G4' has 4 groups, which divide not both of 4 and 6 channels"),
    ("9x8x8-4C3D10-10", "'4C3D10' has a depth of 10; it must be at most the 9 channels below"),
    ("1x8x8-4C3P9-10", "'4C3P9' leaves nothing of a map of 8 by 8"),
    ("1x8x8-4C3-A9-10", "'A9' can't pool a map of 8 by 8, once"),
    ("1x8x8-4C3-A2-A2-10", "'A2' can't pool a map of 8 by 8, once"),
    ("1x8x8-R4(or)-10", r"'R4\(or\)' must follow a layer of spikes"),
    ("1x8x8-4C3-A2-R4(or)-10", r"'R4\(or\)' must follow a layer of spikes"),
    ("1x8x8-4C3", "must end in the number of classes, not in '4C3'"),
    ("1x8x8-4C3-10-A1", "must end in the number of classes, not in 'A1'"),
    ("1x8x8-4C3-10-AG", "must end in the number of classes, not in 'AG'"),
])
def test_faults(text, message):
    with pytest.raises(ArchitectureError, match=message):
        parse(text)
