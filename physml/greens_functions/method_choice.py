"""Which method computes a map of local densities of states in the shortest time.

The model counts what each method does most of, times the measured cost of one of them
on one core, from `benchmarks/method_costs.py`. On other machines all change by about
the same factor, which does not matter to the choice. It is right where one method is
several times cheaper than the others, and where it is wrong little is lost.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from physml.failures import expected
from physml.greens_functions.map_methods import (
    Dense,
    KernelPolynomial,
    Krylov,
    MapMethod,
    MapProblem,
    Recursive,
    is_traced,
)
from physml.operators import DenseOperator, LinearOperator, SparseOperator
from physml.solvers.block_tridiagonal import slice_order
from physml.solvers.kernel_polynomial import num_moments_needed
from physml.solvers.spectral_interval import spectral_interval

MethodName = Literal["auto", "recursive", "dense", "krylov", "kernel_polynomial"]

MOST_ITERATIONS = 100_000  # of Lanczos, by default, however large the operator is
MOST_PRODUCTS = 20_000  # rows of a function whose matrix is found by applying it
DENSE_BYTES = 2**31  # memory for three matrices of eigenvectors


@dataclass(frozen=True)
class Costs:
    """Seconds for one of what a method does most of, on one core, in float64."""

    scalar_slice: float = 1.0e-8  # for an energy, w = 1
    slice_call: float = 4e-7  # for an energy and a wider slice
    slice_square: float = 6e-8  # w^2
    slice_cube: float = 5e-9  # w^3
    diagonalization: float = 4e-10  # n^3
    eigenvector_sum: float = 1e-9  # n^2 for an energy
    product: float = 2e-9  # with H, for an element of a vector
    shift: float = 1e-8  # of a Lanczos step, for an energy
    moment: float = 1e-10  # for an energy


COSTS = Costs()
COMPLEX_FACTOR = 3.0  # of complex arithmetic


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
            return min(candidates, key=lambda method: seconds(method, problem))
        case _:
            raise expected("a method of MethodName", repr(name), "take 'auto'")


def seconds(method: MapMethod, problem: MapProblem, costs: Costs = COSTS) -> float:
    """Return what a map should cost on one core.

    Parameters
    ----------
    method
        With what it has found out about the problem.
    problem
        The map.
    costs
        Of one operation each.
    """
    n, num_energies = problem.operator.size, len(problem.z)
    num_sites = len(problem.sites)
    match method:
        case Recursive(order):
            each = _slice_cost(order.width, costs)
            return order.num_slices * num_energies * each
        case Dense():
            return (
                costs.diagonalization * n + costs.eigenvector_sum * num_energies
            ) * (n**2 * _complexity(problem))
        case Krylov():
            steps = min(_num_moments(problem), 2 * n, method.max_iterations)
            product = costs.product * n * _complexity(problem)
            return num_sites * steps * (2 * product + costs.shift * num_energies)
        case KernelPolynomial(_, num_moments):
            product = costs.product * n * _complexity(problem)
            moment = 0.5 * product + costs.moment * num_energies
            return num_sites * num_moments * moment
    raise expected("a known method", method, "give it a cost in method_choice.py")


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
        return Krylov(min(10 * problem.operator.size, MOST_ITERATIONS))
    if max_iterations < 1:
        raise expected("max_iterations >= 1", max_iterations, "10 n is the default")
    return Krylov(max_iterations)


def _kernel_polynomial(problem: MapProblem) -> KernelPolynomial:
    if is_traced(problem):
        raise expected(
            "an operator and energies that are known",
            "traced ones",
            "take the method 'recursive' or 'dense' inside of jit and grad",
        )
    return KernelPolynomial(spectral_interval(problem.operator), _num_moments(problem))


def _num_moments(problem: MapProblem) -> int:
    interval = spectral_interval(problem.operator)
    return num_moments_needed(problem.z, interval, float(problem.tolerance))


def _has_cheap_matrix(operator: LinearOperator) -> bool:
    is_matrix = isinstance(operator, DenseOperator | SparseOperator)
    return is_matrix or hasattr(operator, "to_sparse") or operator.size <= MOST_PRODUCTS


def _slice_cost(width: int, costs: Costs) -> float:
    if width == 1:
        return costs.scalar_slice
    return (
        costs.slice_call + costs.slice_square * width**2 + costs.slice_cube * width**3
    )


def _complexity(problem: MapProblem) -> float:
    is_complex = np.issubdtype(problem.operator.dtype, np.complexfloating)
    return COMPLEX_FACTOR if is_complex else 1.0
