"""Time the local density of states of one site by Chebyshev moments and by Krylov.

    taskset -c 0 python benchmarks/chebyshev_or_krylov.py
    python benchmarks/chebyshev_or_krylov.py --quick

Both are asked for the same resolvent to the same residual, on an open square lattice
with disorder of width 1; the kernel polynomial method with Jackson's kernel is added,
with as many moments as give its peaks the half width of the broadening. Each line
changes one thing of the first. Bursts take turns; ratios are taken within a turn.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from greens_functions import timed
from reporting import markdown_table, report, spread

from physml.greens_functions import local_density_of_states
from physml.greens_functions.method_choice import MethodName
from physml.hamiltonians import disorder_potential, impurity_potential, tight_binding
from physml.lattices import square
from physml.operators import HoppingOperator
from physml.precision import enable_x64
from physml.solvers.kernel_polynomial import (
    chebyshev_density,
    chebyshev_moments,
    jackson_kernel,
)
from physml.solvers.spectral_interval import spectral_interval

HALF_MAXIMUM = math.sqrt(2 * math.log(2))  # half width of a Gaussian in its deviations


@dataclass(frozen=True)
class Options:
    """Time the local density of states of one site in two ways."""

    quick: bool = False
    """Small lattice, one turn."""
    rounds: int = 3
    """Turns."""
    out: Path | None = None
    """Folder for chebyshev_or_krylov.md and chebyshev_or_krylov.json."""


@dataclass(frozen=True)
class Case:
    """What is computed."""

    name: str
    side: int = 100
    energies: int = 100
    lowest: float = -4.5
    highest: float = 4.5
    broadening: float = 0.05
    tolerance: float = 1e-10
    impurity: float = 0.0

    def operator(self) -> HoppingOperator:
        """Return the lattice with its impurity, three sites off the center."""
        lattice = square(self.side, self.side)
        potential = disorder_potential(jax.random.key(0), lattice, 1.0)
        place = [self.site + 3]
        potential = potential + impurity_potential(lattice, place, self.impurity)
        return tight_binding(lattice, potential=potential, boundary="open")

    @property
    def site(self) -> int:
        """Return the one in the middle."""
        return (self.side // 2) * self.side + self.side // 2


def cases(side: int) -> list[Case]:
    """Return the first case and those that differ from it."""
    first = Case(
        f"{side} x {side}, 100 energies, broadening 0.05, residual 1e-10", side
    )
    return [
        first,
        replace(first, name="1 energy, 0.5", energies=1, lowest=0.5),
        replace(first, name="10 000 energies", energies=10_000),
        replace(first, name=f"{3 * side} x {3 * side}", side=3 * side),
        replace(first, name="broadening 0.5", broadening=0.5),
        replace(first, name="broadening 0.005", broadening=0.005),
        replace(first, name="residual 1e-3", tolerance=1e-3),
        replace(first, name="energies outside the band, 6 to 9", lowest=6, highest=9),
        replace(first, name="an impurity of 20", impurity=20.0),
        replace(first, name="an impurity of 1000", impurity=1000.0),
    ]


def programs(case: Case) -> dict[str, Callable[[], np.ndarray]]:
    """Return the two resolvents and the density with Jackson's kernel."""
    operator = case.operator()
    energies = np.linspace(case.lowest, case.highest, case.energies)

    def resolvent(method: MethodName) -> np.ndarray:
        found = local_density_of_states(
            operator,
            energies,
            case.broadening,
            sites=[case.site],
            method=method,
            tolerance=case.tolerance,
            on_failure="return",
        )
        largest = int(np.max(found.num_iterations))
        return np.append(found.values[:, 0], [largest, np.all(found.converged)])

    vector = jax.nn.one_hot(jnp.array([case.site]), operator.size, dtype=float)

    def jackson() -> np.ndarray:
        interval = spectral_interval(operator)
        deviation = case.broadening / HALF_MAXIMUM
        moments = math.ceil(math.pi * float(interval.half_width) / deviation)
        found = chebyshev_moments(operator, vector, interval, num_moments=moments)
        kernel = jackson_kernel(moments)
        density = chebyshev_density(found, jnp.asarray(energies), interval, kernel)[0]
        return np.append(density, [-(-moments // 2), True])

    return {
        "krylov": partial(resolvent, "krylov"),
        "kernel_polynomial": partial(resolvent, "kernel_polynomial"),
        "Jackson": jackson,
    }


def measured(case: Case, rounds: int) -> dict:
    """Return times, products with H, and whether all has converged."""
    runs = programs(case)
    found = {name: run() for name, run in runs.items()}  # compiles
    return {
        "case": case.name,
        "times": timed(runs, rounds),
        "products": {name: int(value[-2]) for name, value in found.items()},
        "converged": {name: bool(value[-1]) for name, value in found.items()},
        "difference": float(
            np.abs(found["krylov"] - found["kernel_polynomial"])[:-2].max()
        ),
    }


def main(options: Options) -> None:
    """Measure and print the table."""
    enable_x64()
    side, rounds = (20, 1) if options.quick else (100, options.rounds)
    data = [measured(case, rounds) for case in cases(side)]
    rows = [_line(row) for row in data]
    names = ("krylov", "kernel_polynomial", "Jackson")
    headings = ["case"]
    for name in names:
        headings += [f"{name}, ms", "products"]
    headings += ["kernel_polynomial / krylov", "difference of the two"]
    table = markdown_table(headings, rows)
    report(options.out, "chebyshev_or_krylov", {"One site": table}, data)


def _line(row: dict) -> list[str]:
    cells = [row["case"]]
    for name, times in row["times"].items():
        mark = "" if row["converged"][name] else " (failed)"
        cells += [spread(1e3 * np.array(times)) + mark, str(row["products"][name])]
    times = row["times"]
    ratio = np.array(times["kernel_polynomial"]) / np.array(times["krylov"])
    return [*cells, spread(ratio), f"{row['difference']:.0e}"]


if __name__ == "__main__":
    main(tyro.cli(Options))
