"""How accurate the levels are: every potential with a closed form, and more.

python benchmarks/potential_accuracy.py --quick
python benchmarks/potential_accuracy.py --out TABLES

Two errors are shown apart: energy of the network minus eigenvalue of the grid operator
(the network's), and eigenvalue of the grid operator minus closed form (the stencil's).
Double wells have no closed form, so only the first is shown. Two particles on a line
are compared with an independent calculation: the motion of the center of mass is split
off, and the relative motion is diagonalized in a sinc basis. Times are processor time,
all threads together, which other programs on the machine hardly change.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import scipy.linalg
import tyro
from reporting import markdown_table, report

from physml.hamiltonians import (
    DoubleWell,
    FiniteWell,
    Harmonic,
    InfiniteWell,
    Linear,
    Morse,
    PairForce,
    PoschlTeller,
    Potential,
    RadialHydrogen,
    default_grid,
)
from physml.hamiltonians.potentials import gaussian_pair
from physml.lattices.grid import Grid
from physml.precision import enable_x64
from physml.runs.levels import LevelsConfiguration, LevelsExperiment, levels_problem
from physml.solvers import lowest_levels
from physml.variational.levels import Level, LevelsProblem, find_levels
from physml.wavefunctions import exchange_symmetric

Table = Literal["closed-forms", "double-wells", "two-particles"]
TARGET = 1e-6
NUM_LEVELS = 4


@dataclass(frozen=True)
class Options:
    """Tables of errors: closed forms, double wells, two particles on a line."""

    quick: bool = False
    """Two potentials, two levels, one pair force."""
    out: Path | None = None
    """Folder for potential_accuracy.md and potential_accuracy.json."""
    tables: tuple[Table, ...] = get_args(Table)
    """Which tables to make."""
    only: str = ""
    """Only the potentials whose name starts so."""
    steps: int = 1000
    """Optimizer steps for each level, at most."""
    particle_points: int = 95
    """Grid points for each of two particles."""


@dataclass(frozen=True)
class Case:
    """A potential and its grid; boundary factor and coordinate as in the experiment."""

    name: str
    potential: Potential
    points: int = 511
    stencil_order: int = 8
    box: tuple[float, float] | None = None

    @property
    def grid(self) -> Grid:
        """The points in the potential's own box, or in the one given."""
        if self.box is None:
            return default_grid(self.potential, self.points)
        return Grid.line(*self.box, self.points)

    def problem(self, options: Options) -> LevelsProblem:
        """Return the search for the lowest levels."""
        exact = self.potential.exact_levels(NUM_LEVELS)
        bound = NUM_LEVELS if exact is None else len(exact)
        configuration = LevelsConfiguration(
            stencil_order=self.stencil_order,
            levels=min(bound, 2) if options.quick else bound,
            steps=options.steps,
        )
        decays = isinstance(self.potential, Harmonic | DoubleWell)
        boundary = "gaussian" if decays else "dirichlet"
        is_steep = isinstance(self.potential, RadialHydrogen)
        coordinate = "square-root" if is_steep else "linear"
        experiment = LevelsExperiment(
            self.name, self.name, self.potential, self.grid, boundary, coordinate
        )
        return levels_problem(configuration, experiment)


def closed_form_cases(options: Options) -> list[Case]:
    """Return every potential with a closed form, on coarse grids and on fine ones."""
    named: list[tuple[str, Potential]] = [
        ("harmonic", Harmonic()),
        ("Poschl-Teller, l = 5", PoschlTeller()),
        ("Poschl-Teller, l = 2", PoschlTeller(2.0)),
        ("Morse, D = 20", Morse()),
        ("linear", Linear()),
        ("infinite well", InfiniteWell()),
        ("finite well", FiniteWell()),
        ("hydrogen, l = 0", RadialHydrogen(0)),
        ("hydrogen, l = 1", RadialHydrogen(1)),
        ("hydrogen, l = 2", RadialHydrogen(2)),
    ]
    if options.quick:
        return [Case(name, potential) for name, potential in named[:2]]
    coarse = [
        Case(name, potential, stencil_order=order)
        for name, potential in named
        for order in (2, 8)
    ]
    fine = [
        Case(name, potential, 8191, order)
        for name, potential in named
        for order in (2, 8)
        if isinstance(potential, FiniteWell | RadialHydrogen)
    ]
    return [case for case in coarse + fine if case.name.startswith(options.only)]


