"""The lowest levels of a sparse symmetric matrix, to the last digit of float64."""

from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

from physml.failures import expected
from physml.solvers.rayleigh_ritz import extended_estimates

DENSE_LIMIT = 500  # below this number of rows dense diagonalization is faster
MOST_LEVELS = 0.25  # of all: beyond this share Lanczos has no room, and is slower


class Levels(NamedTuple):
    """Eigenvalues, ascending, and the eigenvectors as rows."""

    energies: np.ndarray  # (num_levels,)
    vectors: np.ndarray  # (num_levels, n)


def lowest_levels(
    matrix: scipy.sparse.csr_array,
    num_levels: int,
    *,
    lower_bound: float | None = None,
) -> Levels:
    """Return the lowest eigenvalues and eigenvectors of a sparse symmetric matrix.

    Small matrices, or many levels, by LAPACK, large ones by shift-and-invert Lanczos
    (ARPACK) from just below the spectrum. The eigenvalues are then computed again as
    Rayleigh quotients in extended precision, which removes LAPACK's error of eps times
    the norm.

    Parameters
    ----------
    matrix
        Real symmetric, shape (n, n).
    num_levels
        How many, fewer than n.
    lower_bound
        A number below the spectrum, the nearer the faster. By default Gershgorin's.

    Raises
    ------
    ValueError
        If the matrix has no more rows than there are levels.
    """
    n = matrix.shape[0]
    if not 0 < num_levels < n:
        raise expected(
            f"between 1 and {n - 1} levels on {n} grid points",
            num_levels,
            "ask for fewer levels or take more points",
        )
    if n <= DENSE_LIMIT or num_levels > MOST_LEVELS * n:
        subset = (0, num_levels - 1)
        _, columns = scipy.linalg.eigh(matrix.toarray(), subset_by_index=subset)
    else:
        if lower_bound is None:
            diagonal = matrix.diagonal()
            radius = abs(matrix).sum(axis=1) - abs(diagonal)
            lower_bound = float((diagonal - radius).min()) - 1.0
        columns = _shift_and_invert(matrix, num_levels, lower_bound)
    energies, _ = extended_estimates(matrix, columns.T)
    order = np.argsort(energies)
    return Levels(energies[order], columns.T[order])


def _shift_and_invert(
    matrix: scipy.sparse.csr_array, num_levels: int, lower_bound: float
) -> np.ndarray:
    """Run Lanczos on the inverse: a rough pass from far below, then one from near."""
    rough = _inverse_lanczos(matrix, num_levels + 1, lower_bound, tolerance=1e-2)[0]
    rough.sort()
    near = max(lower_bound, rough[0] - (rough[-1] - rough[0]))
    return _inverse_lanczos(matrix, num_levels, near, tolerance=0.0)[1]


def _inverse_lanczos(
    matrix: scipy.sparse.csr_array, num_levels: int, shift: float, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    n = matrix.shape[0]
    shifted = (matrix - shift * scipy.sparse.eye_array(n)).tocsc()
    # positive definite: no pivoting, an ordering for symmetric matrices
    factors = scipy.sparse.linalg.splu(
        shifted,
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    return scipy.sparse.linalg.eigsh(
        matrix,
        num_levels,
        sigma=shift,
        OPinv=scipy.sparse.linalg.LinearOperator((n, n), factors.solve, dtype=float),
        v0=np.random.default_rng(0).normal(size=n),
        ncv=min(n - 1, 4 * num_levels + 16),
        tol=tolerance,
    )
