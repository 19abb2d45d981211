"""Files that are either written completely or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["atomic_write"]


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write ``path`` through a temporary file that replaces it only when the block succeeds.

    The temporary file is in the same folder, so that the replacement is one step of the file
    system. When the block is left by an exception (an interrupt included) the temporary file is
    removed and whatever was at ``path`` before is still there.

    Parameters
    ----------
    path
        Where the complete file shall be. Its folder must exist.

    Yields
    ------
    Path
        An empty file with the suffix of ``path``, to be written by the block.

    Raises
    ------
    OSError
        If the folder does not exist or can't be written, or ``path`` is a folder.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder, not a file that can be written")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target} can't be written: there is no folder {target.parent}")
    handle, name = tempfile.mkstemp(
        prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp gives a private file; a result is as readable as any new file of the user.
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """Return the process' file mode mask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