def double_well_cases(options: Options) -> list[Case]:
    """Return double wells of four separations."""
    separations = (1.5,) if options.quick else (1.0, 1.25, 1.5, 2.0)
    return [Case(f"a = {a:g}", DoubleWell(a)) for a in separations]


def levels_in_time(problem: LevelsProblem) -> tuple[list[Level], float]:
    """Find the levels; return them and the CPU seconds, compile time included."""
    start = time.process_time()
    levels = find_levels(problem)
    return levels, time.process_time() - start


def level_row(level: Level, exact: float | None) -> dict[str, Any]:
    """Return what the tables show of a level."""
    grid_energy = float("nan") if level.grid_energy is None else level.grid_energy
    return {
        "level": level.level,
        "energy": level.energy,
        "exact": exact,
        "minus_grid": level.energy - grid_energy,
        "grid_minus_exact": None if exact is None else grid_energy - exact,
        "interval": level.interval.upper - level.interval.lower,
        "residual": level.residual_norm,
        "steps": level.iterations,
        "outcome": level.outcome.name.lower(),
    }


def run_case(case: Case, options: Options) -> dict[str, Any]:
    """Run a case; return its levels."""
    levels, seconds = levels_in_time(case.problem(options))
    exact = case.potential.exact_levels(len(levels))
    rows = [
        level_row(level, None if exact is None else float(exact[level.level]))
        for level in levels
    ]
    result = {
        "name": case.name,
        "points": case.points,
        "stencil_order": case.stencil_order,
        "box": case.grid.lines[0].length,
        "seconds": seconds,
        "levels": rows,
    }
    print(*summary(result), flush=True)
    return result


def errors(result: dict[str, Any], key: str) -> str:
    """Return an error of all levels, lowest first."""
    return " ".join(f"{row[key]:+.0e}" for row in result["levels"])


def summary(result: dict[str, Any]) -> tuple[object, ...]:
    """Return a row of the table of closed forms."""
    rows = result["levels"]
    total = [
        abs(row["energy"] - row["exact"]) for row in rows if row["exact"] is not None
    ]
    return (
        result["name"],
        result["points"],
        result["stencil_order"],
        errors(result, "minus_grid"),
        errors(result, "grid_minus_exact") if total else "",
        f"{max(row['interval'] for row in rows):.0e}",
        sum(row["steps"] for row in rows),
        f"{result['seconds']:.1f}",
        verdict(result) if total else "",
    )


def verdict(result: dict[str, Any]) -> str:
    """Say whether all levels are within the target of the closed form; if not, why."""
    rows = result["levels"]
    if all(abs(row["energy"] - row["exact"]) <= TARGET for row in rows):
        return "met"
    if all(
        abs(row["minus_grid"]) <= max(TARGET, abs(row["grid_minus_exact"]))
        for row in rows
    ):
        return "what the stencil allows"
    return "missed: network"


HEADINGS = (
    *("potential", "points", "order", "energy - grid operator"),
    *("grid operator - closed form", "widest interval", "steps", "CPU seconds", "1e-6"),
)


def one_particle(cases: list[Case], options: Options) -> tuple[str, list]:
    """Run cases and make their table."""
    results = [run_case(case, options) for case in cases]
    columns = slice(None) if results[0]["levels"][0]["exact"] is not None else slice(8)
    rows = [summary(result)[columns] for result in results]
    return markdown_table(HEADINGS[columns], rows), results


def pair_forces(options: Options) -> dict[str, PairForce]:
    """Return the pair forces of the table, in a trap of frequency 1."""
    exponential = {
        f"{s:g} exp(-r^2)": PairForce(s, np.sqrt(0.5)) for s in (-1, -0.25, 0.25, 1)
    }
    gaussian = {
        f"Gaussian, V0 = {v:g}, s = 1/2": gaussian_pair(v, 0.5) for v in (-10, 10)
    }
    both = exponential | gaussian
    return {"1 exp(-r^2)": both["1 exp(-r^2)"]} if options.quick else both


