r"""Overlaps and orthogonalization of a few vectors, compiled and differentiable.

Vectors are the rows of an array of shape (num_vectors, ...); the inner product is
:math:`\sum_i \bar a_i b_i`. Where a communicator is given, each rank has a block of the
points.
"""

import math

import jax
import jax.numpy as jnp

from physml.parallel import SERIAL, Communicator


def overlaps(
    left: jax.Array, right: jax.Array, *, communicator: Communicator = SERIAL
) -> jax.Array:
    """Return <left_m|right_n>, shape (num_left, num_right)."""
    size = math.prod(left.shape[1:])
    own = left.reshape(-1, size).conj() @ right.reshape(-1, size).T
    return communicator.sum(own)


def project_out(
    vectors: jax.Array, psi: jax.Array, *, communicator: Communicator = SERIAL
) -> jax.Array:
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
    communicator
        The ranks over which the points are divided.
    """
    rows = psi.reshape(-1, *vectors.shape[1:])
    for _ in range(2):
        amplitudes = overlaps(vectors, rows, communicator=communicator)
        amplitudes = communicator.replicate(amplitudes)  # (num_vectors, num_psi)
        rows = rows - jnp.tensordot(amplitudes.T, vectors, axes=1)
    return rows.reshape(psi.shape)


def orthogonal_triangular(
    columns: jax.Array, *, communicator: Communicator = SERIAL
) -> tuple[jax.Array, jax.Array]:
    """Return the reduced QR factors of a tall matrix whose rows may be divided.

    Each rank factorizes its own rows; the small triangles of all ranks, stacked, are
    factorized again on each of them (Demmel, Grigori, Hoemmen, Langou, SIAM J. Sci.
    Comput. 34, A206 (2012): as stable as one factorization of the whole).

    Parameters
    ----------
    columns
        The rows of this rank, shape (num_rows, num_columns); in all there are no fewer
        rows than columns.
    communicator
        The ranks over which the rows are divided.

    Returns
    -------
    Q of this rank's rows, (num_rows, num_columns), and R, the same on all ranks.
    """
    q, r = jnp.linalg.qr(columns)
    if communicator.size == 1:
        return q, r
    triangles = communicator.gather(r[None], communicator.size)
    stacked, r = jnp.linalg.qr(triangles.reshape(-1, columns.shape[1]))
    own = stacked.reshape(communicator.size, -1, r.shape[0])[communicator.rank]
    return q @ own, r
