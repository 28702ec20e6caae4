r"""Variable projection: parameters in which a least-squares problem is linear drop out.

In :math:`\min_{\theta, c} |A(\theta) c - y(\theta)|^2` the best coefficients belong to
theta, :math:`c = A^+ y`, and what is left to minimize is

.. math:: L(\theta) = |r|^2 , \qquad r = -P y , \qquad P = 1 - A A^+ .

Its gradient is that with c held at its best, since L does not change with c there. Of
the Jacobian of r,

.. math:: J_i = P \left( \partial_i A \, c - \partial_i y \right)
          + (A^+)^T (\partial_i A)^T r ,

the second part is left out (Kaufman): it is orthogonal to r and gone where r is. A^+
comes from singular values, relative to eps, so that columns may depend on each other.

Sources: G. H. Golub, V. Pereyra, SIAM J. Numer. Anal. 10, 413 (1973),
https://doi.org/10.1137/0710036; L. Kaufman, BIT 15, 49 (1975).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

from physml.pytrees import register_dataclass
from physml.training.sum_of_squares import add_rows, no_rows


@register_dataclass
@dataclass(frozen=True)
class VariableProjection:
    """The loss min_c |A c - y|^2 of the parameters on which A and y depend.

    Parameters
    ----------
    linear
        Maps real parameters to A, of shape (rows, columns), and y, of shape (rows,),
        both real or both complex; c is real. A `jax.tree_util.Partial` may carry
        arrays.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from physml.training import VariableProjection, minimize, optimizer_stages
    >>> x = jnp.linspace(0, 2, 9)
    >>> def linear(rate):
    ...     return jnp.exp(-rate * x)[:, None], 3 * jnp.exp(-2 * x)
    >>> loss = VariableProjection(linear)
    >>> stages = optimizer_stages("levenberg_marquardt", num_steps=30)
    >>> rate = minimize(loss, jnp.array(1.0), stages, record_every=1).parameters
    >>> round(float(rate), 6), float(loss.coefficients(rate)[0].round(6))
    (2.0, 3.0)
    """

    linear: Callable[[Any], tuple[jax.Array, jax.Array]]

    def __post_init__(self) -> None:
        """Let a plain function go through jit."""
        if jax.tree_util.all_leaves([self.linear]):
            object.__setattr__(self, "linear", Partial(self.linear))

    def __call__(self, parameters: Any) -> jax.Array:
        """Return the loss."""
        return jnp.sum(self._residuals(self.coefficients(parameters), parameters) ** 2)

    def coefficients(self, parameters: Any) -> jax.Array:
        """Return the best c, of the smallest norm if there are many; held constant."""
        problem = jax.lax.stop_gradient(self._real_problem(parameters))
        _, coefficients = _projected(*problem)
        return coefficients

    def triangle(self, parameters: Any) -> jax.Array:
        """Return R of (J r) = Q R, as `SquaredLoss` has it."""
        vector, unravel = ravel_pytree(parameters)
        basis, coefficients = _projected(*self._real_problem(parameters))

        def twice(vector: jax.Array) -> tuple[jax.Array, jax.Array]:
            r = self._residuals(coefficients, unravel(vector))
            return r, r

        jacobian, r = jax.jacfwd(twice, has_aux=True)(vector)
        rows = jnp.concatenate([jacobian, r[:, None]], axis=1)
        return add_rows(no_rows(vector), _without(basis, rows))

    def _real_problem(self, parameters: Any) -> tuple[jax.Array, jax.Array]:
        """Return A and y, real parts of complex rows above their imaginary parts."""
        matrix, side = self.linear(parameters)
        if jnp.iscomplexobj(matrix):
            matrix = jnp.concatenate([matrix.real, matrix.imag])
            side = jnp.concatenate([side.real, side.imag])
        return matrix, side

    def _residuals(self, coefficients: jax.Array, parameters: Any) -> jax.Array:
        matrix, side = self._real_problem(parameters)
        return matrix @ coefficients - side


def _projected(matrix: jax.Array, side: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return an orthonormal basis of the columns, and the best coefficients."""
    scales = jnp.linalg.norm(matrix, axis=0)
    scales = jnp.where(scales > 0, scales, 1)
    left, singular, right = jnp.linalg.svd(matrix / scales[None], full_matrices=False)
    smallest = jnp.finfo(matrix.dtype).eps * jnp.max(singular, initial=0.0)
    kept = singular > smallest
    inverse = jnp.where(kept, 1 / jnp.where(kept, singular, 1), 0)
    basis = left * kept[None].astype(left.dtype)
    return basis, right.T @ (inverse * (basis.T @ side)) / scales


def _without(basis: jax.Array, rows: jax.Array) -> jax.Array:
    """Return the part of the rows that is orthogonal to a basis."""
    project = partial(jnp.matmul, basis)
    for _ in range(2):  # once more, for what rounding has left
        rows = rows - project(basis.T @ rows)
    return rows
