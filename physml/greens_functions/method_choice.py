"""Which method computes a map of local densities of states in the shortest time.

The model counts what each method does most of, times the measured cost of one of them
on one core, from `benchmarks/method_costs.py`. On other machines all change by about
the same factor, which does not matter to the choice. It is right where one method is
several times cheaper than the others, and where it is wrong little is lost.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from physml.failures import expected
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
from physml.solvers.kernel_polynomial import num_moments_needed
from physml.solvers.spectral_interval import SpectralInterval, spectral_interval
from physml.tracing import is_traced

MethodName = Literal["auto", "recursive", "dense", "krylov", "kernel_polynomial"]

MOST_ITERATIONS = 100_000  # of Lanczos, by default, however large the operator is
MOST_PRODUCTS = 20_000  # rows of a function whose matrix is found by applying it
DENSE_BYTES = 2**31  # memory for three matrices of eigenvectors


# Seconds for one of what a method does most of, on one core, in float64.
COSTS = {
    "call": 1.5e-3,  # for each map, whatever it is of
    "scalar slice": 4e-8,  # for each energy, where a slice is one site
    "slice": 4e-6,  # for each energy
    "slice cubed": 6e-9,  # w^3 for each slice and energy
    "diagonalization": 1.2e-10,  # n^3
    "eigenvector sum": 7e-10,  # n^2 for each energy
    "Lanczos step": 1e-9,  # for each element of its vector
    "shift": 1.2e-8,  # for each energy of each step
    "Chebyshev step": 2.2e-9,  # for each element of its vector
    "moment": 3e-9,  # for each energy
}
COMPLEX = 3.0  # times real arithmetic


def choose_method(
    name: MethodName, problem: MapProblem, *, max_iterations: int | None = None
) -> MapMethod:
    """Return the method of a name; for "auto" the one that should cost least.

    Parameters
    ----------
    name
        Of the method.
    problem
        Where the operator is traced, only methods that can be differentiated are
        candidates for "auto".
    max_iterations
        Of a Lanczos process.

    Raises
    ------
    ValueError
        For an unknown name, or a method that needs to know what is traced.
    """
    match name:
        case "recursive":
            return Recursive(slice_order(problem.operator))
        case "dense":
            return Dense()
        case "krylov":
            return _krylov(problem, max_iterations)
        case "kernel_polynomial":
            return _kernel_polynomial(problem)
        case "auto":
            candidates = _candidates(problem, max_iterations)
            if len(candidates) == 1:  # a traced one has no known cost
                return candidates[0]
            intervals = [
                x.interval for x in candidates if isinstance(x, KernelPolynomial)
            ]
            interval = intervals[0] if intervals else None
            return min(candidates, key=lambda x: seconds(x, problem, interval=interval))
        case _:
            raise expected("a method of MethodName", repr(name), "take 'auto'")


def seconds(
    method: MapMethod,
    problem: MapProblem,
    costs: Mapping[str, float] = COSTS,
    *,
    interval: SpectralInterval | None = None,
) -> float:
    """Return what a map should take on one core; see `operations`."""
    done = {"call": 1.0} | operations(method, problem, interval=interval)
    return sum(costs[name] * count for name, count in done.items())


def operations(
    method: MapMethod,
    problem: MapProblem,
    *,
    interval: SpectralInterval | None = None,
) -> dict[str, float]:
    """Return how often a method does each of what `COSTS` knows.

    Parameters
    ----------
    method
        With what it has found out about the problem.
    problem
        The map.
    interval
        What holds the spectrum, where that has been found out.
    """
    n, num_energies = problem.operator.size, len(problem.z)
    is_complex = np.issubdtype(problem.operator.dtype, np.complexfloating)
    weight = COMPLEX if is_complex else 1.0
    match method:
        case Recursive(order):
            slices = float(order.num_slices * num_energies)
            if order.width == 1:
                return {"scalar slice": slices}
            return {"slice": slices, "slice cubed": slices * order.width**3}
        case Dense():
            return {
                "diagonalization": weight * n**3,
                "eigenvector sum": float(n**2 * num_energies),
            }
        case Krylov(most, _):
            interval = interval or spectral_interval(problem.operator)
            needed = _num_moments(problem, interval)
            steps = len(problem.sites) * min(needed, n, most)
            return {
                "Lanczos step": weight * steps * n,
                "shift": float(steps * num_energies),
            }
        case KernelPolynomial(_, num_moments):
            moments = len(problem.sites) * num_moments
            return {
                "Chebyshev step": weight * moments / 2 * n,
                "moment": float(moments * num_energies),
            }
    raise expected("a known method", method, "count its operations here")


def _candidates(problem: MapProblem, max_iterations: int | None) -> list[MapMethod]:
    operator = problem.operator
    candidates: list[MapMethod] = []
    if 3 * operator.size**2 * np.dtype(operator.dtype).itemsize <= DENSE_BYTES:
        candidates.append(Dense())
    if _has_cheap_matrix(operator):
        candidates.append(Recursive(slice_order(operator)))
    if not is_traced(problem):  # else their costs are not known
        candidates.append(_krylov(problem, max_iterations))
        candidates.append(_kernel_polynomial(problem))
    if not candidates:  # a traced function of many sites
        candidates.append(_krylov(problem, max_iterations))
    return candidates


def _krylov(problem: MapProblem, max_iterations: int | None) -> Krylov:
    if max_iterations is None:
        max_iterations = min(10 * problem.operator.size, MOST_ITERATIONS)
    if max_iterations < 1:
        raise expected("max_iterations >= 1", max_iterations, "10 n is the default")
    return Krylov(max_iterations, is_differentiated=is_traced(problem))


def _kernel_polynomial(problem: MapProblem) -> KernelPolynomial:
    if is_traced(problem):
        raise expected(
            "an operator and energies that are known",
            "traced ones",
            "take the method 'recursive' or 'dense' inside of jit and grad",
        )
    interval = spectral_interval(problem.operator)
    return KernelPolynomial(interval, _num_moments(problem, interval))


def _num_moments(problem: MapProblem, interval: SpectralInterval) -> int:
    return num_moments_needed(np.asarray(problem.z), interval, float(problem.tolerance))


def _has_cheap_matrix(operator: LinearOperator) -> bool:
    is_matrix = isinstance(operator, DenseOperator | SparseOperator)
    return is_matrix or hasattr(operator, "to_sparse") or operator.size <= MOST_PRODUCTS
