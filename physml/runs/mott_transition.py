"""Follow metal and insulator through the Mott transition: result, table, pictures."""

import time
from itertools import pairwise
from typing import Any

import numpy as np

from physml.failures import RunFailure
from physml.parallel import SERIAL, Communicator
from physml.precision import enable_x64
from physml.runs.mott_transition_problem import (
    BRANCHES,
    Branch,
    BranchPoint,
    MottTransitionConfiguration,
    MottTransitionProblem,
    mott_transition_problem,
)
from physml.runs.ranks import say_on_root
from physml.runs.run import Run, open_run
from physml.runs.tasks import Results, TasksComputation

NAME = "mott_transition"

Entries = dict[str, list[dict[str, Any]]]  # by branch


def run_mott_transition(
    configuration: MottTransitionConfiguration, communicator: Communicator = SERIAL
) -> Results:
    """Iterate each U of both branches; write result, records, pictures, checkpoint.

    Parameters
    ----------
    configuration
        The options.
    communicator
        All ranks do the same work; the root alone writes.

    Returns
    -------
    A `BranchPoint` for each U of each branch, by the names of the tasks.

    Raises
    ------
    ValueError
        If an option is out of its range; nothing is written then.
    RunFailure
        If an iteration has not converged; all is written then.
    """
    started = time.monotonic()
    enable_x64()
    problem = mott_transition_problem(configuration)
    c = configuration
    say_on_root(
        communicator,
        f"Bethe lattice, D = {c.half_bandwidth:g}, half filled: metal in a bath of "
        f"{c.sites} sites, insulator in {c.sites - 1}, {len(c.interactions)} U",
    )
    computation = TasksComputation(problem.tasks(), c.time_limit, communicator)
    run = open_run(
        NAME, configuration, computation, started=started, communicator=communicator
    )
    results = run.perform(computation.compute)
    entries: Entries = {
        branch: _entries(problem, branch, results) for branch in BRANCHES
    }
    if communicator.is_root:
        _report(run, problem, results, entries)
    _require_converged(entries)
    return results


def _entries(
    problem: MottTransitionProblem, branch: Branch, results: Results
) -> list[dict[str, Any]]:
    """Return the entries of result.json of one branch, U ascending."""
    entries = []
    for task in problem.tasks():
        if task.branch == branch:
            entries.append(_entry(problem, task, results[task.name]))
    return sorted(entries, key=lambda entry: entry["interaction"])


def _entry(
    problem: MottTransitionProblem, task: Any, point: BranchPoint
) -> dict[str, Any]:
    state = point.mean_field
    lattice = problem.lattice(task.interaction)
    return {
        "interaction": task.interaction,
        "quasiparticle_weight": _finite(state.quasiparticle_weight(lattice)),
        "double_occupancy": _finite(state.double_occupancy),
        "is_metallic": bool(state.is_metallic(lattice)),
        "converged": task.is_converged(state),
        "iterations": int(state.num_iterations),
        "change": _finite(state.change),
        "fit_error": _finite(state.fit_error),
        "bath_levels": [_finite(x) for x in state.bath.levels],
        "bath_couplings": [_finite(x) for x in state.bath.couplings],
    }


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _report(
    run: Run, problem: MottTransitionProblem, results: Results, entries: Entries
) -> None:
    """Write the result and the pictures, print the table."""
    # half a second of import time that the first line need not wait for
    from physml.runs.mott_transition_pictures import (
        draw_self_energies,
        draw_spectra,
        draw_transition,
    )

    print(_table(entries))
    folder = run.folder.path
    draw_transition(folder / "transition.png", problem, entries)
    draw_spectra(folder / "spectra.png", problem, results)
    draw_self_energies(folder / "self_energy.png", problem, results)
    run.finish(
        {
            **entries,
            "insulator_ends_between": _change_of_phase(entries["insulator"]),
            "metal_ends_between": _change_of_phase(entries["metal"]),
        }
    )


def _change_of_phase(entries: list[dict[str, Any]]) -> list[float] | None:
    """Return the neighboring U between which the metal gives way, or None."""
    for low, high in pairwise(entries):
        if low["is_metallic"] and not high["is_metallic"]:
            return [low["interaction"], high["interaction"]]
    return None


def _table(entries: Entries) -> str:
    head = "branch         U         Z  double occ.  metal  iterations  fit error"
    lines = [head]
    for branch, rows in entries.items():
        for row in rows:
            phase = "yes" if row["is_metallic"] else "no"
            weight, both, error = (
                "    -" if row[name] is None else format(row[name], form)
                for name, form in (
                    ("quasiparticle_weight", "9.5f"),
                    ("double_occupancy", "12.6f"),
                    ("fit_error", "10.1e"),
                )
            )
            failed = "" if row["converged"] else "  not converged"
            lines.append(
                f"{branch:9s} {row['interaction']:6.3g} {weight} {both} {phase:>6s} "
                f"{row['iterations']:11d} {error}{failed}"
            )
    return "\n".join(lines)


def _require_converged(entries: Entries) -> None:
    failed = [
        f"{branch} at U = {row['interaction']:g}"
        for branch, rows in entries.items()
        for row in rows
        if not row["converged"]
    ]
    if failed:
        raise RunFailure(
            f"Expected mean fields that converge, but {', '.join(failed)} did not: "
            "raise --max-iterations or --tolerance, lower --mixing, or go from one of "
            "the --interactions to the next in smaller steps."
        )
