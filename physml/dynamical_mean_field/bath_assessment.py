r"""A fitted bath: how good it is, and how it follows its hybridization.

Units: all are energies.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from physml.dynamical_mean_field.bath import Bath
from physml.dynamical_mean_field.bath_form import BathParameters
from physml.dynamical_mean_field.bath_problem import BathProblem
from physml.dynamical_mean_field.nearby_minimum import follow_minimum
from physml.failures import RunFailure, expected
from physml.tracing import is_traced

SAME_DISTANCE = 1e-2  # relative: starts so close to the best have found it
NO_COUPLING, SAME_LEVEL = 1e-4, 1e-6  # shares of the largest coupling and level


@dataclass(frozen=True)
class BathFit:
    """A bath and how good it is."""

    bath: Bath  # levels ascending
    distance: float  # in units of what is fitted
    max_error: float  # the largest of |Delta - Delta of the bath|, an energy
    distances: np.ndarray  # of all starts, NaN where one failed
    starts_at_best: int  # whose distance is the best, to a hundredth or rounding
    warnings: tuple[str, ...]  # what is suspicious, in sentences
    problem: BathProblem  # what was fitted, and how deviations count
    parameters: BathParameters  # the free numbers of the bath

    def follow(self, hybridization: jax.Array) -> Bath:
        r"""Return the best bath next to this one for another hybridization.

        Levels and couplings are functions of Delta here, and may be differentiated,
        batched and compiled: with theta the free numbers and d the distance

        .. math:: \frac{\partial \theta}{\partial \Delta} = -
                  \left( \partial_\theta^2 \, d^2 \right)^{-1}
                  \partial_\Delta \partial_\theta \, d^2 .

        Rounding of derivatives grows with the square of the condition number: for the
        semicircle at beta = 20 they err by 1e-10 at 5 sites, 1e-5 at 7, 1e-3 at 8.

        Parameters
        ----------
        hybridization
            Delta at the same points, in the shape of the one fitted.

        Returns
        -------
        Bath
            As `bath`. The minimum is the one nearby; where Delta is far from that
            fitted, or a site is useless, call `fit_bath` again.

        Raises
        ------
        ValueError
            If Delta has another shape, is not finite, or the power was not 2.
        RunFailure
            If no bath was found. Inside of jit it is NaN then.

        Examples
        --------
        How far the upper level of two moves with the width of the band:

        >>> import jax, jax.numpy as jnp, physml
        >>> from physml.dynamical_mean_field import fit_bath, matsubara_frequencies
        >>> from physml.dynamical_mean_field import semicircular_greens_function
        >>> physml.enable_x64()
        >>> z = 1j * jnp.asarray(matsubara_frequencies(20.0, 56))
        >>> fit = fit_bath(z, semicircular_greens_function(z), 2)
        >>> def level(half_bandwidth):
        ...     delta = semicircular_greens_function(z, half_bandwidth)
        ...     return fit.follow(delta).levels[1]
        >>> round(float(jax.grad(level)(1.0)), 6)
        0.126395
        """
        shape = self.problem.hybridization.shape
        given = jnp.asarray(hybridization, self.problem.hybridization.dtype)
        expected_shape = shape if self.problem.has_orbital_axes else shape[:1]
        if given.shape != expected_shape:
            raise expected(
                f"a hybridization of shape {expected_shape}, as that fitted",
                given.shape,
                "give one value or one square matrix for each frequency",
            )
        if not (is_traced(given) or np.isfinite(given).all()):
            raise expected("a finite hybridization", "NaN or infinity", "look at it")
        problem = replace(self.problem, hybridization=given.reshape(shape))
        bath = _followed(problem, self.parameters)
        if not (is_traced(bath) or np.isfinite(bath.levels).all()):
            raise RunFailure("No bath was found nearby: call fit_bath again.")
        return bath


def assess_fit(problem: BathProblem, ends: BathParameters) -> BathFit:
    """Return the best bath among the ends of all starts, and how good it is.

    Raises
    ------
    RunFailure
        If no start led anywhere.
    """
    distances, errors = map(np.asarray, _distances(problem, ends))
    distances = np.where(np.isfinite(distances), distances, np.nan)
    if np.isnan(distances).all():
        raise RunFailure("No start led to a bath: change the starts or the weights.")
    best = int(np.nanargmin(distances))
    rounding = 100 * np.finfo(distances.dtype).eps * float(problem.scale)
    limit = (1 + SAME_DISTANCE) * distances[best] + rounding
    starts_at_best = int((distances <= limit).sum())
    parameters = jax.tree.map(lambda leaf: leaf[best], ends)
    bath = problem.ordered_bath(parameters)
    return BathFit(
        bath,
        float(distances[best]),
        float(errors[best]),
        distances,
        starts_at_best,
        (*_suspicious_sites(bath), *_few_starts(starts_at_best, distances.size)),
        problem,
        parameters,
    )


@jax.jit
def _followed(problem: BathProblem, parameters: BathParameters) -> Bath:
    return problem.ordered_bath(follow_minimum(problem, parameters))


@jax.jit
def _distances(problem: BathProblem, ends: BathParameters) -> tuple[jax.Array, ...]:
    """Return the distance and the largest error of Delta of each start."""

    def of_one(end: BathParameters) -> tuple[jax.Array, jax.Array]:
        found = problem.bath(end).hybridization(problem.z)
        error = jnp.max(jnp.abs(found - problem.hybridization))
        return problem.distance(end), error

    return jax.vmap(of_one)(ends)


def _suspicious_sites(bath: Bath) -> list[str]:
    """Say which sites do nothing, or the same as another."""
    levels = np.asarray(bath.levels)
    couplings = np.asarray(bath.couplings).reshape(levels.size, -1)
    sizes = np.linalg.norm(couplings, axis=1)
    told = [
        f"The site at {level:.6g} is useless, V = {size:.1e}: take fewer sites."
        for level, size in zip(levels, sizes, strict=True)
        if size <= NO_COUPLING * sizes.max()
    ]
    margin = SAME_LEVEL * np.abs(levels).max()
    for i in np.flatnonzero(np.diff(levels) <= margin):
        overlap = abs(np.vdot(couplings[i], couplings[i + 1]))
        if overlap > (1 - SAME_LEVEL) * sizes[i] * sizes[i + 1]:
            told.append(f"Two sites coincide at {levels[i]:.6g}: take fewer sites.")
    return told


def _few_starts(starts_at_best: int, number: int) -> list[str]:
    if 2 * starts_at_best >= number:
        return []
    return [
        f"Only {starts_at_best} of {number} starts found this minimum; there may be a "
        "lower one: take more starts."
    ]
