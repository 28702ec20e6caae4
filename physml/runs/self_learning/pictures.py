"""Pictures of self-learning Monte Carlo, drawn without a screen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, ScalarFormatter

from physml.runs.pictures import save_figure

Rows = Sequence[Mapping[str, Any]]  # of result.json, one for each model

SHOWN_SWEEPS = 200  # of a time series
FEWEST_FOR_A_POWER_LAW = 3
OBSERVABLES = {
    "free_energy_over_temperature": "F/T",
    "magnetization": r"$|\mathbf{m}|$",
    "staggered_magnetization": r"staggered $|\mathbf{m}|$",
}


def draw_scaling(path: Path, models: Rows) -> None:
    """Draw acceptance and loss against layers and against parameters.

    Parameters
    ----------
    path
        The png file to write.
    models
        Rows of the models, from the fewest layers up.
    """
    figure = Figure(figsize=(10, 7), layout="constrained")
    panels = figure.subplots(2, 2, sharey="row")
    for column, name in enumerate(("layers", "num_parameters")):
        where = [row[name] for row in models]
        plot_acceptance(panels[0, column], where, models)
        plot_loss(panels[1, column], where, models)
    plot_power_law(panels[1, 1], models)
    for axes in panels[:, 0]:
        axes.set_xlabel("layers (0: the linear model)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in panels[:, 1]:
        axes.set_xscale("log")
        axes.set_xlabel("parameters")
        numbers = [row["num_parameters"] for row in models]
        axes.set_xticks(numbers, [str(number) for number in numbers])
        axes.minorticks_off()
    for axes in panels.ravel():
        axes.grid(alpha=0.3)
    panels[0, 0].set_ylabel("acceptance of a proposal")
    panels[1, 0].set_ylabel("mean squared error of F/T")
    panels[0, 0].legend(loc="lower right")
    panels[1, 1].legend()
    panels[1, 0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panels[1, 0].yaxis.set_major_formatter(ScalarFormatter())
    panels[1, 0].minorticks_off()
    save_figure(figure, path)


def plot_acceptance(axes: Axes, where: Sequence[float], models: Rows) -> None:
    """Draw measured and predicted acceptances."""
    axes.errorbar(
        where,
        [row["measured_acceptance"] for row in models],
        [row["acceptance_error"] for row in models],
        fmt="o-",
        capsize=3,
        label="measured",
    )
    predicted = [row["predicted_acceptance"] for row in models]
    label = r"erfc($\sqrt{\mathrm{Var}}$ / 2), test data"
    axes.plot(where, predicted, "x--", color="0.4", label=label)
    axes.set_ylim(0, 1)


def plot_loss(axes: Axes, where: Sequence[float], models: Rows) -> None:
    """Draw the mean squared errors of training and test data."""
    for name, style in (("test", "o-"), ("train", "s--")):
        values = [row[f"{name}_mse"] for row in models]
        label = "test data" if name == "test" else "training data"
        axes.semilogy(where, values, style, fillstyle="none", label=label)


def plot_power_law(axes: Axes, models: Rows) -> None:
    """Draw the power of the number of parameters that the test error follows best."""
    if len(models) < FEWEST_FOR_A_POWER_LAW:
        return
    numbers = np.array([row["num_parameters"] for row in models], float)
    errors = np.array([row["test_mse"] for row in models])
    exponent, offset = np.polyfit(np.log(numbers), np.log(errors), 1)
    curve = np.exp(offset) * numbers**exponent
    label = f"fit: parameters$^{{{exponent:.2f}}}$"
    axes.plot(numbers, curve, ":", color="0.2", label=label)


def draw_free_energies(
    path: Path, exact: np.ndarray, predicted: Mapping[str, np.ndarray]
) -> None:
    """Draw F/T of the models against that of the exact one, on test data.

    Parameters
    ----------
    path
        The png file to write.
    exact
        F/T, shape (samples,).
    predicted
        The same of each model, by its name.
    """
    columns = min(len(predicted), 3)
    rows = -(-len(predicted) // columns)
    size = (3.4 * columns + 0.6, 3.4 * rows + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    ends = [min(exact), max(exact)]
    for axes, (name, values) in zip(panels.ravel(), predicted.items(), strict=False):
        axes.plot(exact, values, ".", markersize=3)
        axes.plot(ends, ends, color="0.3", linewidth=0.8)
        error = np.mean((values - exact) ** 2)
        axes.set_title(f"{name}: MSE {error:.3g}", fontsize="medium")
        axes.set_aspect("equal", adjustable="box")
    for column in range(columns):
        lowest = panels[(len(predicted) - 1 - column) // columns, column]
        lowest.tick_params(labelbottom=True)
    for axes in panels.ravel()[len(predicted) :]:
        axes.set_axis_off()
    figure.supxlabel("F/T of the exact model, test data")
    figure.supylabel("F/T of the effective model")
    save_figure(figure, path)


def draw_observables(path: Path, methods: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw what all methods measure, with error bars.

    Parameters
    ----------
    path
        The png file to write.
    methods
        Rows of result.json by the names of the methods, the reference first.
    """
    names = list(methods)
    first = methods[names[0]]
    shown = {key: label for key, label in OBSERVABLES.items() if first[key] is not None}
    figure = Figure(
        figsize=(3.4 * len(shown) + 1.2, 1.2 + 0.4 * len(names)), layout="constrained"
    )
    panels = figure.subplots(1, len(shown), sharey=True)
    for axes, (key, label) in zip(panels, shown.items(), strict=True):
        middle, error = first[key], first[f"{key}_error"]
        band = (middle - error, middle + error)
        axes.axvspan(*band, color="0.85", label=f"{names[0]}, with its error")
        for place, row in enumerate(methods.values()):
            error = row[f"{key}_error"]
            axes.errorbar(row[key], place, xerr=error, fmt="o", capsize=3)
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.ticklabel_format(axis="x", useOffset=False)
        axes.grid(alpha=0.3)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", frameon=False)
    save_figure(figure, path)


