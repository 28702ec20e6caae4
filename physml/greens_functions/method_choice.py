"""Which method computes a map or an element in the shortest time.

The model counts what each method does most of, times the measured cost of one of them
on one core, from `benchmarks/method_costs.py`. On other machines all change by about
the same factor, which does not matter to the choice. It is right where one method is
several times cheaper than the others, and where it is wrong little is lost.
"""

from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected
from physml.greens_functions.element_problem import ElementProblem
from physml.greens_functions.map_methods import (
    Dense,
    KernelPolynomial,
    Krylov,
    MapMethod,
    Recursive,
)
from physml.greens_functions.map_problem import MapProblem
from physml.operators import DenseOperator, LinearOperator, SparseOperator
from physml.solvers.block_tridiagonal import slice_order
from physml.solvers.chebyshev_resolvent import resolvent_terms
from physml.solvers.reduced_shifted_krylov import iteration_limit
from physml.solvers.spectral_interval import SpectralInterval, spectral_interval
from physml.tracing import is_traced

MethodName = Literal["auto", "recursive", "dense", "krylov", "kernel_polynomial"]

Problem = MapProblem | ElementProblem

MOST_PRODUCTS = 20_000  # rows of a function whose matrix is found by applying it
DENSE_BYTES = 2**31  # memory for three matrices of eigenvectors


# Seconds for one of what a method does most of, on one core, in float64.
COSTS = {
    "call": 1.3e-3,  # for each map, whatever it is of
    "scalar slice": 3.5e-8,  # for each energy, where a slice is one site
    "slice": 4.4e-6,  # for each energy
    "slice cubed": 4.2e-9,  # w^3 for each slice and energy
    "diagonalization": 1.1e-10,  # n^3
    "eigenvector sum": 6.8e-10,  # n^2 for each energy
    "Lanczos step": 6e-10,  # for each element of its vector
    "shift": 6e-9,  # for each energy of each step
    "Chebyshev step": 2.1e-9,  # for each element of its vector
    "moment": 1.2e-9,  # for each energy
}
COMPLEX = 3.0  # times real arithmetic


def choose_method(
    name: MethodName, problem: Problem, *, max_iterations: int | None = None
) -> MapMethod:
    """Return the method of a name; for "auto" the one that should cost least.

    Parameters
    ----------
    name
        Of the method.
    problem
        Where it is traced, costs of iterations are not known: "auto" then takes a
        direct method for a map, if its matrices fit into memory, and else "krylov".
    max_iterations
        Products with the operator at most; see `iteration_limit`.

    Raises
    ------
    ValueError
        For an unknown name or limit.
    """
    limit = checked_limit(problem.operator.size, max_iterations)
    match name:
        case "recursive":
            return Recursive(slice_order(problem.operator))
        case "dense":
            return Dense()
        case "krylov":
            return Krylov(limit, is_differentiated=is_traced(problem))
        case "kernel_polynomial":
            # the elements do not depend on the interval, as long as it is wide enough
            operator = jax.lax.stop_gradient(problem.operator)
            return KernelPolynomial(spectral_interval(operator), limit)
        case "auto" if is_traced(problem):
            return _for_traced(problem, limit)
        case "auto":
            return _cheapest(problem, limit)
        case _:
            raise expected("a method of MethodName", repr(name), "take 'auto'")


def checked_limit(size: int, max_iterations: int | None) -> int:
    """Return the limit on products with an operator, by default `iteration_limit`."""
    limit = iteration_limit(size) if max_iterations is None else max_iterations
    if limit < 1:
        raise expected("max_iterations >= 1", limit, "leave it out")
    return limit


def seconds(
    method: MapMethod,
    problem: Problem,
    costs: Mapping[str, float] = COSTS,
    *,
    interval: SpectralInterval | None = None,
) -> float:
    """Return what it should take on one core; see `operations`."""
    done = {"call": 1.0} | operations(method, problem, interval=interval)
    return sum(costs[name] * count for name, count in done.items())


