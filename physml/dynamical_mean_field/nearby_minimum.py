r"""Follow the best bath while its target moves a little, inside of compiled loops.

Least-squares steps of Optimistix on the residuals of a `BathProblem`, from the bath
before. They find the minimum nearby: `fit_bath` looks for the lowest from many starts.

The minimum is a function of all numbers x of the problem. With its own theta and the
distance d,

.. math:: \frac{d \theta}{d x} = - \left( \partial_\theta^2 \, d^2 \right)^{-1}
          \partial_x \partial_\theta \, d^2 ,

by singular values, so that phases of couplings, on which nothing depends, stay.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import lineax
import optimistix

from physml.dynamical_mean_field.bath_form import BathParameters
from physml.dynamical_mean_field.bath_problem import BathProblem
from physml.failures import expected

TOLERANCE = 1e-12  # of a step, absolute and relative
MAX_STEPS = 100

Steps = Literal["dogleg", "levenberg_marquardt"]


def follow_minimum(
    problem: BathProblem, start: BathParameters, steps: Steps = "dogleg"
) -> BathParameters:
    """Return the free numbers of the bath of least distance next to another one.

    Parameters
    ----------
    problem
        What the bath shall reproduce, of power 2. It may be traced.
    start
        Where to start. A coupling of zero stays: the derivative vanishes there.
    steps
        Powell's dogleg goes on to the last digits where sites are nearly redundant, and
        leaps to another minimum from a start that is far; Levenberg-Marquardt does
        neither.

    Returns
    -------
    BathParameters
        NaN if the distance is not finite.

    Raises
    ------
    ValueError
        If the problem has another power: its residuals are no least squares.
    """
    if problem.power != 2:
        raise expected("a bath problem of power 2", problem.power, "call fit_bath")
    tolerances: Any = {"rtol": TOLERANCE, "atol": TOLERANCE}
    by_singular_values = lineax.SVD()
    solver: Any = (
        optimistix.Dogleg(**tolerances, linear_solver=by_singular_values)
        if steps == "dogleg"
        else optimistix.LevenbergMarquardt(**tolerances)
    )
    found = optimistix.least_squares(
        _residuals,
        solver,
        start,
        args=problem,
        max_steps=MAX_STEPS,
        throw=False,
        adjoint=optimistix.ImplicitAdjoint(linear_solver=by_singular_values),
    ).value
    is_found = jnp.isfinite(problem.distance(found))
    return jax.tree.map(lambda leaf: jnp.where(is_found, leaf, jnp.nan), found)


def _residuals(parameters: BathParameters, problem: BathProblem) -> jax.Array:
    loss: Any = problem.loss()
    return loss.real_residuals(parameters)