def draw_time_series(
    path: Path,
    series: Mapping[str, np.ndarray],
    correlations: Mapping[str, np.ndarray],
    num_sweeps: Mapping[str, int],
) -> None:
    """Draw F/T along one chain of each method, and its autocorrelation.

    Parameters
    ----------
    path
        The png file to write.
    series
        F/T of one chain, by the name of the method, shape (records,).
    correlations
        The autocorrelation at lags 0, 1, ... records, by the name of the method.
    num_sweeps
        From one record to the next, where it is not 1, by the name of the method.
    """
    names = list(series)
    figure = Figure(figsize=(11, 1.0 + 1.3 * len(names)), layout="constrained")
    grid = figure.add_gridspec(len(names), 2, width_ratios=(3, 2))
    right = figure.add_subplot(grid[:, 1])
    first: Axes | None = None
    for row, name in enumerate(names):
        axes = figure.add_subplot(grid[row, 0], sharex=first, sharey=first)
        first = axes if first is None else first
        spacing = num_sweeps.get(name, 1)
        values = series[name][: SHOWN_SWEEPS // spacing]
        sweeps = spacing * np.arange(1, len(values) + 1)
        axes.plot(sweeps, values, color=f"C{row}", linewidth=0.8)
        axes.set_title(name, fontsize="small", loc="left")
        axes.set_ylabel("F/T")
        axes.tick_params(labelbottom=row == len(names) - 1)
        lags = spacing * np.arange(len(correlations[name]))
        right.plot(lags, correlations[name], ".-", color=f"C{row}", label=name)
    axes.set_xlabel("sweeps or proposals")
    right.axhline(0, color="0.5", linewidth=0.8)
    right.set_xlabel("lag (sweeps or proposals)")
    right.set_ylabel("autocorrelation of F/T")
    right.legend(fontsize="small")
    save_figure(figure, path)
