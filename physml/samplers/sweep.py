"""Visit the sites of a configuration one after the other, each with one trial.

The order is forward or backward, with equal probability. A sweep in one fixed order
leaves the density as it is, but its reverse runs the other way: it does not obey
detailed balance, which a chain that proposes for another density must do. Drawing the
direction restores it, for any number of sweeps, at no cost.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from physml.samplers.acceptance import judge, log_uniform
from physml.samplers.kernel import SpinState
from physml.samplers.local_density import Cache, LocalDensity, with_spin

# cache, spins, site -> the new spin and its log correction
SiteProposal = Callable[[Cache, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


class Walk(NamedTuple):
    """Where a walk over the sites stands: the carry of its loops."""

    spins: jax.Array
    cache: Cache
    acceptance: jax.Array  # sum of probabilities
    num_not_finite: jax.Array

    def end(
        self, density: LocalDensity, num_trials: int | jax.Array
    ) -> tuple[SpinState, jax.Array, jax.Array]:
        """Return the state, the mean acceptance, and how many trials were not finite.

        Parameters
        ----------
        density
            That of the walk.
        num_trials
            How many there were.
        """
        state = SpinState(self.spins, density.log_density(self.cache, self.spins))
        count = jnp.asarray(num_trials, self.acceptance.dtype)
        return state, self.acceptance / count, self.num_not_finite


def state_at(density: LocalDensity, spins: jax.Array) -> SpinState:
    """Return the state of a chain at a configuration, shape (n_1, ..., n_d, 3)."""
    return SpinState(spins, density.log_density(density.start(spins), spins))


def start_walk(density: LocalDensity, spins: jax.Array) -> Walk:
    """Return the walk before its first trial.

    Parameters
    ----------
    density
        The density and its shortcuts.
    spins
        Shape (n_1, ..., n_d, 3).
    """
    zero = jnp.zeros((), spins.dtype)
    return Walk(spins, density.start(spins), zero, jnp.zeros((), int))


def sweep(
    key: jax.Array, density: LocalDensity, walk: Walk, propose: SiteProposal
) -> Walk:
    """Try one move at each site.

    Parameters
    ----------
    key
        A random key.
    density
        That of the walk.
    walk
        Where it stands.
    propose
        The move of a site, of a given configuration.
    """
    order_key, accept_key = jax.random.split(key)
    num_sites = walk.spins.size // walk.spins.shape[-1]
    is_backward = jax.random.bernoulli(order_key)
    log_uniforms = log_uniform(accept_key, (num_sites,), walk.spins.dtype)

    def visit(index: jax.Array, walk: Walk) -> Walk:
        site = jnp.where(is_backward, num_sites - 1 - index, index)
        return _visit(density, walk, site, log_uniforms[site], propose)

    return jax.lax.fori_loop(0, num_sites, visit, walk)


def _visit(
    density: LocalDensity,
    walk: Walk,
    site: jax.Array,
    log_uniform: jax.Array,
    propose: SiteProposal,
) -> Walk:
    """Try to move the spin of one site."""
    spins, cache = walk.spins, walk.cache
    new_spin, correction = propose(cache, spins, site)
    log_ratio = density.log_ratio(cache, spins, site, new_spin) + correction
    verdict = judge(log_uniform, log_ratio)
    old_spin = jnp.reshape(spins, (-1, spins.shape[-1]))[site]
    kept = jnp.where(verdict.is_accepted, new_spin, old_spin)

    def move(turn: jax.Array, cache: Any) -> Any:
        # turn is 0, which XLA does not know: else it would move before each trial
        return density.move(cache, spins, site + turn, new_spin)

    # a loop of no or one turn: `lax.cond` would copy the cache at each trial
    moved = jax.lax.fori_loop(0, verdict.is_accepted.astype(int), move, cache)
    return Walk(
        with_spin(spins, site, kept),
        moved,
        walk.acceptance + verdict.probability,
        walk.num_not_finite + verdict.is_not_finite.astype(int),
    )
