r"""Elements of the resolvent of a Hermitian operator, at many frequencies at once.

.. math:: G_{ij}(z) = \langle e_i|(z - H)^{-1}|e_j\rangle

z and H have the unit of an energy, G that of its inverse.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from physml.failures import RunFailure
from physml.greens_functions.element_problem import element_problem
from physml.greens_functions.method_choice import (
    MethodName,
    checked_limit,
    choose_method,
)
from physml.greens_functions.outcomes import (
    NOT_FINITE,
    NOT_REACHED,
    OnFailure,
    named,
    require_on_failure,
)
from physml.operators.hermiticity import require_hermitian
from physml.operators.linear_operator import as_operator
from physml.pytrees import register_dataclass
from physml.solvers.resolvent_elements import (
    DerivativeRoute,
    recomputed_residuals,
    resolvent_elements,
)
from physml.tracing import is_traced


@partial(register_dataclass, static=("method",))
@dataclass(frozen=True)
class GreensFunction:
    """G at each z, and how good it is."""

    value: jax.Array  # (num_z,), or (num_z, m) for m rows
    relative_residual: jax.Array  # |b - (z - H) x| / |b|, see `method`, (num_z,)
    converged: jax.Array  # (num_z,)
    num_iterations: jax.Array  # applications of H that each z has used, (num_z,)
    z: jax.Array  # (num_z,)
    is_exhausted: jax.Array  # whether no iteration could add anything, ()
    method: str  # which was used
    true_residual: jax.Array | None = None  # made again, where asked for, (num_z,)

    @property
    def outcome(self) -> str:
        """How it went, in words; where shifts have failed, which, and what to do."""
        failed = np.flatnonzero(~np.asarray(self.converged))
        most = int(np.max(self.num_iterations))
        if not len(failed):
            return f"converged: {len(self.z)} shifts in at most {most} iterations"
        if self.is_not_finite:
            cause = NOT_FINITE
        elif self.is_on_spectrum:
            cause = "z is an eigenvalue to rounding; move it off the spectrum"
        elif self.is_exhausted:
            cause = "rounding allows no less; raise the tolerance"
        elif np.isinf(np.asarray(self.relative_residual)).any():
            cause = NOT_REACHED
        else:
            cause = (
                f"still above the tolerance after {most} iterations; raise "
                "max_iterations or the tolerance, or move z off the spectrum"
            )
        names = named(len(failed), self._names(failed))
        count = f"{len(failed)} of {len(self.z)} shifts failed"
        return f"{count} by the method {self.method!r}, {names}: {cause}"

    @property
    def is_not_finite(self) -> bool:
        """Whether NaN came out of the operator."""
        return bool(np.isnan(np.asarray(self.relative_residual)).any())

    @property
    def is_on_spectrum(self) -> bool:
        """Whether a z has failed that no iteration would mend."""
        residual = np.asarray(self.relative_residual)
        is_far = residual > np.finfo(residual.dtype).eps ** 0.25
        return bool(self.is_exhausted) and bool(np.any(is_far & ~self.converged))

    def _names(self, failed: np.ndarray) -> Iterator[str]:
        z, residual = np.asarray(self.z), np.asarray(self.relative_residual)
        return (f"z = {z[i]:.6g} (residual {residual[i]:.1e})" for i in failed)


def greens_function(
    operator: Any,
    z: Any,
    *,
    column: Any,
    row: Any = None,
    method: MethodName = "auto",
    tolerance: float = 1e-10,
    max_iterations: int | None = None,
    true_residuals: bool = False,
    derivative: DerivativeRoute = "auto",
    on_failure: OnFailure = "raise",
) -> GreensFunction:
    r"""Return G_ij(z) for all z and one column j.

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
        <u| = conj(u)^T. By default the column: G_jj then errs by the residual squared
        for "krylov", and costs half of the products for "kernel_polynomial".
    method
        "krylov": one Lanczos process for all z (reduced shifted conjugate gradients,
        arXiv:1607.03992, in a form that breaks down for no Hermitian H; see
        `physml.solvers.shifted_recurrence`); "kernel_polynomial": one Chebyshev series
        for all z, which must be off the interval that holds the spectrum; "recursive":
        two sweeps over the slices of a block tridiagonal H; "dense": all eigenvectors;
        "auto": whichever should cost least, and "krylov" inside of jit.
    tolerance
        A z is done when its relative residual is at or below this: of "krylov" that of
        the recurrence, of "recursive" the true one, of "dense" an estimate, of
        "kernel_polynomial" a bound with rounding in it.
    max_iterations
        Applications of H at most; by default 10 n, but from 10 000 to 100 000.
    true_residuals
        Whether to make the solutions again in full and to measure their residuals: n
        times the work for each z. For the row that is the column the solutions of
        "krylov" end within a chunk, the elements after it: their residuals are smaller
        still.
    derivative
        How `value` is pulled back to the floating leaves of H (for changes that keep H
        Hermitian), z, and vectors given as row and column, in reverse mode alone:
        "chebyshev" (the work of a few forward runs, for any number of z), "resolvent"
        (dG = G dH G with full solutions: n times the work for each z, the best for few
        z very near to the spectrum), "lanczos" (the adjoint of the recurrence: see its
        limits in `physml.solvers.lanczos_adjoint`), or "auto", the cheaper one of the
        first two, and "resolvent" where the method is "recursive" or "dense".
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
        If a z has not converged; the message names it, with its residual.

    Examples
    --------
    >>> import numpy as np
    >>> dimer = np.array([[0.0, -1.0], [-1.0, 0.0]])  # levels -1 and 1
    >>> value = greens_function(dimer, [2.0], row=0, column=1).value[0]
    >>> round(float(value.real), 4)  # -1 / 3
    -0.3333
    """
    operator = as_operator(operator)
    require_on_failure(on_failure)
    limit = checked_limit(operator.size, max_iterations)
    problem = element_problem(operator, z, row, column, tolerance)
    if not is_traced(operator):
        require_hermitian(operator)
    chosen = choose_method(method, problem, max_iterations=limit)
    options: dict[str, Any] = {"tolerance": tolerance, "max_iterations": limit}
    options |= {"method": chosen.solver}
    equation = operator, problem.z, problem.column
    found = resolvent_elements(
        *equation, problem.rows, derivative=derivative, **options
    )
    again = recomputed_residuals(*equation, **options) if true_residuals else None
    result = GreensFunction(
        value=found.value[:, 0] if problem.is_one_row else found.value,
        relative_residual=found.relative_residual,
        converged=found.is_converged,
        num_iterations=found.num_steps,
        z=problem.z,
        is_exhausted=found.has_ended,
        method=chosen.name,
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
    if result.is_on_spectrum and not result.is_not_finite:
        raise ValueError(sentence)
    raise RunFailure(sentence)
