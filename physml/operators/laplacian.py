r"""The Laplacian on a grid by central differences of order 2, 4, 6 or 8.

.. math:: (\nabla^2 f)_i = \sum_{axes} h^{-2} \Big[ c_0 f_i
          + \sum_{k=1}^{p/2} c_k (f_{i+k} + f_{i-k}) \Big]

Beyond a Dirichlet wall the function is continued as an odd function,
:math:`f(-x) = -f(x)`, beyond a periodic end as itself. Both keep the matrix symmetric,
and the sine and plane waves are its exact eigenvectors: on n points of a Dirichlet line
the eigenvalues are :math:`h^{-2} [c_0 + 2 \sum_k c_k \cos(k \pi m / (n + 1))]`,
:math:`m = 1..n`.

The odd continuation of a function that solves a Schrodinger equation is as smooth as
the potential is even about the wall: with a slope of the potential at a wall where the
wave function is not small, orders above 4 converge like :math:`h^4`, with a Coulomb
singularity there like :math:`h^2`.

Coefficients: B. Fornberg, Math. Comp. 51, 699 (1988), table 1.
"""

from dataclasses import dataclass
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from physml.failures import expected
from physml.lattices.grid import Grid, Line
from physml.operators.continuation import extended, extended_block
from physml.parallel import SERIAL, Communicator, Division
from physml.pytrees import register_dataclass

STENCILS: dict[int, tuple[float, ...]] = {
    2: (1.0,),
    4: (4 / 3, -1 / 12),
    6: (3 / 2, -3 / 20, 1 / 90),
    8: (8 / 5, -1 / 5, 8 / 315, -1 / 560),
}  # c_1, c_2, ...; c_0 = -2 sum c_k, so that constants have no derivative


@partial(register_dataclass, static=("grid", "order", "communicator"))
@dataclass(frozen=True)
class Laplacian:
    """The Laplacian of functions on a grid, applied without a matrix.

    Parameters
    ----------
    grid
        Where the functions live.
    order
        The order of accuracy: 2, 4, 6 or 8.
    communicator
        The ranks over which the first axis of the grid is divided; each applies the
        operator to its block.

    Raises
    ------
    ValueError
        If there is no such stencil, or a line has fewer points than the stencil.
    """

    grid: Grid
    order: int = 8
    communicator: Communicator = SERIAL

    def __post_init__(self) -> None:
        """Refuse stencils that do not exist or do not fit on a line."""
        if self.order not in STENCILS:
            raise expected("a stencil order of 2, 4, 6 or 8", self.order, "choose one")
        if min(self.grid.shape) <= self.order:
            raise expected(
                f"more than {self.order} points on each line for the stencil of "
                f"order {self.order}",
                min(self.grid.shape),
                "take more points or a lower order",
            )

    def __call__(self, field: jax.Array) -> jax.Array:
        """Apply to an array of shape (..., *grid.shape).

        Of a grid divided over ranks it is the rank's block, (..., length, ...), where
        length is that of `Division`; the result is zero on its padding.
        """
        first = field.ndim - self.grid.dimension
        terms = [
            self._second_derivative(field, first + axis, line)
            for axis, line in enumerate(self.grid.lines)
        ]
        return self._without_padding(reduce(jnp.add, terms), first)

    def _second_derivative(self, field: jax.Array, axis: int, line: Line) -> jax.Array:
        weights = self.weights(line)
        reach = len(weights) - 1
        if axis == field.ndim - self.grid.dimension and self.communicator.size > 1:
            rows = extended_block(field, axis, line, reach, self.communicator)
        else:
            rows = extended(field, axis, line, reach)
        return _stencil(field, rows, axis, weights)

    def _without_padding(self, field: jax.Array, axis: int) -> jax.Array:
        division = Division(self.grid.shape[0], self.communicator.size)
        if division.num_items == division.length * division.num_ranks:
            return field
        mask = division.mask(self.communicator.rank)
        after = tuple(range(1, field.ndim - axis))
        return jnp.where(jnp.expand_dims(mask, after), field, jnp.zeros_like(field))

    def to_sparse(self) -> scipy.sparse.csr_array:
        """Return the matrix, shape (num_points, num_points), built from indices."""
        matrices = [_line_matrix(line, self.weights(line)) for line in self.grid.lines]
        # axis by axis: A x 1 + 1 x B, the last axis fastest, as in Grid.points
        return reduce(lambda a, b: scipy.sparse.kronsum(b, a), matrices).tocsr()

    def norm_bound(self) -> float:
        r"""Return a bound of the spectral norm, :math:`\sum |c| / h^2`."""
        first, *others = np.abs(
            np.transpose([self.weights(x) for x in self.grid.lines])
        )
        return float(np.sum(first) + 2 * np.sum(others))

    def weights(self, line: Line) -> tuple[float, ...]:
        r"""Return :math:`c_0/h^2, c_1/h^2, ...` on a line.

        They are rounded to a few bits less than float64 has, so that their sum is zero
        exactly; left to itself it shifts all levels by about eps / h^2.
        """
        others = np.array(STENCILS[self.order]) / line.spacing**2
        quantum = 2.0 ** (np.ceil(np.log2(others.max())) - 50)
        others = np.round(others / quantum) * quantum
        return (float(-2 * others.sum()), *others.tolist())


def _stencil(
    field: jax.Array, rows: jax.Array, axis: int, weights: tuple[float, ...]
) -> jax.Array:
    """Apply the weights to a field, of which `rows` has a few more on both sides."""
    reach, n = len(weights) - 1, field.shape[axis]
    shifted = partial(jax.lax.slice_in_dim, rows, axis=axis)
    total = weights[0] * field
    for k, weight in enumerate(weights[1:], start=1):
        left = shifted(reach - k, reach - k + n)
        right = shifted(reach + k, reach + k + n)
        total = total + weight * (left + right)
    return total


def _line_matrix(line: Line, weights: tuple[float, ...]) -> scipy.sparse.csr_array:
    """Return the second derivative on one line from the index of each neighbor."""
    n, row = line.num_points, np.arange(line.num_points)
    matrix = scipy.sparse.csr_array((n, n))
    for offset in range(1 - len(weights), len(weights)):
        column, sign = _neighbor(row + offset, line)
        entry = sign * weights[abs(offset)]
        matrix = matrix + scipy.sparse.csr_array((entry, (row, column)), shape=(n, n))
    return matrix


def _neighbor(index: np.ndarray, line: Line) -> tuple[np.ndarray, np.ndarray]:
    """Map an index beyond the ends to the point and the sign that stand for it."""
    n = line.num_points
    if line.is_periodic:
        return index % n, np.ones(n)
    # The walls are the indices -1 and n, where the function is zero.
    sign = np.where((index == -1) | (index == n), 0.0, 1.0)
    sign = np.where((index < -1) | (index > n), -1.0, sign)
    image = np.where(index < 0, -2 - index, index)
    image = np.where(index > n - 1, 2 * n - index, image)
    return np.clip(image, 0, n - 1), sign
