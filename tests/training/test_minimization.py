"""The training loop on losses whose minimum is known; every way in which it can end."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from physml.training import (
    Outcome,
    Stage,
    StopRules,
    TrainingSnapshot,
    minimize,
    optimizer_stages,
)
from physml.training.compiled_loop import run_piece

START = {"x": jnp.array([-1.2, 1.0])}
SGD = optax.sgd(0.1)


def rosenbrock(parameters):
    x, y = parameters["x"]
    return 100 * (y - x**2) ** 2 + (1 - x) ** 2


def quadratic(parameters):
    return jnp.sum((parameters["x"] - 3.0) ** 2)


def test_lbfgs_finds_the_minimum_of_rosenbrock():
    rules = StopRules(target=1e-9)
    stages = optimizer_stages("lbfgs", num_steps=200, warmup_steps=10)
    result = minimize(rosenbrock, START, stages, stop_rules=rules)
    assert result.outcome is Outcome.CONVERGED
    np.testing.assert_allclose(result.parameters["x"], 1.0, atol=1e-9)
    assert result.measure < 1e-9
    assert result.steps < 200


def test_gradient_descent_follows_its_closed_form():
    """x_k - 3 = (x_0 - 3) (1 - 2 * 0.1)^k, recorded every 10 steps."""
    result = minimize(quadratic, START, [Stage("descent", SGD, 25)])
    exact = 3 + (np.array([-1.2, 1.0]) - 3) * 0.8**25
    np.testing.assert_allclose(result.parameters["x"], exact, rtol=1e-13)
    assert result.outcome is Outcome.STEP_LIMIT
    np.testing.assert_array_equal(result.records.step, [10, 20, 25])
    distance = np.sum((np.array([-1.2, 1.0]) - 3) ** 2)
    expected = distance * 0.8 ** (2 * np.array([10, 20, 25]))
    np.testing.assert_allclose(result.records.value, expected, rtol=1e-12)
    np.testing.assert_allclose(
        result.records.measure, 2 * np.sqrt(expected), rtol=1e-12
    )


def test_steps_count_on_through_the_stages():
    stages = [Stage("first", SGD, 15), Stage("second", SGD, 15)]
    result = minimize(quadratic, START, stages)
    np.testing.assert_array_equal(result.records.step, [10, 15, 25, 30])
    assert result.steps == 30


def test_steps_that_a_stage_left_over_are_not_counted():
    stages = [Stage("stuck", optax.sgd(0.0), 1000), Stage("second", SGD, 15)]
    rules, snapshots = StopRules(patience=20), []

    def keep(snapshot, _):
        snapshots.append(snapshot)
        return False

    whole = minimize(quadratic, START, stages, stop_rules=rules, observer=keep)
    np.testing.assert_array_equal(whole.records.step, [10, 20, 30, 35])
    assert whole.steps == 35
    rest = minimize(quadratic, START, stages, stop_rules=rules, snapshot=snapshots[-1])
    assert rest.steps == 35


def test_no_progress_at_the_rounding_level():
    result = minimize(
        quadratic, START, [Stage("d", SGD, 5000)], stop_rules=StopRules(patience=50)
    )
    assert result.outcome is Outcome.NO_PROGRESS
    assert result.steps < 1000
    np.testing.assert_allclose(result.parameters["x"], 3.0, rtol=1e-12)


def test_time_limit():
    result = minimize(
        quadratic,
        START,
        [Stage("slow", optax.sgd(1e-12), 10**8)],
        stop_rules=StopRules(patience=10**8, time_limit=0.2),
    )
    assert result.outcome is Outcome.TIME_LIMIT


def test_non_finite_value_keeps_the_best_parameters():
    def falls_off_a_cliff(parameters):
        x = parameters["x"][0]
        return jnp.where(x < 0.5, -x, jnp.nan)

    stages = [Stage("d", optax.sgd(0.01), 1000)]
    result = minimize(falls_off_a_cliff, {"x": jnp.zeros(1)}, stages)
    assert result.outcome is Outcome.NON_FINITE
    assert 0.3 < result.parameters["x"][0] < 0.5
    assert np.isfinite(result.value)
    assert np.isfinite(result.records.value).all()
    assert "smaller learning rate" in result.outcome.sentence


def test_divergence_returns_the_best_record():
    """Gradient descent with a step that grows: the start is never beaten for long."""
    stages = [Stage("too large", optax.sgd(1.2), 400)]
    result = minimize(quadratic, START, stages, stop_rules=StopRules(patience=1000))
    assert result.value <= quadratic(START)


def test_observer_sees_every_record_and_can_interrupt():
    seen = []

    def observer(_, records):
        seen.extend(records.step.tolist())
        return len(seen) >= 3

    stages = [Stage("d", optax.sgd(1e-9), 10**8)]
    result = minimize(quadratic, START, stages, observer=observer)
    assert result.outcome is Outcome.INTERRUPTED
    assert seen == result.records.step.tolist()


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_resumed_run_is_the_same_to_the_last_bit(cut):
    stages = optimizer_stages("lbfgs", num_steps=60, warmup_steps=20)
    rules = StopRules(patience=1000)
    snapshots: list[TrainingSnapshot] = []

    def keep(snapshot, _):
        snapshots.append(snapshot)
        return False

    whole = minimize(rosenbrock, START, stages, stop_rules=rules, observer=keep)
    middle = snapshots[min(cut, len(snapshots) - 2)]
    rest = minimize(rosenbrock, START, stages, stop_rules=rules, snapshot=middle)
    np.testing.assert_array_equal(whole.parameters["x"], rest.parameters["x"])
    assert whole.value == rest.value
    assert whole.steps == rest.steps


def scaled(scale, parameters):
    return scale * jnp.sum((parameters["x"] - 3.0) ** 2)


def test_second_call_does_not_recompile():
    stages = optimizer_stages("lbfgs", num_steps=30, warmup_steps=10)
    minimize(Partial(scaled, jnp.asarray(1.0)), START, stages)
    compiled = run_piece._cache_size()
    minimize(
        Partial(scaled, jnp.asarray(2.0)),
        {"x": jnp.array([5.0, 5.0])},
        optimizer_stages("lbfgs", num_steps=40, warmup_steps=10),
        stop_rules=StopRules(target=1e-3, patience=17),
        record_every=7,
    )
    assert run_piece._cache_size() == compiled


@pytest.mark.parametrize("name", ["adam", "lbfgs"])
def test_all_pieces_of_a_stage_run_one_program(name):
    def narrow(parameters):  # a loss of its own, so that nothing is compiled before
        return 2.0 * rosenbrock(parameters)

    pieces = []

    def count(_, records):
        pieces.append(records.step.size)
        return False

    stages = optimizer_stages(name, num_steps=30, warmup_steps=0)
    compiled = run_piece._cache_size()
    minimize(narrow, START, stages, observer=count)
    assert len(pieces) > len(stages)
    assert run_piece._cache_size() == compiled + len(stages)


def test_float32_stays_float32():
    start = {"x": jnp.array([-1.2, 1.0], np.float32)}
    result = minimize(quadratic, start, [Stage("d", SGD, 20)])
    assert result.parameters["x"].dtype == np.float32


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda p: p["x"], "a real scalar"),
        (lambda p: jnp.sum(p["x"]) * np.complex128(1j), "a real scalar"),
        (lambda p: jnp.sum(p["x"]) * jnp.nan, "finite at the first parameters"),
    ],
)
def test_bad_losses_are_refused(loss, message):
    with pytest.raises(ValueError, match=message):
        minimize(loss, START, [Stage("d", SGD, 5)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: minimize(quadratic, START, []), "one stage or more"),
        (lambda: Stage("none", SGD, 0), "1 step or more"),
        (lambda: optimizer_stages("newton"), "one of the optimizers"),
        (lambda: optimizer_stages(num_steps=0), "1 step or more"),
        (lambda: optimizer_stages(learning_rate=-1.0), "learning rate > 0"),
        (lambda: StopRules(target=float("nan")), "target >= 0"),
        (lambda: StopRules(patience=0), "patience"),
        (lambda: StopRules(time_limit=0.0), "time limit"),
    ],
)
def test_bad_options_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_every_outcome_has_a_sentence():
    assert all(outcome.sentence for outcome in Outcome)


@pytest.mark.parametrize("record_every", [0, -1])
def test_records_at_no_distance_are_refused(record_every):
    stages = optimizer_stages("adam", num_steps=3)
    with pytest.raises(ValueError, match="1 step or more from one record to the next"):
        minimize(jnp.sum, jnp.ones(2), stages, record_every=record_every)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"warmup_steps": -5}, "warmup_steps >= 0, got -5"),
        ({"memory_size": 0}, "memory_size >= 1, got 0"),
    ],
)
def test_bad_options_of_optimizers_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        optimizer_stages("lbfgs", num_steps=10, **options)
