"""The ways to compute Green's functions: maps a row at a time, and single elements.

A method computes rows of a map of local densities for some of its items: for energies
all wanted sites (the direct methods), or for sites all energies (one Krylov or
Chebyshev space each); and it knows the solver of single elements. It is a pytree, so
that parts of it may be arrays.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from physml.greens_functions.map_problem import MapProblem
from physml.operators import LinearOperator
from physml.pytrees import register_dataclass
from physml.solvers.block_tridiagonal import SliceOrder, block_tridiagonal
from physml.solvers.block_tridiagonal_solution import recursive_elements
from physml.solvers.chebyshev_resolvent import chebyshev_elements
from physml.solvers.eigenvector_sum import dense_diagonal_resolvent, dense_elements
from physml.solvers.resolvent_elements import (
    KRYLOV,
    ResolventMethod,
    resolvent_elements,
)
from physml.solvers.selected_inversion import (
    BATCH_BYTES,
    recursive_diagonal_resolvent,
)
from physml.solvers.spectral_interval import SpectralInterval

MOST_SITES = 64  # whose vectors are worked on together
KRYLOV_SITES = 16  # the same, where numbers of each shift stand beside the vectors
BATCH_ELEMENTS = 2**24  # of these vectors

Items = Literal["energies", "sites"]


class Rows(NamedTuple):
    """Rows of a map; each has one number for each of its other items."""

    green: jax.Array  # G_ii(z), (num_rows, num_others)
    relative_residual: jax.Array
    converged: jax.Array
    num_iterations: jax.Array


class MapMethod(Protocol):
    """One way to compute a map."""

    name: ClassVar[str]
    items: ClassVar[Items]  # what a row is for

    @property
    def solver(self) -> ResolventMethod:
        """How it computes single elements."""
        ...

    def batch(self, problem: MapProblem) -> int:
        """Return how many rows are best done together."""
        ...

    def rows(self, problem: MapProblem, items: jax.Array) -> Rows:
        """Compute rows, given as places in the problem's z or sites; compiled."""
        ...


@register_dataclass
@dataclass(frozen=True)
class Recursive:
    """Two sweeps over slices."""

    order: SliceOrder

    name: ClassVar[str] = "recursive"
    items: ClassVar[Items] = "energies"

    @property
    def solver(self) -> ResolventMethod:
        """How it computes single elements."""
        return ResolventMethod(recursive_elements, self.order)

    def batch(self, problem: MapProblem) -> int:
        """Return as many energies as their self-energies fit into memory."""
        elements = self.order.num_slices * self.order.width**2  # of one z
        return max(1, BATCH_BYTES // (elements * problem.z.dtype.itemsize))

    def rows(self, problem: MapProblem, items: jax.Array) -> Rows:
        """Compute G_ii for the energies."""
        blocks = block_tridiagonal(problem.operator, self.order)
        found = recursive_diagonal_resolvent(blocks, problem.z[items])
        return _rows(problem, *(x[:, problem.sites] for x in found))


@register_dataclass
@dataclass(frozen=True)
class Dense:
    """A sum over all eigenvectors."""

    name: ClassVar[str] = "dense"
    items: ClassVar[Items] = "energies"

    @property
    def solver(self) -> ResolventMethod:
        """How it computes single elements."""
        return ResolventMethod(dense_elements)

    def batch(self, problem: MapProblem) -> int:
        """Return all energies: the diagonalization is done for all of them."""
        return len(problem.z)

    def rows(self, problem: MapProblem, items: jax.Array) -> Rows:
        """Compute G_ii for the energies."""
        found = dense_diagonal_resolvent(problem.operator, problem.z[items])
        return _rows(problem, *(x[:, problem.sites] for x in found))


@partial(register_dataclass, static=("max_iterations", "is_differentiated"))
@dataclass(frozen=True)
class Krylov:
    """A Lanczos process for each site, with all energies as its shifts.

    A diagonal element errs by at most the squared residual of its solution times
    |(z - H)^-1|, so that the solutions need half of the digits; their derivatives need
    all of them.
    """

    max_iterations: int
    is_differentiated: bool = False

    name: ClassVar[str] = "krylov"
    items: ClassVar[Items] = "sites"

    @property
    def solver(self) -> ResolventMethod:
        """How it computes single elements."""
        return KRYLOV

    def batch(self, problem: MapProblem) -> int:
        """Return how many sites have their vectors in memory together."""
        return min(KRYLOV_SITES, sites_in_memory(problem.operator))

    def rows(self, problem: MapProblem, items: jax.Array) -> Rows:
        """Compute G_ii for the sites."""
        tolerance = problem.tolerance
        found = resolvent_elements(
            problem.operator,
            problem.z,
            _unit_vectors(problem, items),
            tolerance=tolerance if self.is_differentiated else self.residual(tolerance),
            max_iterations=self.max_iterations,
        )
        return Rows(
            found.value[..., 0],
            found.relative_residual**2,
            found.is_converged,
            found.num_steps,
        )

    @staticmethod
    def residual(tolerance: jax.Array) -> jax.Array:
        """Return the residual whose square is a tenth of the tolerance."""
        return jnp.sqrt(tolerance / 10)


@partial(register_dataclass, static=("max_iterations",))
@dataclass(frozen=True)
class KernelPolynomial:
    """A Chebyshev series for each site, as long as the broadening needs."""

    interval: SpectralInterval
    max_iterations: int

    name: ClassVar[str] = "kernel_polynomial"
    items: ClassVar[Items] = "sites"

    @property
    def solver(self) -> ResolventMethod:
        """How it computes single elements."""
        return ResolventMethod(chebyshev_elements, self.interval)

    def batch(self, problem: MapProblem) -> int:
        """Return how many sites have their vectors in memory together."""
        return sites_in_memory(problem.operator)

    def rows(self, problem: MapProblem, items: jax.Array) -> Rows:
        """Compute G_ii for the sites."""
        found = resolvent_elements(
            problem.operator,
            problem.z,
            _unit_vectors(problem, items),
            tolerance=problem.tolerance,
            max_iterations=self.max_iterations,
            method=self.solver,
        )
        return Rows(
            found.value[..., 0],
            found.relative_residual,
            found.is_converged,
            found.num_steps,
        )


def sites_in_memory(operator: LinearOperator) -> int:
    """Return how many vectors are best worked on together."""
    return max(1, min(MOST_SITES, BATCH_ELEMENTS // operator.size))


def _unit_vectors(problem: MapProblem, items: jax.Array) -> jax.Array:
    operator, sites = problem.operator, problem.sites[items]
    dtype = np.result_type(operator.dtype, problem.z.real.dtype)
    return jax.nn.one_hot(sites, operator.size, dtype=dtype)


def _rows(problem: MapProblem, green: jax.Array, residual: jax.Array) -> Rows:
    """Return the rows of a direct method."""
    converged = (residual <= problem.tolerance) & jnp.isfinite(green)
    return Rows(green, residual, converged, jnp.zeros(green.shape, jnp.int32))
