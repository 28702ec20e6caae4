"""Time a training step on 1 and 2 ranks: strong and weak scaling, ranks times threads.

python benchmarks/scaling.py --quick
python benchmarks/scaling.py --out TABLES --figure benchmarks/images

A step is one of Adam in the compiled loop of `physml.training.minimize`, with a record
every tenth step: of the harmonic oscillator (trained 1-32-1 tanh network, stencil of
order 8) and of the smearing fit (64 sites, all samples in each step). Each set-up runs
in processes of its own, started by mpirun; set-ups follow one another within a round.
The share of communication is the time of the sums and shifts that a step makes, of the
same sizes, alone in a compiled loop, over that of the step.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import scipy.optimize
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from reporting import markdown_table, report, spread

from physml.hamiltonians.potentials import Harmonic, default_grid
from physml.hamiltonians.smeared_heisenberg import random_smeared_heisenberg
from physml.parallel import Communicator, choose_communicator, limit_threads
from physml.parallel.report import time_transfers
from physml.precision import enable_x64
from physml.runs.fit_problem import FitConfiguration, FitExperiment, fit_problem
from physml.runs.levels import LevelsConfiguration, LevelsExperiment, levels_problem
from physml.training import StopRules, minimize, optimizer_stages

SETUPS = ((1, 1), (2, 1), (1, 2))  # ranks, threads of each
ALWAYS = StopRules(patience=10**9)  # every step is run
WORKER = "--worker"
# What a step adds up: two inner products, a change, the gradient; and what neighbors
# exchange: the reach of the stencil in both directions, forward and backward.
SUMS = {"oscillator": (2, 1, 97), "fit": (1, 8)}
SHIFTS = {"oscillator": (4, 4, 4, 4), "fit": ()}
COUNTS = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)  # of parameters


@dataclass(frozen=True)
class Options:
    """Time a training step on ranks and threads."""

    quick: bool = False
    """Two small sizes, short bursts."""
    out: Path | None = None
    """Folder for scaling.md and scaling.json."""
    figure: Path | None = None
    """Folder for scaling.png."""
    points: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    """Grid points of the oscillator."""
    samples: tuple[int, ...] = (100, 1_000, 10_000)
    """Samples of the fit."""
    rounds: int = 3
    """How often each set-up is started."""
    seconds: float = 1.0
    """Of each burst."""


Times = dict[tuple[str, int, int, int], list[dict[str, float]]]


def main(options: Options) -> None:
    """Start the workers, print the table, draw the figure."""
    points, samples, rounds, seconds = (
        ((1_000, 10_000), (100,), 1, 0.2)
        if options.quick
        else (options.points, options.samples, options.rounds, options.seconds)
    )
    times: Times = {}
    for _ in range(rounds):
        for job in _jobs(points, samples):
            times.setdefault(job, []).append(_start(*job, seconds))
    data = [
        {"problem": key[0], "size": key[1], "ranks": key[2], "threads": key[3], **row}
        for key, rows in times.items()
        for row in rows
    ]
    transfers = [_start("transfers", 0, 2, 1, 0.0) for _ in range(rounds)]
    data += [{"problem": "transfers", **row} for row in transfers]
    costs = _fitted(times, points, transfers)
    tables = {
        "Strong scaling": _strong(times, points, samples),
        "Weak scaling": _weak(times, points, samples),
        "Sums by their length, two ranks": _sums_by_length(transfers, costs),
        "Predicted efficiency of the oscillator": _predicted(costs),
    }
    report(options.out, "scaling", tables, data)
    if options.figure is not None:
        _draw(times, points, samples, transfers, costs, options.figure / "scaling.png")


def _jobs(
    points: tuple[int, ...], samples: tuple[int, ...]
) -> list[tuple[str, int, int, int]]:
    """Return problem, size, ranks, threads; for weak scaling two ranks of twice it."""
    sizes = _sizes(points, samples)
    strong = [(*size, *setup) for size in sizes for setup in SETUPS]
    weak = [(name, 2 * size, 2, 1) for name, size in sizes]
    return list(dict.fromkeys(strong + weak))


def _start(
    name: str, size: int, ranks: int, threads: int, seconds: float
) -> dict[str, float]:
    folder = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    launcher = shutil.which("mpirun", path=folder)
    if launcher is None:
        raise SystemExit("Expected mpirun: install the extra 'mpi' (docs/clusters.md).")
    arguments = [name, size, threads, seconds]
    done = subprocess.run(
        [launcher, "--bind-to", "none", "-np", str(ranks)]
        + [sys.executable, __file__, WORKER]  # which binds itself: limit_threads
        + [str(argument) for argument in arguments],
        env=os.environ
        | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def work(name: str, size: int, threads: int, seconds: float) -> None:
    """Time a step on this rank; the root prints what it found."""
    limit_threads(threads)
    enable_x64()
    communicator = choose_communicator("mpi")
    if name == "transfers":
        if communicator.is_root:
            print(json.dumps(_time_lengths(communicator)))
        else:
            _time_lengths(communicator)
        return
    problem = {"oscillator": _oscillator, "fit": _fit}[name]
    run = problem(communicator, size)
    run(10)  # compiles
    count = 20
    while (elapsed := communicator.broadcast_object(run(count))) < seconds:
        count = int(count * min(10.0, 1.2 * seconds / elapsed)) + 10
    transfers = [("sum", width) for width in SUMS[name]]
    transfers += [("shift", width) for width in SHIFTS[name]]
    total = sum(_time_one(communicator, *transfer, 500) for transfer in transfers)
    if communicator.is_root:
        print(json.dumps({"step": elapsed / count, "communication": total}))


def _time_one(communicator: Communicator, kind: Any, width: int, repeats: int) -> float:
    return statistics.median(time_transfers(communicator, kind, width, repeats))


def _time_lengths(communicator: Communicator) -> dict[str, float]:
    """Return the seconds of sums of all lengths, and of a short shift."""
    repeats = {count: max(20, min(1000, 10_000_000 // count)) for count in COUNTS}
    times = {
        str(count): _time_one(communicator, "sum", count, repeats[count])
        for count in COUNTS
    }
    return times | {"shift": _time_one(communicator, "shift", 4, 1000)}


def _oscillator(communicator: Communicator, size: int) -> Callable[[int], float]:
    potential = Harmonic()
    configuration = LevelsConfiguration(
        points=size, levels=1, hidden=(32,), output_layer="trained", optimizer="adam"
    )
    experiment = LevelsExperiment(
        "scaling", "scaling", potential, default_grid(potential, size), "gaussian"
    )
    problem = levels_problem(configuration, experiment, communicator)
    energy, residual = problem.objectives(problem.no_lower_levels())
    start = problem.initial_parameters(0)
    return partial(_timed, communicator, energy, start, {"measure": residual})


def _fit(communicator: Communicator, size: int) -> Callable[[int], float]:
    initialize = partial(random_smeared_heisenberg, neighbors=(2, 3, 2))
    hidden = initialize(jax.random.key(1))
    experiment = FitExperiment("scaling", "scaling", hidden, initialize)
    configuration = FitConfiguration(samples=size)
    problem = fit_problem(configuration, experiment, communicator)
    start = initialize(jax.random.key(2))
    return partial(_timed, communicator, problem.regression.loss(), start, {})


def _timed(
    communicator: Communicator, loss: Any, start: Any, more: Any, num_steps: int
) -> float:
    """Return the seconds of so many steps, compilation of the first call included."""
    (stage,) = optimizer_stages("adam", num_steps=10**9, learning_rate=1e-6)
    stage = type(stage)(stage.name, stage.optimizer, num_steps)
    communicator.barrier()
    begin = time.perf_counter()
    minimize(
        loss, start, (stage,), stop_rules=ALWAYS, communicator=communicator, **more
    )
    return time.perf_counter() - begin


def _strong(times: Times, points: tuple[int, ...], samples: tuple[int, ...]) -> str:
    headings = ["Problem, size"]
    headings += ["us a step, 1 x 1", "2 ranks: speed", "2 threads: speed"]
    rows = []
    for name, size in _sizes(points, samples):
        base, two, threads = (
            _steps(times, name, size, *setup) for setup in ((1, 1), (2, 1), (1, 2))
        )
        share = [row["communication"] / row["step"] for row in times[name, size, 2, 1]]
        rows.append(
            [
                f"{name}, {size:,}",
                spread(1e6 * base),
                spread(base / two),
                spread(base / threads),
                f"{100 * statistics.median(share):.1f} %",
            ]
        )
    return markdown_table([*headings, "communication, 2 ranks"], rows)


def _weak(times: Times, points: tuple[int, ...], samples: tuple[int, ...]) -> str:
    rows = [
        [
            f"{name}, {size:,}",
            spread(
                _steps(times, name, size, 1, 1) / _steps(times, name, 2 * size, 2, 1)
            ),
        ]
        for name, size in _sizes(points, samples)
    ]
    return markdown_table(["Problem, size of a rank", "efficiency, 2 ranks"], rows)


@dataclass(frozen=True)
class Costs:
    """Seconds of the parts of a step, fitted to what was measured here."""

    start: float  # of a step without points
    point: float  # of each point
    latency: float  # of a sum over two ranks
    byte: float  # of each byte in a sum
    shift: float  # of a short message to a neighbor

    def sum(self, num_values: int, ranks: int = 2) -> float:
        """Return the time of a sum: a tree of latencies, and the bytes."""
        return self.latency * np.ceil(np.log2(ranks)) + 8 * self.byte * num_values

    def step(self, num_points: int, ranks: int) -> float:
        """Return the time of a step of the oscillator."""
        compute = self.start + self.point * num_points / ranks
        if ranks == 1:
            return compute
        sums = sum(self.sum(width, ranks) for width in SUMS["oscillator"])
        return compute + sums + len(SHIFTS["oscillator"]) * self.shift


def _fitted(
    times: Times, points: tuple[int, ...], transfers: list[dict[str, float]]
) -> Costs:
    small, large = (
        statistics.median(_steps(times, "oscillator", size, 1, 1))
        for size in (min(points), max(points))
    )
    point = large / max(points)
    measured = _medians(transfers)
    counts = np.array(COUNTS)
    seconds = np.array([measured[str(count)] for count in COUNTS])
    # least squares of the relative errors of latency + 8 byte count
    matrix = np.stack([np.ones(len(counts)), 8 * counts], axis=1) / seconds[:, None]
    (latency, byte), _ = scipy.optimize.nnls(matrix, np.ones(len(counts)))
    start = max(small - point * min(points), 0.0)
    return Costs(start, point, float(latency), float(byte), measured["shift"])


def _medians(transfers: list[dict[str, float]]) -> dict[str, float]:
    return {
        name: statistics.median(row[name] for row in transfers) for name in transfers[0]
    }


def _sums_by_length(transfers: list[dict[str, float]], costs: Costs) -> str:
    rows = [
        [
            f"{count:,}",
            spread(1e6 * np.array([row[str(count)] for row in transfers])),
            f"{1e6 * costs.sum(count):.3g}",
        ]
        for count in COUNTS
    ]
    return markdown_table(["float64 numbers", "us", "us, fitted"], rows)


def _predicted(costs: Costs) -> str:
    """Extrapolate to many ranks with one thread each.

    Not in the model: a network between hosts, ranks that wait for each other.
    """
    ranks = (2, 10, 100, 1_000, 10_000)
    rows = [
        [
            f"{size:,}",
            *(f"{costs.step(size, 1) / (p * costs.step(size, p)):.2f}" for p in ranks),
        ]
        for size in (10**5, 10**6, 10**7, 10**8, 10**9)
    ]
    return markdown_table(["points", *(f"{p:,} ranks" for p in ranks)], rows)


def _sizes(points: tuple[int, ...], samples: tuple[int, ...]) -> list[tuple[str, int]]:
    return [("oscillator", n) for n in points] + [("fit", n) for n in samples]


def _steps(times: Times, name: str, size: int, ranks: int, threads: int) -> np.ndarray:
    return np.array([row["step"] for row in times[name, size, ranks, threads]])


def _draw(
    times: Times,
    points: tuple[int, ...],
    samples: tuple[int, ...],
    transfers: list[dict[str, float]],
    costs: Costs,
    path: Path,
) -> None:
    figure = Figure(figsize=(9.0, 6.6), layout="constrained")
    strong, fit, weak, sums = figure.subplots(2, 2).flat
    _draw_speeds(strong, times, "oscillator", points, "grid points")
    _draw_speeds(fit, times, "fit", samples, "samples")
    _draw_weak(weak, times, points, samples)
    _draw_sums(sums, transfers, costs)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _draw_speeds(
    axes: Axes, times: Times, name: str, sizes: tuple[int, ...], label: str
) -> None:
    for setup, text in (((2, 1), "2 ranks"), ((1, 2), "1 rank, 2 threads")):
        speeds = [
            _steps(times, name, n, 1, 1) / _steps(times, name, n, *setup) for n in sizes
        ]
        _draw_spread(axes, sizes, speeds, text)
    axes.axhline(2.0, color="gray", linestyle="--", label="ideal")
    axes.set(xscale="log", xlabel=label, title=f"Strong scaling: {name}")
    axes.set(ylabel="speed relative to 1 rank, 1 thread", ylim=(0.0, None))
    axes.legend()


def _draw_weak(
    axes: Axes, times: Times, points: tuple[int, ...], samples: tuple[int, ...]
) -> None:
    for name, sizes in (("oscillator", points), ("fit", samples)):
        efficiencies = [
            _steps(times, name, n, 1, 1) / _steps(times, name, 2 * n, 2, 1)
            for n in sizes
        ]
        _draw_spread(axes, sizes, efficiencies, name)
    axes.axhline(1.0, color="gray", linestyle="--", label="ideal")
    axes.set(xscale="log", xlabel="points or samples of a rank", ylim=(0.0, None))
    axes.set(ylabel="efficiency of 2 ranks", title="Weak scaling")
    axes.legend()


def _draw_sums(axes: Axes, transfers: list[dict[str, float]], costs: Costs) -> None:
    times = [1e6 * np.array([row[str(count)] for row in transfers]) for count in COUNTS]
    _draw_spread(axes, COUNTS, times, "measured")
    fitted = [1e6 * costs.sum(count) for count in COUNTS]
    axes.plot(COUNTS, fitted, "--", color="gray", label="latency + bytes / bandwidth")
    axes.set(xscale="log", yscale="log", xlabel="parameters, float64")
    axes.set(ylabel="microseconds", title="All-reduce of a gradient, 2 ranks")
    axes.legend()


def _draw_spread(axes: Axes, x: Any, rows: list[np.ndarray], label: str) -> None:
    middle = np.array([np.median(row) for row in rows])
    low, high = (np.array([f(row) for row in rows]) for f in (np.min, np.max))
    axes.errorbar(x, middle, (middle - low, high - middle), fmt="o-", label=label)


if __name__ == "__main__":
    if WORKER in sys.argv:
        problem_name, size, threads, seconds = sys.argv[sys.argv.index(WORKER) + 1 :]
        work(problem_name, int(size), int(threads), float(seconds))
    else:
        main(tyro.cli(Options))
