"""What can't be built for a board."""

__all__ = ["BoardError"]


class BoardError(ValueError):
    """A board that is not known, or a clock or core that it can't have."""
