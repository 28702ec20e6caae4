"""Whether values are known, or stand for what a compiled program will be given."""

from typing import Any

import jax


def is_traced(tree: Any) -> bool:
    """Tell whether something in a pytree is not known yet, inside of jit or grad."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))
