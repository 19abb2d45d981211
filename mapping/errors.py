"""What a network needs and a core has not."""

__all__ = ["MappingError"]


class MappingError(ValueError):
    """A network does not fit a core.

    Attributes
    ----------
    where : :class:`str`
        The layer, or ``network``.
    quantity : :class:`str`
        What there is too little of.
    need, limit
        What the network needs, and what the core has.
    """

    def __init__(self, where: str, quantity: str, need: object, limit: object):
        super().__init__(f"{where}: {quantity}: needs {need}, the core has {limit}")
        self.where    = where
        self.quantity = quantity
        self.need     = need
        self.limit    = limit
