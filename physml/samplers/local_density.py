"""What a sampler needs to know of a density that it changes spin by spin.

A trial move of one spin is often far cheaper than a new evaluation: a linear model
needs one local field, electrons a small determinant. Whatever makes it cheap is kept
beside the configuration in a cache, which only an accepted move has to renew. A density
that knows no shortcut is a `WholeDensity`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from physml.pytrees import register_dataclass

LogDensity = Callable[[jax.Array], jax.Array]
Cache = Any  # a pytree of arrays; each density has its own


class LocalDensity(Protocol):
    """A probability density of one configuration, up to a factor.

    An implementation is a frozen pytree whose arrays are leaves, so that other numbers
    compile nothing. `spins` have shape (n_1, ..., n_d, 3), unit vectors, without an
    axis for chains; a `site` is a traced integer, the row of `spins.reshape(-1, 3)`;
    a `new_spin` has shape (3,). The methods run inside compiled programs. A density
    that is not finite is data: return NaN, and the move is refused and counted.
    """

    def start(self, spins: jax.Array) -> Cache:
        """Return what is kept beside a configuration; called once for each sweep."""
        ...

    def log_ratio(
        self, cache: Cache, spins: jax.Array, site: jax.Array, new_spin: jax.Array
    ) -> jax.Array:
        """Return the log density with the new spin minus that of `spins`."""
        ...

    def move(
        self, cache: Cache, spins: jax.Array, site: jax.Array, new_spin: jax.Array
    ) -> Cache:
        """Return the cache with the new spin; `spins` are those before the move."""
        ...

    def log_density(self, cache: Cache, spins: jax.Array) -> jax.Array:
        """Return the log density of `spins`, from their cache where that is exact."""
        ...


@register_dataclass
@dataclass(frozen=True)
class WholeDensity:
    """Any log density as a `LocalDensity`: each trial evaluates the whole of it.

    Parameters
    ----------
    function
        Maps spins, shape (n_1, ..., n_d, 3), to the log density, a real scalar.
    """

    function: Partial

    def start(self, spins: jax.Array) -> Cache:
        """Return the log density."""
        return self.function(spins)

    def log_ratio(
        self, cache: Cache, spins: jax.Array, site: jax.Array, new_spin: jax.Array
    ) -> jax.Array:
        """Evaluate the log density with the new spin."""
        return self.function(with_spin(spins, site, new_spin)) - cache

    def move(
        self, cache: Cache, spins: jax.Array, site: jax.Array, new_spin: jax.Array
    ) -> Cache:
        """Evaluate it again: where moves are not branches, XLA does so only once."""
        del cache
        return self.function(with_spin(spins, site, new_spin))

    def log_density(self, cache: Cache, spins: jax.Array) -> jax.Array:
        """Return what is kept."""
        del spins
        return cache


def with_spin(spins: jax.Array, site: jax.Array, new_spin: jax.Array) -> jax.Array:
    """Return the configuration with another spin at a site.

    Parameters
    ----------
    spins
        Shape (n_1, ..., n_d, 3).
    site
        The row of `spins.reshape(-1, 3)`.
    new_spin
        Shape (3,).
    """
    return jnp.reshape(spins, (-1, 3)).at[site].set(new_spin).reshape(spins.shape)
