"""Krylov spaces against sums over eigenvectors, where methods like this break."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.failures import RunFailure
from physml.greens_functions import greens_function as by_any_method
from physml.hamiltonians.tight_binding import impurity_chain
from physml.operators import as_operator
from physml.solvers.reduced_shifted_krylov import BLOCK, reduced_shifted_krylov

greens_function = partial(by_any_method, method="krylov")
EPS = np.finfo(np.float64).eps
LINE = np.linspace(-3, 3, 7)
MATSUBARA = 1j * np.pi * 0.05 * (2 * np.arange(-300, 300) + 1)
TEMPERATURE = 1e-3


def chain(n, *, is_ring=False, phase=0.0):
    hop = -np.exp(1j * phase) if phase else -1.0
    matrix = np.diag(np.full(n - 1, hop), 1)
    if is_ring:
        matrix[-1, 0] = hop
    return matrix + matrix.conj().T


def rotated(levels, seed=0):
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(len(levels),) * 2))[0]
    matrix = (q * levels) @ q.T
    return (matrix + matrix.T) / 2


def blocks(*matrices):
    n = sum(map(len, matrices))
    whole, start = np.zeros((n, n)), 0
    for matrix in matrices:
        whole[start : start + len(matrix), start : start + len(matrix)] = matrix
        start += len(matrix)
    return whole


def levels_between(matrix):
    levels = np.linalg.eigvalsh(matrix)
    return (levels[1:] + levels[:-1]) / 2


CASES = {
    "both signs, no on-site energy": (chain(60, is_ring=True), MATSUBARA),
    "real, outside of the spectrum": (chain(40), [-5.0, 3.0, 2.01, -1e6]),
    "real, between the levels": (chain(20), levels_between(chain(20))),
    "near to the real axis": (chain(50), LINE + 1e-9j),
    "one site": (np.array([[2.0]]), [1.0, 1j]),
    "zero": (np.zeros((5, 5)), [1.0, 1j, -2.0 + 1e-8j]),
    "constant": (3.0 * np.eye(5), [1.0, 1j, 1e9]),
    "three levels of twenty": (rotated(np.repeat([1.0, 2, 3], 20)), [0.0, 1.5, 2 + 1j]),
    "two blocks": (blocks(chain(10), 5 * chain(7)), [0.1 + 0.1j, -0.3j, 20.0]),
    "twelve orders": (
        rotated(10.0 ** np.linspace(-6, 6, 30)),
        np.array([1j, -1j, -1.0]) * 10.0 ** np.arange(-1, 7)[:, None],
    ),
    "twelve orders, a chain": (
        np.diag(10.0 ** np.linspace(-6, 6, 30)) + 1e-7 * chain(30),
        1j * 10.0 ** np.arange(-6, 7),
    ),
    "complex, with a flux": (chain(30, is_ring=True, phase=0.3), LINE + 0.1j),
    "complex, dense": (
        rotated(np.arange(20))
        + 1j * np.triu(np.ones((20, 20)), 1)
        - 1j * np.tri(20, k=-1),
        LINE - 0.05j,
    ),
}


def by_eigenvectors(matrix, z, row, column):
    """Return G, and |(z - H)^-1| for each z."""
    levels, vectors = np.linalg.eigh(matrix)
    z = np.asarray(z)[:, None]
    left = np.eye(len(matrix))[row] @ vectors
    right = vectors.conj().T @ np.eye(len(matrix))[column]
    return (left * right / (z - levels)).sum(1), np.abs(1 / (z - levels)).max(1)


def error_bound(matrix, result, norm):
    """Return what the residuals allow, and the rounding of both calculations."""
    rounding = 50 * EPS * (1 + np.linalg.norm(matrix, 2) * norm)
    return norm * (np.asarray(result.relative_residual) + rounding)


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("case", CASES)
def test_elements_are_the_sums_over_eigenvectors(case, row):
    matrix, z = CASES[case]
    z, row = np.ravel(z), min(row, len(matrix) - 1)
    result = greens_function(matrix, z, row=row, column=0)
    exact, norm = by_eigenvectors(matrix, z, row, 0)
    assert result.converged.all()
    error = np.abs(np.asarray(result.value) - exact)
    assert (error <= error_bound(matrix, result, norm)).all()


@pytest.mark.parametrize("row", [499, 470])
def test_the_reference_chain_where_orthogonality_is_long_lost(row):
    """A thousand sites, 970 iterations."""
    operator = impurity_chain()
    z = np.linspace(-2.5, 3, 100)[::11] + 0.05j
    result = greens_function(operator, z, row=row, column=499, tolerance=1e-12)
    exact, _ = by_eigenvectors(operator.to_sparse().toarray(), z, row, 499)
    assert result.num_iterations.max() > 970
    np.testing.assert_allclose(result.value, exact, atol=1e-10)


def test_the_reference_value():
    z = [np.linspace(-2.5, 3, 100)[50] + 0.05j]
    value = greens_function(impurity_chain(), z, column=499).value
    np.testing.assert_allclose(value, -0.2314357042 - 0.1530990239j, atol=1e-10)


def test_an_infinite_chain():
    """1 / sqrt(z^2 - 4 t^2): the ends are beyond the reach of exp(-kappa n)."""
    z = np.array([0.5 + 0.5j, -1.0 - 0.5j, 3.0])
    value = greens_function(chain(201), z, column=100).value
    exact = 1 / (z * np.sqrt(1 - 4 / z**2))
    np.testing.assert_allclose(value, exact, atol=1e-12)


def test_ten_thousand_frequencies_in_many_blocks():
    n, z = 50, 1j * np.pi * TEMPERATURE * (2 * np.arange(20_000) + 1)
    assert len(z) > 2 * BLOCK
    result = greens_function(chain(n, is_ring=True), z, column=0)
    k = 2 * np.pi * np.arange(n) / n
    exact = (1 / (z[:, None] + 2 * np.cos(k))).mean(1)
    bound = np.asarray(result.relative_residual) / np.abs(z) + 50 * EPS / np.abs(z)
    assert (np.abs(np.asarray(result.value) - exact) <= bound).all()
    assert result.num_iterations[-1] < result.num_iterations[0]


@pytest.mark.parametrize("row", ["site", "sites", "vector", "vectors", "column"])
def test_rows_are_sites_or_vectors(row):
    """A vector u stands for conj(u)^T."""
    matrix, z = chain(12, phase=0.4), LINE + 0.3j
    rng = np.random.default_rng(0)
    u, b = rng.normal(size=(3, 12)), rng.normal(size=12) + 1j * rng.normal(size=12)
    u = u + 1j * rng.normal(size=(3, 12))
    x = np.linalg.inv(z[:, None, None] * np.eye(12) - matrix) @ b  # (num_z, n)
    given, exact = {
        "site": (3, x[:, 3]),
        "sites": ([3, 0], x[:, [3, 0]]),
        "vector": (u[0], x @ u[0].conj()),
        "vectors": (u, x @ u.conj().T),
        "column": (None, x @ b.conj()),
    }[row]
    value = greens_function(matrix, z, row=given, column=b).value
    np.testing.assert_allclose(value, exact, atol=1e-8)


@pytest.mark.parametrize("z", [[3, -3], np.float32([3.0, -3.0]), [3.0, -3.0 + 0j]])
def test_z_has_any_dtype(z):
    value = greens_function(chain(2), z, column=0).value
    assert value.dtype == np.complex128
    np.testing.assert_allclose(value, [3 / 8, -3 / 8], rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_single_precision_stays_single(dtype):
    matrix, z = chain(30).astype(dtype), (LINE + 0.1j).astype(np.complex64)
    result = greens_function(matrix, z, row=3, column=0, tolerance=1e-5)
    assert result.value.dtype == np.complex64
    exact, norm = by_eigenvectors(matrix.astype(np.complex128), z, 3, 0)
    assert (np.abs(np.asarray(result.value) - exact) <= 2e-5 * norm).all()


def test_true_residuals_are_those_of_the_recurrence():
    z = np.concatenate([LINE + 0.1j, LINE[:4] - 0.02j])
    result = greens_function(
        rotated(np.arange(40) / 8 - 2.5), z, row=2, column=1, true_residuals=True
    )
    np.testing.assert_allclose(
        result.true_residual, result.relative_residual, atol=1e-13
    )


def test_jit_and_vmap_over_potentials():
    potentials = np.random.default_rng(0).normal(size=(3, 20))

    def value(potential):
        matrix = jnp.diag(potential) + chain(20)
        return greens_function(matrix, LINE + 0.1j, row=[0, 4], column=0).value

    together = jax.jit(jax.vmap(value))(potentials)
    for potential, found in zip(potentials, together, strict=True):
        np.testing.assert_allclose(found, value(potential), atol=1e-9)


def test_columns_together_are_columns_alone():
    matrix, z = rotated(np.linspace(-2, 2, 25)), jnp.asarray(LINE + 0.1j)
    limits = {"tolerance": 1e-10, "max_iterations": 200}
    operator, rows = as_operator(matrix), jnp.array([1, 2])
    together = reduced_shifted_krylov(operator, z, jnp.eye(25)[:4], rows, **limits)
    for i in range(4):
        alone = greens_function(matrix, z, row=[1, 2], column=i)
        np.testing.assert_allclose(together.value[i], alone.value, atol=1e-9)


def test_a_second_call_compiles_nothing():
    before = None
    for scale, limit in ((1.0, 50), (2.0, 60)):
        greens_function(scale * chain(9), LINE + 0.1j, column=2, max_iterations=limit)
        count = reduced_shifted_krylov._cache_size()
        assert before in (None, count)
        before = count


def test_the_limit_on_iterations_names_the_shifts():
    call = {"operator": chain(100), "z": [0.1 + 0.01j, 50.0], "column": 0}
    with pytest.raises(RunFailure, match=r"1 of 2 shifts .*, z = 0.1\+0.01j .*20"):
        greens_function(**call, max_iterations=20)
    result = greens_function(**call, max_iterations=20, on_failure="return")
    np.testing.assert_array_equal(result.converged, [False, True])
    assert result.num_iterations[0] == 20
    assert result.relative_residual[0] > 1e-10
    assert "raise max_iterations" in result.outcome
    assert "converged: 2 shifts" in greens_function(**call).outcome


@pytest.mark.parametrize("matrix", [chain(2), np.zeros((2, 2)) + np.eye(2)])
def test_z_on_the_spectrum_is_named(matrix):
    with pytest.raises(
        ValueError, match=r"z = 1\+0j .* eigenvalue .* off the spectrum"
    ):
        greens_function(matrix, [1.0, 2.0], column=0)


BAD = {
    "Hermitian": {"operator": np.triu(np.ones((4, 4)))},
    "finite elements": {"operator": np.diag([1.0, np.nan, 0, 0])},
    r"z of shape \(num_z,\)": {"z": 1j},
    "z without NaN": {"z": [np.nan]},
    "column from 0 to 3": {"column": 4},
    "row from 0 to 3": {"row": [0, -1]},
    r"column on 4 sites, got shape \(3,\)": {"column": np.ones(3)},
    "one column": {"column": [0, 1]},
    "row on 4 sites": {"row": np.ones((2, 5))},
    "a row without NaN": {"row": np.full(4, np.inf)},
    "sites as a row": {"row": [[0]]},
    "tolerance > 0": {"tolerance": 0.0},
    "max_iterations >= 1": {"max_iterations": 0},
    "'raise' or 'return'": {"on_failure": "ignore"},
}


@pytest.mark.parametrize("words", BAD)
def test_bad_input_is_refused_in_one_sentence(words):
    good = {"operator": chain(4), "z": [1j], "column": 0}
    with pytest.raises(ValueError, match=f"Expected .*{words}"):
        greens_function(**(good | BAD[words]))


@pytest.mark.parametrize(
    ("dtype", "unit"),
    [(np.float64, 1e-300), (np.float64, 1e200), (np.float32, 1e-19)],
)
@pytest.mark.parametrize("row", [0, 1])
def test_no_unit_of_energy_leaves_the_range_of_numbers(dtype, unit, row):
    """Joules in single precision, whose squares are zero."""
    z = np.array([0.3 + 0.1j, 5.0])
    exact, _ = by_eigenvectors(chain(20), z, row, 0)
    matrix, z = (unit * chain(20)).astype(dtype), unit * z
    z = z.astype(np.result_type(dtype, np.complex64))
    result = greens_function(matrix, z, row=row, column=0, tolerance=1e-4)
    found = np.asarray(result.value, complex) * unit
    np.testing.assert_allclose(found, exact, rtol=2e-4)


@pytest.mark.parametrize("z", [1e-300, 1e-160j, 1e200])
def test_an_operator_of_zeros_has_no_unit_of_energy(z):
    result = greens_function(np.zeros((3, 3)), [z], column=0)
    np.testing.assert_allclose(result.value, [1 / z], rtol=1e-14)
