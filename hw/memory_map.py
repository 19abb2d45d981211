"""Where the memories of a core lie in the address space of its ``config`` stream.

An address is ``{region: 4 bits, index: 28 bits}``. A word of a memory is written in *chunks* of
at most 32 bits; the index is ``row << chunk_bits | chunk``, and for a weight bank
``(row << bank_bits | bank) << chunk_bits | chunk``. The hardware decodes with these numbers and
the mapper makes its images with them, so that the two cannot drift apart.
"""
from collections.abc import Iterator
from dataclasses import dataclass

from amaranth.hdl import Shape
from amaranth.utils import ceil_log2

from hw.parameters import CoreParameters
from hw.shapes import FetchLayer, FireLayer, InputFrame

__all__ = ["Region", "regions", "program_words", "weight_lanes", "INDEX_WIDTH", "PROGRAM_WIDTH"]

#: Bits of an address below the region.
INDEX_WIDTH = 28

#: Bits of a word of the program; a layer takes several words.
PROGRAM_WIDTH = 16


@dataclass(frozen=True)
class Region:
    """One configurable memory.

    Attributes
    ----------
    name : :class:`str`
        Its name in a memory image.
    number : :class:`int`
        The region field of its addresses.
    depth : :class:`int`
        Rows.
    chunks : :class:`int`
        Separately written parts of a row.
    chunk_width : :class:`int`
        Bits of a chunk, at most 32.
    banks : :class:`int`
        Memories side by side.
    """

    name:        str
    number:      int
    depth:       int
    chunks:      int
    chunk_width: int
    banks:       int = 1

    @property
    def chunk_bits(self) -> int:
        """Bits of the chunk in an index."""
        return ceil_log2(self.chunks)

    @property
    def bank_bits(self) -> int:
        """Bits of the bank in an index."""
        return ceil_log2(self.banks)

    def address(self, row: int, chunk: int = 0, bank: int = 0) -> int:
        """Return the address of a chunk."""
        index = ((row << self.bank_bits | bank) << self.chunk_bits) | chunk
        return self.number << INDEX_WIDTH | index

    def writes(self, row: int, word: int, bank: int = 0) -> Iterator[tuple[int, int]]:
        """Yield the writes ``(address, data)`` that put ``word`` into a row."""
        mask = (1 << self.chunk_width) - 1
        for chunk in range(self.chunks):
            yield self.address(row, chunk, bank), word >> chunk * self.chunk_width & mask


def _words(width: int) -> tuple[int, int]:
    """Split ``width`` bits into chunks of 32, or one smaller chunk."""
    chunk_width = min(width, 32)
    return -(-width // chunk_width), chunk_width


def program_words(layout) -> int:
    """Return the words of the program that one layer of this layout takes."""
    return -(-Shape.cast(layout).width // PROGRAM_WIDTH)


def weight_lanes(p: CoreParameters) -> list[int]:
    """Return the lanes in the order in which a weight word holds them, two bits each.

    The lower bit says +1, the higher one -1. Lanes of one neuron unit are neighbours: a block RAM
    of few bits then feeds few units, and its wires stay short.
    """
    return [group * p.neurons + unit
            for unit in range(p.neurons) for group in range(p.tile_groups)]


def regions(p: CoreParameters) -> dict[str, Region]:
    """Return the regions of a core by name."""
    def memory(name, number, depth, width, banks=1):
        return Region(name, number, depth, *_words(width), banks)

    return {region.name: region for region in (
        memory("input",   1, 1, Shape.cast(InputFrame(p)).width),
        memory("fetch",   2, p.program_depth * program_words(FetchLayer(p)), PROGRAM_WIDTH),
        memory("fire",    3, p.program_depth * program_words(FireLayer(p)), PROGRAM_WIDTH),
        memory("weights", 4, p.weight_depth, 2 * p.lanes, p.banks),
        # One chunk a neuron: two gains, a bias, a threshold.
        Region("gains",      5, p.gain_depth, 2 * p.neurons, p.gain_width),
        Region("biases",     6, p.neuron_depth, p.neurons, p.current_width),
        Region("thresholds", 7, p.neuron_depth, p.neurons, p.membrane_width + 1),
    )}
