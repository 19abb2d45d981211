"""Which exceptions are the user's business: one line on stderr instead of a traceback."""

__all__ = ["explain"]

#: Packages whose own exceptions have messages written for a user.
PACKAGES = {"boards", "hw", "mapping", "model", "sim", "ternspike"}


def explain(error: Exception) -> str | None:
    """Return the message for a user, or None if the error is a fault of the program.

    The exceptions of our packages are told by where their class lives, so that no package is
    imported only to name its errors.
    """
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) or type(error).__module__.split(".")[0] in PACKAGES:
        return str(error)
    return None
