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
import optax
import optimistix
from jax.flatten_util import ravel_pytree

from physml.failures import expected, expected_type
from physml.training.sum_of_squares import SquaredLoss, add_rows, no_rows

# The Jacobian is a small matrix: as such it leaves no program in the solver's state.
_OPTIONS = {"jac": "bwd"}
_NO_TAGS: frozenset[object] = frozenset()
_SUCCESS: Any = optimistix.RESULTS.successful


class _LevenbergMarquardt(optimistix.AbstractGaussNewton):
    """Optimistix's loop of trial steps, with the descent and the search given."""

    rtol: float
    atol: float
    norm: Callable
    descent: optimistix.AbstractDescent
    search: optimistix.ClassicalTrustRegion
    verbose: Callable


class _DampedStep(optimistix.AbstractDescent):
    """The damped step of a small dense Jacobian; the step size is 1 / lambda.

    Optimistix's own makes programs of its Jacobian, which `jax.shard_map` refuses. And
    its damping may vanish, where redundant parameters leave no step defined: here its
    root stays above the rounding of the Jacobian.
    """

    def init(self, y: jax.Array, f_info_struct: Any) -> jax.Array:
        """Return the triangle of no rows."""
        del f_info_struct
        return no_rows(y)

    def query(self, y: jax.Array, f_info: Any, state: jax.Array) -> jax.Array:
        """Take the triangle of the accepted point."""
        del y, state
        return jnp.column_stack([f_info.jac.as_matrix(), f_info.residual])

    def step(self, step_size: jax.Array, state: jax.Array) -> tuple[jax.Array, Any]:
        """Return the d that minimizes |J d + r|^2 + lambda |d|^2."""
        rounding = jnp.finfo(state.dtype).eps * jnp.max(jnp.abs(state[:, :-1]))
        damping = jnp.maximum(jnp.sqrt(1 / step_size), rounding)
        size = state.shape[1]
        triangle = add_rows(state, damping * jnp.eye(size - 1, size, dtype=state.dtype))
        step = jax.scipy.linalg.solve_triangular(triangle[:-1, :-1], triangle[:-1, -1])
        return -step, _SUCCESS


@lru_cache
def levenberg_marquardt() -> optax.GradientTransformationExtraArgs:
    """Return the optimizer for losses that are sums of squares.

    Returns
    -------
    An optimizer for `physml.training.Stage`; the first of its steps only evaluates.

    Notes
    -----
    The damping starts at 1. Where the loss falls by 0.99 of what the model says or more
    it falls by a factor of 3.5; where it falls by less than 0.01 of it, it grows
    fourfold and the step is taken back: the constants of Optimistix. Bolder ones (a
    factor of 10 from 0.75 on) need fewer steps where the residuals vanish, and end in
    higher minima of networks (benchmarks/self_learning_monte_carlo.md).

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
        descent=_DampedStep(),
        search=optimistix.ClassicalTrustRegion(),
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
        `physml.training.minimize` decide. Those that make a `FunctionLinearOperator`
        of lineax do not run over devices (lineax 0.1.1 under `jax.shard_map`), only in
        one process or under MPI.

    Returns
    -------
    An optimizer for `physml.training.Stage`. Make it once and keep it.
    """

    def start(model: Callable, vector: jax.Array) -> Any:
        state = solver.init(model, vector, None, _OPTIONS, None, None, _NO_TAGS)
        return _in_dtype(state, vector.dtype)  # the step size starts in the default one

    def init(parameters: Any) -> list[jax.Array]:
        vector = _real_parameters(parameters)
        return jax.tree.leaves(start(_model_of(lambda _: no_rows(vector)), vector))

    def update(
        updates: Any,
        state: list[jax.Array],
        parameters: Any = None,
        *,
        value_fn: Any,
        **_: Any,
    ) -> tuple[Any, list[jax.Array]]:
        del updates  # the gradient, which is not used and so not computed
        loss = _require_squares(value_fn)
        vector, unravel = ravel_pytree(parameters)
        model = _model_of(lambda vector: loss.triangle(unravel(vector)))
        # The structure of the solver's state names shardings, which belong to one
        # program: only the arrays are carried from step to step.
        structure = jax.tree.structure(start(model, vector))
        after: Any
        moved, after, _ = solver.step(
            model,
            vector,
            None,
            _OPTIONS,
            jax.tree.unflatten(structure, state),
            _NO_TAGS,
        )
        is_finite = jnp.all(jnp.isfinite(after.f_info.jac.as_matrix()))
        step = jnp.where(is_finite, moved - vector, jnp.nan)
        return unravel(step), jax.tree.leaves(after)

    return optax.GradientTransformationExtraArgs(init, update)


def _model_of(triangle_at: Callable[[jax.Array], jax.Array]) -> Callable:
    """Return a function whose value and Jacobian at a point are those of a triangle."""

    def model(vector: jax.Array, _: None) -> tuple[jax.Array, None]:
        point = jax.lax.stop_gradient(vector)
        triangle = triangle_at(point)
        return triangle[:, -1] + triangle[:, :-1] @ (vector - point), None

    return model


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
