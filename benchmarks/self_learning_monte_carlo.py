"""Self-learning Monte Carlo of double exchange: models, exactness, other sizes and T.

python benchmarks/self_learning_monte_carlo.py models --out RUNS
python benchmarks/self_learning_monte_carlo.py means --out RUNS
python benchmarks/self_learning_monte_carlo.py models --out RUNS --read

Each study is a list of runs of the experiment, in RUNS/NAME: what is there already is
read, what was interrupted goes on. `models` makes the data and the models that other
studies take. Square lattices, t = J = 1, mu = 0; 6 x 6 sites and T = 0.05 if nothing
else is said. No time is measured here, see self_learning_costs.py.
"""

import json
import math
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from reporting import markdown_table, report

SCRIPT = Path(__file__).parents[1] / "experiments" / "self_learning_monte_carlo.py"
Study = Literal["models", "rounds", "means", "sizes", "temperatures"]
Rows = list[dict[str, Any]]  # of one run: exact Metropolis, then its models

DATA = (
    "--shells 3 --layers 0 --training-samples 3000 --test-samples 1000 --chains 8 "
    "--interval 3 --burn-in 200 --own-samples 800 --sweeps 16 --proposals 16"
)
KNOWN = "--data {out}/data/data.npz --shells"
LEARN = "--own-samples 800 --sweeps 16 --proposals 600 " + KNOWN
ONE_ROUND = "--own-samples 0 --sweeps 16 --proposals 600 " + KNOWN
BEST = "--shells 9 --model {out}/convolution_9_shells/model_1.npz"
SMALL = "--training-samples 80 --test-samples 80 --chains 4 --size"
ONE_LAYER = "--kind convolution --layers 1 --sweeps 300 --proposals 600"
HALF = "--training-samples 1600 --test-samples 400 --starts 2"
STUDIES: dict[Study, dict[str, str]] = {
    "models": {
        "linear, 3 shells": f"{LEARN} 3 --layers 0",
        "linear, 9 shells": f"{LEARN} 9 --layers 0",
        "convolution, 9 shells": f"{LEARN} 9 --kind convolution --layer-shells 9",
        "biased attention, 9 shells": f"{LEARN} 9 --kind biased_attention --layers 1",
        "attention, 3 shells": f"{LEARN} 3 --kind attention --layers 4",
        "convolution and attention, 9 shells": f"{LEARN} 9 --layer-shells 9 "
        "--kind convolution_and_attention",
        "convolution, 3 shells": f"{LEARN} 3 --kind convolution --layer-shells 9",
        "biased attention, 3 shells": f"{LEARN} 3 --kind biased_attention --layers 1",
        "attention, 9 shells": f"{LEARN} 9 --kind attention --layers 1",
    },
    "rounds": {
        "linear, 3 shells, one round": f"{ONE_ROUND} 3 --layers 0",
        "linear, 9 shells, one round": f"{ONE_ROUND} 9 --layers 0",
        "convolution, 9 shells, one round": f"{ONE_ROUND} 9 --kind convolution "
        "--layer-shells 9 --layers 1",
    },
    "means": {
        "model": f"{BEST} --data {{out}}/data/data.npz --sweeps 16 --proposals 25000",
        "model again": f"{BEST} --data {{out}}/data/data.npz --sweeps 16 "
        "--proposals 30000 --seed 1",
    },
    "sizes": {
        "4 x 4": f"--size 4 --shells 5 --layer-shells 5 {ONE_LAYER} {HALF}",
        "6 x 6": f"{BEST} {SMALL} 6 --sweeps 300 --proposals 600",
        "8 x 8": f"{BEST} {SMALL} 8 --sweeps 200 --proposals 600",
        "10 x 10": f"{BEST} {SMALL} 10 --sweeps 100 --proposals 400",
    },
    "temperatures": {
        f"T = {t}": f"--temperature {t} --shells 9 --layer-shells 9 {HALF} {ONE_LAYER}"
        for t in (0.03, 0.1, 0.2)
    },
}
PUBLISHED = "attention, 3 shells"


@dataclass(frozen=True)
class Options:
    """Run a study, and write its tables."""

    study: tyro.conf.Positional[Study]
    """models: kinds of effective models; rounds: without a second round of training;
    means: long chains, for self_learning_means.py; sizes, temperatures: others than
    6 x 6, 0.05."""
    out: Path = Path("runs/self_learning_monte_carlo")
    """Folder for the runs and the tables."""
    read: bool = False
    """Make tables and pictures of the runs that are there, and run nothing."""


def folder_of(out: Path, name: str) -> Path:
    """Return where a run is."""
    return out / name.replace(",", "").replace(" ", "_")


def run(out: Path, name: str, arguments: str) -> None:
    """Run the experiment on one thread, or what is left of it."""
    folder = folder_of(out, name)
    if (folder / "result.json").exists():
        return
    words = ["--threads", "1", *arguments.format(out=out).split(), "--out", str(folder)]
    words += ["--resume"] if (folder / "checkpoint").exists() else []
    print(SCRIPT.name, *words, flush=True)
    subprocess.run([sys.executable, str(SCRIPT), *words], check=True)


