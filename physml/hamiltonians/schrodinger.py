r"""The Schrodinger operator :math:`H = -\frac12 \nabla^2 + V` on a grid.

Units: hbar = m = 1; energies in hbar^2 / (m length^2). Functions on the grid have the
shape `grid.shape`; several particles on a line are one particle on a grid with an axis
for each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from physml.failures import expected
from physml.lattices.grid import Grid
from physml.operators.laplacian import Laplacian
from physml.precision import default_float_dtype
from physml.pytrees import register_dataclass


@partial(register_dataclass, static=("laplacian",))
@dataclass(frozen=True)
class SchrodingerHamiltonian:
    """Kinetic energy by central differences plus a diagonal potential.

    Build it with `schrodinger_hamiltonian`, which checks its input. The potential is a
    differentiable leaf; the grid and the stencil are static.

    Parameters
    ----------
    laplacian
        The Laplacian of the grid.
    potential
        V at the points, shape `grid.shape`.
    """

    laplacian: Laplacian
    potential: jax.Array

    @property
    def grid(self) -> Grid:
        """The grid on which the operator acts."""
        return self.laplacian.grid

    def __call__(self, psi: jax.Array) -> jax.Array:
        """Apply H to an array of shape (..., *grid.shape)."""
        potential = jnp.broadcast_to(self.potential, psi.shape).astype(psi.dtype)
        return -0.5 * self.laplacian(psi) + potential * psi

    def to_sparse(self) -> scipy.sparse.csr_array:
        """Return the matrix, shape (num_points, num_points), float64."""
        potential = np.asarray(self.potential, np.float64).ravel()
        diagonal = scipy.sparse.diags_array(potential)
        return (-0.5 * self.laplacian.to_sparse() + diagonal).tocsr()

    def kinetic_norm_bound(self) -> float:
        """Return a bound of the norm of the kinetic energy operator."""
        return 0.5 * self.laplacian.norm_bound()


def schrodinger_hamiltonian(
    grid: Grid,
    potential: Callable[..., jax.typing.ArrayLike],
    *,
    stencil_order: int = 8,
    dtype: jax.typing.DTypeLike | None = None,
) -> SchrodingerHamiltonian:
    """Put a potential on a grid.

    Parameters
    ----------
    grid
        One to three lines.
    potential
        V(x), V(x, y) or V(x, y, z), called once with the coordinates of all points,
        each of shape `grid.shape`.
    stencil_order
        The order of the central differences: 2, 4, 6 or 8.
    dtype
        float32 or float64; by default the widest that JAX makes now.

    Raises
    ------
    ValueError
        If the potential is not finite at every point, has another shape than the grid,
        or the stencil does not fit.

    Examples
    --------
    >>> from physml import Grid
    >>> hamiltonian = schrodinger_hamiltonian(Grid.line(-8, 8, 511), lambda x: x**2 / 2)
    >>> hamiltonian.potential.shape
    (511,)
    """
    values = np.asarray(potential(*grid.coordinates()))
    _check_potential(values, grid)
    dtype = default_float_dtype() if dtype is None else dtype
    values = np.broadcast_to(values, grid.shape)
    return SchrodingerHamiltonian(
        Laplacian(grid, stencil_order), jnp.asarray(values, dtype)
    )


def _check_potential(values: np.ndarray, grid: Grid) -> None:
    if values.shape not in ((), grid.shape):
        raise expected(
            f"a potential of shape {grid.shape}, one value for each grid point",
            f"shape {values.shape}",
            "let the potential act on arrays, element by element",
        )
    if np.iscomplexobj(values):
        raise expected(
            "a real potential", values.dtype, "take its real part if that is meant"
        )
    bad = ~np.isfinite(np.broadcast_to(values, grid.shape))
    if bad.any():
        where = tuple(float(axis[bad][0]) for axis in grid.coordinates())
        raise expected(
            "a potential that is finite at every grid point",
            f"{values[bad][0] if values.shape else values} at {where}",
            "shift the grid off the singularity or cut the potential off",
        )
