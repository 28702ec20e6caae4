"""Pictures of a search for the potentials behind a map."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from physml.runs.pictures import save_figure


def draw_maps(
    path: Path, energies: np.ndarray, hidden: np.ndarray, found: np.ndarray
) -> None:
    """Draw the given map, that of the potentials found, and their difference.

    Parameters
    ----------
    path
        The png file to write.
    energies
        Shape (num_energies,), equally spaced.
    hidden, found
        Shape (num_energies, num_sites).
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    step = float(energies[1] - energies[0]) / 2
    bottom, top = float(energies[0]) - step, float(energies[-1]) + step
    extent = (-0.5, hidden.shape[1] - 0.5, bottom, top)
    difference = np.abs(found - hidden)
    highest = float(hidden.max())
    titles = ("given", "of the potentials found", "difference, magnitude")
    for axes, values, title in zip(
        panels, (hidden, found, difference), titles, strict=True
    ):
        is_difference = values is difference
        image = axes.imshow(
            values,
            origin="lower",
            aspect="auto",
            extent=extent,
            interpolation="nearest",
            cmap="magma" if is_difference else "viridis",
            vmin=0,
            vmax=max(float(difference.max()), 1e-16) if is_difference else highest,
        )
        axes.set_title(title)
        axes.set_xlabel("site")
        figure.colorbar(image, ax=axes, label="density of states (1 / energy)")
    panels[0].set_ylabel("energy (units of the hopping)")
    save_figure(figure, path)


def draw_potentials(
    path: Path, hidden: np.ndarray, found: np.ndarray, shape: tuple[int, ...]
) -> None:
    """Draw hidden and found potentials: as a line of sites, or as a plane of them.

    Parameters
    ----------
    path
        The png file to write.
    hidden, found
        Shape (num_sites,).
    shape
        That of the lattice.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    if len(shape) == 1:
        left.plot(hidden, "o", fillstyle="none", label="hidden")
        left.plot(found, "x", label="found")
        left.set_xlabel("site")
        left.set_ylabel("potential (units of the hopping)")
        left.legend()
    else:
        size = max(float(np.abs(hidden).max()), 1e-16)
        image = left.imshow(
            found.reshape(shape).T, origin="lower", cmap="RdBu_r", vmin=-size, vmax=size
        )
        left.set_xlabel("x (sites)")
        left.set_ylabel("y (sites)")
        figure.colorbar(image, ax=left, label="potential (units of the hopping)")
    left.set_title("potentials found")
    right.semilogy(np.maximum(np.abs(found - hidden), 1e-17), ".")
    right.set_xlabel("site")
    right.set_ylabel("|found - hidden| (units of the hopping)")
    right.set_title(f"largest error {np.abs(found - hidden).max():.1e}")
    save_figure(figure, path)


def draw_convergence(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Draw the loss and the norm of its gradient against the optimizer step.

    Parameters
    ----------
    path
        The png file to write.
    rows
        Records with stage, step, loss and gradient.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for stage in dict.fromkeys(row["stage"] for row in rows):
        own = [row for row in rows if row["stage"] == stage]
        steps = [row["step"] for row in own]
        for axes, name in ((left, "loss"), (right, "gradient")):
            values = np.maximum([row[name] for row in own], 1e-34)
            axes.semilogy(steps, values, "o-", markersize=2.5, label=stage)
    left.set_ylabel("mean squared difference of the maps (1 / energy$^2$)")
    right.set_ylabel("norm of its gradient (1 / energy$^3$)")
    for axes in (left, right):
        axes.set_xlabel("optimizer step")
        axes.grid(alpha=0.3)
    left.legend(title="stage", fontsize="small")
    save_figure(figure, path)
