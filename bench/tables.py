"""Tables that are printed, and kept in Markdown files between markers."""
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from model.files import atomic_write

__all__ = ["Table", "markdown", "replace_sections", "show", "spread", "write_text"]


@dataclass(frozen=True)
class Table:
    """A table of text.

    Parameters
    ----------
    header : tuple of str
        The first column names the rows and is set to the left, the others to the right.
    rows : list of tuples of str
    bold : set of int
        Rows that stand out: ours.
    """

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    bold: set[int] = field(default_factory=set)

    def __post_init__(self):
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"Row {row!r} must have {len(self.header)} cells")


def show(table: Table, title: str) -> None:
    """Print a table on the terminal."""
    rich = RichTable(title=title, title_justify="left")
    for number, name in enumerate(table.header):
        rich.add_column(name, justify="right" if number else "left", overflow="fold")
    for number, row in enumerate(table.rows):
        rich.add_row(*map(Text, row), style="bold" if number in table.bold else None)
    # A pipe or a file has no width of its own.
    Console(width=None if sys.stdout.isatty() else 130).print(rich)


def spread(values: Sequence[float], form: str = ".2%") -> str:
    """Return the mean of values, each written in this form; of several, with lowest and highest."""
    if len(values) == 1:
        return f"{values[0]:{form}}"
    return f"{mean(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def markdown(table: Table) -> str:
    """Return a table as Markdown, ending with a line feed."""
    lines = [table.header, tuple(["---"] + ["---:"] * (len(table.header) - 1))]
    for number, row in enumerate(table.rows):
        lines.append(tuple(f"**{cell}**" if number in table.bold and cell else cell
                           for cell in row))
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def replace_sections(text: str, sections: Mapping[str, str]) -> str:
    """Replace what stands between the markers of sections, the markers stay.

    Markers are lines of their own: ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.

    Raises
    ------
    ValueError
        If a section's markers are not there exactly once each, in order.
    """
    for name, content in sections.items():
        begin, end = (re.escape(f"<!-- {edge} {name} -->") for edge in ("begin", "end"))
        pattern = re.compile(rf"({begin}\n).*?({end})", re.DOTALL)
        content = content.strip("\n")
        text, found = pattern.subn(lambda match, body=content: f"{match[1]}\n{body}\n\n{match[2]}",
                                   text)
        if found != 1:
            raise ValueError(f"Section {name!r} must have its two markers once, in order; "
                             f"found {found}")
    return text


def write_text(path: Path, text: str) -> None:
    """Write a text file, completely or not at all, and its folder if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
