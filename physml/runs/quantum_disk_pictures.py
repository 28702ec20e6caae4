"""Pictures of the states of a disc: densities in the plane, levels on the potential."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from physml.hamiltonians import DiskStates
from physml.runs.pictures import save_figure
from physml.runs.quantum_disk_problem import QuantumDiskProblem

MOST = 4  # rows and columns of densities
POINTS = 151  # along x and y


def draw_densities(path: Path, problem: QuantumDiskProblem, states: DiskStates) -> None:
    """Draw the densities of the lowest states, a row for each angular momentum.

    Parameters
    ----------
    path
        The png file to write.
    problem
        The disc.
    states
        Of shape (num_momenta, num_levels).
    """
    disk = problem.disk
    shown = DiskStates(*(array[:MOST, :MOST] for array in states))
    energies = np.asarray(shown.energies)
    densities = np.asarray(disk.densities(shown, *disk.cartesian_grid(POINTS)))
    num_rows, num_columns = energies.shape
    size = (2.6 * num_columns + 1.4, 2.6 * num_rows + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    panels: Any = figure.subplots(num_rows, num_columns, squeeze=False, sharex=True)
    radius = disk.basis.radius
    extent = (-radius, radius, -radius, radius)
    for i, n in np.ndindex(energies.shape):
        axes = panels[i, n]
        image = axes.imshow(
            densities[i, n].T / densities[i, n].max(),
            origin="lower",
            extent=extent,
            vmin=0,
            vmax=1,
        )
        wall = Circle((0, 0), radius, fill=False, color="white")
        axes.add_patch(wall)
        title = f"m = {disk.angular_momenta[i]}, n = {n}, E = {energies[i, n]:.5g}"
        axes.set_title(title, fontsize="medium")
    for lowest in panels[-1]:
        lowest.set_xlabel("x (length)")
    for first in panels[:, 0]:
        first.set_ylabel("y (length)")
    figure.colorbar(image, ax=panels, label="density / its maximum")
    save_figure(figure, path)


def draw_disk_levels(
    path: Path, problem: QuantumDiskProblem, states: DiskStates
) -> None:
    """Draw the levels of all angular momenta beside the potential.

    Parameters
    ----------
    path
        The png file to write.
    problem
        The disc and its potential.
    states
        Of shape (num_momenta, num_levels).
    """
    disk = problem.disk
    figure = Figure(figsize=(7, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    radii = np.linspace(0, disk.basis.radius, 300)
    left.plot(radii, np.asarray(problem.potential(jnp.asarray(radii))), color="black")
    left.axvline(disk.basis.radius, color="gray", linewidth=4)
    energies = np.asarray(states.energies)
    bottom, top = min(0.0, float(energies.min())), float(energies.max())
    left.set_ylim(bottom - 0.03 * (top - bottom), top + 0.05 * (top - bottom))
    left.set_xlabel("r (length)")
    left.set_ylabel("energy (hbar = m = 1)")
    left.set_title("potential and wall")
    for momentum, row in zip(disk.angular_momenta, energies, strict=True):
        right.hlines(row, momentum - 0.35, momentum + 0.35)
    right.xaxis.get_major_locator().set_params(integer=True)
    right.set_xlabel("angular momentum m")
    right.set_title("levels")
    save_figure(figure, path)
