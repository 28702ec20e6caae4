"""A x 1 + 1 x B + D against the dense matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.operators.hermiticity import hermiticity_defect
from physml.operators.kronecker_sum import KroneckerSum


@pytest.mark.parametrize("is_complex", [False, True])
def test_is_the_dense_matrix(is_complex):
    rng = np.random.default_rng(0)
    a, b, d = rng.normal(size=(3, 3)), rng.normal(size=(4, 4)), rng.normal(size=(3, 4))
    if is_complex:
        a, b = a + 1j * rng.normal(size=(3, 3)), b + 1j * rng.normal(size=(4, 4))
    a, b = a + a.conj().T, b + b.conj().T
    dense = np.kron(a, np.eye(4)) + np.kron(np.eye(3), b) + np.diag(d.ravel())
    operator = KroneckerSum(*map(jnp.asarray, (a, b, d)))
    assert operator.size == 12
    assert operator.dtype == dense.dtype
    for vectors in (rng.normal(size=12), rng.normal(size=(2, 5, 12)) + 0j):
        made = jax.jit(lambda operator, v: operator(v))(operator, jnp.asarray(vectors))
        np.testing.assert_allclose(made, vectors @ dense.T, atol=1e-13)
    assert hermiticity_defect(operator) < 1e-14
