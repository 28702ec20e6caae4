"""The scalars of all shifts against the tridiagonal systems that they solve."""

import jax.numpy as jnp
import numpy as np
import pytest

from physml.solvers.continued_fraction import fraction_chunk, fraction_start
from physml.solvers.lanczos import LanczosSteps
from physml.solvers.shifted_recurrence import shifted_chunk, shifted_start

RNG = np.random.default_rng(0)
K = 7
DIAGONAL, COUPLING = RNG.normal(size=K), RNG.uniform(0.5, 2.0, size=K)
ELEMENTS = RNG.normal(size=(K, 3)) + 1j * RNG.normal(size=(K, 3))
SHIFTS = np.array([0.3 + 0.4j, -2.0 - 0.01j, 7.0, 0.1, 1e3j, -1e8])


def solved(shifts, *, a=DIAGONAL, b=COUPLING, elements=ELEMENTS, tolerance=0.0):
    """Run the recurrence; elements None means the row u = b."""
    lower = jnp.concatenate([jnp.zeros(1), jnp.asarray(b[:-1])])
    steps = LanczosSteps(
        jnp.asarray(a), jnp.asarray(b), jnp.ones(len(a), bool), None, lower
    )
    z, tolerance = jnp.asarray(shifts, complex), jnp.asarray(tolerance)
    if elements is None:
        return fraction_chunk(fraction_start(z, ()), z, steps, tolerance)
    steps = steps._replace(elements=jnp.asarray(elements))
    start = shifted_start(z, (), elements.shape[1])
    return shifted_chunk(start, z, steps, tolerance)


def least_residual(z, a=DIAGONAL, b=COUPLING):
    """Return the y of least |e_0 - (z - T) y| that solves all rows but the last two.

    T has a further row, which holds b_k+1 alone.
    """
    k = len(a)
    extended = np.zeros((k + 1, k), complex)
    extended[:k] = z * np.eye(k) - np.diag(a) - np.diag(b[:-1], 1) - np.diag(b[:-1], -1)
    extended[k, k - 1] = -b[-1]
    unit = np.eye(k + 1)[0]
    rows = extended[: k - 1]
    y = np.linalg.lstsq(rows, unit[: k - 1].astype(complex))[0]
    null = np.linalg.svd(rows)[2][-1].conj()  # the one free number
    rest = unit - extended @ y
    along = extended @ null
    y = y + null * np.vdot(along, rest) / np.vdot(along, along)
    return y, np.linalg.norm(unit - extended @ y)


@pytest.mark.parametrize("z", SHIFTS)
def test_value_and_residual_are_those_of_the_least_residual(z):
    state = solved([z])
    y, residual = least_residual(z)
    np.testing.assert_allclose(
        np.sqrt(state.residual_squared[0]), residual, rtol=1e-9, atol=1e-14
    )
    bound = 1e-12 * np.abs(ELEMENTS).max() * np.linalg.norm(y)
    np.testing.assert_allclose(state.value[:, 0], ELEMENTS.T @ y, atol=bound)


@pytest.mark.parametrize("z", SHIFTS)
def test_the_row_of_the_column_needs_no_elements(z):
    unit = np.eye(K)[:, :1]
    np.testing.assert_allclose(
        solved([z], elements=None).value, solved([z], elements=unit).value, rtol=1e-12
    )


def test_agrees_with_the_lines_of_table_iii():
    """Published, in the Lanczos form: D, w, pi; they exist where Im z is not zero."""
    z, b = SHIFTS[:2], np.concatenate([[0.0], COUPLING])
    d, w, pi, value = 1.0, np.ones(2, complex), np.zeros((3, 2)), 0.0
    a = np.concatenate([DIAGONAL, RNG.normal(size=60)])
    b = np.concatenate([b, RNG.uniform(0.01, 0.02, size=60)])
    u = np.concatenate([ELEMENTS, RNG.normal(size=(60, 3))])
    for k in range(len(a)):
        ratio = b[k] / d
        d = z - a[k] - b[k] * ratio
        w = w * (ratio if k else 1.0)
        pi = u[k][:, None] + ratio * pi
        value = value + w / d * pi
    state = solved(z, a=a, b=b[1:], elements=u)
    assert np.sqrt(state.residual_squared).max() < 1e-14
    np.testing.assert_allclose(state.value, value, rtol=1e-12)


def test_nothing_breaks_where_the_shift_is_a_ritz_value():
    """p_1(0) = 0, p_3(0) = 0, ...: Galerkin's solution does not exist every other step.

    Between the poles of one site with the levels +-1 the exact G is 0.
    """
    state = solved([0.0], a=np.zeros(2), b=np.array([1.0, 1e-30]), elements=None)
    np.testing.assert_allclose(state.value, 0.0, atol=1e-30)
    assert state.residual_squared < 1e-59
    odd = solved([0.0], a=np.zeros(3), b=np.ones(3), elements=None)
    np.testing.assert_allclose(odd.residual_squared, 1.0)
    assert np.isfinite(odd.value).all()


def test_an_exhausted_space_gives_the_exact_solution():
    b = COUPLING.copy()
    b[-1] = 0.0
    state = solved(SHIFTS[:4], b=b)
    t = np.diag(DIAGONAL) + np.diag(b[:-1], 1) + np.diag(b[:-1], -1)
    for z, value in zip(SHIFTS, state.value.T, strict=False):
        y = np.linalg.solve(z * np.eye(K) - t, np.eye(K)[0].astype(complex))
        np.testing.assert_allclose(value, ELEMENTS.T @ y, rtol=1e-12)
    np.testing.assert_array_equal(state.residual_squared, 0.0)


def test_a_shift_stops_at_its_own_residual():
    state = solved([1e6, 10.0, 0.1], tolerance=1e-3)
    residual = np.sqrt(state.residual_squared)
    np.testing.assert_array_equal(state.num_steps, [1, state.num_steps[1], K])
    assert 1 < state.num_steps[1] < K
    assert (residual[:2] <= 1e-3).all()
    assert residual[2] > 1e-3
    stopped = int(state.num_steps[1])
    short = solved(
        [10.0],
        a=DIAGONAL[:stopped],
        b=COUPLING[:stopped],
        elements=ELEMENTS[:stopped],
    )
    np.testing.assert_allclose(state.value[:, 1], short.value[:, 0], rtol=1e-14)


def test_huge_shifts_do_not_overflow():
    z = np.array([1e60, 1e60j])
    np.testing.assert_allclose(
        solved(z, elements=None, tolerance=1e-10).value[0] * z, 1.0, rtol=1e-14
    )
