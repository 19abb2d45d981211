"""The spans that a layer reads, in the order in which the core reads them."""
from collections.abc import Iterator
from dataclasses import dataclass

from hw.parameters import CoreParameters
from mapping.plan import LayerPlan

__all__ = ["Reach", "reaches"]


@dataclass(frozen=True)
class Reach:
    """What one tile of neurons reads of each group of planes for one output pixel.

    Attributes
    ----------
    tile : :class:`int`
        The tile.
    stores : :class:`bool`
        It is the last pixel of its window of max pooling, after which spikes are stored.
    spans : tuple
        Of each span, the columns ``(first, behind the last)`` of each of its rows, counted from
        the beginning of the layer's first source; sources follow one another. A span beyond the
        border is one row without columns.
    """

    tile: int
    stores: bool
    spans: tuple[tuple[tuple[int, int], ...], ...]


def reaches(layer: LayerPlan, p: CoreParameters) -> Iterator[Reach]:
    """Yield what each tile reads for each pixel, as the loops of the layer go."""
    loops = layer.walk.loops

    def turns(loop: str) -> range:
        return range(loops[f"last_{loop}"] + 1)

    for tile in turns("tile"):
        for y in turns("y"):
            for x in turns("x"):
                for pool_y in turns("pool_y"):
                    for pool_x in turns("pool_x"):
                        begin = (loops["x"] + tile * loops["tile_x"] + x * loops["x_x"]
                                 + pool_x * loops["pool_x"])
                        line = loops["line"] + y * loops["y_line"] + pool_y * loops["pool_line"]
                        stores = (pool_y, pool_x) == (turns("pool_y")[-1], turns("pool_x")[-1])
                        yield Reach(tile, stores, tuple(
                            _rows(layer, p, begin + part * loops["part_x"],
                                  line + kernel_line * loops["pitch"], part)
                            for kernel_line in turns("line") for part in turns("part")))


def _rows(layer: LayerPlan, p: CoreParameters, x: int, line: int, part: int,
          ) -> tuple[tuple[int, int], ...]:
    """Return the rows of one span."""
    loops = layer.walk.loops
    begin, end = max(x, 0), min(x + loops["width"], loops["columns"])
    if not 0 <= line < loops["size"] or begin >= end:
        return ((0, 0),)
    # Sources lie at multiples of rows, so that each begins with a column of its own row.
    source = part if loops["part_far"] else 0
    before = source * layer.sources[0].columns
    first, last = line + begin, line + end - 1
    return tuple((before + max(first, row * p.scan), before + min(last, row * p.scan + p.scan - 1)
                  + 1) for row in range(first // p.scan, last // p.scan + 1))
