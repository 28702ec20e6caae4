"""Times of self-learning Monte Carlo: proposals, acceptances, exact sweeps, ranks.

python benchmarks/self_learning_costs.py methods --runs RUNS --out TABLES
python benchmarks/self_learning_costs.py lengths --runs RUNS --out TABLES
python benchmarks/self_learning_costs.py ranks --runs RUNS --out TABLES

RUNS holds what `self_learning_monte_carlo.py` has made: data, models and the
autocorrelation times, which no load of the machine changes. Here steps are timed,
contenders in turns, each process with one thread. `ranks` starts mpirun.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.tree_util import Partial
from reporting import markdown_table, report, spread
from threadpoolctl import threadpool_limits

from physml.estimators import chain_estimate
from physml.hamiltonians import DoubleExchange, double_exchange_density
from physml.lattices import square
from physml.parallel import SERIAL, Communicator, choose_communicator, limit_threads
from physml.precision import enable_x64
from physml.runs.model_files import load_model
from physml.runs.self_learning.measurement import orders
from physml.runs.self_learning.tasks import exact_log_density, model_log_density
from physml.samplers import (
    Hamiltonian,
    Kernel,
    LocalMetropolis,
    SelfLearning,
    StepSize,
    choose_inner_length,
    sample,
)
from physml.samplers.compiled_chains import Batching

WORKER = "--worker"
TEMPERATURE, CHAINS, TRAJECTORIES, BURN_IN = 0.05, 8, 4, 60
GREEN, LEVELS = "exact sweep, Green's functions", "exact sweep, diagonalizations"
SPHERE = StepSize(np.pi, None, np.pi)  # what burn-in finds at this temperature
KEPT, KEPT_SWEEPS = "exact sweep, Green's functions kept for 10", 10
ACCEPTANCE = "acceptance: one diagonalization"
Study = Literal["methods", "lengths", "ranks"]
Seconds = dict[str, list[float]]


@dataclass(frozen=True)
class Options:
    """Time the parts of self-learning Monte Carlo."""

    study: tyro.conf.Positional[Study]
    """methods: exact sweeps, proposals, acceptances; lengths: numbers of trajectories
    of one model; ranks: one and two ranks."""
    runs: Path = Path("runs/self_learning_monte_carlo")
    """Folder of the runs of self_learning_monte_carlo.py."""
    models: tuple[str, ...] = ("convolution_9_shells/model_1",)
    """Model files in `runs`, without npz."""
    size: int = 6
    """Extent of the square lattice."""
    data: str = "data"
    """The run whose configurations are the first ones."""
    seconds: float = 1.0
    """Of a turn of each contender."""
    rounds: int = 3
    """Turns."""
    out: Path | None = None
    """Folder for the tables."""


@dataclass(frozen=True)
class Problem:
    """The exact model and first configurations of chains."""

    exact: DoubleExchange
    spins: jax.Array

    @property
    def log_density(self) -> Partial:
        """-F/T of the electrons."""
        return Partial(exact_log_density, self.exact, jnp.asarray(TEMPERATURE))

    def metropolis(self, method: Any, num_sweeps: int = 1) -> LocalMetropolis:
        """Return exact local Metropolis."""
        density = double_exchange_density(self.exact, TEMPERATURE, method=method)
        return LocalMetropolis(density, step_size=SPHERE, num_sweeps=num_sweeps)

    def trajectory(self, path: Path) -> Hamiltonian:
        """Return one trajectory in a model."""
        model, _ = load_model(path, self.exact.lattice)
        return Hamiltonian(Partial(model_log_density, model))


def first_problem(options: Options) -> Problem:
    """Read configurations of the exact model."""
    spins = np.load(options.runs / options.data / "data.npz")["spins"]
    few = np.linspace(0, len(spins) - 1, CHAINS).astype(int)
    lattice = square(options.size, options.size)
    return Problem(DoubleExchange(lattice), jnp.asarray(spins[few]))


def turns(
    kernel: Kernel,
    spins: jax.Array,
    seconds: float,
    batching: Batching = "vmap",
    communicator: Communicator = SERIAL,
) -> Callable[[], float]:
    """Return a function that goes on for a while, and returns seconds of a step.

    A step is that of one chain: the time of all chains divided by their number.
    """
    is_adapted = any(size.target for size in kernel.step_sizes().values())
    run = partial(
        sample, kernel, spins, key=jax.random.key(1), batching=batching,
        communicator=communicator, num_burn_in=BURN_IN if is_adapted else 0,
    )  # fmt: skip
    snapshot = run(num_sweeps=4).snapshot
    done = 4

    def turn(steps: int) -> float:
        nonlocal snapshot, done
        done += steps
        result = run(num_sweeps=done, snapshot=snapshot)
        snapshot = result.snapshot
        return float(np.sum(result.records.seconds)) / steps

    turn(4)
    steps = max(2, round(seconds / turn(4)))
    return lambda: turn(steps) / len(spins)


def evaluations(
    function: Callable[[jax.Array], jax.Array], spins: jax.Array, seconds: float
) -> Callable[[], float]:
    """Return a function that evaluates a density of all chains, compiled."""

    @jax.jit
    def many(spins: jax.Array, count: int) -> jax.Array:
        def once(_: int, shift: jax.Array) -> jax.Array:
            return 1e-30 * jnp.sum(jax.vmap(function)(spins + shift))

        return jax.lax.fori_loop(0, count, once, jnp.zeros(()))

    def turn(count: int) -> float:
        start = time.perf_counter()
        many(spins, count).block_until_ready()
        return (time.perf_counter() - start) / count

    turn(2)
    count = max(2, round(seconds / turn(4)))
    return lambda: turn(count) / len(spins)


def contenders(options: Options, problem: Problem) -> dict[str, Callable[[], float]]:
    """Return all parts of all methods; a proposal and its acceptance apart."""
    spins, seconds = problem.spins, options.seconds
    few = spins[:2]
    green = partial(problem.metropolis, "greens_function")
    ten_sweeps = turns(green(KEPT_SWEEPS), few, seconds, "map")
    found = {
        LEVELS: turns(problem.metropolis("diagonalization"), few, seconds, "map"),
        GREEN: turns(green(), few, seconds, "map"),
        KEPT: lambda: ten_sweeps() / KEPT_SWEEPS,
        ACCEPTANCE: evaluations(problem.log_density, spins, seconds),
    }
    for name in options.models:
        inner = problem.trajectory(options.runs / f"{name}.npz")
        found[f"{name}, a trajectory"] = turns(inner, spins, seconds)
        whole = SelfLearning(problem.log_density, inner, TRAJECTORIES)
        found[f"{name}, a step"] = turns(whole, spins, seconds)
    return found


def measured(
    contenders: dict[str, Callable[[], float]], rounds: int
) -> dict[str, list[float]]:
    """Take turns."""
    times: Seconds = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, turn in contenders.items():
            times[name].append(turn())
    return times


def table_of_parts(times: Seconds) -> str:
    """Return milliseconds of one chain."""
    rows = [(name, spread(1e3 * np.array(ts))) for name, ts in times.items()]
    return markdown_table(("part", "ms, one chain"), rows)


def table_of_methods(options: Options, times: Seconds) -> str:
    """Return effective samples of F/T in a second of one core, and their ratios."""
    share = share_of_exact(options)
    rates = {name: share / np.array(times[name]) for name in (LEVELS, GREEN, KEPT)}
    shares = dict.fromkeys(rates, share)
    for name in options.models:
        step = f"{name}, a step"
        shares[step] = share_of_model(options.runs, name)
        rates[step] = shares[step] / np.array(times[step])
    rows = [
        (
            name,
            f"{1 / (2 * shares[name]):.2f}",
            spread(rate),
            *(spread(rate / rates[other]) for other in (LEVELS, GREEN, KEPT)),
        )
        for name, rate in rates.items()
    ]
    headings = ["method", "tau of F/T", "samples/s", "times diagonalizations"]
    headings += ["times Green's functions", "times those kept"]
    return markdown_table(headings, rows)


def share_of_exact(options: Options) -> float:
    """Return effective samples of F/T in an exact sweep, from the data set."""
    with np.load(options.runs / options.data / "data.npz") as data:
        learned = ~data["is_test"]
        chains = len(np.unique(data["chains"][learned]))
        series = data["free_energies"][learned].reshape(chains, -1)
        interval = json.loads(str(data["provenance"]))["making"][
            "sweeps_between_configurations"
        ]
    return chain_estimate(series).effective_samples / series.size / interval


def share_of_model(runs: Path, name: str) -> float:
    """Return effective samples of F/T in a proposal, from the run of a model."""
    folder, layers = name.split("/model_")
    result = json.loads((runs / folder / "result.json").read_text())
    row = next(row for row in result["models"] if row["layers"] == int(layers))
    return 1 / (2 * row["autocorrelation_time"])


def methods(options: Options) -> None:
    """Time exact sweeps, proposals and acceptances."""
    times = measured(contenders(options, first_problem(options)), options.rounds)
    title = f"{options.size} x {options.size}"
    tables = {
        f"{title}, parts": table_of_parts(times),
        f"{title}, methods": table_of_methods(options, times),
    }
    report(options.out, f"methods_{options.size}", tables, times)


def lengths(options: Options) -> None:
    """Try numbers of trajectories in a proposal."""
    problem, rows = first_problem(options), []
    for name in options.models:
        kernel = SelfLearning(
            problem.log_density, problem.trajectory(options.runs / f"{name}.npz")
        )
        choice = choose_inner_length(
            kernel,
            problem.spins,
            key=jax.random.key(2),
            num_sweeps=300,
            observables=partial(orders, problem.exact.lattice),
        )
        rows += [
            (name, row.num_inner, f"{row.acceptance:.3f}",
             f"{row.autocorrelation_time:.2f}",
             f"{1e3 * row.seconds / 300 / CHAINS:.2f}",
             f"{row.effective_samples_per_second:.0f}")
            for row in choice.table
        ]  # fmt: skip
    headings = ("model", "trajectories", "acceptance", "tau", "ms", "samples/s")
    table = markdown_table(headings, rows)
    report(options.out, f"lengths_{options.size}", {"Lengths": table}, rows)


def start_ranks(options: Options, ranks: int) -> Seconds:
    """Run the worker under mpirun."""
    folder = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    launcher = shutil.which("mpirun", path=folder)
    if launcher is None:
        raise SystemExit("Expected mpirun: install the extra 'mpi' (docs/clusters.md).")
    worker = [sys.executable, __file__, WORKER, str(options.runs), options.models[0]]
    worker += [str(options.seconds), str(options.rounds)]
    done = subprocess.run(
        [launcher, "--bind-to", "none", "-np", str(ranks), *worker],
        env=os.environ
        | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def work(runs: str, model: str, seconds: str, rounds: str) -> None:
    """Time exact sweeps and proposals of chains that are divided over the ranks."""
    limit_threads(1)
    enable_x64()
    communicator = choose_communicator("mpi")
    problem = first_problem(Options("ranks", Path(runs)))
    inner = problem.trajectory(Path(runs) / f"{model}.npz")
    metropolis = problem.metropolis("greens_function")
    whole = SelfLearning(problem.log_density, inner, TRAJECTORIES)
    spins, burst = problem.spins, float(seconds)
    times = measured(
        {
            "making data: exact sweeps": turns(
                metropolis, spins, burst, "map", communicator
            ),
            "chains: self-learning steps": turns(
                whole, spins, burst, communicator=communicator
            ),
        },
        int(rounds),
    )
    if communicator.is_root:
        print(json.dumps(times))


def ranks(options: Options) -> None:
    """Compare one and two ranks, each with one thread."""
    found = {1: start_ranks(options, 1), 2: start_ranks(options, 2)}
    rows = []
    for name, one in found[1].items():
        ratio = np.median(one) / np.median(found[2][name])
        times = [spread(1e3 * np.array(ts)) for ts in (one, found[2][name])]
        rows.append((name, *times, f"{ratio:.2f}"))
    headings = ("8 chains", "1 rank, ms a chain", "2 ranks, ms a chain", "faster")
    table = markdown_table(headings, rows)
    report(options.out, "ranks", {"Ranks": table}, found)


def main(options: Options) -> None:
    """Run a study."""
    studies = {"methods": methods, "lengths": lengths, "ranks": ranks}
    if options.study != "ranks":  # whose workers see to themselves
        limit_threads(1)
        enable_x64()
    with threadpool_limits(limits=1, user_api="blas"):
        studies[options.study](options)


if __name__ == "__main__":
    if WORKER in sys.argv:
        work(*sys.argv[sys.argv.index(WORKER) + 1 :])
    else:
        main(tyro.cli(Options, description=__doc__))
