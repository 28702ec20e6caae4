"""The length of the inner chain is chosen by what was measured."""

import jax
import jax.numpy as jnp
import pytest
from jax.tree_util import Partial
from spin_densities import observe, ring

from physml.failures import RunFailure
from physml.samplers import (
    Hamiltonian,
    LocalMetropolis,
    SelfLearning,
    StepSize,
    choose_inner_length,
    random_configurations,
)

EXACT = ring(4, 1.2)
START = random_configurations(jax.random.key(0), 16, (4,))
SHORT_STEPS = LocalMetropolis(ring(4, 1.1), step_size=StepSize(0.3))


def test_the_fastest_length_is_chosen():
    kernel = SelfLearning(EXACT.function(), SHORT_STEPS)
    choice = choose_inner_length(
        kernel,
        START,
        key=jax.random.key(1),
        lengths=(1, 4, 32),
        observables=observe,
    )
    assert [row.num_inner for row in choice.table] == [1, 4, 32]
    assert choice.best in choice.table
    rates = [row.effective_samples_per_second for row in choice.table]
    assert choice.best.effective_samples_per_second == max(rates)
    times = [row.autocorrelation_time for row in choice.table]
    assert times[0] > 2 * times[1] > 2 * times[2]  # each forgets more
    for row in choice.table:
        assert row.acceptance > 0.8
        assert row.effective_samples_per_second == pytest.approx(
            row.effective_samples / row.seconds
        )


def test_a_proposal_that_is_never_accepted_is_a_failure():
    def only_start(spins):
        is_start = jnp.any(jnp.all(spins[None] == START, axis=(1, 2)))
        return jnp.where(is_start, 0.0, -jnp.inf)

    kernel = SelfLearning(Partial(only_start), SHORT_STEPS)
    with pytest.raises(RunFailure, match=r"accepted proposals .* none in 10 trials"):
        choose_inner_length(
            kernel,
            START,
            key=jax.random.key(1),
            lengths=(2,),
            num_sweeps=10,
            observables=observe,
        )


def test_lengths_out_of_range_are_refused():
    kernel = SelfLearning(EXACT.function(), SHORT_STEPS)
    for lengths in ((), (0, 1)):
        with pytest.raises(ValueError, match="lengths of 1 or more"):
            choose_inner_length(kernel, START, key=jax.random.key(1), lengths=lengths)
    with pytest.raises(ValueError, match="1 inner step or more, got 0"):
        SelfLearning(EXACT.function(), SHORT_STEPS, num_inner=0)
    with pytest.raises(ValueError, match="1 step or more, got 0"):
        Hamiltonian(EXACT.function(), num_steps=0)
    with pytest.raises(ValueError, match="jitter from 0 to below 1, got"):
        Hamiltonian(EXACT.function(), jitter=1.5)
