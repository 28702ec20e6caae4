"""Detailed balance, pair by pair: pi(x) P(x -> y) = pi(y) P(y -> x).

Three spins that only turn around, S -> -S, have eight states along an axis. From each
of them many single steps are taken, so that P is counted; the two flows of each pair
must agree within the error of the counts.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spin_densities import BondsInField

from physml.pytrees import register_dataclass
from physml.samplers import (
    Cycle,
    GlobalMetropolis,
    LocalMetropolis,
    Overrelaxation,
    SelfLearning,
    StepSize,
)

NUM_STEPS = 4000  # from each state
STATES = np.array(np.meshgrid(*[[1.0, -1.0]] * 3, indexing="ij")).reshape(3, 8).T
SPINS = jnp.array(STATES)[:, :, None] * jnp.array([0.0, 0.0, 1.0])[None, None, :]
NO_STEP = StepSize(1.0)


def triangle(couplings, field):
    a, b, c = couplings
    matrix = jnp.array([[0.0, a, b], [a, 0.0, c], [b, c, 0.0]])
    return BondsInField(matrix, jnp.array(field))


EXACT = triangle((0.7, -0.4, 0.9), 0.3)
POOR = triangle((0.2, 0.5, 0.3), -0.2)


def turn_around(key, spins, step_size):
    """Turn each spin around with a probability of 0.8 if it points up, else 0.3."""
    del step_size
    up = spins[:, 2] > 0
    probability = jnp.where(up, 0.8, 0.3)
    turns = jax.random.uniform(key, up.shape) < probability
    correction = jnp.where(up, jnp.log(0.3 / 0.8), jnp.log(0.8 / 0.3))
    new_spins = jnp.where(turns[:, None], -spins, spins)
    return new_spins, jnp.where(turns, correction, 0.0)


def turn_around_without_correction(key, spins, step_size):
    new_spins, correction = turn_around(key, spins, step_size)
    return new_spins, jnp.zeros_like(correction)


def turn_some(key, spins, step_size):
    """Turn a random set of spins around: symmetric."""
    del step_size
    turns = jax.random.bernoulli(key, 0.5, (3, 1))
    return jnp.where(turns, -spins, spins), jnp.zeros(())


def local(density, proposal=turn_around):
    return LocalMetropolis(density, proposal, NO_STEP)


@register_dataclass
@dataclass(frozen=True)
class WithoutEffectiveTerm(SelfLearning):
    """A wrong acceptance: by the exact density alone."""

    def log_ratio(self, new, old):
        return new.log_density - old.log_density


def count_transitions(kernel):
    """Return how often a step led from each state to each other, shape (8, 8)."""
    sizes = {name: jnp.asarray(1.0) for name in kernel.step_sizes()}

    def step(key, spins):
        return kernel.step(key, kernel.start(spins), sizes)[0].spins[:, 2]

    def steps(spins):
        keys = jax.random.split(jax.random.key(3), NUM_STEPS)
        return jax.vmap(partial(step, spins=spins))(keys)

    ends = np.asarray(jax.jit(jax.vmap(steps))(SPINS))  # (8, NUM_STEPS, 3)
    index = np.argmax(np.all(ends[:, :, None] == STATES, axis=-1), axis=-1)
    return np.array([np.bincount(row, minlength=8) for row in index])


def worst_pull(kernel):
    """Return the largest |flow - flow back| in units of its error."""
    weights = np.exp([float(EXACT(spins)) for spins in SPINS])
    weights /= np.sum(weights)
    counts = count_transitions(kernel)
    flow = weights[:, None] * counts / NUM_STEPS
    variance = weights[:, None] ** 2 * np.maximum(counts, 1) / NUM_STEPS**2
    pull = (flow - flow.T) / np.sqrt(variance + variance.T)
    moves = counts[~np.eye(8, dtype=bool)]
    assert np.all(moves > 0), "some pair of states is not connected by one step"
    return np.max(np.abs(pull))


KERNELS = {
    "local": local(EXACT),
    "global": GlobalMetropolis(EXACT.function(), turn_some, NO_STEP),
    "self-learning": SelfLearning(EXACT.function(), local(POOR), num_inner=2),
}

WRONG = {
    "no log correction": local(EXACT, turn_around_without_correction),
    "no effective term": WithoutEffectiveTerm(
        EXACT.function(), local(POOR), num_inner=2
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_the_flows_of_each_pair_agree(name):
    assert KERNELS[name].is_reversible
    assert worst_pull(KERNELS[name]) < 4.5  # of 28 pairs: 1 in 5000


@pytest.mark.parametrize("name", WRONG)
def test_wrong_acceptances_are_caught(name):
    assert worst_pull(WRONG[name]) > 10


def test_a_sweep_in_a_fixed_order_is_caught(monkeypatch):
    """It leaves the density as it is, but does not obey detailed balance."""
    monkeypatch.setattr(jax.random, "bernoulli", lambda _: jnp.array(False))
    assert worst_pull(local(EXACT)) > 10


def test_a_chain_that_is_not_reversible_may_not_propose():
    cycle = Cycle((Overrelaxation(POOR), local(POOR)))
    with pytest.raises(ValueError, match="obeys detailed balance, got Cycle"):
        SelfLearning(EXACT.function(), cycle)
