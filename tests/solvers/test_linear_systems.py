"""Many linear systems: solutions, outcomes, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.failures import RunFailure
from physml.operators import as_operator
from physml.parallel import ShardedCommunicator
from physml.solvers import solve_linear_systems

METHODS = ("conjugate_gradient", "minimal_residual")
RNG = np.random.default_rng(0)


def with_levels(levels, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    n = len(levels)
    matrix = rng.normal(size=(n, n)).astype(dtype)
    if dtype is np.complex128:
        matrix = matrix + 1j * rng.normal(size=(n, n))
    rotation = np.linalg.qr(matrix)[0]
    matrix = (rotation * levels) @ rotation.conj().T
    return (matrix + matrix.conj().T) / 2


def rows(m, n, dtype=np.float64):
    vectors = RNG.normal(size=(m, n)).astype(dtype)
    return vectors + 1j * RNG.normal(size=(m, n)) if dtype is np.complex128 else vectors


SPECTRA = {
    "definite": np.linspace(0.5, 5, 30),
    "degenerate": np.repeat([1.0, 2.0, 7.0], 10),
    "wide": np.logspace(-2, 2, 30),
    "indefinite": np.concatenate([-np.linspace(1, 3, 15), np.linspace(0.5, 4, 15)]),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_solutions_are_those_of_lapack(method, dtype, spectrum):
    if (method, spectrum) == ("conjugate_gradient", "indefinite"):
        pytest.skip("tested below")
    matrix, b = with_levels(SPECTRA[spectrum], dtype), rows(4, 30, dtype)
    found = solve_linear_systems(matrix, b, method=method, tolerance=1e-11)
    exact = np.linalg.solve(matrix, b.T).T
    np.testing.assert_allclose(found.solution, exact, atol=1e-8 * np.abs(exact).max())
    assert found.relative_residual.max() <= 1e-11
    assert "4 converged" in found.outcome
    if spectrum == "degenerate":
        assert found.num_iterations.max() <= 4  # as many as there are levels


@pytest.mark.parametrize("method", METHODS)
def test_each_system_ends_by_itself(method):
    """One level, two, all; and b = 0."""
    matrix = np.diag(np.arange(1.0, 21))
    b = np.zeros((4, 20))
    b[0, 3], b[1, [2, 8]], b[2] = 1, 1, 1
    found = solve_linear_systems(matrix, b, method=method)
    assert found.num_iterations[0] == 1
    assert found.num_iterations[1] == 2
    assert found.num_iterations[2] > 10
    assert found.num_iterations[3] == 0
    np.testing.assert_array_equal(found.solution[3], 0)
    assert found.converged.all()


def test_conjugate_gradients_notice_an_indefinite_operator():
    matrix = with_levels(SPECTRA["indefinite"])
    with pytest.raises(
        RunFailure, match=r"not positive definite; use minimal_residual"
    ):
        solve_linear_systems(matrix, rows(2, 30))
    # (b, A b) = 0 in the first step
    b = np.array([[1.0, 1.0], [1.0, 0.0]])
    found = solve_linear_systems(np.diag([1.0, -1.0]), b, on_failure="return")
    np.testing.assert_array_equal(found.converged, [False, True])
    np.testing.assert_array_equal(found.is_indefinite, [True, False])
    assert np.isfinite(found.solution).all()


def test_a_zero_diagonal_is_no_trouble_for_minimal_residuals():
    """Two sites and a hopping: alpha = 0 in each step."""
    hopping = np.array([[0.0, -1.0], [-1.0, 0.0]])
    found = solve_linear_systems(hopping, np.eye(2), method="minimal_residual")
    np.testing.assert_allclose(found.solution, -np.eye(2)[::-1], atol=1e-15)


@pytest.mark.parametrize("method", METHODS)
def test_a_singular_operator_has_an_outcome(method):
    matrix = np.diag([0.0, 1.0, 2.0])
    found = solve_linear_systems(
        matrix, np.array([[1.0, 1, 1], [0, 1, 1]]), method=method, on_failure="return"
    )
    np.testing.assert_array_equal(found.converged, [False, True])
    assert np.isfinite(found.solution).all()
    np.testing.assert_allclose(found.solution[1], [0, 1, 0.5], atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_limit_on_iterations(method):
    matrix = with_levels(SPECTRA["wide"])
    with pytest.raises(RunFailure, match=r"5 failed, numbers 0 .*and 2 more"):
        solve_linear_systems(matrix, rows(5, 30), method=method, max_iterations=3)


@pytest.mark.parametrize("method", METHODS)
def test_nan_in_the_operator_never_passes(method):
    @jax.jit
    def solve(value):
        operator = as_operator(lambda v, x: x * v, value, size=3, dtype=float)
        return solve_linear_systems(operator, jnp.ones((2, 3)), method=method)

    assert solve(2.0).converged.all()
    assert not solve(jnp.nan).converged.any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_derivatives_are_those_of_the_inverse(method, dtype):
    """With respect to A and b, against autodiff of a dense solution."""
    matrix, b = with_levels(SPECTRA["definite"][::5], dtype), rows(2, 6, dtype)
    weight = jnp.asarray(rows(2, 6, dtype))

    def loss(solve, scale, b):
        hermitian = jnp.asarray(matrix) * scale[:, None] * scale[None]
        return jnp.sum((weight * solve(hermitian, b)).real)

    def iterated(matrix, b):
        return solve_linear_systems(matrix, b, method=method, tolerance=1e-13).solution

    def dense(matrix, b):
        return jnp.linalg.solve(matrix, b.T).T

    point = jnp.linspace(1.0, 2.0, 6).astype(dtype), jnp.asarray(b)
    found = jax.jit(jax.grad(lambda *x: loss(iterated, *x), (0, 1)))(*point)
    exact = jax.grad(lambda *x: loss(dense, *x), (0, 1))(*point)
    for one, other in zip(found, exact, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_divided_over_ranks(method):
    communicator = ShardedCommunicator(jax.devices()[:1])
    matrix, b = with_levels(SPECTRA["definite"]), rows(3, 30)
    found = solve_linear_systems(matrix, b, method=method, communicator=communicator)
    np.testing.assert_allclose(
        found.solution, np.linalg.solve(matrix, b.T).T, rtol=1e-7
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"right_hand_sides": np.ones(3)}, r"shape \(num_systems, 3\)"),
        ({"right_hand_sides": np.full((1, 3), np.nan)}, "without NaN"),
        ({"operator": np.eye(3, k=1)}, "Hermitian"),
        ({"method": "gmres"}, "conjugate_gradient or minimal_residual"),
        ({"tolerance": 0.0}, "a tolerance > 0"),
        ({"max_iterations": 0}, "max_iterations >= 1"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"operator": np.eye(3), "right_hand_sides": np.ones((1, 3))} | change
    with pytest.raises(ValueError, match=message):
        solve_linear_systems(**arguments)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("unit", [1e-25, 1e22])
def test_small_and_large_numbers_in_single_precision(method, unit):
    """Their squares are zero or infinite, which once passed for converged."""
    matrix, b = with_levels(np.linspace(1, 3, 8)), rows(2, 8)
    exact = np.linalg.solve(matrix, b.T).T
    found = solve_linear_systems(
        matrix.astype(np.float32),
        (unit * b).astype(np.float32),
        method=method,
        tolerance=1e-5,
    )
    np.testing.assert_allclose(
        np.asarray(found.solution, float) / unit, exact, atol=1e-4
    )


def test_an_operator_in_joules_in_single_precision():
    matrix, b = with_levels(SPECTRA["indefinite"]), rows(2, 30)
    exact = np.linalg.solve(matrix, b.T).T
    small = (1e-22 * matrix).astype(np.float32)
    found = solve_linear_systems(
        small, b.astype(np.float32), method="minimal_residual", tolerance=1e-4
    )
    scaled = np.asarray(found.solution, float) * 1e-22
    np.testing.assert_allclose(scaled, exact, atol=1e-3 * np.abs(exact).max())


def test_integer_right_hand_sides_have_the_precision_of_the_operator():
    with jax.enable_x64(False):  # where a warning of a lost dtype is an error
        found = solve_linear_systems(np.diag([1.0, 2.0]), np.ones((1, 2), int))
    assert found.solution.dtype == np.float32
    np.testing.assert_array_equal(found.solution, [[1.0, 0.5]])
