r"""Overlaps and orthogonalization of a few vectors, compiled and differentiable.

Vectors are the rows of an array of shape (num_vectors, ...); the inner product is
:math:`\sum_i \bar a_i b_i`.
"""

import math

import jax
import jax.numpy as jnp


def overlaps(left: jax.Array, right: jax.Array) -> jax.Array:
    """Return <left_m|right_n>, shape (num_left, num_right)."""
    size = math.prod(left.shape[1:])
    return left.reshape(-1, size).conj() @ right.reshape(-1, size).T


def project_out(vectors: jax.Array, psi: jax.Array) -> jax.Array:
    r"""Remove from psi its components along orthonormal vectors.

    :math:`\psi - \sum_m v_m \langle v_m|\psi\rangle`, done twice, since once leaves
    rounding errors relative to the part removed ("twice is enough": W. Kahan, in
    B. N. Parlett, The Symmetric Eigenvalue Problem, section 6-9).

    Parameters
    ----------
    vectors
        Orthonormal rows, shape (num_vectors, ...); rows of zeros count for nothing.
    psi
        A vector of shape (...), or several, (num_psi, ...).
    """
    rows = psi.reshape(-1, *vectors.shape[1:])
    for _ in range(2):
        amplitudes = overlaps(vectors, rows)  # (num_vectors, num_psi)
        rows = rows - jnp.tensordot(amplitudes.T, vectors, axes=1)
    return rows.reshape(psi.shape)
