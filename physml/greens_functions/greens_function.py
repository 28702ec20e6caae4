r"""Elements of the resolvent of a Hermitian operator, at many frequencies at once.

.. math:: G_{ij}(z) = \langle e_i|(z - H)^{-1}|e_j\rangle

z and H have the unit of an energy, G that of its inverse.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

from physml.failures import RunFailure, expected
from physml.greens_functions.wanted_elements import wanted_elements
from physml.operators.hermiticity import require_hermitian
from physml.operators.linear_operator import as_operator
from physml.solvers.reduced_shifted_krylov import (
    recomputed_residuals,
)
from physml.solvers.resolvent_elements import DerivativeRoute, resolvent_elements
from physml.tracing import is_traced

DEFAULT_ITERATIONS = (10_000, 100_000)  # 10 n within these bounds
SHOWN = 3  # failed shifts that a message names


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GreensFunction:
    """G at each z, and how good it is."""

    value: jax.Array  # (num_z,), or (num_z, m) for m rows
    relative_residual: jax.Array  # |b - (z - H) x| / |b| by the recurrence, (num_z,)
    converged: jax.Array  # (num_z,)
    num_iterations: jax.Array  # applications of H that each z has used, (num_z,)
    z: jax.Array  # (num_z,)
    is_exhausted: jax.Array  # whether the Krylov space ended, ()
    true_residual: jax.Array | None = None  # made again, where asked for, (num_z,)

    @property
    def outcome(self) -> str:
        """How it went, in words; where shifts have failed, which, and what to do."""
        failed = np.flatnonzero(~np.asarray(self.converged))
        most = int(np.max(self.num_iterations))
        if not len(failed):
            return f"converged: {len(self.z)} shifts in at most {most} iterations"
        if self.is_not_finite:
            why = "values that are not finite"
            cure = "look for NaN or infinity in the operator"
        elif self.is_exhausted:
            why = (
                "the Krylov space is exhausted, so that z is an eigenvalue to rounding"
            )
            cure = "give z an imaginary part"
        else:
            why = f"the limit was reached after {most} iterations"
            cure = "raise max_iterations or the tolerance, or move z off the spectrum"
        return f"{self._named(failed)}: {why}; {cure}"

    @property
    def is_not_finite(self) -> bool:
        """Whether NaN came out of the operator."""
        return bool(np.isnan(np.asarray(self.relative_residual)).any())

    def _named(self, failed: np.ndarray) -> str:
        """Return the first few shifts that failed, with their residuals."""
        z, residual = np.asarray(self.z), np.asarray(self.relative_residual)
        names = [f"z = {z[i]:.6g} (residual {residual[i]:.1e})" for i in failed[:SHOWN]]
        if len(failed) > SHOWN:
            names.append(f"and {len(failed) - SHOWN} more")
        return f"{len(failed)} of {len(z)} shifts failed, {', '.join(names)}"


def greens_function(
    operator: Any,
    z: Any,
    *,
    column: Any,
    row: Any = None,
    tolerance: float = 1e-10,
    max_iterations: int | None = None,
    true_residuals: bool = False,
    derivative: DerivativeRoute = "auto",
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
        Energies off the spectrum of H, complex or real, shape (num_z,). The computation
        has the widest precision among z, H, row and column.
    column
        j: a site from 0 to n - 1, or a vector of shape (n,) of floating dtype.
    row
        i: a site; several, (m,); a vector u, (n,), or several, (m, n), each for
        <u| = conj(u)^T. By default the column: G_jj needs no elements of the Lanczos
        vectors and errs by about the residual squared.
    tolerance
        A z is done when its relative residual is at or below this.
    max_iterations
        Applications of H at most; by default 10 n, but from 10 000 to 100 000.
    true_residuals
        Whether to make the solutions again in full and to measure their residuals: n
        times the work for each z. For the row that is the column the solutions end
        within a chunk, the elements after it: their residuals are smaller still.
    derivative
        How `value` is pulled back to the floating leaves of H (for changes that keep H
        Hermitian), z, and vectors given as row and column, in reverse mode alone:
        "chebyshev" (the work of a few forward runs, for any number of z), "resolvent"
        (dG = G dH G with full solutions: n times the work for each z, the best for few
        z very near to the spectrum), "lanczos" (the adjoint of the recurrence: see its
        limits in `physml.solvers.lanczos_adjoint`), or "auto", the cheaper one of the
        first two.
    on_failure
        Whether a z that has not converged raises, or is told by the result alone.

    Returns
    -------
    `value`, shape (num_z,), or (num_z, m) where rows have the axis m, with the residual
    of each z. Inside of jit nothing raises: look at `converged`.

    Raises
    ------
    ValueError
        For an H that is not Hermitian (by a product with random vectors), sites that
        are not there, wrong shapes, NaN, and z on the spectrum.
    TypeError
        In forward mode (jvp, jacfwd).
    RunFailure
        If the limit on iterations was reached; the message names the z.

    Examples
    --------
    >>> import numpy as np
    >>> dimer = np.array([[0.0, -1.0], [-1.0, 0.0]])  # levels -1 and 1
    >>> value = greens_function(dimer, [2.0], row=0, column=1).value[0]
    >>> round(float(value.real), 4)  # -1 / 3
    -0.3333
    """
    operator = as_operator(operator)
    if max_iterations is None:
        max_iterations = int(np.clip(10 * operator.size, *DEFAULT_ITERATIONS))
    _require_limits(tolerance, max_iterations, on_failure)
    if not is_traced(operator):
        require_hermitian(operator)
    wanted = wanted_elements(operator, z, row, column)
    shifts, start = wanted.shifts, wanted.column
    limits: dict[str, Any] = {"tolerance": tolerance, "max_iterations": max_iterations}
    found = resolvent_elements(
        operator, shifts, start, wanted.rows, derivative=derivative, **limits
    )
    again = None
    if true_residuals:
        again = recomputed_residuals(operator, shifts, start, **limits)
    result = GreensFunction(
        value=found.value[:, 0] if wanted.is_one_row else found.value,
        relative_residual=found.relative_residual,
        converged=found.is_converged,
        num_iterations=found.num_steps,
        z=shifts,
        is_exhausted=found.has_ended,
        true_residual=again,
    )
    if on_failure == "raise":
        raise_on_failure(result)
    return result


def raise_on_failure(result: GreensFunction) -> None:
    """Raise unless all shifts have converged; inside of jit that is not known yet."""
    if is_traced(result) or np.all(result.converged):
        return
    sentence = f"The Green's function: {result.outcome}."
    if result.is_exhausted and not result.is_not_finite:
        raise ValueError(sentence)
    raise RunFailure(sentence)


def _require_limits(tolerance: float, max_iterations: int, on_failure: str) -> None:
    if not tolerance > 0:
        raise expected("a tolerance > 0", tolerance, "1e-10 is the default")
    if max_iterations < 1:
        raise expected("max_iterations >= 1", max_iterations, "10 000 is the default")
    if on_failure not in ("raise", "return"):
        raise expected("'raise' or 'return'", repr(on_failure), "choose one of the two")
