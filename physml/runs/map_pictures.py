"""Pictures of a map of local densities of states, drawn without a screen."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from physml.runs.pictures import save_figure

if TYPE_CHECKING:
    from physml.runs.map_computation import DensityMap, MapExperiment

DENSITY = r"$\rho$ (states / energy)"
BRIGHTEST = 99.8  # percentile of the map that has the last color
NUM_PROFILE_SITES = 60


def draw_map(
    path: Path,
    experiment: "MapExperiment",
    density: "DensityMap",
    shown_energies: Sequence[float] | None = None,
) -> None:
    """Draw a map: along a row of sites, or in the plane at a few energies.

    Parameters
    ----------
    path
        The png file to write.
    experiment
        Where the sites are, and the one in the center.
    density
        The map.
    shown_energies
        Those at which the sites are shown; by default three.
    """
    shown = _shown_rows(density, shown_energies)
    if experiment.positions.shape[1] == 1:
        figure = Figure(figsize=(10, 5.5), layout="constrained")
        axes = figure.subplot_mosaic([["map", "cuts"], ["map", "profiles"]])
        plot_row(axes["map"], density)
        plot_profiles(axes["profiles"], density, experiment.center, shown)
    else:
        figure = Figure(figsize=(3.6 * max(len(shown), 2), 6.5), layout="constrained")
        tops: list[Any] = [f"plane {k}" for k in shown]
        axes = figure.subplot_mosaic(
            [tops, ["cuts"] * len(shown)], height_ratios=(3, 2)
        )
        positions, chosen = _plane(experiment, density)
        for k, name in zip(shown, tops, strict=True):
            plot_plane(axes[name], positions, density.values[k, chosen])
            axes[name].set_title(f"E = {density.energies[k]:.3g}")
        axes[tops[0]].set_ylabel("y (distance of neighbors)")
    plot_cuts(axes["cuts"], density, _cut_columns(experiment, density))
    figure.suptitle(experiment.title)
    save_figure(figure, path)


def plot_row(axes: Axes, density: "DensityMap") -> None:
    """Draw sites across, energy up, the density as color."""
    places = np.arange(len(density.sites)) if _have_gaps(density) else density.sites
    mesh = axes.pcolormesh(
        places,
        density.energies,
        density.values,
        vmin=0,
        vmax=np.percentile(density.values, BRIGHTEST),
        shading="nearest",
        rasterized=True,
    )
    axes.set_xlabel(
        "place in the list of sites" if _have_gaps(density) else "site, from 0"
    )
    axes.set_ylabel("E (energy)")
    axes.figure.colorbar(mesh, ax=axes, label=DENSITY, extend="max")


def plot_profiles(
    axes: Axes, density: "DensityMap", center: int, shown: Sequence[int]
) -> None:
    """Draw the density along the sites near the center, at a few energies."""
    near = np.abs(density.sites - center) <= NUM_PROFILE_SITES // 2
    near = near if near.sum() > 1 else np.ones_like(near)
    order = np.argsort(density.sites[near])
    for k in shown:
        axes.plot(
            density.sites[near][order],
            density.values[k, near][order],
            ".-",
            linewidth=0.8,
            markersize=3,
            label=f"E = {density.energies[k]:.3g}",
        )
    axes.set_xlabel("site, from 0")
    axes.set_ylabel(DENSITY)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")


def plot_plane(axes: Axes, positions: np.ndarray, values: np.ndarray) -> None:
    """Draw sites in a plane as disks, the density as color.

    Parameters
    ----------
    axes
        Where.
    positions
        Shape (num_sites, 2), in nearest-neighbor distances.
    values
        Shape (num_sites,).
    """
    ones = np.ones(len(positions))
    disks = EllipseCollection(
        ones,
        ones,
        0 * ones,
        units="xy",
        offsets=positions,
        offset_transform=axes.transData,
        array=values,
    )
    disks.set_clim(0, np.percentile(values, BRIGHTEST))
    axes.add_collection(disks)
    axes.set_aspect("equal")
    low, high = positions.min(axis=0) - 1, positions.max(axis=0) + 1
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_xlabel("x (distance of neighbors)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True))
    axes.figure.colorbar(disks, ax=axes, label=DENSITY, extend="max", shrink=0.8)


def plot_cuts(axes: Axes, density: "DensityMap", columns: dict[str, int]) -> None:
    """Draw the density of a few sites against the energy.

    Parameters
    ----------
    axes
        Where.
    density
        The map.
    columns
        Columns of the map by what they shall be called.
    """
    for name, column in columns.items():
        label = f"{name}, site {density.sites[column]}"
        axes.plot(density.energies, density.values[:, column], label=label)
    axes.set_xlabel("E (energy)")
    axes.set_ylabel(DENSITY)
    axes.set_ylim(bottom=-0.03 * axes.get_ylim()[1])  # a curve of zeros is seen
    axes.legend(fontsize="small")


def _shown_rows(density: "DensityMap", energies: Sequence[float] | None) -> list[int]:
    """Return the rows of the map at the energies to show, each once."""
    if energies is None:
        low, high = density.energies[[0, -1]]
        energies = low + (high - low) * np.array([0.25, 0.5, 0.75])
    distances = np.abs(density.energies[:, None] - np.asarray(energies))
    return list(dict.fromkeys(distances.argmin(axis=0).tolist()))


def _cut_columns(experiment: "MapExperiment", density: "DensityMap") -> dict[str, int]:
    """Return the columns nearest to the center, next to it, and far away.

    Far away is in the middle of all distances: beyond it the ends are near.
    """
    positions = experiment.positions
    distances = positions[density.sites] - positions[experiment.center]
    order = np.argsort(np.linalg.norm(distances, axis=1), kind="stable")
    names = (experiment.center_name, "next to it", "far away")
    places = (0, 1, len(order) // 2)[: len(order)]
    return {name: int(order[k]) for name, k in zip(names, places, strict=False)}


def _plane(experiment: "MapExperiment", density: "DensityMap") -> tuple[Any, Any]:
    """Return positions and columns of the sites at the height of the center."""
    positions = experiment.positions[density.sites]
    heights = positions[:, 2:] - experiment.positions[experiment.center, 2:]
    chosen = np.flatnonzero(np.all(np.abs(heights) < 1e-6, axis=1))
    if not chosen.size:  # no wanted site lies there
        chosen = np.arange(len(positions))
    return positions[chosen, :2], chosen


def _have_gaps(density: "DensityMap") -> bool:
    return bool(np.any(np.diff(density.sites) != 1))
