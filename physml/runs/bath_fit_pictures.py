"""Pictures of a fitted bath: the hybridization and its error, the spectrum."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from physml.dynamical_mean_field.bath import Bath
from physml.runs.bath_fit_target import BathTarget
from physml.runs.pictures import save_figure

POINTS = 1001  # of the real axis
BROADENING = 0.02  # of the spectrum, a share of its width
SHOWN = 6  # elements of a matrix in one panel, the largest
UNSEEN = 1e-6  # a share of the largest |V|^2: such sites do not widen the spectrum

POINT = dict(marker="o", markersize=3.5, linestyle="")
STYLES: dict[str, dict[str, Any]] = {  # of the parts of an element
    "Im, given": POINT,
    "Im, bath": dict(linewidth=1),
    "Re, given": POINT | dict(fillstyle="none"),
    "Re, bath": dict(linewidth=1, linestyle="--"),
}

Element = tuple[int, int]


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
    w = target.frequencies
    given, found = _as_matrices(target.hybridization), _as_matrices(found)
    kinds = _shown_elements(found)
    figure = Figure(figsize=(5.5 * len(kinds) + 4.5, 4), layout="constrained")
    *panels, last = figure.subplots(1, len(kinds) + 1, sharex=True)
    for axes, (title, elements) in zip(panels, kinds.items(), strict=True):
        _draw_elements(axes, w, given, found, elements)
        axes.set_title(title)
    errors = np.abs(given - found).max(axis=(1, 2))
    last.semilogy(w, np.where(errors > 0, errors, np.nan), "o-", markersize=3)
    last.set_ylabel(r"largest $|\Delta - \Delta_\mathrm{bath}|$ (energy)")
    last.set_title("error of the fit")
    for axes in (*panels, last):
        axes.set_xscale("log")
        axes.set_xlabel(r"Matsubara frequency $\omega_n$ (energy)")
        axes.grid(alpha=0.3)
    save_figure(figure, path)


def _as_matrices(hybridization: np.ndarray) -> np.ndarray:
    return hybridization.reshape(
        len(hybridization), *(hybridization.shape[1:] or (1, 1))
    )


def _shown_elements(matrices: np.ndarray) -> dict[str, list[Element]]:
    """Return the largest elements on the diagonal and beside it, by titles."""
    n = matrices.shape[1]
    if n == 1:
        return {"hybridization": [(0, 0)]}
    rounding = 1e-10 * np.abs(matrices).max()
    is_symmetric = np.allclose(matrices, matrices.mT, rtol=0, atol=rounding)
    elements = list(np.ndindex(n, n))
    beside = [(a, b) for a, b in elements if a < b or (a > b and not is_symmetric)]
    kinds = {"diagonal": [(a, a) for a in range(n)], "off-diagonal": beside}
    shown = {}
    for title, of_kind in kinds.items():
        sizes = [np.abs(matrices[:, a, b]).max() for a, b in of_kind]
        largest = sorted(np.argsort(sizes)[::-1][:SHOWN])
        left_out = "" if len(of_kind) <= SHOWN else f", the {SHOWN} largest"
        shown[f"{title} elements{left_out}"] = [of_kind[i] for i in largest]
    return shown


def _draw_elements(
    axes: Axes,
    w: np.ndarray,
    given: np.ndarray,
    found: np.ndarray,
    elements: list[Element],
) -> None:
    for i, (a, b) in enumerate(elements):
        marks, lines = given[:, a, b], found[:, a, b]
        parts = (marks.imag, lines.imag, marks.real, lines.real)
        for values, style in zip(parts, STYLES.values(), strict=True):
            axes.plot(w, values, color=f"C{i}", **style)
        if given.shape[1] > 1:
            label = rf"$\Delta_{{{a}{b}}}$"
            axes.plot([], [], color=f"C{i}", linewidth=3, label=label)
    for label, style in STYLES.items():
        axes.plot([], [], color="0.2", label=label, **style)
    axes.set_ylabel(r"$\Delta(i \omega_n)$ (energy)")
    place: dict[str, Any] = dict(loc="best")
    if len(elements) > 1:  # beside the panel, where it hides nothing
        place = dict(loc="upper left", bbox_to_anchor=(1, 1))
    axes.legend(fontsize="small", **place)


def draw_spectrum(path: Path, target: BathTarget, bath: Bath) -> None:
    r"""Draw levels as sticks, and -Im Delta(E + i eta) / pi beside the one fitted.

    Of several orbitals the diagonal elements; sticks of one level stand on each other.

    Parameters
    ----------
    path
        The png file to write.
    target
        What was fitted.
    bath
        What was found.
    """
    levels = np.asarray(bath.levels)
    strengths = np.abs(np.asarray(bath.couplings).reshape(levels.size, -1)) ** 2
    energies, broadening = _energies(levels, strengths.sum(axis=1), target)
    z = jnp.asarray(energies + 1j * broadening)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    densities = _densities(bath.hybridization(z))
    known = densities[:, :0]
    if target.function is not None:
        known = _densities(target.function(z))
    for orbital, line in enumerate(known.T):
        label = "" if orbital else "given"
        axes.plot(energies, line, color="0.7", linewidth=4, label=label)
    for orbital, line in enumerate(densities.T):
        label = "bath" if densities.shape[1] == 1 else f"bath, orbital {orbital}"
        axes.plot(energies, line, color=f"C{orbital}", label=label)
    _draw_sticks(axes.twinx(), levels, strengths)
    axes.set_xlim(energies[0], energies[-1])
    axes.set_ylim(0, _with_room(np.hstack([known, densities]).max()))
    axes.set_xlabel("energy E")
    axes.set_ylabel(r"$-\mathrm{Im}\,\Delta(E + i \eta) / \pi$ (energy)")
    axes.legend(loc="upper center", ncols=3)
    axes.set_title(rf"spectrum of the bath, broadening $\eta$ = {broadening:.2g}")
    save_figure(figure, path)


def _draw_sticks(axes: Axes, levels: np.ndarray, strengths: np.ndarray) -> None:
    """Draw |V|^2 of each level, orbital upon orbital."""
    tops = np.cumsum(strengths, axis=1)
    for orbital, (top, length) in enumerate(zip(tops.T, strengths.T, strict=True)):
        color = f"C{orbital}"
        axes.vlines(levels, top - length, top, color=color, linewidth=3)
    axes.set_ylabel(r"sticks: $|V|^2$ of each level (energy$^2$)")
    axes.set_ylim(0, _with_room(tops.max()))


def _energies(
    levels: np.ndarray, strengths: np.ndarray, target: BathTarget
) -> tuple[np.ndarray, float]:
    """Return energies about the levels that couple, and a broadening for them."""
    shown = levels[strengths >= UNSEEN * strengths.max()]
    if target.function is not None:  # those that are known lie in [-1, 1]
        shown = np.append(shown, [-1, 1])
    center, half = (shown.max() + shown.min()) / 2, np.ptp(shown) / 2
    half = max(1.2 * half, target.frequencies[0], 1e-3 * abs(center))
    return np.linspace(center - half, center + half, POINTS), 2 * half * BROADENING


def _densities(hybridization: Any) -> np.ndarray:
    """Return -Im Delta_aa / pi, shape (num_energies, num_orbitals)."""
    matrices = _as_matrices(np.asarray(hybridization))
    return -np.diagonal(matrices, axis1=1, axis2=2).imag / np.pi


def _with_room(top: float) -> float:
    """Return an upper end that leaves room for the legend."""
    return 1.25 * top or 1.0
