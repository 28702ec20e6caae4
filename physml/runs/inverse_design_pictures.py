"""Pictures of a search for the potentials behind a map."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from physml.runs.map_pictures import BRIGHTEST, DENSITY
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
    difference = np.abs(found - hidden)
    brightest = float(np.percentile(hidden, BRIGHTEST))
    largest = max(float(difference.max()), 1e-16)
    images = [
        axes.imshow(
            values,
            origin="lower",
            aspect="auto",
            extent=(-0.5, hidden.shape[1] - 0.5, bottom, top),
            interpolation="nearest",
            cmap=colors,
            vmin=0,
            vmax=highest,
        )
        for axes, values, colors, highest in zip(
            panels,
            (hidden, found, difference),
            ("viridis", "viridis", "magma"),
            (brightest, brightest, largest),
            strict=True,
        )
    ]
    titles = ("given", "of the potentials found", "difference, magnitude")
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title)
        axes.set_xlabel("site, from 0")
    figure.colorbar(images[0], ax=panels[:2], label=DENSITY, extend="max")
    figure.colorbar(images[2], ax=panels[2], label=DENSITY)
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
        left.set_xlabel("site, from 0")
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
    right.set_xlabel("site, from 0")
    right.set_ylabel("|found - hidden| (units of the hopping)")
    right.set_title(f"largest error {np.abs(found - hidden).max():.1e}")
    save_figure(figure, path)
