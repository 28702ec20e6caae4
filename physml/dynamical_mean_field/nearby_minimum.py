"""Follow the best bath while its target moves a little, inside of compiled loops.

Levenberg-Marquardt (Optimistix) on the residuals of a `BathProblem`, from the bath
before. It finds the minimum nearby: `fit_bath` looks for the lowest from many starts.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optimistix

from physml.dynamical_mean_field.bath_form import BathParameters
from physml.dynamical_mean_field.bath_problem import BathProblem
from physml.failures import expected

LEAST_COUPLING = 0.02  # of a start, of all: the derivative vanishes at V = 0
MAX_STEPS = 500


def follow_minimum(problem: BathProblem, start: BathParameters) -> BathParameters:
    """Return the free numbers of the bath of least distance next to another one.

    Parameters
    ----------
    problem
        What the bath shall reproduce, of power 2. It may be traced.
    start
        Where to start. Couplings of less than a fiftieth of all are raised to that.

    Raises
    ------
    ValueError
        If the problem has another power: its residuals are no least squares.
    """
    if problem.power != 2:
        raise expected("a bath problem of power 2", problem.power, "call fit_bath")
    couplings = jnp.abs(start.couplings)
    least = LEAST_COUPLING * _total_coupling(problem)
    start = start._replace(
        couplings=jnp.where(couplings < least, least, start.couplings)
    )
    solver: Any = optimistix.LevenbergMarquardt(rtol=1e-12, atol=1e-12)
    return optimistix.least_squares(
        _residuals, solver, start, args=problem, max_steps=MAX_STEPS, throw=False
    ).value


def _residuals(parameters: BathParameters, problem: BathProblem) -> jax.Array:
    loss: Any = problem.loss()
    residuals = loss.residuals(parameters)
    return jnp.stack([residuals.real, residuals.imag])


def _total_coupling(problem: BathProblem) -> jax.Array:
    """Return (sum V^2)^(1/2) as the largest z show it."""
    moments = problem.z[:, None, None] * problem.hybridization
    return jnp.sqrt(jnp.max(jnp.abs(moments)))
