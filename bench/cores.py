"""The core for a recipe's network: `medium`, or one with the memories that it needs."""

__all__ = ["core_of"]

#: Recipes that `medium` does not hold.
_LARGER = {"cifar10-conv": "medium,spike_depth=2048,weight_depth=1024,count_width=12"}


def core_of(recipe: str) -> str:
    """Return the core, as `ternspike.cores.parse_core` takes it, for a recipe by its name."""
    return _LARGER.get(recipe, "medium")
