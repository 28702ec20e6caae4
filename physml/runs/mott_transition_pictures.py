"""Pictures of the Mott transition: Z and double occupancy, spectra, self-energies."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from physml.runs.mott_transition_problem import BranchPoint, MottTransitionProblem
from physml.runs.pictures import save_figure
from physml.runs.tasks import Results

STYLES = {"metal": "o-", "insulator": "s--"}
SHOWN = 5  # U of each branch
SHOWN_FREQUENCIES = 2.0  # in units of D


def draw_transition(
    path: Path, problem: MottTransitionProblem, entries: dict[Any, Any]
) -> None:
    """Draw quasiparticle weight and double occupancy of both branches against U.

    Parameters
    ----------
    path
        The png file to write.
    problem
        The options.
    entries
        Those of result.json by branch.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    unit = problem.configuration.half_bandwidth
    names = ("quasiparticle_weight", "double_occupancy")
    labels = (r"quasiparticle weight $Z$", r"$\langle n_\uparrow n_\downarrow \rangle$")
    for axes, name, label in zip(panels, names, labels, strict=True):
        for branch, rows in entries.items():
            u = [row["interaction"] / unit for row in rows]
            values = [np.nan if row[name] is None else row[name] for row in rows]
            start = f"from the {branch}"
            axes.plot(u, values, STYLES[branch], markersize=4, label=start)
        axes.set_xlabel("interaction U (units of D)")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    resolution = np.pi / (problem.configuration.beta * unit)
    panels[0].axhline(
        resolution, color="gray", ls=":", label=r"resolution $\omega_0 / D$"
    )
    for axes in panels:
        axes.legend()
    save_figure(figure, path)


def draw_spectra(path: Path, problem: MottTransitionProblem, results: Results) -> None:
    """Draw the spectra of some U of both branches, one above the other.

    Parameters
    ----------
    path
        The png file to write.
    problem
        The options.
    results
        Those of all tasks.
    """
    figure = Figure(figsize=(9, 6), layout="constrained")
    panels: Any = figure.subplots(1, 2, sharex=True, sharey=True)
    unit = problem.configuration.half_bandwidth
    energies = problem.spectrum_energies() / unit
    for axes, branch in zip(panels, STYLES, strict=True):
        for i, (label, point) in enumerate(_shown(problem, branch, results)):
            spectrum = np.asarray(point.spectrum) * unit
            axes.plot(energies, spectrum + i, color=f"C{i}")
            axes.text(1.5 * energies[0], i + 0.06, label, color=f"C{i}")
        axes.set_xlim(1.55 * energies[0], energies[-1])  # room for the labels
        axes.set_title(f"from the {branch}")
        axes.set_xlabel("energy - Fermi energy (units of D)")
    panels[0].set_ylabel("A (states / D and spin), each U one unit higher")
    save_figure(figure, path)


def draw_self_energies(
    path: Path, problem: MottTransitionProblem, results: Results
) -> None:
    """Draw Im Sigma of some U of both branches.

    Parameters
    ----------
    path
        The png file to write.
    problem
        The options.
    results
        Those of all tasks.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels: Any = figure.subplots(1, 2)
    unit = problem.configuration.half_bandwidth
    omega = np.asarray(problem.lattice(0.0).frequencies) / unit
    is_shown = omega <= max(SHOWN_FREQUENCIES, omega[1])
    for axes, branch in zip(panels, STYLES, strict=True):
        for i, (label, point) in enumerate(_shown(problem, branch, results)):
            sigma = np.asarray(point.mean_field.self_energy) / unit
            line = dict(markersize=3, label=label, color=f"C{i}")
            axes.plot(omega[is_shown], sigma[is_shown], STYLES[branch], **line)
        axes.set_title(f"from the {branch}")
        axes.set_xlabel(r"Matsubara frequency $\omega_n$ (units of D)")
        axes.set_ylabel(r"Im $\Sigma(i \omega_n)$ (units of D)")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
    save_figure(figure, path)


def _shown(
    problem: MottTransitionProblem, branch: str, results: Results
) -> list[tuple[str, BranchPoint]]:
    """Return a few U of a branch, ascending, in words, and what was found there."""
    unit = problem.configuration.half_bandwidth
    tasks = [task for task in problem.tasks() if task.branch == branch]
    tasks.sort(key=lambda task: task.interaction)
    places = np.linspace(0, len(tasks) - 1, min(SHOWN, len(tasks)))
    shown = [tasks[place] for place in np.unique(places.round().astype(int))]
    return [
        (f"U = {task.interaction / unit:g} D", results[task.name]) for task in shown
    ]
