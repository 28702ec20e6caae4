"""The ways to compute a map of local densities of states, a row at a time.

A method computes rows of the map for some of its items: for energies all wanted sites
(the direct methods), or for sites all energies (one Krylov or Chebyshev space each).
It is a pytree, so that parts of it may be arrays.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from physml.operators import LinearOperator
from physml.solvers.block_tridiagonal import (
    SliceOrder,
    block_tridiagonal,
)
from physml.solvers.diagonal_resolvent import DiagonalResolvent
from physml.solvers.eigenvector_sum import dense_diagonal_resolvent
from physml.solvers.selected_inversion import (
    BATCH_BYTES,
    recursive_diagonal_resolvent,
)

Items = Literal["energies", "sites"]


class MapProblem(NamedTuple):
    """What the map is of."""

    operator: LinearOperator
    z: jax.Array  # energies with broadening, (num_energies,)
    sites: jax.Array  # (num_sites,)
    tolerance: jax.Array


class Rows(NamedTuple):
    """Rows of a map; each has one number for each of its other items."""

    green: jax.Array  # G_ii(z), (num_rows, num_others)
    relative_residual: jax.Array
    num_iterations: jax.Array


class MapMethod(Protocol):
    """One way to compute a map."""

    items: ClassVar[Items]  # what a row is for

    def batch(self, problem: MapProblem) -> int:
        """Return how many rows are best done together."""
        ...

    def rows(self, problem: MapProblem, items: jax.Array) -> Rows:
        """Compute rows, given as places in the problem's z or sites; compiled."""
        ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Recursive:
    """Two sweeps over slices."""

    order: SliceOrder

    items: ClassVar[Items] = "energies"

    def batch(self, problem: MapProblem) -> int:
        """Return as many energies as their self-energies fit into memory."""
        elements = self.order.num_slices * self.order.width**2  # of one z
        return max(1, BATCH_BYTES // (elements * problem.z.dtype.itemsize))

    def rows(self, problem: MapProblem, items: jax.Array) -> Rows:
        """Compute G_ii for the energies."""
        blocks = block_tridiagonal(problem.operator, self.order)
        found = recursive_diagonal_resolvent(blocks, problem.z[items])
        return _direct_rows(found, problem.sites)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Dense:
    """A sum over all eigenvectors."""

    items: ClassVar[Items] = "energies"

    def batch(self, problem: MapProblem) -> int:
        """Return all energies: the diagonalization is done for all of them."""
        return len(problem.z)

    def rows(self, problem: MapProblem, items: jax.Array) -> Rows:
        """Compute G_ii for the energies."""
        found = dense_diagonal_resolvent(problem.operator, problem.z[items])
        return _direct_rows(found, problem.sites)


def _direct_rows(found: DiagonalResolvent, sites: jax.Array) -> Rows:
    green, residual = (x[:, sites] for x in found)
    return Rows(green, residual, jnp.zeros(green.shape, jnp.int32))
