r"""The Fermi function as a short sum over poles on the imaginary axis.

.. math::
    \tanh\frac{x}{2} = \sum_{k=1}^\infty \frac{4x}{x^2 + (2k-1)^2 \pi^2}
    \approx a\,x + \sum_{k=1}^K \frac{c_k\,x}{x^2 + y_k^2} , \qquad |x| \le r .

:math:`\tanh(x/2)/x` is a Stieltjes function of :math:`s = x^2`, so that its best
rational approximations have poles at negative s, that is, :math:`x = \pm i y_k`, and
positive weights; the error falls geometrically with K, at a rate that depends on
:math:`\ln r` only. The poles come from the AAA algorithm (Y. Nakatsukasa, O. Sete,
L. N. Trefethen, SIAM J. Sci. Comput. 40, A1494 (2018)), the weights from linear least
squares for the error of tanh itself. Integrated,

.. math::
    \ln(1 + e^{-x}) \approx \mathrm{const} - \frac{x}{2} + \frac{a}{4}\,x^2
    + \sum_k \frac{c_k}{4} \ln(x^2 + y_k^2) .
"""

import warnings
from dataclasses import dataclass
from functools import lru_cache
from math import log

import numpy as np

from physml.failures import expected

PATIENCE = 4  # numbers of poles without progress, where rounding takes over
NUM_POINTS, NUM_CHECKED = 600, 20_000  # of the fit, and on which its error is measured


@dataclass(frozen=True)
class FermiPoles:
    """An approximation of tanh(x / 2) on an interval, odd in x.

    Parameters
    ----------
    positions
        y_k, ascending, shape (K,).
    weights
        c_k, shape (K,).
    slope
        a.
    error
        The largest error of the Fermi function 1/2 - tanh(x/2)/2, as measured.
    """

    positions: np.ndarray
    weights: np.ndarray
    slope: float
    error: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the approximation of tanh(x / 2)."""
        x = np.asarray(x, float)
        return _terms(x, self.positions) @ np.append(self.weights, self.slope)


@lru_cache(maxsize=64)
def fermi_poles(radius: float, tolerance: float = 1e-12) -> FermiPoles:
    r"""Return the fewest poles that give the Fermi function on an interval.

    Parameters
    ----------
    radius
        r: the approximation is for :math:`|x| \le r`, x = E / T.
    tolerance
        The largest error of the Fermi function that is allowed.

    Raises
    ------
    ValueError
        For a radius or a tolerance that is not positive, or a tolerance that rounding
        does not allow.

    Examples
    --------
    >>> poles = fermi_poles(100.0)
    >>> poles.positions.size, poles.error < 1e-12
    (11, True)
    """
    if not 0 < radius < np.inf or not tolerance > 0:
        raise expected(
            "a radius and a tolerance > 0", f"{radius} and {tolerance}", "try 1e-12"
        )
    # the least number for these is about ln(r) ln(1 / tolerance) / pi^2
    least = int(0.06 * log(max(radius, 1.0)) * log(1 / min(tolerance, 0.5)))
    best, since_best = np.inf, 0
    num_poles = max(least, 1)
    while since_best < PATIENCE:
        poles = _fitted(radius, num_poles)
        if poles.error <= tolerance:
            return poles
        since_best = 0 if poles.error < best else since_best + 1
        best, num_poles = min(best, poles.error), num_poles + 1
    raise expected(
        f"a tolerance of at least {best:.1e}, which rounding allows up to x = "
        f"{radius:g}",
        tolerance,
        "allow a larger error, or take a higher temperature",
    )


def _fitted(radius: float, num_poles: int) -> FermiPoles:
    from scipy.interpolate import AAA  # slow to import, needed only here

    x = _points(radius, NUM_POINTS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that it stops at max_terms
        function = AAA(
            x**2, np.tanh(x / 2) / x, rtol=0.0, max_terms=num_poles + 1, clean_up=False
        )
        s = function.poles()
    real = s.real[(s.real < 0) & (np.abs(s.imag) <= 1e-6 * np.abs(s.real))]
    positions = np.sort(np.sqrt(-real))
    terms = _terms(x, positions)
    scale = np.abs(terms).max(axis=0)
    weights = np.linalg.lstsq(terms / scale, np.tanh(x / 2), rcond=None)[0] / scale
    check = _points(radius, NUM_CHECKED)
    error = np.abs(_terms(check, positions) @ weights - np.tanh(check / 2)).max() / 2
    return FermiPoles(positions, weights[:-1], float(weights[-1]), float(error))


def _points(radius: float, number: int) -> np.ndarray:
    """Return points in (0, r]: equidistant up to 8, beyond by their logarithm."""
    if radius <= 8:
        return np.linspace(0, radius, number + 1)[1:]
    near = np.linspace(0, 8, number // 2 + 1)[1:-1]
    return np.concatenate([near, np.geomspace(8, radius, number // 2)])


def _terms(x: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return x / (x^2 + y_k^2) for each k, and x, shape (..., K + 1)."""
    each = x[..., None] / (x[..., None] ** 2 + positions**2)
    return np.concatenate([each, x[..., None]], axis=-1)