def operations(
    method: MapMethod, problem: Problem, *, interval: SpectralInterval | None = None
) -> dict[str, float]:
    """Return how often a method does each of what `COSTS` knows.

    Parameters
    ----------
    method
        With what it has found out about the problem.
    problem
        The map, or the elements.
    interval
        What holds the spectrum, where that has been found out.
    """
    n, num_z = problem.operator.size, len(problem.z)
    is_complex = np.issubdtype(problem.operator.dtype, np.complexfloating)
    weight = COMPLEX if is_complex else 1.0
    match method:
        case Recursive(order):
            slices = float(order.num_slices * num_z)
            if order.width == 1:
                return {"scalar slice": slices}
            return {"slice": slices, "slice cubed": slices * order.width**3}
        case Dense():
            return {
                "diagonalization": weight * n**3,
                "eigenvector sum": problem.num_level_terms,
            }
        case Krylov(most, _):
            interval = interval or spectral_interval(problem.operator)
            steps = problem.num_columns * min(num_degrees(problem, interval), n, most)
            return {
                "Lanczos step": float(weight * steps * n),
                "shift": float(steps * num_z * problem.num_rows),
            }
        case KernelPolynomial(interval, most):
            products = num_degrees(problem, interval) // (1 + problem.is_diagonal)
            steps = problem.num_columns * min(products, most)
            return {
                "Chebyshev step": float(weight * steps * n),
                "moment": float(2 * steps * num_z * problem.num_rows),
            }
    raise expected("a known method", method, "count its operations here")


def _cheapest(problem: Problem, limit: int) -> MapMethod:
    """Return the method of the lowest cost."""
    operator = problem.operator
    with jax.ensure_compile_time_eval():
        interval = spectral_interval(operator)
    candidates: list[MapMethod] = [Krylov(limit)]
    if num_degrees(problem, interval) < limit:
        candidates.append(KernelPolynomial(interval, limit))
    if _fits_into_memory(operator):
        candidates.append(Dense())
    costs = [seconds(x, problem, interval=interval) for x in candidates]
    # the order of the sites may take longer than a few elements
    least = COSTS["scalar slice"] * operator.size * len(problem.z)
    is_off_axis = bool(np.all(np.imag(problem.z) != 0))
    if is_off_axis and least < min(costs) and _has_cheap_matrix(operator):
        candidates.append(Recursive(slice_order(operator)))
        costs.append(seconds(candidates[-1], problem))
    return candidates[int(np.argmin(costs))]


def _for_traced(problem: Problem, limit: int) -> MapMethod:
    """Return what a derivative can be taken of, where costs need no numbers."""
    if isinstance(problem, ElementProblem):
        return Krylov(limit, is_differentiated=True)
    operator = problem.operator
    candidates: list[MapMethod] = []
    if _fits_into_memory(operator):
        candidates.append(Dense())
    if _has_cheap_matrix(operator):
        candidates.append(Recursive(slice_order(operator)))
    if not candidates:
        return Krylov(limit, is_differentiated=True)
    return min(candidates, key=lambda x: seconds(x, problem))


def num_degrees(problem: Problem, interval: SpectralInterval) -> int:
    """Return the length of the Chebyshev series; a Krylov space needs no more."""
    with jax.ensure_compile_time_eval():
        terms = resolvent_terms(problem.z, interval)
        return int(jnp.max(terms.num_degrees(problem.tolerance)))


def _fits_into_memory(operator: LinearOperator) -> bool:
    num_bytes = np.dtype(operator.dtype).itemsize
    return 3 * operator.size**2 * num_bytes <= DENSE_BYTES


def _has_cheap_matrix(operator: LinearOperator) -> bool:
    is_matrix = isinstance(operator, DenseOperator | SparseOperator)
    return is_matrix or hasattr(operator, "to_sparse") or operator.size <= MOST_PRODUCTS
