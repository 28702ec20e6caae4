r"""Elements of the resolvent of a Hermitian operator, at many frequencies at once.

.. math:: G_{ij}(z) = \langle e_i|(z - H)^{-1}|e_j\rangle

z and H have the unit of an energy, G that of its inverse.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import RunFailure, expected, expected_type
from physml.operators.linear_operator import LinearOperator, as_operator
from physml.solvers.reduced_shifted_krylov import (
    reduced_shifted_krylov,
    true_residuals,
)

MOST_ITERATIONS = 100_000  # by default, however large the operator is

Sites: TypeAlias = Any  # a site number, several of them, or vectors: see `greens_function`


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GreensFunction:
    """G at each z, and how good it is."""

    value: jax.Array  # (num_z,), or (num_z, m) for m rows
    relative_residual: jax.Array  # |b - (z - H) x| / |b| by the recurrence, (num_z,)
    converged: jax.Array  # (num_z,)
    num_iterations: jax.Array  # applications of H that each z has used, (num_z,)
    z: jax.Array  # (num_z,)
    is_exhausted: jax.Array  # whether the whole Krylov space was used
    true_residual: jax.Array | None = None  # computed again, where asked for, (num_z,)

    @property
    def outcome(self) -> str:
        """How it went, in words; where shifts have failed, which and what to do."""
        failed = np.flatnonzero(~np.atleast_1d(self.converged))
        iterations = np.atleast_1d(self.num_iterations)
        if not len(failed):
            return f"converged: {len(iterations)} shifts in {iterations.max()} iterations"
        if not np.isfinite(np.atleast_1d(self.relative_residual)[failed]).all():
            why = "a value is not finite"
            cure = "look for NaN or infinity in the operator"
        elif np.any(self.is_exhausted):
            why = "z lies on the spectrum, to rounding"
            cure = "give z an imaginary part"
        else:
            why = f"the limit of {iterations.max()} iterations was reached"
            cure = "raise max_iterations or the tolerance, or move z off the spectrum"
        return f"{why} for {self._named(failed)}: {cure}"

    def _named(self, failed: np.ndarray) -> str:
        """Return the first few shifts that failed, with their residuals."""
        z, residual = np.atleast_1d(self.z), np.atleast_1d(self.relative_residual)
        shown = [f"z = {z[i]:.6g} (relative residual {residual[i]:.1e})" for i in failed[:3]]
        more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        return f"{len(failed)} of {len(z)} shifts, {', '.join(shown)}{more}"


def greens_function(
    operator: Any,
    z: Any,
    *,
    column: Sites,
    row: Sites = None,
    tolerance: float = 1e-10,
    max_iterations: int | None = None,
    true_residuals: bool = False,
    on_failure: Literal["raise", "return"] = "raise",
) -> GreensFunction:
    r"""Return G_ij(z) for all z from one Krylov space of H and column j.

    Reduced shifted conjugate gradients (arXiv:1607.03992) in a form that breaks down
    for no Hermitian H; see `physml.solvers.shifted_recurrence`.

    Parameters
    ----------
    operator
        H, Hermitian, shape (n, n): anything that `physml.operators.as_operator` takes.
    z
        Complex or real energies, shape (num_z,), of any dtype and sign, off the
        spectrum of H. The computation has the widest precision among z, H and vectors.
    column
        j: a site, from 0 to n - 1, or a vector \|j>, shape (n,), of floating dtype.
    row
        i: a site, several, shape (m,), a vector u, shape (n,), or several, (m, n), which
        stand for <u| = conj(u)^T. By default the column: G_jj needs no elements of the
        Lanczos vectors and is more accurate, with an error like the residual squared.
    tolerance
        Each z is done when its relative residual is at or below this.
    max_iterations
        Applications of H at most; by default 10 n, but no more than 100 000.
    true_residuals
        Whether to make all solutions again in full and to measure their residuals, at n
        times the cost for each z.
    on_failure
        Whether shifts that have not converged raise, or are told by the result alone.

    Returns
    -------
    `value` of shape (num_z,), or (num_z, m) for m rows, with the residual of each z.
    Inside of jit a failure never raises: look at `converged`.

    Raises
    ------
    ValueError
        For sites that are not there, wrong shapes, NaN, and z on the spectrum.
    RunFailure
        If the limit on iterations was reached, or H gave NaN; the message names the z.

    Examples
    --------
    >>> import numpy as np
    >>> dimer = np.array([[0.0, -1.0], [-1.0, 0.0]])  # levels -1 and 1
    >>> greens_function(dimer, [2.0], row=0, column=1).value
    Array([-0.3333333+0.j], dtype=complex64)
    """
    operator = as_operator(operator)
    shifts, columns, rows = _arguments(operator, z, column, row)
    if max_iterations is None:
        max_iterations = min(10 * operator.size, MOST_ITERATIONS)
    _require_limits(tolerance, max_iterations)
    limits = {"tolerance": tolerance, "max_iterations": max_iterations}
    found = reduced_shifted_krylov(operator, shifts.ravel(), columns, rows, **limits)
    again = _true_residuals(operator, shifts, columns, limits) if true_residuals else None
    is_one_row = rows is None or np.ndim(row) + (not _is_sites(row)) ... 
