"""Variable projection against the whole problem, and its derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.training import (
    SquaredLoss,
    VariableProjection,
    minimize,
    optimizer_stages,
)

X = jnp.linspace(0, 3, 25)
RATES = jnp.array([0.4, 2.0])


def decays(rates):
    return jnp.exp(-X[:, None] * rates[None])


def linear(rates):
    return decays(rates), decays(RATES) @ jnp.array([1.5, -0.7]) + 0.1 * jnp.cos(9 * X)


LOSS = VariableProjection(linear)
POINT = jnp.array([0.3, 1.1])


def test_value_is_that_of_the_best_coefficients():
    matrix, side = map(np.asarray, linear(POINT))
    best, squares, *_ = np.linalg.lstsq(matrix, side, rcond=None)
    assert float(LOSS(POINT)) == pytest.approx(squares[0], rel=1e-12)
    np.testing.assert_allclose(LOSS.coefficients(POINT), best, rtol=1e-10)
    assert isinstance(LOSS, SquaredLoss)


def test_gradient_is_that_of_the_eliminated_problem():
    def by_pseudoinverse(rates):
        matrix, side = linear(rates)
        return jnp.sum((matrix @ (jnp.linalg.pinv(matrix) @ side) - side) ** 2)

    exact = jax.grad(by_pseudoinverse)(POINT)
    np.testing.assert_allclose(jax.jit(jax.grad(LOSS))(POINT), exact, rtol=1e-9)
    triangle = jax.jit(LOSS.triangle)(POINT)  # |R (d, 1)|^2 has the same slope
    slope = 2 * triangle[:, :-1].T @ triangle[:, -1]
    np.testing.assert_allclose(slope, exact, rtol=1e-9)
    np.testing.assert_allclose(jnp.sum(triangle[:, -1] ** 2), LOSS(POINT))


def test_columns_that_coincide_or_vanish_do_no_harm():
    def redundant(rates):
        matrix, side = linear(rates)
        return jnp.concatenate([matrix, matrix[:, :1], 0 * matrix], axis=1), side

    loss = VariableProjection(redundant)
    assert float(loss(POINT)) == pytest.approx(float(LOSS(POINT)), rel=1e-10)
    expected = jax.grad(LOSS)(POINT)
    np.testing.assert_allclose(jax.grad(loss)(POINT), expected, rtol=1e-8)
    same = LOSS.coefficients(POINT)
    found = loss.coefficients(POINT)
    np.testing.assert_allclose(found[jnp.array([0, 2])], same[0] / 2, rtol=1e-9)
    assert jnp.isfinite(loss.triangle(POINT)).all()


def test_no_columns_leave_the_data():
    def nothing(rates):
        matrix, side = linear(rates)
        return matrix[:, :0], side

    side = linear(POINT)[1]
    assert float(VariableProjection(nothing)(POINT)) == pytest.approx(side @ side)


def test_vmap_over_parameters():
    points = jnp.stack([POINT, 2 * POINT])
    each = [float(LOSS(point)) for point in points]
    np.testing.assert_allclose(jax.vmap(LOSS)(points), each, rtol=1e-10)


@pytest.mark.parametrize("name", ["levenberg_marquardt", "lbfgs"])
def test_optimizers_find_the_rates(name):
    def exact(rates):
        return decays(rates), decays(RATES) @ jnp.array([1.5, -0.7])

    stages = optimizer_stages(name, num_steps=80, warmup_steps=0)
    result = minimize(VariableProjection(exact), POINT, stages, record_every=5)
    tolerance = 1e-9 if name == "levenberg_marquardt" else 1e-4
    np.testing.assert_allclose(result.parameters, RATES, atol=tolerance)


def test_complex_rows_count_as_their_real_and_imaginary_parts():
    def complex_linear(rate):
        rows = jnp.exp(-rate * 1j * jnp.linspace(0.1, 1, 5))[:, None]
        return rows, jnp.exp(-2j * jnp.linspace(0.1, 1, 5))

    def real_linear(rate):
        rows, side = complex_linear(rate)
        stacked = jnp.concatenate([rows.real, rows.imag])
        return stacked, jnp.concatenate([side.real, side.imag])

    rate = jnp.array(1.3)
    pair = VariableProjection(complex_linear), VariableProjection(real_linear)
    np.testing.assert_allclose(*(loss(rate) for loss in pair), rtol=1e-14)
    np.testing.assert_allclose(*(loss.triangle(rate) for loss in pair), atol=1e-14)
    assert not jnp.iscomplexobj(pair[0].coefficients(rate))
