"""Measure what the methods for local densities of states cost, on one core.

python benchmarks/method_costs.py
python benchmarks/method_costs.py --out TABLES

Fits `COSTS` in physml/greens_functions/method_choice.py to open chains and square
lattices with disorder, and says what "auto" would lose against the best method. Krylov
and Chebyshev methods are timed on some sites; times of whole maps are extrapolated.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import tyro
from reporting import markdown_table, report

from physml.greens_functions import local_density_of_states
from physml.greens_functions.map_problem import MapProblem, map_problem
from physml.greens_functions.method_choice import (
    COSTS,
    MethodName,
    choose_method,
    operations,
    seconds,
)
from physml.hamiltonians.tight_binding import tight_binding
from physml.lattices.bravais import BravaisLattice, chain, square
from physml.operators import LinearOperator
from physml.parallel import limit_threads
from physml.precision import enable_x64

BROADENING = 0.05
SOME_SITES = 16
LONGEST = 3.0  # seconds that a method should take to be measured
DIRECT: tuple[MethodName, ...] = ("recursive", "dense")
ITERATED: tuple[MethodName, ...] = ("krylov", "kernel_polynomial")


@dataclass(frozen=True)
class Options:
    """Measure the costs of the methods for local densities of states."""

    sides: tuple[int, ...] = (4, 8, 16, 24, 40, 100)
    """Of square lattices."""
    lengths: tuple[int, ...] = (100, 300, 1000)
    """Of chains."""
    energies: int = 100
    """In each map."""
    repeats: int = 3
    """Of each timing, of which the shortest counts."""
    out: Path | None = None
    """Folder for the tables."""


@dataclass(frozen=True)
class Timing:
    """One method on one lattice."""

    lattice: str
    method: MethodName
    seconds: float  # for the sites that were timed
    share: float  # of all sites
    counts: dict[str, float]
    predicted: float  # seconds by the model that is in use


def main(options: Options) -> None:
    """Time, fit and report."""
    limit_threads(1)
    enable_x64()
    lattices = [(f"chain {n}", chain(n)) for n in options.lengths]
    lattices += [(f"square {n} x {n}", square(n, n)) for n in options.sides]
    timings = [
        t for name, lattice in lattices for t in _timings(name, lattice, options)
    ]
    fitted = _fitted(timings)
    sections = {
        "Seconds for one operation": markdown_table(
            ["operation", "fitted", "in use"],
            [[k, f"{v:.2g}", f"{COSTS[k]:.2g}"] for k, v in fitted.items()],
        ),
        f"Whole maps, {options.energies} energies, seconds": _table(timings),
    }
    report(options.out, "method_costs", sections, [t.__dict__ for t in timings])


def _timings(name: str, lattice: BravaisLattice, options: Options) -> list[Timing]:
    operator = _disordered(lattice)
    energies = np.linspace(-4, 4, options.energies)
    timings = []
    for method in DIRECT + ITERATED:
        sites = np.arange(operator.size)
        if method in ITERATED:
            sites = sites[: min(SOME_SITES, operator.size)]
        problem = map_problem(operator, energies, BROADENING, sites, 1e-10)
        chosen = choose_method(method, problem)
        predicted = seconds(chosen, problem)
        if predicted < LONGEST:
            took = _time(problem, method, options.repeats)
            share = len(sites) / operator.size
            counts = {"call": 1.0} | operations(chosen, problem)
            timings.append(Timing(name, method, took, share, counts, predicted))
    return timings


def _disordered(lattice: BravaisLattice) -> LinearOperator:
    potential = np.random.default_rng(0).uniform(-0.5, 0.5, lattice.num_sites)
    return tight_binding(lattice, potential=jnp.asarray(potential), boundary="open")


def _time(problem: MapProblem, method: MethodName, repeats: int) -> float:
    def run() -> None:
        jax.block_until_ready(
            local_density_of_states(
                problem.operator,
                problem.z.real,
                BROADENING,
                sites=np.asarray(problem.sites),
                method=method,
            ).values
        )

    run()  # compiles
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def _fitted(timings: list[Timing]) -> dict[str, float]:
    """Fit non-negative costs that err by the smallest relative squares."""
    names = [k for k in COSTS if any(k in timing.counts for timing in timings)]
    rows = [[t.counts.get(name, 0.0) / t.seconds for name in names] for t in timings]
    matrix = np.array(rows)
    scale = np.linalg.norm(matrix, axis=0)
    costs = scipy.optimize.nnls(matrix / scale, np.ones(len(rows)))[0] / scale
    return dict(zip(names, costs.tolist(), strict=True))


def _table(timings: list[Timing]) -> str:
    rows = []
    methods = DIRECT + ITERATED
    for lattice in dict.fromkeys(t.lattice for t in timings):
        found = {t.method: t for t in timings if t.lattice == lattice}
        whole = {name: t.seconds / t.share for name, t in found.items()}
        auto = min(found, key=lambda name: found[name].predicted / found[name].share)
        loss = whole[auto] / min(whole.values())
        cells = [f"{whole[name]:.3g}" if name in whole else "-" for name in methods]
        rows.append([lattice, *cells, auto, f"{loss:.2f}"])
    return markdown_table(["lattice", *methods, "auto", "times the best"], rows)


if __name__ == "__main__":
    main(tyro.cli(Options))
