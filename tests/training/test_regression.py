"""Batches by the number of the step, and fits whose solution is known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from physml.training import (
    Regression,
    Stage,
    StopRules,
    batch_indices,
    best_of_random_starts,
    minimize,
    optimizer_stages,
)

KEY = jax.random.key(0)
RANDOM = np.random.default_rng(0)
INPUTS = jnp.asarray(RANDOM.normal(size=(24, 3)))
EXACT = jnp.array([1.0, -2.0, 0.5])


def linear(parameters, inputs):
    return inputs @ parameters


def regression(noise=0.0):
    targets = linear(EXACT, INPUTS) + noise * jnp.asarray(RANDOM.normal(size=24))
    return Regression(linear, INPUTS, targets)


def test_a_round_of_batches_is_a_permutation():
    batches = [batch_indices(KEY, step, 24, 8) for step in range(6)]
    for first in (0, 3):
        together = np.concatenate(batches[first : first + 3])
        np.testing.assert_array_equal(np.sort(together), np.arange(24))
    assert not np.array_equal(batches[0], batches[3])  # another round, another order


def test_batches_depend_on_the_step_alone_and_are_compiled_once():
    draw = jax.jit(lambda step: batch_indices(KEY, step, 10, 4))
    for step in (7, 0, 7):
        chosen = draw(step)
        np.testing.assert_array_equal(chosen, batch_indices(KEY, step, 10, 4))
        assert len(set(chosen.tolist())) == 4
    assert draw._cache_size() == 1


def test_batch_gradients_of_a_round_average_to_the_gradient_of_the_loss():
    problem = regression(noise=1.0)
    batch_loss = problem.batch_loss(6, KEY)
    start = jnp.zeros(3)
    gradients = [jax.grad(batch_loss)(start, step) for step in range(4)]
    want = jax.grad(problem.loss())(start)
    np.testing.assert_allclose(np.mean(gradients, axis=0), want, rtol=1e-12)


def test_steps_go_down_the_batches_and_records_show_the_loss():
    """Plain gradient descent, repeated by hand with the batch of each step."""
    problem = regression(noise=0.3)
    batch_loss = problem.batch_loss(6, KEY)
    optimizer = optax.sgd(0.05)
    stages = [
        Stage("first", optimizer, 15, batch_loss),
        Stage("second", optimizer, 10, batch_loss),
    ]
    rules = StopRules(patience=1000)
    result = minimize(problem.loss(), jnp.zeros(3), stages, stop_rules=rules)
    x, best = jnp.zeros(3), []
    gradient = jax.jit(jax.grad(batch_loss))
    for step in range(15):
        x = x - 0.05 * gradient(x, step)
        best.append(float(problem.loss()(x)))
    recorded = result.records.value[:2]  # after steps 10 and 15
    np.testing.assert_allclose(recorded, [best[9], best[14]], rtol=1e-12)


def test_noise_free_data_are_fitted_exactly_and_resumed_bit_for_bit():
    problem = regression()
    stages = optimizer_stages(
        "lbfgs", num_steps=60, warmup_steps=20, batch_loss=problem.batch_loss(5, KEY)
    )
    assert [stage.batch_loss is None for stage in stages] == [False, True]
    snapshots = []

    def keep(snapshot, _):
        snapshots.append(snapshot)
        return False

    rules = StopRules(target=1e-13)
    options = {"stop_rules": rules, "record_every": 7}
    whole = minimize(problem.loss(), jnp.zeros(3), stages, observer=keep, **options)
    np.testing.assert_allclose(whole.parameters, EXACT, rtol=1e-12)
    assert snapshots[0].stage == 0  # in the middle of the batches
    rest = minimize(problem.loss(), None, stages, snapshot=snapshots[0], **options)
    np.testing.assert_array_equal(whole.parameters, rest.parameters)
    assert whole.steps == rest.steps


def test_the_lowest_start_wins_and_nan_never_does():
    def initialize(key):
        return jax.random.normal(key, (2,))

    def loss(x):
        return jnp.where(x[0] > 0, jnp.sum(x**2), jnp.nan)

    best = best_of_random_starts(loss, initialize, KEY, 50)
    starts = jax.vmap(initialize)(jax.random.split(KEY, 50))
    values = np.asarray(jax.vmap(loss)(starts))
    np.testing.assert_array_equal(best, starts[int(np.nanargmin(values))])


def test_bad_sizes_are_refused():
    for size in (0, 25):
        with pytest.raises(ValueError, match="a batch of 1 to 24 samples"):
            regression().batch_loss(size, KEY)
    with pytest.raises(ValueError, match="1 random start or more"):
        best_of_random_starts(jnp.sum, lambda key: jax.random.normal(key), KEY, 0)
