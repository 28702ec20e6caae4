r"""Vector fitting: the real poles of a rational approximation, found without a start.

A function known at some points is sought as a sum over poles. With an auxiliary
function sigma that has the same poles,

.. math:: \sigma(x) = 1 + \sum_j \frac{d_j}{x - p_j} , \qquad
          f(x) \, \sigma(x) \approx \sum_l \frac{c_l}{x - p_l} ,

c and d solve a linear least-squares problem. Its right-hand side over sigma is close to
f, and there the p cancel: the new poles are the zeros of sigma, the eigenvalues of
diag(p) - 1 d^T. Where f is a sum over as many poles, one step finds them.

At rest d = 0, and the residues are those of the least-squares problem, but the poles
solve equations that are a little different.

Sources: B. Gustavsen, A. Semlyen, IEEE Trans. Power Delivery 14, 1052 (1999),
https://doi.org/10.1109/61.772353; several functions with common poles: D. Deschrijver,
M. Mrozowski, T. Dhaene, D. De Zutter, IEEE Microw. Wirel. Compon. Lett. 18, 383 (2008).
"""

import numpy as np


def relocate_poles(
    points: np.ndarray,
    values: np.ndarray,
    poles: np.ndarray,
    *,
    fixed_poles: tuple[float, ...] = (),
) -> np.ndarray:
    """Take one step of vector fitting from each of several sets of real poles.

    Parameters
    ----------
    points
        Complex x, shape (num_points,), none of them a pole.
    values
        f(x) of several functions, which share the poles and have real residues, times
        the weight of each point: shape (num_points, num_functions); the weights
        themselves are the last column.
    poles
        Real, shape (num_sets, num_poles).
    fixed_poles
        Others that f may have, and keeps.

    Returns
    -------
    numpy.ndarray
        The new poles, ascending, in the shape of the old ones. Complex pairs, which
        occur where f is not a sum over so many real poles, a +- ib, become a + b and
        a - b.

    Examples
    --------
    >>> x = 1j * np.arange(1, 9)
    >>> f = 0.3 / (x + 2) + 0.7 / (x - 1)
    >>> values = np.stack([f, np.ones(8)], axis=-1)
    >>> relocate_poles(x, values, np.array([[0.1, 3.0]])).round(12).tolist()
    [[-2.0, 1.0]]
    """
    weights = values[:, -1]
    terms = 1 / (points[:, None] - poles[:, None, :])  # (num_sets, num_points, poles)
    scales = np.linalg.norm(terms * weights[:, None], axis=1, keepdims=True)
    terms = terms / scales
    fixed = 1 / (points[:, None] - np.array(fixed_poles))
    fixed = np.broadcast_to(fixed, (len(poles), *fixed.shape))
    numerators = real_rows(np.concatenate([terms, fixed], -1) * weights[:, None])
    basis = _orthonormal(numerators)

    def without_numerators(rows: np.ndarray) -> np.ndarray:
        for _ in range(2):  # once more, for what rounding has left
            rows = rows - basis @ (basis.mT @ rows)
        return rows

    matrices, sides = [], []
    for value in values.T[:-1]:
        matrices.append(without_numerators(real_rows(terms * value[:, None])))
        side = np.broadcast_to(value[:, None], (len(poles), len(value), 1))
        sides.append(without_numerators(real_rows(side)))
    d = -_least_squares(np.concatenate(matrices, 1), np.concatenate(sides, 1))
    d = d[:, :, 0] / scales[:, 0]
    num_poles = poles.shape[-1]
    new = np.linalg.eigvals(poles[:, :, None] * np.eye(num_poles) - d[:, None, :])
    return np.sort(new.real + new.imag, axis=-1)


def real_rows(rows: np.ndarray) -> np.ndarray:
    """Return the real parts of rows above the imaginary ones: for real unknowns."""
    return np.concatenate([rows.real, rows.imag], axis=-2)


def _orthonormal(columns: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of the columns; zeros where they depend."""
    left, singular, _ = np.linalg.svd(columns, full_matrices=False)
    kept = singular > np.finfo(singular.dtype).eps * singular[..., :1]
    return left * kept[..., None, :]


def _least_squares(matrices: np.ndarray, sides: np.ndarray) -> np.ndarray:
    return np.linalg.pinv(matrices, rcond=np.finfo(float).eps) @ sides
