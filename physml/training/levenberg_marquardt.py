r"""Levenberg-Marquardt from Optimistix, with the face of an Optax optimizer.

The step d from the parameters minimizes

.. math:: |J d + r|^2 + \lambda |d|^2 ,

r the residuals and J their Jacobian. The damping lambda grows where
the loss falls by less than this model says, and falls where the model is right; it also
makes steps unique where the parameters are redundant and J^T J is singular.

Optimistix sees the triangle of (J r), which has the size of the parameters, instead of
J and r (`physml.training.sum_of_squares`). So the state is a few small arrays, whatever
the number of residuals, chunks or ranks.

Sources: K. Levenberg, Q. Appl. Math. 2, 164 (1944); D. W. Marquardt, J. SIAM 11, 431
(1963); J. Rader, T. Lyons, P. Kidger, arXiv:2402.09983 (Optimistix).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import lineax
import optax
import optimistix
from jax.flatten_util import ravel_pytree

from physml.failures import expected, expected_type
from physml.training.sum_of_squares import SquaredLoss, no_rows

# The Jacobian is a small matrix: as such it leaves no program in the solver's state.
_OPTIONS = {"jac": "bwd"}
_NO_TAGS: frozenset[object] = frozenset()


class _LevenbergMarquardt(optimistix.AbstractGaussNewton):
    """Optimistix's method with other constants for the damping."""

    rtol: float
    atol: float
    norm: Callable
    descent: optimistix.DampedNewtonDescent
    search: optimistix.ClassicalTrustRegion
    verbose: Callable


@lru_cache
def levenberg_marquardt() -> optax.GradientTransformationExtraArgs:
    """Return the optimizer for losses that are sums of squares.

    Returns
    -------
    An optimizer for `physml.training.Stage`; the first of its steps only evaluates.

    Notes
    -----
    The damping starts at 1, falls tenfold where the loss falls by 0.75 of what the
    model says or more, grows fourfold where it falls by less than 0.01 of it, and the
    step is then taken back: `benchmarks/least_squares.py` compares with the constants
    of Optimistix (3.5-fold from 0.99 on).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from physml.training import Stage, SumOfSquares, minimize
    >>> def residuals(x):
    ...     return jnp.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])
    >>> loss = SumOfSquares(residuals)
    >>> stages = [Stage("Levenberg-Marquardt", levenberg_marquardt(), 50)]
    >>> result = minimize(loss, jnp.array([-1.2, 1.0]), stages)
    >>> [round(float(x), 6) for x in result.parameters]
    [1.0, 1.0]
    """
    solver = _LevenbergMarquardt(
        rtol=0.0,
        atol=0.0,
        norm=optimistix.max_norm,
        descent=optimistix.DampedNewtonDescent(linear_solver=lineax.QR()),
        search=optimistix.ClassicalTrustRegion(
            high_cutoff=0.75, low_cutoff=0.01, high_constant=10.0, low_constant=0.25
        ),
        verbose=_say_nothing,
    )
    return least_squares_optimizer(solver)


def least_squares_optimizer(
    solver: optimistix.AbstractGaussNewton,
) -> optax.GradientTransformationExtraArgs:
    """Give a least-squares solver of Optimistix the face of an Optax optimizer.

    Parameters
    ----------
    solver
        For example `optimistix.Dogleg`. Its tolerances are not used: the stop rules of
        `physml.training.minimize` decide.

    Returns
    -------
    An optimizer for `physml.training.Stage`. Make it once and keep it.
    """

    def init(parameters: Any) -> Any:
        vector = _real_parameters(parameters)
        empty = no_rows(vector)

        def nothing(vector: jax.Array, _: None) -> tuple[jax.Array, None]:
            return _linear_model(empty, vector), None

        state = solver.init(nothing, vector, None, _OPTIONS, None, None, _NO_TAGS)
        return _in_dtype(state, vector.dtype)  # the step size starts in the default one

    def update(
        updates: Any, state: Any, parameters: Any = None, *, value_fn: Any, **_: Any
    ) -> tuple[Any, Any]:
        del updates  # the gradient, which is not used and so not computed
        loss = _require_squares(value_fn)
        vector, unravel = ravel_pytree(parameters)

        def linearized(vector: jax.Array, _: None) -> tuple[jax.Array, None]:
            point = unravel(jax.lax.stop_gradient(vector))
            return _linear_model(loss.triangle(point), vector), None

        moved, state, _ = solver.step(
            linearized, vector, None, _OPTIONS, state, _NO_TAGS
        )
        is_finite = jnp.all(jnp.isfinite(state.f_info.jac.as_matrix()))
        return unravel(jnp.where(is_finite, moved - vector, jnp.nan)), state

    return optax.GradientTransformationExtraArgs(init, update)


def _linear_model(triangle: jax.Array, vector: jax.Array) -> jax.Array:
    """Return the last column of the triangle, with the other columns as derivative."""
    no_step = vector - jax.lax.stop_gradient(vector)
    return triangle[:, -1] + triangle[:, :-1] @ no_step


def _real_parameters(parameters: Any) -> jax.Array:
    vector, _ = ravel_pytree(parameters)
    if jnp.iscomplexobj(vector):
        raise expected_type(
            "real parameters for least squares",
            vector.dtype,
            "make real and imaginary parts parameters of their own",
        )
    return vector


def _in_dtype(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(
        lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree
    )


def _require_squares(loss: Any) -> SquaredLoss:
    if not isinstance(loss, SquaredLoss):
        raise expected(
            "a loss that is a sum of squares for Levenberg-Marquardt",
            "one that is not, or comes in batches",
            "pass SumOfSquares(residuals) or Regression.loss(), and no batch_loss",
        )
    return loss


def _say_nothing(**_: Any) -> None:
    pass