def relative_motion(force: PairForce, statistics: str) -> float:
    """Return the lowest energy of two particles from their relative motion.

    With q = (x_1 - x_2) / sqrt(2) the energy is omega / 2 (center of mass) plus a level
    of -(1/2) d^2/dq^2 + omega^2 q^2 / 2 + g exp(-q^2 / s^2): the lowest even one for
    bosons, the lowest odd one for fermions. Sinc basis of spacing 0.05 on [-10, 10].
    """
    spacing, count = 0.05, 401
    index = np.arange(count) - count // 2
    q = spacing * index
    distance = index[:, None] - index
    with np.errstate(divide="ignore"):
        kinetic = np.where(
            distance == 0, np.pi**2 / 6, (-1.0) ** distance / distance**2
        )
    potential = 0.5 * force.omega**2 * q**2
    potential = potential + force.amplitude * np.exp(-((q / force.width) ** 2))
    matrix = kinetic / spacing**2 + np.diag(potential)
    energies = scipy.linalg.eigh(matrix, eigvals_only=True, subset_by_index=(0, 1))
    return 0.5 * force.omega + energies[0 if statistics == "bosons" else 1]


def grid_level(problem: LevelsProblem, statistics: str) -> float:
    """Return the lowest level of the grid operator with an exchange symmetry."""
    hamiltonian = problem.hamiltonian
    bottom = float(hamiltonian.potential.min())
    levels = lowest_levels(hamiltonian.to_sparse(), 8, lower_bound=bottom - 1.0)
    for energy, vector in zip(*levels, strict=True):
        psi = vector.reshape(hamiltonian.grid.shape)
        parity = np.vdot(psi, psi.T) / np.vdot(psi, psi)
        if parity * (1 if statistics == "bosons" else -1) > 0.99:
            return float(energy)
    raise RuntimeError(f"no level of {statistics} among the lowest eight")


def two_particles(force: PairForce, statistics: str, options: Options) -> dict:
    """Find the lowest level of two bosons or fermions in a trap."""
    points = 31 if options.quick else options.particle_points
    grid = Grid.line(-6.0, 6.0, points, dimension=2)
    experiment = LevelsExperiment("pair", "pair", force, grid, "gaussian")
    configuration = LevelsConfiguration(levels=1, steps=options.steps)
    problem = levels_problem(configuration, experiment)
    wave = problem.wave_function
    symmetric = exchange_symmetric(wave.apply, grid, statistics)
    problem = replace(problem, wave_function=replace(wave, apply=symmetric))
    (level,), seconds = levels_in_time(problem)
    exact = relative_motion(force, statistics)
    on_grid = grid_level(problem, statistics)
    return {
        "energy": level.energy,
        "exact": exact,
        "minus_grid": level.energy - on_grid,
        "grid_minus_exact": on_grid - exact,
        "minus_exact": level.energy - exact,
        "steps": level.iterations,
        "seconds": seconds,
    }


def particle_table(options: Options) -> tuple[str, list[dict[str, Any]]]:
    """Compare bosons and fermions with the relative motion."""
    rows, data = [], []
    for name, force in pair_forces(options).items():
        for statistics in ("bosons", "fermions"):
            result = two_particles(force, statistics, options)
            rows.append(particle_row(f"{name}, {statistics}", result))
            print(*rows[-1], flush=True)
            data.append({"force": name, "statistics": statistics} | result)
    headings = ("pair force", "energy", "relative motion", "energy - grid operator")
    headings += ("grid operator - relative motion", "steps", "CPU seconds")
    return markdown_table(headings, rows), data


def particle_row(name: str, result: dict[str, Any]) -> tuple[object, ...]:
    """Return a row of the table of two particles."""
    return (
        name,
        f"{result['energy']:.8f}",
        f"{result['exact']:.8f}",
        f"{result['minus_grid']:+.0e}",
        f"{result['grid_minus_exact']:+.0e}",
        result["steps"],
        f"{result['seconds']:.1f}",
    )


def main(options: Options) -> None:
    """Make the three tables."""
    enable_x64()
    parts: dict[Table, Callable[[], tuple[str, list]]] = {
        "closed-forms": lambda: one_particle(closed_form_cases(options), options),
        "double-wells": lambda: one_particle(double_well_cases(options), options),
        "two-particles": lambda: particle_table(options),
    }
    sections, numbers = {}, {}
    for title in options.tables:
        sections[title], numbers[title] = parts[title]()
    report(options.out, "potential_accuracy", sections, numbers)


if __name__ == "__main__":
    main(tyro.cli(Options, config=(tyro.conf.FlagCreatePairsOff,)))