def read(out: Path, names: Iterable[str]) -> dict[str, Rows]:
    """Return the rows of the runs that are there."""
    found = {}
    for name in names:
        path = folder_of(out, name) / "result.json"
        if path.exists():
            result = json.loads(path.read_text())
            found[name] = [result["metropolis"], *result["models"]]
    return found


def own_models(rows: Rows) -> Rows:
    """Return the models of a run without the linear one that others begin with."""
    return [row for row in rows[1:] if row["layers"] or len(rows) == 2]


def table_of_models(runs: dict[str, Rows]) -> str:
    """Return errors and acceptances; the MSE in brackets is that of the first round."""
    headings = ["run", "layers", "parameters", "train MSE", "test MSE", "first round"]
    headings += ["predicted", "acceptance", "tau of F/T"]
    lines = [
        (
            name,
            row["layers"],
            row["num_parameters"],
            f"{row['train_mse']:.3g}",
            f"{row['test_mse']:.3g}",
            f"{row['first_round_test_mse']:.3g}",
            f"{row['predicted_acceptance']:.3f}",
            with_error(row["measured_acceptance"], row["acceptance_error"]),
            f"{row['autocorrelation_time']:.2f}",
        )
        for name, rows in runs.items()
        for row in own_models(rows)
    ]
    return markdown_table(headings, lines)


def table_of_means(runs: dict[str, Rows]) -> str:
    """Return what all chains of more than a few steps have measured."""
    headings = ["run", "layers", "steps", "F/T", "m", "staggered m", "tau of F/T"]
    headings += ["largest tau"]
    names = ("free_energy_over_temperature", "magnetization", "staggered_magnetization")
    lines = [
        (
            name,
            row.get("layers", "exact"),
            row["num_chains"] * row["num_steps"],
            *(with_error(row[key], row[f"{key}_error"]) for key in names),
            f"{row['autocorrelation_time']:.2f}",
            f"{row['slowest_autocorrelation_time']:.2f}",
        )
        for name, rows in runs.items()
        for row in [rows[0], *own_models(rows)]
        if row["num_steps"] > 16
    ]
    return markdown_table(headings, lines)


def with_error(value: float, error: float) -> str:
    """Return "0.533(4)": the error in units of the last digit, two of them below 20."""
    if not 0 < error < math.inf:
        return f"{value:.4g}"
    digits = -math.floor(math.log10(error / 1.95))
    return f"{value:.{digits}f}({round(error * 10**digits)})"


def draw(path: Path, runs: dict[str, Rows]) -> None:
    """Draw loss against parameters, and acceptance against loss."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (name, rows) in enumerate(runs.items()):
        own = own_models(rows)
        style = {"label": name, "color": f"C{number}", "marker": "os^v"[number % 4]}
        sizes = [row["num_parameters"] for row in own]
        losses = [row["test_mse"] for row in own]
        left.loglog(sizes, losses, **style)
        right.errorbar(
            losses,
            [row["measured_acceptance"] for row in own],
            [row["acceptance_error"] for row in own],
            linestyle="none",
            **style,
        )
    draw_power_law(left, runs.get(PUBLISHED, []))
    errors = np.geomspace(0.01, 8)
    curve = [math.erfc(math.sqrt(x) / 2) for x in errors]
    (line,) = right.semilogx(errors, curve, color="0.4")
    right.legend([line], [r"erfc($\sqrt{\mathrm{MSE}}$ / 2)"])
    left.set(xlabel="parameters", ylabel="MSE of F/T, test data")
    right.set(xlabel="MSE of F/T, test data", ylabel="acceptance", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3, which="both")
    left.legend(fontsize="x-small", loc="lower left")
    figure.savefig(path, dpi=120)


def draw_power_law(axes: Axes, rows: Rows) -> None:
    """Draw the power of the number of parameters that fits the published model best."""
    models = rows[1:]
    if len(models) < 3:
        return
    sizes = np.array([row["num_parameters"] for row in models], float)
    losses = np.array([row["test_mse"] for row in models])
    exponent, offset = np.polyfit(np.log(sizes), np.log(losses), 1)
    label = f"{PUBLISHED}: parameters$^{{{exponent:.2f}}}$"
    axes.loglog(sizes, np.exp(offset) * sizes**exponent, ":", color="0.2", label=label)


def main(options: Options) -> None:
    """Run a study."""
    studies = STUDIES[options.study]
    if not options.read:
        run(options.out, "data", DATA)
        for name, arguments in studies.items():
            run(options.out, name, arguments)
    runs = read(options.out, studies)
    if options.study == "models" and runs:
        draw(options.out / "models.png", runs)
    tables = {"Models": table_of_models(runs), "Means": table_of_means(runs)}
    report(options.out, options.study, tables, runs)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
