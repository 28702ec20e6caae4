"""Time maps of square lattices by all methods: where they cross, what `auto` takes.

    taskset -c 0 python benchmarks/square_lattices.py --figure images   # one thread
    python benchmarks/square_lattices.py --quick

Open lattices with disorder of width 1, all sites, 100 energies from -4.5 to 4.5,
broadening 0.05. What takes long is timed in part and scaled up: direct methods for some
energies, the others for some sites. Elements are checked against SciPy's sparse factors
at two energies. The programs are those of greens_functions.py, in turns.
"""

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import numpy as np
import tyro
from greens_functions import PUBLISHED, Problem, factors, published, timed
from matplotlib.figure import Figure
from reporting import markdown_table, report, spread

from physml.greens_functions.map_problem import map_problem
from physml.greens_functions.method_choice import MethodName, choose_method, seconds
from physml.hamiltonians import disorder_potential, tight_binding
from physml.lattices import square
from physml.parallel.threads import usable_cores
from physml.precision import enable_x64

BROADENING = 0.05
SOME_SITES = 32
LARGEST_DENSE = 1600  # sites
OWN: tuple[MethodName, ...] = ("krylov", "recursive", "dense", "kernel_polynomial")


@dataclass(frozen=True)
class Options:
    """Time maps of square lattices."""

    quick: bool = False
    """Two small lattices, one turn."""
    sides: tuple[int, ...] = (10, 14, 20, 28, 40, 56, 80, 100)
    """Of the lattices."""
    energies: int = 100
    """Of the maps."""
    rounds: int = 3
    """Turns."""
    longest: float = 1.0
    """Seconds for which a direct method is timed, by the model of costs."""
    out: Path | None = None
    """Folder for square_lattices.md and square_lattices.json."""
    figure: Path | None = None
    """Folder for square_lattices.png."""


@dataclass(frozen=True)
class Part:
    """A part of a map, and how many times as long the whole takes."""

    run: Callable[[], np.ndarray]
    problem: Problem
    factor: float


def main(options: Options) -> None:
    """Time, check, report, draw."""
    enable_x64()
    sides, rounds = ((6, 10), 1) if options.quick else (options.sides, options.rounds)
    data = {}
    for side in sides:
        data[side] = measured(side, options.energies, rounds, options.longest)
        print(side, data[side], flush=True)
    title = f"Seconds for a map, {options.energies} energies, "
    title += f"{len(usable_cores())} core(s)"
    report(options.out, "square_lattices", {title: _table(data)}, data)
    if options.figure is not None:
        _draw(data, options.figure / "square_lattices.png")


def measured(side: int, num_energies: int, rounds: int, longest: float) -> dict:
    """Return the scaled times and the largest errors of all programs for a size."""
    lattice = square(side, side)
    potential = disorder_potential(jax.random.key(0), lattice, 1.0)
    operator = tight_binding(lattice, potential=potential, boundary="open")
    z = np.linspace(-4.5, 4.5, num_energies) + 1j * BROADENING
    whole = Problem(operator, z, np.arange(operator.size))
    with tempfile.TemporaryDirectory() as folder:
        parts = _parts(whole, side, longest, Path(folder))
        errors = _errors(whole, parts)
        times = timed({name: part.run for name, part in parts.items()}, rounds)
    scaled = {k: [parts[k].factor * t for t in each] for k, each in times.items()}
    scaled["SciPy, sparse factors"] = [_sparse_seconds(whole) for _ in range(rounds)]
    problem = map_problem(operator, z.real, BROADENING, None, 1e-10)
    return {
        "times": scaled,
        "errors": errors,
        "factors": {name: part.factor for name, part in parts.items()},
        "auto": choose_method("auto", problem).name,
    }


