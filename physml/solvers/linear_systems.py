r"""Many systems :math:`A x_i = b_i` with one Hermitian A.

The right-hand sides are rows; all of them are worked on together, each until it has
converged, and ranks take blocks of them. `jax.scipy.sparse.linalg.cg` returns neither
residuals nor outcomes, and lineax has no method for indefinite Hermitian systems and
does not notice that a system is one; hence these two.
"""

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import RunFailure, expected
from physml.operators import LinearOperator, as_operator, require_hermitian
from physml.parallel import SERIAL, Communicator
from physml.parallel.division import Divided
from physml.solvers.conjugate_gradient import conjugate_gradient
from physml.solvers.linear_solution import LinearSolution
from physml.solvers.minimal_residual import minimal_residual
from physml.tracing import is_traced

SystemMethod = Literal["conjugate_gradient", "minimal_residual"]
SOLVERS = {
    "conjugate_gradient": conjugate_gradient,
    "minimal_residual": minimal_residual,
}


def solve_linear_systems(
    operator: Any,
    right_hand_sides: Any,
    *,
    method: SystemMethod = "conjugate_gradient",
    tolerance: float = 1e-10,
    max_iterations: int | None = None,
    communicator: Communicator = SERIAL,
    on_failure: Literal["raise", "return"] = "raise",
) -> LinearSolution:
    """Return the solutions of A x_i = b_i; differentiable in both modes.

    Parameters
    ----------
    operator
        A, Hermitian, shape (n, n): anything that `physml.operators.as_operator` takes.
    right_hand_sides
        b_i as rows, shape (num_systems, n).
    method
        "conjugate_gradient" for positive definite A, "minimal_residual" for any that
        is not singular.
    tolerance
        A system has converged if |b - A x| / |b| is at or below this.
    max_iterations
        Products with A at most; by default 10 n.
    communicator
        The ranks over which the systems are divided.
    on_failure
        Whether a system that has not converged raises, or is told by the result alone.

    Raises
    ------
    ValueError
        For an operator that is not Hermitian, wrong shapes and NaN.
    RunFailure
        If a system has not converged; the message says which and why.

    Examples
    --------
    >>> import numpy as np
    >>> solve_linear_systems(np.diag([1.0, 2.0]), np.ones((1, 2))).solution
    Array([[1. , 0.5]], dtype=float32)
    """
    operator = as_operator(operator)
    rows = _checked_rows(operator, right_hand_sides)
    _require_options(method, tolerance, max_iterations)
    with jax.ensure_compile_time_eval():
        divided = communicator.divide(np.arange(len(rows)))
    found = _solve(
        operator,
        rows,
        divided,
        tolerance,
        method=method,
        max_iterations=max_iterations or 10 * operator.size,
        communicator=communicator,
    )
    if on_failure == "raise":
        raise_unless_converged(found)
    return found


@partial(jax.jit, static_argnames=("method", "max_iterations", "communicator"))
def _solve(
    operator: LinearOperator,
    rows: jax.Array,
    divided: Divided,
    tolerance: float | jax.Array,
    *,
    method: SystemMethod,
    max_iterations: int,
    communicator: Communicator,
) -> LinearSolution:
    def program(
        operator: LinearOperator, rows: jax.Array, divided: Divided
    ) -> LinearSolution:
        operator, rows = communicator.replicate((operator, rows))
        found = SOLVERS[method](
            operator,
            rows[divided.values],
            tolerance=tolerance,
            max_iterations=max_iterations,
        )
        return communicator.gather(found, num_systems)

    num_systems = len(rows)
    return communicator.spmd(program)(operator, rows, divided)


def raise_unless_converged(found: LinearSolution) -> None:
    """Raise what the outcome says; inside of jit that is not known yet."""
    if not is_traced(found.converged) and not np.all(found.converged):
        raise RunFailure(f"Linear systems: {found.outcome}.")


def _checked_rows(operator: LinearOperator, right_hand_sides: Any) -> jax.Array:
    rows = jnp.asarray(right_hand_sides)
    if rows.ndim != 2 or rows.shape[1] != operator.size or not len(rows):
        cure = "give each right-hand side a row"
        what = f"right-hand sides of shape (num_systems, {operator.size})"
        raise expected(what, f"shape {rows.shape}", cure)
    if not is_traced(rows) and not np.isfinite(rows).all():
        raise expected("right-hand sides without NaN", "NaN or infinity", "look there")
    if not is_traced((operator, rows)):
        require_hermitian(operator)
    if not jnp.issubdtype(rows.dtype, jnp.inexact):
        return rows.astype(operator.dtype)
    return rows.astype(np.result_type(rows.dtype, operator.dtype))


def _require_options(method: str, tolerance: float, max_iterations: int | None) -> None:
    if method not in SOLVERS:
        raise expected(" or ".join(SOLVERS), repr(method), "choose one of the two")
    if not tolerance > 0:
        raise expected("a tolerance > 0", tolerance, "1e-10 is the default")
    if max_iterations is not None and max_iterations < 1:
        raise expected("max_iterations >= 1", max_iterations, "10 n is the default")
