r"""A network's values on a grid, :math:`\psi_i = b(x_i) f_\theta(x_i)`."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from physml.failures import expected
from physml.lattices.grid import Grid
from physml.precision import default_float_dtype
from physml.pytrees import register_dataclass
from physml.wavefunctions.boundary import BoundaryFactor, boundary_factor
from physml.wavefunctions.multilayer_perceptron import NetworkFunction


@partial(register_dataclass, static=("apply",))
@dataclass(frozen=True)
class GridWaveFunction:
    """A map from parameters to the wave function on a grid.

    Parameters
    ----------
    apply
        f(parameters, points) with values (num_points,).
    points
        The grid's points, shape (num_points, dimension).
    factor
        The boundary factor b, shape `grid.shape`.
    """

    apply: NetworkFunction
    points: jax.Array
    factor: jax.Array

    def __call__(self, parameters: Any) -> jax.Array:
        """Return psi, not normalized, shape `grid.shape`.

        A network of several functions gives them all, (num_functions, *grid.shape).
        """
        values = self.apply(parameters, self.points)
        num_points, shape = self.factor.size, self.factor.shape
        if values.shape[:1] != (num_points,) or values.ndim > 2:
            raise expected(
                f"a network with values of shape ({num_points},) or "
                f"({num_points}, num_functions)",
                f"shape {values.shape}",
                "let it map points (num_points, dimension) to values",
            )
        factor = self.factor.astype(values.dtype)
        if values.size == num_points:
            return values.reshape(shape) * factor
        rows = values.T.reshape(-1, *shape)
        return rows * jnp.broadcast_to(factor, rows.shape)


def grid_wave_function(
    apply: NetworkFunction,
    grid: Grid,
    *,
    boundary: BoundaryFactor = "dirichlet",
    dtype: jax.typing.DTypeLike | None = None,
) -> GridWaveFunction:
    """Evaluate a network at the points of a grid, times a boundary factor.

    Parameters
    ----------
    apply
        Any function of parameters and points: `as_function(module)[0]` of an nnx
        module, the `apply` of a linen module, or one written by hand.
    grid
        The grid.
    boundary
        "gaussian", "dirichlet" or "none", see `physml.wavefunctions.boundary`.
    dtype
        float32 or float64; by default the widest that JAX makes now.
    """
    dtype = default_float_dtype() if dtype is None else dtype
    return GridWaveFunction(
        apply,
        jnp.asarray(grid.points(), dtype),
        jnp.asarray(boundary_factor(grid, boundary), dtype),
    )
