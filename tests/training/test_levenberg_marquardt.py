"""Least squares whose solution is known, through the loop of all other training."""

import jax
import jax.numpy as jnp
import numpy as np
import optimistix
import pytest
import scipy.optimize
from jax.tree_util import Partial

from physml.training import (
    Outcome,
    Regression,
    Stage,
    StopRules,
    SumOfSquares,
    TrainingSnapshot,
    load_checkpoint,
    minimize,
    optimizer_stages,
    save_checkpoint,
)
from physml.training.compiled_loop import run_piece, state_template
from physml.training.levenberg_marquardt import (
    least_squares_optimizer,
    levenberg_marquardt,
)

STAGES = optimizer_stages("levenberg_marquardt", num_steps=200)
RULES = StopRules(patience=15)
OPTIONS = {"stop_rules": RULES, "record_every": 1}

TIMES = jnp.linspace(0.0, 4.0, 40)
AMPLITUDES = jnp.array([2.0, -1.5])
RATES = jnp.array([0.5, 1.9])


def rosenbrock(x):
    return jnp.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])


def exponentials(parameters, times):
    decays = jnp.exp(-jnp.outer(times, parameters["rates"]))
    return decays @ parameters["amplitudes"]


def exponential_fit(**options):
    exact = {"amplitudes": AMPLITUDES, "rates": RATES}
    targets = exponentials(exact, TIMES)
    return Regression(exponentials, TIMES, targets, **options)


START = {"amplitudes": jnp.array([1.0, -1.0]), "rates": jnp.array([0.2, 3.0])}


def test_rosenbrock_is_solved_to_rounding():
    result = minimize(
        SumOfSquares(rosenbrock), jnp.array([-1.2, 1.0]), STAGES, **OPTIONS
    )
    assert result.outcome is Outcome.CONVERGED  # the residuals are exactly zero
    np.testing.assert_allclose(result.parameters, 1.0, rtol=1e-13)
    assert result.steps < 50


@pytest.mark.parametrize("chunk_size", [None, 7])
def test_decay_rates_are_recovered(chunk_size):
    loss = exponential_fit(chunk_size=chunk_size).loss()
    result = minimize(loss, START, STAGES, **OPTIONS)
    np.testing.assert_allclose(result.parameters["rates"], RATES, rtol=1e-12)
    np.testing.assert_allclose(result.parameters["amplitudes"], AMPLITUDES, rtol=1e-12)


