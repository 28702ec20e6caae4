r"""Local densities of states: how many states there are at a site and an energy.

.. math:: \rho_i(E) = -\frac{1}{\pi} \operatorname{Im} G_{ii}(E + i\eta)
          = \sum_m |\psi_m(i)|^2 \, \frac{1}{\pi}
            \frac{\eta}{(E - \lambda_m)^2 + \eta^2}

Energies and the broadening eta have one unit, and rho its inverse: over all energies
each site has one state.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import RunFailure
from physml.greens_functions.map_problem import map_problem
from physml.greens_functions.method_choice import MethodName, choose_method
from physml.greens_functions.outcomes import (
    NOT_FINITE,
    NOT_REACHED,
    OnFailure,
    named,
    require_on_failure,
)
from physml.greens_functions.rounds import (
    MapSnapshot,
    Observer,
    all_rows,
    rows_in_rounds,
)
from physml.operators import as_operator
from physml.parallel import SERIAL, Communicator
from physml.pytrees import register_dataclass
from physml.tracing import is_traced

DIRECT = ("recursive", "dense")


@partial(register_dataclass, static=("method",))
@dataclass(frozen=True)
class LocalDensityOfStates:
    """A map of local densities of states, and how good it is."""

    energies: jax.Array  # (num_energies,)
    sites: jax.Array  # (num_sites,)
    values: jax.Array  # (num_energies, num_sites)
    relative_residual: jax.Array  # see `tolerance`, of the same shape
    converged: jax.Array  # of the same shape
    num_iterations: jax.Array  # of the same shape; 0 for direct methods
    tolerance: jax.Array  # that was asked for, ()
    method: str  # which was used

    @property
    def outcome(self) -> str:
        """How it went, in words; where elements have failed, which, and what to do."""
        failed = np.argwhere(~np.asarray(self.converged))
        residual, most = np.asarray(self.relative_residual), np.max(self.num_iterations)
        if not len(failed):
            return f"converged: {residual.size} elements in at most {most} iterations"
        if np.isnan(residual).any():
            cause = NOT_FINITE
        elif self.method in DIRECT:
            cause = "rounding allows no less; raise the tolerance or the broadening"
        elif np.isinf(residual).any():
            cause = NOT_REACHED
        else:
            cause = (
                f"still above the tolerance after {most} iterations; raise "
                "max_iterations, the tolerance or the broadening"
            )
        count = f"{len(failed)} of {residual.size} elements of the map are not known"
        how = f"to {float(self.tolerance):.0e} by the method {self.method!r}"
        names = named(len(failed), self._names(failed))
        return f"{count} {how}, {names}: {cause}"

    def _names(self, failed: np.ndarray) -> Iterator[str]:
        energies, residual = np.asarray(self.energies), self.relative_residual
        return (
            f"energy {energies[k]:.6g} at site {self.sites[i]} "
            f"(residual {residual[k, i]:.1e})"
            for k, i in failed
        )


def local_density_of_states(
    operator: Any,
    energies: Any,
    broadening: Any,
    *,
    sites: Any = None,
    method: MethodName = "auto",
    tolerance: float | None = None,
    max_iterations: int | None = None,
    communicator: Communicator = SERIAL,
    batch: int | None = None,
    observer: Observer | None = None,
    snapshot: MapSnapshot | None = None,
    on_failure: OnFailure = "raise",
) -> LocalDensityOfStates:
    """Return the local density of states at all energies and sites.

    Differentiable in reverse mode with respect to the operator, the energies and the
    broadening by all methods.

    Parameters
    ----------
    operator
        H, Hermitian, shape (n, n): anything that `physml.operators.as_operator` takes.
    energies
        Real, shape (num_energies,).
    broadening
        eta > 0, the half width at half maximum of a level: a number, or one for each
        energy.
    sites
        Numbers from 0 to n - 1, shape (num_sites,); by default all.
    method
        "recursive": two sweeps over slices, for chains and strips; "dense": all
        eigenvectors; "krylov": a Lanczos process for each site; "kernel_polynomial":
        a Chebyshev series for each site, as long as the broadening needs; "auto":
        whichever costs least.
    tolerance
        An element has converged if its relative residual is at or below this: that of
        the equation which the method solves for G_ii, for "krylov" the square of that
        of the vector (z - H)^-1 e_i, since G_ii errs by so much, over the broadening.
        By default 1e-10 in float64, 1e-3 in float32.
    max_iterations
        Products with H for each site at most, of "krylov" and "kernel_polynomial"; by
        default 10 n, but from 10 000 to 100 000.
    communicator
        The ranks over which energies (or sites) are divided.
    batch
        How many of these a rank does in one round. By default what the method likes.
    observer
        Called after each round with a `MapSnapshot` and a `MapRecord`; returns whether
        to end.
    snapshot
        To go on from, for the same options; the number of ranks may differ.
    on_failure
        Whether elements that have not converged raise, or are told by the result alone.

    Returns
    -------
    LocalDensityOfStates
        Inside of `jax.jit` and `jax.grad` nothing raises and all is done in one round:
        look at `converged`.

    Raises
    ------
    ValueError
        For sites that are not there, a broadening that is not positive, wrong shapes,
        NaN, a batch of nothing, a snapshot of another map.
    RunFailure
        If elements have not converged: the message names the first of them. Also if
        the observer has ended the map.

    Examples
    --------
    >>> import numpy as np
    >>> dimer = np.array([[0.0, -1.0], [-1.0, 0.0]])  # levels -1 and 1
    >>> found = local_density_of_states(dimer, [1.0], 0.1)
    >>> [round(float(x), 3) for x in found.values[0]]  # about 1 / (2 pi eta)
    [1.596, 1.596]
    """
    require_on_failure(on_failure)
    problem = map_problem(as_operator(operator), energies, broadening, sites, tolerance)
    chosen = choose_method(method, problem, max_iterations=max_iterations)
    if is_traced(problem):
        rows = all_rows(chosen, problem, communicator)
    else:
        rows = rows_in_rounds(
            chosen,
            problem,
            communicator,
            batch=batch,
            observer=observer,
            snapshot=snapshot,
        )
    if chosen.items == "sites":
        rows = jax.tree.map(jnp.transpose, rows)
    result = LocalDensityOfStates(
        problem.z.real,
        problem.sites,
        _density(rows.green),
        rows.relative_residual,
        rows.converged,
        rows.num_iterations,
        problem.tolerance,
        chosen.name,
    )
    if on_failure == "raise":
        raise_on_failure(result)
    return result


@jax.jit
def _density(green: jax.Array) -> jax.Array:
    return green.imag / -math.pi


def raise_on_failure(result: LocalDensityOfStates) -> None:
    """Raise unless all elements have converged; inside of jit that is not known yet."""
    if not is_traced(result) and not np.all(result.converged):
        raise RunFailure(f"The local density of states: {result.outcome}.")
