r"""The Rayleigh-Ritz method in a few vectors, evaluated in extended precision.

Energies are wanted to the last digit, but :math:`\langle\psi|H|\psi\rangle` of a fine
grid loses about :math:`\epsilon \|H\|`. So the final numbers are computed on the host
with the sparse matrix in `numpy.longdouble` (64 bits of mantissa on x86; elsewhere it
may be float64, and `extended_rounding` says so).
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse

from physml.failures import expected


class RitzLevels(NamedTuple):
    """Ritz values, ascending, with their residuals and orthonormal Ritz vectors."""

    energies: np.ndarray  # (num_vectors,)
    residual_norms: np.ndarray  # (num_vectors,)
    vectors: np.ndarray  # (num_vectors, n)


def rayleigh_ritz(matrix: scipy.sparse.csr_array, vectors: np.ndarray) -> RitzLevels:
    """Diagonalize a symmetric matrix in the span of linearly independent vectors.

    Each Ritz value is an upper bound of the eigenvalue of the same number
    (Hylleraas-Undheim-MacDonald).

    Parameters
    ----------
    matrix
        Real symmetric, shape (n, n).
    vectors
        Linearly independent rows, shape (num_vectors, n).

    Raises
    ------
    ValueError
        If the vectors are complex.
    """
    if np.iscomplexobj(vectors):
        raise expected(
            "real vectors of a real symmetric matrix",
            f"{vectors.dtype}",
            "take their real or imaginary parts, which are solutions as well",
        )
    basis = np.linalg.qr(np.asarray(vectors, np.float64).T)[0]  # (n, num_vectors)
    projected = basis.T @ (matrix @ basis)
    rotation = np.linalg.eigh(0.5 * (projected + projected.T))[1]
    ritz = (basis @ rotation).T
    return RitzLevels(*extended_estimates(matrix, ritz), ritz)


def extended_estimates(
    matrix: scipy.sparse.csr_array, vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the Rayleigh quotient and the residual norm of each row.

    Parameters
    ----------
    matrix
        Real symmetric, shape (n, n).
    vectors
        Rows that are not zero, shape (num_vectors, n).
    """
    columns = vectors.T.astype(np.longdouble)
    columns = columns / np.sqrt((columns**2).sum(axis=0))
    images = matrix.astype(np.longdouble) @ columns
    energies = (columns * images).sum(axis=0)
    residuals = images - energies * columns
    norms = np.sqrt((residuals**2).sum(axis=0))
    return energies.astype(np.float64), norms.astype(np.float64)


def extended_rounding(matrix: scipy.sparse.csr_array, energies: np.ndarray) -> float:
    r"""Bound the rounding error of the energies of `extended_estimates`.

    A row of m terms loses at most :math:`m \epsilon` of the largest row sum; rounding
    the result to float64 loses half a unit in its last place.
    """
    norm = float(abs(matrix).sum(axis=1).max())
    num_terms = int(np.diff(matrix.indptr).max()) + 4
    extended = float(np.finfo(np.longdouble).eps) * num_terms * norm
    return extended + float(np.spacing(np.abs(energies).max()))
