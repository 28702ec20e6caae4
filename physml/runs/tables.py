"""The tables at the end of a run."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

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


def print_methods(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Print acceptances, means with errors and costs, a row for each method.

    Parameters
    ----------
    rows
        Entries of result.json by the names of the methods; those of a model have more.
    """
    table = Table(title="tau: in sweeps or proposals; N_eff: independent values of F/T")
    headings = ("method", "parameters", "test MSE", "predicted", "accepted", "F/T")
    for heading in (*headings, "|m|", "staggered |m|", "tau", "N_eff / s"):
        table.add_column(heading, justify="right", no_wrap=True)
    means = ("free_energy_over_temperature", "magnetization", "staggered_magnetization")
    for name, row in rows.items():
        table.add_row(
            name,
            str(row.get("num_parameters", "")),
            _number(row.get("test_mse"), ".3g"),
            _number(row.get("predicted_acceptance"), ".3f"),
            _with_error(row["measured_acceptance"], row["acceptance_error"]),
            *(_with_error(row[mean], row[f"{mean}_error"]) for mean in means),
            _number(row["autocorrelation_time"], ".2f"),
            _number(row["effective_samples_per_second"], ".3g"),
        )
    _print(table)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _with_error(value: float | None, error: float | None) -> str:
    """Return a number with the error of its last digits, as in 0.155(4)."""
    if value is None or error is None:
        return _number(value, ".6g")
    if error == 0:
        return f"{value:.6g}(0)"
    digits = max(0, 1 - math.floor(math.log10(error)))  # two digits of the error
    return f"{value:.{digits}f}({error * 10**digits:.0f})"


def _print(table: Table) -> None:
    # a log file has no width: don't cut numbers there
    console = Console() if is_watched() else Console(width=140, force_terminal=False)
    console.print(table)


def _difference(energy: float, reference: float | None) -> str:
    return "" if reference is None else f"{energy - reference:+.1e}"
