"""Output files: refused before long work if they can't be written, and never half written."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.files import atomic_write

__all__ = ["check_outputs", "write_json", "write_text"]


def check_outputs(*paths: Path | None) -> None:
    """Raise unless each of the files could be written.

    Nothing is left behind, and nothing that exists is touched. None stands for no output.

    Raises
    ------
    OSError
        Naming the path and what stands in the way.
    """
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise IsADirectoryError(f"{path} can't be written: it is a folder")
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{path} can't be written: there is no folder {path.parent}")
        try:
            tempfile.TemporaryFile(dir=path.parent).close()
        except OSError as error:
            raise OSError(f"{path} can't be written: {error.strerror}") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file, completely or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | None, content: Mapping[str, Any]) -> None:
    """Write a result as JSON, completely or not at all; with no path do nothing."""
    if path is not None:
        write_text(path, json.dumps(content, indent=2) + "\n")
