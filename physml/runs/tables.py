"""The tables at the end of a run."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from physml.runs.progress import is_watched
from physml.variational.levels import Level


def print_levels(levels: Sequence[Level], exact_levels: Sequence[float | None]) -> None:
    """Print energies, comparisons and intervals, a row for each level.

    Parameters
    ----------
    levels
        What was found.
    exact_levels
        The closed form of each, or None.
    """
    table = Table(title="Levels (hbar = m = 1)")
    headings = ("level", "energy", "- grid operator", "- closed form", "residual")
    for heading in (*headings, "interval about the energy", "outcome"):
        table.add_column(heading, justify="right", no_wrap=True)
    for level, exact in zip(levels, exact_levels, strict=True):
        table.add_row(
            str(level.level),
            f"{level.energy:.13g}",
            _difference(level.energy, level.grid_energy),
            _difference(level.energy, exact),
            f"{level.residual_norm:.1e}",
            f"{level.interval.lower - level.energy:+.1e} "
            f"{level.interval.upper - level.energy:+.1e}",
            str(level.outcome),
        )
    _print(table)


def print_couplings(hidden: np.ndarray, learned: np.ndarray) -> None:
    """Print effective couplings and their differences, a row for each distance.

    Parameters
    ----------
    hidden, learned
        The couplings J_0, J_1, ... of two models.
    """
    table = Table(title="Effective couplings (units of energy)")
    for heading in ("distance", "hidden", "learned", "difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    for distance, (true, found) in enumerate(zip(hidden, learned, strict=True)):
        difference = f"{found - true:+.1e}"
        table.add_row(str(distance), f"{true:.12f}", f"{found:.12f}", difference)
    _print(table)


def _print(table: Table) -> None:
    # a log file has no width: don't cut numbers there
    console = Console() if is_watched() else Console(width=140, force_terminal=False)
    console.print(table)


def _difference(energy: float, reference: float | None) -> str:
    return "" if reference is None else f"{energy - reference:+.1e}"
