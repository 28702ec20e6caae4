r"""Intervals that must hold an eigenvalue of a Hermitian operator.

For a normalized :math:`\psi` with energy E and residual norm
:math:`r = \|H\psi - E\psi\|`:

* Weinstein: some eigenvalue lies in :math:`[E - r, E + r]`.
* Kato-Temple: if :math:`(\alpha, \beta)` holds E and no other level than :math:`E_n`,
  and :math:`r^2 < (E - \alpha)(\beta - E)`, then

  .. math:: E - \frac{r^2}{\beta - E} \le E_n \le E + \frac{r^2}{E - \alpha} .

Both are theorems in exact arithmetic. `rounding` widens the interval by what the
computed energy may have lost.

References: D. H. Weinstein, PNAS 20, 529 (1934); T. Kato, J. Phys. Soc. Jpn. 4, 334
(1949).
"""

import math
from typing import NamedTuple

from physml.failures import expected


class Interval(NamedTuple):
    """A closed interval of energies."""

    lower: float
    upper: float


def weinstein_interval(
    energy: float, residual_norm: float, *, rounding: float = 0.0
) -> Interval:
    """Return [E - r, E + r], which holds at least one eigenvalue.

    Parameters
    ----------
    energy
        The Rayleigh quotient E.
    residual_norm
        The norm r of the residual of the normalized wave function.
    rounding
        The rounding error of the energy.

    Raises
    ------
    ValueError
        If an argument is NaN or infinite, or the residual is negative.
    """
    _require_finite(energy, residual_norm, rounding)
    width = residual_norm + rounding
    return Interval(energy - width, energy + width)


def kato_temple_interval(
    energy: float,
    residual_norm: float,
    *,
    level_below: float = -math.inf,
    level_above: float = math.inf,
    rounding: float = 0.0,
) -> Interval:
    """Return the sharper interval that knowledge of the neighboring levels gives.

    Parameters
    ----------
    energy
        The Rayleigh quotient E.
    residual_norm
        The norm r of the residual of the normalized wave function.
    level_below, level_above
        The nearest other levels, or bounds of them that lie nearer to E. A degenerate
        level counts once: its neighbors are the next different levels. Minus infinity
        below the ground state, NaN where a neighbor is not known.
    rounding
        The rounding error of the energy.

    Returns
    -------
    The intersection with Weinstein's interval; Weinstein's alone where the theorem's
    condition fails.

    Raises
    ------
    ValueError
        If energy, residual or rounding is NaN or infinite, or the residual is negative.

    Examples
    --------
    >>> kato_temple_interval(0.5, 1e-3, level_above=1.5)
    Interval(lower=0.499999, upper=0.5)
    """
    weinstein = weinstein_interval(energy, residual_norm, rounding=rounding)
    above, below = level_above - energy, energy - level_below
    # written so that NaN, a neighbor that is not known, fails it
    if not (above > 0 and below > 0 and residual_norm**2 < above * below):
        return weinstein
    return Interval(
        max(energy - residual_norm**2 / above - rounding, weinstein.lower),
        min(energy + residual_norm**2 / below + rounding, weinstein.upper),
    )


def _require_finite(energy: float, residual_norm: float, rounding: float) -> None:
    if not all(map(math.isfinite, (energy, residual_norm, rounding))):
        raise expected(
            "a finite energy and residual",
            (energy, residual_norm, rounding),
            "check that the wave function is finite and not zero",
        )
    if residual_norm < 0:
        raise expected("a residual norm >= 0", residual_norm, "pass its norm")
