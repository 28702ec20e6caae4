"""Hermitian operators of every kind pass; the smallest asymmetry that matters fails."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from physml.hamiltonians import bogoliubov_de_gennes, tight_binding
from physml.lattices import cubic, honeycomb, square
from physml.operators import (
    FunctionOperator,
    as_operator,
    hermiticity_defect,
    require_hermitian,
)

N = 60


def hermitian(dtype, scale=1.0):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(N, N)) * scale
    if np.issubdtype(dtype, np.complexfloating):
        matrix = matrix + 1j * rng.normal(size=(N, N)) * scale
    return (matrix + matrix.conj().T).astype(dtype)


PASSING = {
    "float64": lambda: as_operator(hermitian(np.float64)),
    "complex128": lambda: as_operator(hermitian(np.complex128)),
    "float32": lambda: as_operator(hermitian(np.float32)),
    "complex64": lambda: as_operator(hermitian(np.complex64)),
    "tiny": lambda: as_operator(hermitian(np.float64, 1e-150)),
    "huge": lambda: as_operator(hermitian(np.float64, 1e150)),
    "sparse": lambda: as_operator(scipy.sparse.csr_array(banded())),
    "zero": lambda: as_operator(np.zeros((N, N))),
    "one number": lambda: as_operator(np.full((1, 1), 2.0)),
    "honeycomb": lambda: tight_binding(honeycomb(5, 6), flux=1 / 30),
    "cubic": lambda: tight_binding(cubic(4, 5, 6), boundary="open"),
    "d-wave": lambda: bogoliubov_de_gennes(tight_binding(square(6, 6)), d_wave=0.2j),
    "large": lambda: tight_binding(square(300, 300), flux=1 / 3),
    "rotated": lambda: as_operator(rotated_diagonal()),
}


def banded():
    distance = np.abs(np.subtract.outer(np.arange(N), np.arange(N)))
    return np.where(distance <= 3, hermitian(np.complex128), 0)


def rotated_diagonal():
    """Hermitian to the rounding of the product that made it, over twelve orders."""
    rng = np.random.default_rng(1)
    q, _ = np.linalg.qr(rng.normal(size=(N, N)))
    return (q * np.geomspace(1e-6, 1e6, N)) @ q.T


@pytest.mark.parametrize("name", PASSING)
def test_hermitian_operators_pass(name):
    for seed in range(3):
        require_hermitian(PASSING[name](), key=jax.random.key(seed))


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("size", [1e-8, 1.0])
def test_one_wrong_element_fails(dtype, size):
    matrix = hermitian(dtype)
    matrix[3, 8] += size
    with pytest.raises(ValueError, match="Expected a Hermitian operator"):
        require_hermitian(as_operator(matrix))


def test_an_imaginary_diagonal_fails():
    matrix = hermitian(np.complex128) + 1e-6j * np.eye(N)
    with pytest.raises(ValueError, match="Expected a Hermitian operator"):
        require_hermitian(as_operator(matrix))


def test_a_one_way_function_fails():
    one_way = as_operator(lambda v: jnp.roll(v, 1), size=N, dtype=float)
    with pytest.raises(ValueError, match="conjugate of H_ij"):
        require_hermitian(one_way)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_elements_that_are_not_finite_are_refused(value):
    matrix = hermitian(np.float64)
    matrix[2, 2] = value
    with pytest.raises(ValueError, match="finite elements"):
        require_hermitian(as_operator(matrix))


def test_a_function_must_keep_the_shape():
    operator = FunctionOperator(lambda _, v: v[1:], None, N, np.dtype(float))
    with pytest.raises(ValueError, match=r"returns shape \(59,\)"):
        require_hermitian(operator)


def test_the_defect_is_data_under_jit_with_the_size_of_the_asymmetry():
    defects = []
    for seed in range(200):
        matrix = hermitian(np.float64)
        matrix[3, 8] += 1.0
        defects.append(
            jax.jit(hermiticity_defect)(as_operator(matrix), key=jax.random.key(seed))
        )
    anti = np.sqrt(0.5)  # the Frobenius norm of the anti-Hermitian part
    expected = anti / (np.linalg.norm(hermitian(np.float64)) * np.sqrt(N))
    rms = np.sqrt(np.mean(np.square(defects)))
    assert 0.7 * expected < rms < 1.4 * expected
