"""Pictures of a run, drawn without a screen."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from physml.variational.levels import Level

if TYPE_CHECKING:
    from physml.runs.levels import LevelsExperiment


def draw_levels(
    path: Path, experiment: "LevelsExperiment", levels: Sequence[Level]
) -> None:
    """Draw the wave functions on the potential, each at its energy.

    Parameters
    ----------
    path
        The png file to write.
    experiment
        The potential, its grid and its title.
    levels
        The levels of a one-dimensional grid.
    """
    (x,) = experiment.grid.coordinates()
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    plot_levels(axes, x, experiment.potential(x), levels)
    axes.set_title(experiment.title)
    save_figure(figure, path)


def plot_levels(
    axes: Axes, x: np.ndarray, potential: np.ndarray, levels: Sequence[Level]
) -> None:
    """Draw potential, energies and wave functions into axes."""
    energies = np.array([level.energy for level in levels])
    gap = float(np.diff(energies).mean()) if len(levels) > 1 else 1.0
    room = max(gap, 0.05 * float(np.ptp(energies)), 1e-12)
    amplitude = 0.45 * room / max(float(np.abs(level.psi).max()) for level in levels)
    axes.plot(x, potential, color="0.3", linewidth=1.5, label="V(x)")
    for level in levels:
        sign = np.sign(level.psi[np.abs(level.psi).argmax()])
        curve = level.energy + sign * amplitude * level.psi
        (line,) = axes.plot(x, curve, linewidth=1.5)
        color = line.get_color()
        axes.axhline(level.energy, color=color, linewidth=0.6, alpha=0.6)
        axes.fill_between(x, level.energy, curve, color=color, alpha=0.15)
    bottom = max(float(potential.min()), energies[0] - 4 * room) - 0.3 * room
    top = energies[-1] + 1.2 * room
    axes.set_ylim(bottom, top)
    heights = _spread(energies, 0.05 * (top - bottom))
    for level, height, line in zip(levels, heights, axes.lines[1::2], strict=True):
        axes.text(
            1.01,
            height,
            f"$E_{{{level.level}}}$ = {level.energy:.10g}",
            transform=axes.get_yaxis_transform(),
            va="center",
            color=line.get_color(),
        )
    visible = np.any([np.abs(v.psi) > 1e-3 * np.abs(v.psi).max() for v in levels], 0)
    axes.set_xlim(float(x[visible].min()), float(x[visible].max()))
    axes.set_xlabel("x (units of length, hbar = m = 1)")
    axes.set_ylabel("energy, and wave functions at their energies")
    axes.legend(loc="upper center")


def _spread(heights: np.ndarray, distance: float) -> np.ndarray:
    """Move heights, ascending, apart to a smallest distance, pairs evenly."""
    spread = heights.astype(float).copy()
    for _ in range(100):
        short = distance - np.diff(spread)
        if np.all(short <= 1e-9 * distance):
            break
        push = np.maximum(short, 0.0) / 2
        spread[:-1] -= push
        spread[1:] += push
    return spread


def draw_convergence(
    path: Path, rows: Sequence[dict[str, Any]], levels: Sequence[Level]
) -> None:
    """Draw the energy error and the residual against the optimizer step.

    Parameters
    ----------
    path
        The png file to write.
    rows
        Records with level, step, energy and residual.
    levels
        The levels at the end; the error is that against the grid operator where it is
        known, against the final energy otherwise.
    """
    figure = Figure(figsize=(8, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for level in levels:
        own = [row for row in rows if row["level"] == level.level]
        steps = np.array([row["step"] for row in own])
        energies = np.array([row["energy"] for row in own])
        residuals = np.array([row["residual"] for row in own])
        reference = level.energy if level.grid_energy is None else level.grid_energy
        errors = np.maximum(np.abs(energies - reference), 1e-16)
        left.semilogy(steps, errors, label=f"level {level.level}")
        right.semilogy(steps, residuals, label=f"level {level.level}")
    left.set_ylabel("|E - grid operator's eigenvalue| (energy)")
    right.set_ylabel("|H psi - E psi| / |psi| (energy)")
    for axes in (left, right):
        axes.set_xlabel("optimizer step")
        axes.grid(alpha=0.3)
    right.legend()
    save_figure(figure, path)


def draw_fit(
    path: Path, energies: np.ndarray, predicted: np.ndarray, couplings: np.ndarray
) -> None:
    """Draw predicted against true energies, and the couplings of both models.

    Parameters
    ----------
    path
        The png file to write.
    energies, predicted
        For each site, of configurations that were not learned from.
    couplings
        Effective couplings by distance, of the hidden and of the learned model.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    ends = [energies.min(), energies.max()]
    left.plot(ends, ends, color="0.6", linewidth=1, label="equal")
    left.plot(
        energies, predicted, ".", markersize=4, label="configurations not learned"
    )
    left.set_xlabel("hidden model's energy / site (energy)")
    left.set_ylabel("learned model's energy / site (energy)")
    error = np.sqrt(np.mean((predicted - energies) ** 2))
    left.set_title(f"root mean square error {error:.1e}")
    distances = np.arange(couplings.shape[1])
    right.axhline(0, color="0.6", linewidth=0.8)
    right.plot(distances, couplings[0], "o", fillstyle="none", label="hidden")
    right.plot(distances, couplings[1], "x", label="learned")
    right.set_xlabel("distance r (sites)")
    right.set_ylabel("effective coupling $J_r$ (energy)")
    right.set_title(f"largest error {np.abs(couplings[0] - couplings[1]).max():.1e}")
    for axes in (left, right):
        axes.legend()
    save_figure(figure, path)


def draw_fit_convergence(
    path: Path, rows: Sequence[dict[str, Any]], noise: float
) -> None:
    """Draw the loss of a fit and the norm of its gradient; see `draw_minimization`.

    Parameters
    ----------
    path
        The png file to write.
    rows
        Records with stage, step, loss and gradient.
    noise
        The mean squared error that noise alone makes; 0 for none.
    """
    labels = (
        "mean squared error / site$^2$ (energy$^2$)",
        "norm of its gradient (energy)",
    )
    draw_minimization(path, rows, labels, noise=noise)


def draw_minimization(
    path: Path,
    rows: Sequence[dict[str, Any]],
    labels: tuple[str, str],
    *,
    noise: float = 0.0,
) -> None:
    """Draw a loss and the norm of its gradient against the optimizer step.

    Parameters
    ----------
    path
        The png file to write.
    rows
        Records with stage, step, loss and gradient.
    labels
        What loss and gradient are, with their units.
    noise
        The loss that noise of the data alone makes; 0 for none.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, name, label in zip(panels, ("loss", "gradient"), labels, strict=True):
        for stage in dict.fromkeys(row["stage"] for row in rows):
            own = [row for row in rows if row["stage"] == stage]
            values = np.maximum([row[name] for row in own], 1e-34)
            steps = [row["step"] for row in own]
            axes.semilogy(steps, values, ".-", markersize=4, label=stage)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    if noise > 0:
        panels[0].axhline(noise, color="0.4", linestyle=":", label="noise of the data")
    panels[0].legend(title="stage", fontsize="small")
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure, all or nothing."""
    temporary = path.with_name(path.stem + ".tmp.png")
    try:
        figure.savefig(temporary, dpi=150)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