def _parts(whole: Problem, side: int, longest: float, folder: Path) -> dict[str, Part]:
    size = whole.operator.size
    some = np.linspace(0, size - 1, min(size, SOME_SITES)).astype(int)
    of_sites = Problem(whole.operator, whole.z, some)
    share = size / len(some)
    program = published(of_sites, folder, 5e-11, stride=side)
    parts = {PUBLISHED: Part(program, of_sites, share)}
    for method in OWN:
        if method in ("krylov", "kernel_polynomial"):
            run = partial(of_sites.by_physml, method)
            parts[method] = Part(run, of_sites, share)
        elif method == "recursive":
            problem, factor = _some_energies(whole, longest)
            run = partial(problem.by_physml, method)
            parts[method] = Part(run, problem, factor)
        elif size <= LARGEST_DENSE:
            parts[method] = Part(partial(whole.by_physml, method), whole, 1.0)
            parts["NumPy, eigenvectors"] = Part(whole.by_eigenvectors, whole, 1.0)
    return parts


def _some_energies(whole: Problem, longest: float) -> tuple[Problem, float]:
    """Return the recursive method's problem for as many energies as there is time."""
    problem = map_problem(whole.operator, whole.z.real, BROADENING, None, 1e-10)
    predicted = seconds(choose_method("recursive", problem), problem)
    count = math.floor(len(whole.z) * min(1.0, longest / predicted))
    chosen = np.linspace(0, len(whole.z) - 1, max(2, count)).astype(int)
    part = Problem(whole.operator, whole.z[chosen], whole.sites)
    return part, len(whole.z) / len(chosen)


def _errors(whole: Problem, parts: dict[str, Part]) -> dict[str, float]:
    """Compare at the first and the last energy, which all parts have."""
    ends = whole.z[[0, -1]]
    sites = next(iter(parts.values())).problem.sites
    exact = Problem(whole.operator, ends, sites).by_factors()
    errors = {}
    for name, part in parts.items():
        found = part.run()[:, [0, -1]]
        is_wanted = np.isin(part.problem.sites, sites)
        errors[name] = float(np.abs(found[is_wanted] - exact).max())
    return errors


def _sparse_seconds(whole: Problem) -> float:
    """Scale the time of one factorization and of solutions for some sites up."""
    matrix, z = whole.operator.to_sparse(), complex(whole.z[len(whole.z) // 2])
    units = np.zeros((matrix.shape[0], SOME_SITES), complex)
    units[np.arange(SOME_SITES), np.arange(SOME_SITES)] = 1
    start = time.perf_counter()
    factorized = factors(matrix, z)
    middle = time.perf_counter()
    factorized.solve(units)
    solving = (time.perf_counter() - middle) * matrix.shape[0] / SOME_SITES
    return len(whole.z) * (middle - start + solving)


def _names(data: dict) -> list[str]:
    return list(dict.fromkeys(name for row in data.values() for name in row["times"]))


def _table(data: dict) -> str:
    names = _names(data)
    rows = []
    for side, found in data.items():
        medians = {k: float(np.median(t)) for k, t in found["times"].items()}
        own = {k: medians[k] for k in OWN if k in medians}
        loss = own.get(found["auto"], math.nan) / min(own.values())
        rows.append(
            [
                f"{side} x {side}",
                *(spread(found["times"][k]) if k in medians else "-" for k in names),
                f"{found['auto']}, {loss:.2f}",
                f"{max(found['errors'].values()):.0e}",
            ]
        )
    last = ["auto, times the best", "largest error"]
    return markdown_table(["lattice", *names, *last], rows)


def _draw(data: dict, path: Path) -> None:
    figure = Figure(figsize=(7.5, 5.0), layout="constrained")
    axes = figure.subplots()
    for name in _names(data):
        sides = [side for side, row in data.items() if name in row["times"]]
        times = [np.median(data[side]["times"][name]) for side in sides]
        style = "o-" if name in OWN else "s--"
        axes.plot([side**2 for side in sides], times, style, label=name)
    chosen = [
        (side**2, np.median(row["times"][row["auto"]]))
        for side, row in data.items()
        if row["auto"] in row["times"]
    ]
    axes.scatter(
        *zip(*chosen, strict=True),
        s=150,
        facecolors="none",
        edgecolors="black",
        label="chosen by auto",
        zorder=3,
    )
    axes.set(xscale="log", yscale="log", xlabel="sites of a square lattice")
    axes.set(ylabel="seconds for a map, one core", title="All sites, 100 energies")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main(tyro.cli(Options))
