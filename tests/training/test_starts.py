"""Many starts of one minimization are as many single ones, however they are grouped."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from physml.training import (
    Outcome,
    Stage,
    StopRules,
    SumOfSquares,
    TrainingSnapshot,
    load_checkpoint,
    minimize,
    minimize_starts,
    optimizer_stages,
    save_checkpoint,
)
from physml.training.compiled_loop import run_piece, state_template

STAGES = optimizer_stages("levenberg_marquardt", num_steps=100)
OPTIONS = {"stop_rules": StopRules(target=1e-13, patience=15), "record_every": 4}
STARTS = {"x": jnp.array([[-1.2, 1.0], [2.0, 2.0], [0.0, -1.0]])}


def residuals(p):
    """Rosenbrock's valley with a second, higher minimum."""
    x, y = p["x"]
    return jnp.stack([10 * (y - x**2), 1 - x, 0.1 * jnp.sin(3 * x) - 0.1 * jnp.sin(3)])


LOSS = SumOfSquares(residuals)


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_batch_of_starts_equals_single_runs(at_once):
    found = minimize_starts(LOSS, STARTS, STAGES, at_once=at_once, **OPTIONS)
    for result, x in zip(found.results, STARTS["x"], strict=True):
        alone = minimize(LOSS, {"x": x}, STAGES, **OPTIONS)
        assert result.outcome is alone.outcome
        assert result.steps == alone.steps
        np.testing.assert_allclose(
            result.parameters["x"], alone.parameters["x"], rtol=1e-12
        )
        np.testing.assert_array_equal(result.records.step, alone.records.step)
        np.testing.assert_allclose(
            result.records.value[:3], alone.records.value[:3], rtol=1e-8
        )
    assert found.best.value == found.values.min()


def double_well(x):
    return (x**2 - 1) ** 2 + 0.1 * x


def test_each_start_has_its_outcome_and_the_best_is_returned():
    """One reaches the lower well, one the upper, one is NaN, one runs into NaN."""

    def loss(x):
        return jnp.where(x < 4, double_well(x), jnp.where(x < 5, -x, jnp.nan))

    stages = optimizer_stages("adam", num_steps=200, learning_rate=0.1)
    rules = StopRules(target=1e-3, patience=1000)
    starts = jnp.array([0.8, -0.8, 6.0, 4.5])
    found = minimize_starts(loss, starts, stages, at_once=4, stop_rules=rules)
    outcomes = [result.outcome for result in found.results]
    assert outcomes[:2] == [Outcome.CONVERGED] * 2
    assert outcomes[2:] == [Outcome.NON_FINITE] * 2
    assert np.isnan(found.values[2])
    assert found.results[2].steps == 0
    assert 4.5 <= found.results[3].parameters < 5
    assert found.best is found.results[3]


def test_ended_starts_stay_out_of_later_stages():
    """The first starts at the minimum and converges in the first stage: it stays."""
    stages = [Stage("slow", optax.sgd(0.01), 20), Stage("fast", optax.sgd(0.1), 40)]
    rules = StopRules(target=1e-9, patience=1000)

    def loss(x):
        return (x - 3.0) ** 2

    starts = jnp.array([3.0, 8.0])
    first, second = minimize_starts(loss, starts, stages, stop_rules=rules).results
    assert (first.outcome, first.steps) == (Outcome.CONVERGED, 10)
    assert first.parameters == 3.0
    np.testing.assert_array_equal(first.records.step, [10])
    assert (second.outcome, second.steps) == (Outcome.STEP_LIMIT, 60)
    exact = 3 + 5 * 0.98**20 * 0.8**40
    np.testing.assert_allclose(second.parameters, exact, rtol=1e-13)


def test_starts_resumed_from_a_file_end_at_the_same_bits(tmp_path):
    snapshots = []

    def keep(snapshot, records):
        assert [rows.step.size for rows in records] == [1, 1, 1] or snapshots
        snapshots.append(snapshot)
        return False

    options = OPTIONS | {"at_once": 2}
    whole = minimize_starts(LOSS, STARTS, STAGES, observer=keep, **options)
    save_checkpoint(tmp_path, snapshots[0].state, {})
    template = state_template(STARTS, STARTS["x"].dtype, STAGES[0], num_starts=3)
    middle = TrainingSnapshot(0, load_checkpoint(tmp_path, template))
    rest = minimize_starts(LOSS, STARTS, STAGES, snapshot=middle, **options)
    for one, other in zip(whole.results, rest.results, strict=True):
        np.testing.assert_array_equal(one.parameters["x"], other.parameters["x"])
        assert (one.steps, one.outcome) == (other.steps, other.outcome)


def test_interrupting_ends_those_that_run():
    def stop(*_):
        return True

    found = minimize_starts(LOSS, STARTS, STAGES, observer=stop, **OPTIONS)
    assert {result.outcome for result in found.results} == {Outcome.INTERRUPTED}


def test_other_starts_do_not_recompile():
    minimize_starts(LOSS, STARTS, STAGES, **OPTIONS)
    compiled = run_piece._cache_size()
    others = jax.tree.map(lambda x: x + 0.1, STARTS)
    stages = optimizer_stages("levenberg_marquardt", num_steps=30)
    minimize_starts(LOSS, others, stages, record_every=3)
    assert run_piece._cache_size() == compiled


@pytest.mark.parametrize(
    ("starts", "options", "message"),
    [
        (jnp.zeros(()), {}, "a common first axis of 1 start or more"),
        (jnp.zeros((0, 2)), {}, "a common first axis of 1 start or more"),
        ((jnp.zeros(2), jnp.zeros(3)), {}, "a common first axis of 1 start or more"),
        (jnp.full(2, jnp.nan), {}, "finite at one of the starts, got none of 2"),
        (jnp.zeros(2), {"at_once": 0}, "1 start or more at once"),
        (jnp.zeros((2, 2)), {}, "a loss that is a real scalar"),
    ],
)
def test_bad_starts_are_refused(starts, options, message):
    with pytest.raises(ValueError, match=message):
        minimize_starts(double_well, starts, optimizer_stages(), **options)
