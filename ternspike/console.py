"""What the command line shows: results on stdout, progress and notes on stderr."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from model.train import Progress as TrainingProgress

__all__ = ["counting", "error", "note", "plain", "show", "training"]


def show(title: str, rows: Iterable[tuple[str, ...]], header: tuple[str, ...] = ()) -> None:
    """Print a table: the first column names, the others are values, to the right."""
    rows = list(rows)
    table = Table(show_header=bool(header))
    for number in range(len(header or rows[0])):
        name = header[number] if header else ""
        table.add_column(name, justify="right" if number else "left",
                         style="" if number else "dim")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console = Console()
    console.print(Text(plain(title), "bold"), soft_wrap=True)
    console.print(table)


def plain(text: str) -> str:
    """Return the text without anything that would steer a terminal: a file may hold anything."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd"
                   for letter in text)


def note(text: str) -> None:
    """Print a line about what is being done."""
    Console(stderr=True).print(Text(plain(text)), soft_wrap=True)


def error(text: str) -> None:
    """Print what is wrong, for the user to mend."""
    Console(stderr=True).print(Text(f"ternspike: {plain(text)}", "red"), soft_wrap=True)


def _progress() -> Progress:
    """Return the progress display that all commands share.

    Nothing of it is left at the end, and nothing of it goes into a file or a pipe.
    """
    console = Console(stderr=True)
    return Progress(TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(),
                    TextColumn("{task.fields[detail]}"), TimeElapsedColumn(),
                    TimeRemainingColumn(), console=console, transient=True,
                    disable=not console.is_terminal)


@contextlib.contextmanager
def counting(total: int) -> Iterator[Callable[[str, int], None]]:
    """Show of each thing that is done how many of ``total`` it is done for.

    Both are told to the function that is yielded; the next thing begins when the one before ends.
    """
    with _progress() as progress:
        tasks = {}

        def report(what: str, done: int) -> None:
            if what not in tasks:
                for task in tasks.values():
                    progress.update(task, completed=total)
                tasks[what] = progress.add_task(what, total=total, detail="")
            progress.update(tasks[what], completed=done)

        yield report


@contextlib.contextmanager
def searching() -> Iterator[Callable[[str, int, int], None]]:
    """Show of a search which round it is in, and how many of its trials are made."""
    with _progress() as progress:
        task = progress.add_task("Search", detail="")
        yield lambda what, done, total: progress.update(
            task, description=what, completed=done, total=total)


@contextlib.contextmanager
def training() -> Iterator[Callable[["TrainingProgress"], None]]:
    """Show the epochs of each stage of a training."""
    with _progress() as progress:
        tasks = {}

        def report(at: "TrainingProgress") -> None:
            if at.stage not in tasks:
                tasks[at.stage] = progress.add_task(f"Train, {at.stage}", total=at.epochs,
                                                    detail="")
            progress.update(tasks[at.stage], completed=at.epoch, detail=f"loss {at.loss:.4f}")

        yield report
