"""A picture of a placed design: each tile in the colour of the block that has most cells there.

nextpnr's own picture shows sites, a megabyte of them, and not what is in them.
"""
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from html import escape

__all__ = ["block_of", "draw", "places_of"]

#: Colours of blocks, the largest first; told apart by the colour blind, too.
COLOURS = ("#2c7fc9", "#e2762e", "#3a9d6e", "#c8a81d", "#8a5cc2", "#c94f7c", "#4bb3c3", "#8c6d4f",
           "#7a8b99", "#a3b83d")
#: Of what is in none of the blocks that have a colour.
OTHER = "#b9bec4"
#: Pixels of the picture's plan, at most.
SIZE = 720
#: Pixels beside it.
LEGEND = 220

#: Where a cell lies, as iCE40 and ECP5 ("X1/Y2/lc3") and as Gowin ("X1Y2/LUT0") have it.
_BEL = re.compile(r"X(\d+)/?Y(\d+)/")


def block_of(cell: str) -> str:
    """Return the block that a cell belongs to: a part of the core, or of what is around it.

    Blocks that are there several times count as one.
    """
    parts = cell.split(".")
    # The core with its serial line is called so, and the core itself within it.
    within = parts[-parts[::-1].index("core"):] if "core" in parts[:-1] else parts
    name = within[0] if len(within) > 1 else parts[0] if len(parts) > 1 else "top"
    return re.sub(r"\$?\d+$", "", name)


def places_of(cells: Mapping[str, Mapping]) -> Iterable[tuple[str, int, int]]:
    """Yield name, column and row of the cells of a design that nextpnr wrote as JSON."""
    for name, cell in cells.items():
        match = _BEL.match(cell["attributes"].get("NEXTPNR_BEL", ""))
        if match:
            yield name, int(match[1]), int(match[2])


def draw(title: str, cells: Iterable[tuple[str, int, int]],
         path: Sequence[tuple[int, int]] = ()) -> str:
    """Return the picture as SVG.

    Parameters
    ----------
    title : :class:`str`
        Stands above it.
    cells : iterable of tuples
        Name, column and row of each cell.
    path : sequence of tuples
        Columns and rows of the tiles that the slowest path visits.
    """
    tiles = defaultdict(Counter)
    for name, column, row in cells:
        tiles[column, row][block_of(name)] += 1
    blocks = Counter()
    for tile in tiles.values():
        blocks.update(tile)
    colours = dict(zip((block for block, _ in blocks.most_common()), COLOURS, strict=False))
    columns = 1 + max((column for column, _ in tiles), default=0)
    rows = 1 + max((row for _, row in tiles), default=0)
    side = max(2, SIZE // max(columns, rows))
    width, height = side * columns, side * rows
    most = max((tile.total() for tile in tiles.values()), default=1)

    # One path for all tiles of a colour that are equally full: a tenth of the size of squares.
    shapes = defaultdict(list)
    for (column, row), tile in sorted(tiles.items()):
        colour = colours.get(tile.most_common(1)[0][0], OTHER)
        full = 1 + 3 * tile.total() // most
        shapes[colour, full].append(
            f"M{column * side} {(rows - 1 - row) * side}h{side}v{side}h-{side}z")
    body = [f'<path fill="{colour}" opacity="{0.2 + 0.2 * full:.1f}" d="{"".join(parts)}"/>'
            for (colour, full), parts in shapes.items()]
    if path:
        points = " ".join(f"{(column + 0.5) * side:g},{(rows - 0.5 - row) * side:g}"
                          for column, row in path)
        body.append(f'<polyline points="{points}" fill="none" stroke="#000" stroke-width="1.5"/>')
    named = [(colours[block], block, number) for block, number in blocks.most_common()
             if block in colours]
    others = blocks.total() - sum(number for _, _, number in named)
    if others:
        named.append((OTHER, "others", others))
    for line, (colour, block, number) in enumerate(named):
        body.append(f'<rect x="{width + 16}" y="{line * 20 + 4}" width="12" height="12" '
                    f'fill="{colour}"/><text x="{width + 36}" y="{line * 20 + 14}">'
                    f'{escape(block)}, {number:,}</text>')
    if path:
        y = len(named) * 20 + 10
        body.append(f'<path d="M{width + 16} {y}h12" stroke="#000" stroke-width="1.5"/>'
                    f'<text x="{width + 36}" y="{y + 4}">slowest path</text>')
    height = max(height, 20 * len(named) + 24)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" '
            f'viewBox="-10 -34 {width + LEGEND + 20} {height + 44}" '
            f'width="{width + LEGEND + 20}" height="{height + 44}" '
            f'font-family="sans-serif" font-size="12">'
            f'<rect x="-10" y="-34" width="100%" height="100%" fill="#fff"/>'
            f'<text y="-14" font-size="14" font-weight="bold">{escape(title)}</text>'
            f'<rect width="{width}" height="{side * rows}" fill="#f4f5f6"/>'
            + "".join(body) + "</svg>\n")
