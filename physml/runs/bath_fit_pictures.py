"""Pictures of a fitted bath: the hybridization and its error, the spectrum."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from physml.dynamical_mean_field.bath import Bath
from physml.runs.bath_fit_problem import BathTarget
from physml.runs.pictures import save_figure

POINTS = 1001  # of the real axis
BROADENING = 0.02  # of the spectrum, a share of its width


def draw_hybridization(path: Path, target: BathTarget, found: np.ndarray) -> None:
    """Draw the hybridization with its fit, and the error of each frequency.

    Parameters
    ----------
    path
        The png file to write.
    target
        What was fitted.
    found
        The hybridization of the bath at the same frequencies.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    w, given = target.frequencies, target.hybridization
    for part, color in (("real", "C1"), ("imag", "C0")):
        name = "Re" if part == "real" else "Im"
        marks, line = getattr(given, part), getattr(found, part)
        left.plot(w, marks, "o", color=color, markersize=3.5, label=f"{name}, given")
        left.plot(w, line, "-", color=color, linewidth=1, label=f"{name}, bath")
    left.set_ylabel("Delta(iw) (energy)")
    left.legend()
    errors = np.abs(given - found)
    right.semilogy(w, np.where(errors > 0, errors, np.nan), "o-", markersize=3)
    right.set_ylabel("|Delta - Delta of the bath| (energy)")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlabel("Matsubara frequency w (energy)")
    left.set_title("hybridization")
    right.set_title("error of the fit")
    save_figure(figure, path)


def draw_spectrum(path: Path, target: BathTarget, bath: Bath) -> None:
    """Draw levels as sticks, and -Im Delta(E + i eta) / pi beside the one hidden.

    Parameters
    ----------
    path
        The png file to write.
    target
        What was fitted.
    bath
        Of one orbital.
    """
    levels = np.asarray(bath.levels)
    center, half = (levels.max() + levels.min()) / 2, np.ptp(levels) / 2
    half = 1.3 * half if half > 0 else 1.0
    energies = np.linspace(center - half, center + half, POINTS)
    broadening = 2 * half * BROADENING
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    z = jnp.asarray(energies + 1j * broadening)
    if target.hidden is not None:
        hidden = -np.asarray(target.hidden.hybridization(z)).imag / np.pi
        axes.plot(energies, hidden, color="0.6", linewidth=4, label="hidden bath")
    found = -np.asarray(bath.hybridization(z)).imag / np.pi
    label = f"bath, broadened by {broadening:.2g}"
    axes.plot(energies, found, color="C0", label=label)
    axes.set_xlabel("energy E")
    axes.set_ylabel("-Im Delta(E + i eta) / pi (energy)")
    axes.set_ylim(0, 1.25 * found.max())  # room for the legend
    sticks = axes.twinx()
    sticks.vlines(levels, 0, np.asarray(bath.residues), color="C3", linewidth=2)
    sticks.set_ylim(0, 1.25 * float(bath.residues.max()))
    sticks.set_ylabel("V^2 of each level (energy^2)", color="C3")
    axes.legend(loc="upper center")
    axes.set_title("spectrum of the bath")
    save_figure(figure, path)
