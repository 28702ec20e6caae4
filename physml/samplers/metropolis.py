"""Metropolis: a proposal, then acceptance with probability min(1, ratio).

`LocalMetropolis` tries one move at each site of a `LocalDensity`; `GlobalMetropolis`
moves all spins at once.

Reference: N. Metropolis et al., J. Chem. Phys. 21, 1087 (1953).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from physml.failures import expected
from physml.pytrees import register_dataclass
from physml.samplers.acceptance import judge, log_uniform
from physml.samplers.global_rotation import global_rotation
from physml.samplers.kernel import SpinState, StepSize, Tally, choose
from physml.samplers.local_density import Cache, LocalDensity
from physml.samplers.local_rotation import cone_rotation
from physml.samplers.sweep import Walk, start_walk, state_at, sweep

# key, spins, step size -> new spins and log correction
Proposal = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]

# For random walks in one and two dimensions 0.44 and 0.35 are best, and the optimum is
# flat: A. Gelman, G. O. Roberts, W. R. Gilks, Bayesian Statistics 5, 599 (1996).
WALK_ACCEPTANCE = 0.4


@partial(register_dataclass, static=("proposal", "step_size"))
@dataclass(frozen=True)
class LocalMetropolis:
    """Sweeps: a trial at each site, forward or backward over the lattice.

    Parameters
    ----------
    density
        What is sampled.
    proposal
        Maps a key, spins of shape (sites, 3) and the step size to new spins and log
        corrections, shape (sites,), each site by itself. All are drawn at the start:
        no other site's move changes the spin that a site starts from.
    step_size
        Of the proposal: for `cone_rotation` the half angle of the cone.
    num_sweeps
        In a step. What the density keeps beside a configuration is made once in each
        step and lives through its sweeps.
    """

    density: LocalDensity
    proposal: Proposal = cone_rotation
    step_size: StepSize = field(default=StepSize(1.0, WALK_ACCEPTANCE, math.pi))
    num_sweeps: int | jax.Array = 1

    is_reversible: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse a step without a sweep."""
        if isinstance(self.num_sweeps, int) and self.num_sweeps < 1:
            raise expected("1 sweep or more", self.num_sweeps, "raise num_sweeps")

    def step_sizes(self) -> dict[str, StepSize]:
        """Return the one of the proposal."""
        return {"local": self.step_size}

    def start(self, spins: jax.Array) -> SpinState:
        """Return the state at a configuration."""
        return state_at(self.density, spins)

    def step(
        self, key: jax.Array, state: SpinState, step_sizes: dict[str, jax.Array]
    ) -> tuple[SpinState, Tally]:
        """Sweep so many times."""

        def one_sweep(index: jax.Array, walk: Walk) -> Walk:
            sweep_key = jax.random.fold_in(key, index)
            return self._sweep(sweep_key, walk, step_sizes["local"])

        walk = start_walk(self.density, state.spins)
        walk = jax.lax.fori_loop(0, self.num_sweeps, one_sweep, walk)
        num_sites = state.spins.size // state.spins.shape[-1]
        end, acceptance, count = walk.end(self.density, num_sites * self.num_sweeps)
        return end, Tally({"local": acceptance}, count)

    def _sweep(self, key: jax.Array, walk: Walk, step_size: jax.Array) -> Walk:
        proposal_key, sweep_key = jax.random.split(key)
        flat = jnp.reshape(walk.spins, (-1, walk.spins.shape[-1]))
        proposed, corrections = self.proposal(proposal_key, flat, step_size)

        def propose(
            cache: Cache, spins: jax.Array, site: jax.Array
        ) -> tuple[jax.Array, jax.Array]:
            del cache, spins
            return proposed[site], corrections[site]

        return sweep(sweep_key, self.density, walk, propose)


@partial(register_dataclass, static=("proposal", "step_size"))
@dataclass(frozen=True)
class GlobalMetropolis:
    """One move of all spins together.

    Parameters
    ----------
    log_density
        Maps spins, shape (n_1, ..., n_d, 3), to a real scalar.
    proposal
        Maps a key, the spins and the step size to new spins and the log correction, a
        scalar.
    step_size
        Of the proposal: for `global_rotation` the largest angle.
    """

    log_density: Partial
    proposal: Proposal = global_rotation
    step_size: StepSize = field(default=StepSize(1.0, WALK_ACCEPTANCE, math.pi))

    is_reversible: ClassVar[bool] = True

    def step_sizes(self) -> dict[str, StepSize]:
        """Return the one of the proposal."""
        return {"global": self.step_size}

    def start(self, spins: jax.Array) -> SpinState:
        """Return the state at a configuration."""
        return SpinState(spins, self.log_density(spins))

    def step(
        self, key: jax.Array, state: SpinState, step_sizes: dict[str, jax.Array]
    ) -> tuple[SpinState, Tally]:
        """Propose and judge once."""
        proposal_key, accept_key = jax.random.split(key)
        spins, correction = self.proposal(
            proposal_key, state.spins, step_sizes["global"]
        )
        new = SpinState(spins, self.log_density(spins))
        log_ratio = new.log_density - state.log_density + correction
        verdict = judge(log_uniform(accept_key, (), log_ratio.dtype), log_ratio)
        tally = Tally(
            {"global": verdict.probability}, verdict.is_not_finite.astype(int)
        )
        return choose(verdict.is_accepted, new, state), tally