def test_the_minimum_with_noise_is_that_of_scipy():
    """The loss is quadratic there: parameters agree to the root of its rounding."""
    noise = 0.01 * np.random.default_rng(0).normal(size=TIMES.size)
    problem = exponential_fit()
    targets = problem.targets + jnp.asarray(noise)
    loss = Regression(exponentials, TIMES, targets).loss()
    result = minimize(loss, START, STAGES, **OPTIONS)

    def residuals(x):
        return (np.exp(-np.outer(TIMES, x[2:])) @ x[:2] - targets) / np.sqrt(40)

    exact = scipy.optimize.least_squares(
        residuals, [1.0, -1.0, 0.2, 3.0], xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    np.testing.assert_allclose(result.value, 2 * exact.cost, rtol=1e-12)
    found = np.concatenate(list(result.parameters.values()))
    np.testing.assert_allclose(found, exact.x, rtol=1e-6)


def test_triangle_of_chunks_is_that_of_the_jacobian():
    """R^T R = (J r)^T (J r), with rows of several outputs and a padded last chunk."""

    def outputs(p, x):  # (samples, 2)
        return jnp.stack([jnp.sin(p[0] * x) + p[1], p[0] * p[2] * x], axis=1)

    x, p = jnp.linspace(0.1, 1, 11), jnp.array([0.3, -0.4, 1.5])
    targets = jnp.ones((11, 2))
    jacobian = jax.jit(jax.jacfwd(lambda p: outputs(p, x).ravel()))(p)
    rows = np.column_stack([jacobian, (outputs(p, x) - targets).ravel()]) / np.sqrt(22)
    gradient = 2 * rows[:, :3].T @ rows[:, -1]
    for chunk_size in (None, 4):
        loss = Regression(outputs, x, targets, chunk_size=chunk_size).loss()
        triangle = jax.jit(loss.triangle)(p)
        np.testing.assert_allclose(triangle.T @ triangle, rows.T @ rows, atol=1e-15)
        assert triangle.shape == (4, 4)
        value, found = jax.jit(jax.value_and_grad(loss))(p)
        np.testing.assert_allclose(value, np.sum(rows[:, -1] ** 2), rtol=1e-14)
        np.testing.assert_allclose(found, gradient, rtol=1e-13)


@pytest.mark.parametrize("derivative", ["forward", "reverse"])
def test_complex_residuals_count_real_and_imaginary_parts(derivative):
    """|e^(i x) y - 2i|^2 is zero at x = pi / 2, y = 2; two residuals, one row free."""

    def residual(p):
        return p["y"] * jnp.exp(1j * p["x"]) - 2j

    loss = SumOfSquares(residual, derivative)
    start = {"x": jnp.array(1.0), "y": jnp.array(1.0)}
    result = minimize(loss, start, STAGES, **OPTIONS)
    np.testing.assert_allclose(result.parameters["x"], np.pi / 2, rtol=1e-13)
    np.testing.assert_allclose(result.parameters["y"], 2.0, rtol=1e-13)


def test_redundant_parameters_make_no_harm():
    """In a b x only the product counts, c not at all: J^T J has rank 1 of 3."""
    x = jnp.linspace(-1, 1, 9)
    targets = 6 * x + jnp.cos(7 * x + 1)
    loss = Regression(lambda p, x: p[0] * p[1] * x, x, targets).loss()
    rules = StopRules(patience=100)
    result = minimize(loss, jnp.array([1.0, 2.0, 5.0]), STAGES, stop_rules=rules)
    assert result.steps >= 100  # far beyond the solution
    exact = np.dot(x, targets) / np.dot(x, x)
    product = result.parameters[0] * result.parameters[1]
    np.testing.assert_allclose(product, exact, rtol=1e-12)
    assert result.parameters[2] == 5.0


def test_steps_into_values_that_are_not_finite_are_taken_back():
    """Gauss-Newton would step to x < 0, where the logarithm is NaN."""
    loss = SumOfSquares(lambda x: jnp.log(x) + 1)
    result = minimize(loss, jnp.array([20.0]), STAGES, **OPTIONS)
    np.testing.assert_allclose(result.parameters, np.exp(-1), rtol=1e-13)


def test_a_jacobian_that_is_not_finite_is_an_outcome():
    loss = SumOfSquares(lambda x: jnp.sqrt(x) + 1)
    result = minimize(
        loss, jnp.zeros(1), STAGES, measure=lambda x: jnp.sum(x) + 1, **OPTIONS
    )
    assert result.outcome is Outcome.NON_FINITE
    assert result.parameters == 0.0
    with pytest.raises(ValueError, match="finite at the first parameters"):
        minimize(SumOfSquares(lambda x: jnp.log(x)), jnp.zeros(1), STAGES)


def test_fit_resumed_from_a_file_is_the_same_to_the_last_bit(tmp_path):
    loss, snapshots = exponential_fit(chunk_size=7).loss(), []

    def keep(snapshot, _):
        snapshots.append(snapshot)
        return False

    options = {"stop_rules": RULES, "record_every": 8}
    whole = minimize(loss, START, STAGES, observer=keep, **options)
    save_checkpoint(tmp_path, snapshots[0].state, {})
    template = state_template(START, loss(START).dtype, STAGES[0])
    middle = TrainingSnapshot(0, load_checkpoint(tmp_path, template))
    rest = minimize(loss, None, STAGES, snapshot=middle, **options)
    assert whole.steps == rest.steps > middle.state.step == 8
    for name in START:
        np.testing.assert_array_equal(whole.parameters[name], rest.parameters[name])


def scaled(scale, x):
    return scale * rosenbrock(x)


def test_second_call_does_not_recompile():
    first = SumOfSquares(Partial(scaled, jnp.array(1.0)))
    minimize(first, jnp.zeros(2), STAGES)
    minimize(exponential_fit().loss(), START, STAGES)
    compiled = run_piece._cache_size()
    stages = optimizer_stages("levenberg_marquardt", num_steps=30)
    other = SumOfSquares(Partial(scaled, jnp.array(2.0)))
    minimize(other, jnp.ones(2), stages, record_every=3)
    minimize(exponential_fit().loss(), START, stages, record_every=3)
    assert run_piece._cache_size() == compiled


def test_other_solvers_of_optimistix_have_the_same_face():
    solver = optimistix.Dogleg(rtol=0.0, atol=0.0)
    stages = [Stage("Dogleg", least_squares_optimizer(solver), 50)]
    result = minimize(
        SumOfSquares(rosenbrock), jnp.array([-1.2, 1.0]), stages, **OPTIONS
    )
    np.testing.assert_allclose(result.parameters, 1.0, rtol=1e-13)


def test_float32_stays_float32():
    x = jnp.linspace(-1, 1, 9, dtype=np.float32)
    loss = Regression(lambda p, x: jnp.sin(p[0] * x), x, jnp.sin(2 * x)).loss()
    result = minimize(loss, jnp.ones(1, np.float32), STAGES, **OPTIONS)
    assert result.parameters.dtype == np.float32
    np.testing.assert_allclose(result.parameters, 2.0, rtol=1e-5)


def test_what_is_no_sum_of_squares_is_refused():
    with pytest.raises(ValueError, match="a sum of squares for Levenberg-Marquardt"):
        minimize(lambda x: jnp.sum(x**2), jnp.ones(2), STAGES)
    problem = exponential_fit()
    batches = problem.batch_loss(5, jax.random.key(0))
    stages = [Stage("Levenberg-Marquardt", levenberg_marquardt(), 10, batches)]
    with pytest.raises(ValueError, match="and no batch_loss"):
        minimize(problem.loss(), START, stages)
    with pytest.raises(TypeError, match="real parameters"):
        minimize(SumOfSquares(lambda z: z), jnp.ones(1, complex), STAGES)
    with pytest.raises(ValueError, match="chunks of 1 sample"):
        exponential_fit(chunk_size=0)
