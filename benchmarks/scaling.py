"""Time a training step on 1 and 2 ranks: strong and weak scaling, ranks times threads.

python benchmarks/scaling.py --quick
python benchmarks/scaling.py --out TABLES --figure benchmarks/images

A step is one of Adam in the compiled loop of `physml.training.minimize`, with a record
every tenth step: of the harmonic oscillator (trained 1-32-1 tanh network, stencil of
order 8) and of the smearing fit (64 sites, all samples in each step). Each set-up runs
in processes of its own, started by mpirun; set-ups follow one another within a round.
The share of the reduction is the time of the sums that a step makes, of the same sizes,
alone in a compiled loop, over that of the step.
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
import tyro
from matplotlib.figure import Figure
from reporting import markdown_table, report, spread

from physml.hamiltonians.potentials import Harmonic, default_grid
from physml.hamiltonians.smeared_heisenberg import random_smeared_heisenberg
from physml.parallel import Communicator, choose_communicator, limit_threads
from physml.parallel.report import time_sums
from physml.precision import enable_x64
from physml.runs.fit_problem import FitConfiguration, FitExperiment, fit_problem
from physml.runs.levels import LevelsConfiguration, LevelsExperiment, levels_problem
from physml.training import StopRules, minimize, optimizer_stages

SETUPS = ((1, 1), (2, 1), (1, 2))  # ranks, threads of each
ALWAYS = StopRules(patience=10**9)  # every step is run
WORKER = "--worker"
# What a step adds up: edges of two blocks, two inner products, a change, the gradient.
EDGES = 8  # numbers of each block: the reach of the stencil at both ends
OSCILLATOR_SUMS = (2 * EDGES, 2, 1, 97)
FIT_SUMS = (1, 8)


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
    latency: float = 1.1e-6
    """Seconds of a sum of one number over two ranks (python -m physml.parallel)."""
    seconds_per_byte: float = 7.8e-10
    """Seconds of a long sum over two ranks for each byte (the same)."""


Times = dict[tuple[str, int, int, int], list[dict[str, float]]]


def main(options: Options) -> None:
    """Start the workers, print the table, draw the figure."""
    points, samples, rounds, seconds = (
        ((1_000, 10_000), (100,), 1, 0.2)
        if options.quick
        else (options.points, options.samples, options.rounds, options.seconds)
    )
    jobs = [("oscillator", n) for n in _with_doubles(points)]
    jobs += [("fit", n) for n in _with_doubles(samples)]
    times: Times = {}
    for _ in range(rounds):
        for (name, size), (ranks, threads) in (
            (job, setup) for job in jobs for setup in SETUPS
        ):
            found = _start(name, size, ranks, threads, seconds)
            times.setdefault((name, size, ranks, threads), []).append(found)
    data = [
        {"problem": key[0], "size": key[1], "ranks": key[2], "threads": key[3], **row}
        for key, rows in times.items()
        for row in rows
    ]
    tables = {
        "Strong scaling": _strong(times, points, samples),
        "Weak scaling": _weak(times, points, samples),
        "Predicted efficiency of the oscillator": _predicted(times, points, options),
    }
    report(options.out, "scaling", tables, data)
    if options.figure is not None:
        _draw(times, points, samples, options.figure / "scaling.png")


def _with_doubles(sizes: tuple[int, ...]) -> list[int]:
    return sorted({*sizes, *(2 * size for size in sizes)})


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
    problem = {"oscillator": _oscillator, "fit": _fit}[name]
    run = problem(communicator, size)
    run(10)  # compiles
    count = 20
    while (elapsed := communicator.broadcast_object(run(count))) < seconds:
        count = int(count * min(10.0, 1.2 * seconds / elapsed)) + 10
    sums = OSCILLATOR_SUMS if name == "oscillator" else FIT_SUMS
    reduction = sum(
        statistics.median(time_sums(communicator, width, 500)) for width in sums
    )
    if communicator.is_root:
        print(json.dumps({"step": elapsed / count, "reduction": reduction}))


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
        share = [row["reduction"] / row["step"] for row in times[name, size, 2, 1]]
        rows.append(
            [
                f"{name}, {size:,}",
                spread(1e6 * base),
                spread(base / two),
                spread(base / threads),
                f"{100 * statistics.median(share):.1f} %",
            ]
        )
    return markdown_table([*headings, "sums of a step, 2 ranks"], rows)


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


def _predicted(times: Times, points: tuple[int, ...], options: Options) -> str:
    r"""Extrapolate to many ranks with one thread each.

    A step on p ranks takes :math:`c n / p + \sum_w (\alpha \lceil \log_2 p\rceil +
    8 \beta w)`: c from the largest grid on one rank, the latency alpha and the seconds
    per byte beta of two ranks on one host, and a tree of sums. The edges are gathered
    by all ranks, w = 8 p numbers. Not in the model: a network between hosts, ranks that
    wait for each other, what a step costs without any point.
    """
    largest = max(points)
    cost = statistics.median(_steps(times, "oscillator", largest, 1, 1)) / largest

    def efficiency(size: int, ranks: int) -> float:
        widths = (EDGES * ranks, *OSCILLATOR_SUMS[1:])
        latency = options.latency * np.ceil(np.log2(ranks))
        sums = sum(latency + 8 * options.seconds_per_byte * w for w in widths)
        return cost * size / (cost * size + ranks * sums)

    ranks = (2, 10, 100, 1_000, 10_000)
    rows = [
        [f"{size:,}", *(f"{efficiency(size, p):.2f}" for p in ranks)]
        for size in (10**5, 10**6, 10**7, 10**8, 10**9)
    ]
    return markdown_table(["points", *(f"{p:,} ranks" for p in ranks)], rows)


def _sizes(points: tuple[int, ...], samples: tuple[int, ...]) -> list[tuple[str, int]]:
    return [("oscillator", n) for n in points] + [("fit", n) for n in samples]


def _steps(times: Times, name: str, size: int, ranks: int, threads: int) -> np.ndarray:
    return np.array([row["step"] for row in times[name, size, ranks, threads]])


def _draw(
    times: Times, points: tuple[int, ...], samples: tuple[int, ...], path: Path
) -> None:
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    for axes, name, sizes, label in zip(
        figure.subplots(1, 2, sharey=True),
        ("oscillator", "fit"),
        (points, samples),
        ("grid points", "samples"),
        strict=True,
    ):
        for setup, text in (((2, 1), "2 ranks"), ((1, 2), "2 threads")):
            speeds = [
                np.median(_steps(times, name, n, 1, 1) / _steps(times, name, n, *setup))
                for n in sizes
            ]
            axes.plot(sizes, speeds, "o-", label=text)
        axes.axhline(2.0, color="gray", linestyle="--", label="ideal")
        axes.set(xscale="log", xlabel=label, title=f"{name}, 2 cores")
        axes.set_ylim(bottom=0.0)
    figure.axes[0].set_ylabel("speed relative to one thread")
    figure.axes[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    if WORKER in sys.argv:
        problem_name, size, threads, seconds = sys.argv[sys.argv.index(WORKER) + 1 :]
        work(problem_name, int(size), int(threads), float(seconds))
    else:
        main(tyro.cli(Options))
