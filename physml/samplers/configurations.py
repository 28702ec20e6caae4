"""First configurations of chains."""

from functools import partial

import jax
import jax.numpy as jnp

from physml.parallel import item_keys
from physml.samplers.geometry import unit


@partial(jax.jit, static_argnames=("num_chains", "shape"))
def random_configurations(
    key: jax.Array, num_chains: int, shape: tuple[int, ...]
) -> jax.Array:
    """Return unit spins in directions that are all equally likely.

    Parameters
    ----------
    key
        A random key; a chain's spins follow from it and from the chain's number.
    num_chains
        How many configurations.
    shape
        Of the lattice, (n_1, ..., n_d).

    Returns
    -------
    jax.Array
        Shape (num_chains, n_1, ..., n_d, 3).
    """
    keys = item_keys(key, jnp.arange(num_chains))
    return unit(jax.vmap(lambda key: jax.random.normal(key, (*shape, 3)))(keys))
