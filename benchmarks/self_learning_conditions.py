"""Effective samples a second on other sizes and at other temperatures.

python benchmarks/self_learning_conditions.py 4_x_4 6_x_6 8_x_8 --runs RUNS --out TABLES

RUNS holds the runs of the studies "sizes" and "temperatures" of
`self_learning_monte_carlo.py`, whose autocorrelation times count. Here a sweep of exact
chains and a step of self-learning are timed, in turns, on one core.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.tree_util import Partial
from reporting import markdown_table, report, spread
from self_learning_costs import KEPT_SWEEPS, SPHERE, TRAJECTORIES, measured, turns
from threadpoolctl import threadpool_limits

from physml.hamiltonians import DoubleExchange, double_exchange_density
from physml.lattices import square
from physml.parallel import limit_threads
from physml.precision import enable_x64
from physml.runs.model_files import load_model
from physml.runs.self_learning.tasks import exact_log_density, model_log_density
from physml.samplers import Hamiltonian, Kernel, LocalMetropolis, SelfLearning

STEP, KEPT, LEVELS = "self-learning", "Green's functions kept", "diagonalizations"
Seconds = dict[str, list[float]]  # of one chain, by turn


@dataclass(frozen=True)
class Options:
    """Time exact sweeps and steps of self-learning."""

    names: tyro.conf.Positional[tuple[str, ...]]
    """Folders in RUNS."""
    runs: Path = Path("runs/self_learning_monte_carlo")
    """Folder of the runs of self_learning_monte_carlo.py."""
    seconds: float = 0.5
    """Of a turn of each contender."""
    rounds: int = 3
    """Turns."""
    out: Path | None = None
    """Folder for the tables."""


@dataclass(frozen=True)
class Condition:
    """One run: what it has found, and its folder."""

    folder: Path
    result: dict[str, Any]

    def kernels(self) -> dict[str, tuple[Kernel, int]]:
        """Return self-learning and exact Metropolis, with the sweeps in a step."""
        config = self.result["config"]
        lattice = square(*config["size"] * (3 - len(config["size"])))
        exact, temperature = DoubleExchange(lattice), config["temperature"]
        file = config["model"] or self.folder / "model_1.npz"
        model, _ = load_model(Path(file), lattice)
        whole = SelfLearning(
            Partial(exact_log_density, exact, jnp.asarray(temperature)),
            Hamiltonian(Partial(model_log_density, model)),
            TRAJECTORIES,
        )
        local = partial(LocalMetropolis, step_size=SPHERE)
        density = partial(double_exchange_density, exact, temperature)
        green, levels = density(), density(method="diagonalization")
        return {
            STEP: (whole, 1),
            KEPT: (local(green, num_sweeps=KEPT_SWEEPS), KEPT_SWEEPS),
            LEVELS: (local(levels), 1),
        }

    def spins(self) -> jax.Array:
        """Return first configurations from the run's data set."""
        spins = np.load(self.folder / "data.npz")["spins"]
        return jnp.asarray(spins[np.linspace(0, len(spins) - 1, 8).astype(int)])

    def times(self, options: Options) -> Seconds:
        """Return the seconds of a step and of a sweep."""
        spins, contenders = self.spins(), {}
        for name, (kernel, sweeps) in self.kernels().items():
            few, batching = (spins, "vmap") if name == STEP else (spins[:1], "map")
            contenders[name] = _each(
                turns(kernel, few, options.seconds, batching), sweeps
            )
        return measured(contenders, options.rounds)

    def row(self, times: Seconds) -> tuple[str, ...]:
        """Return a row of the table."""
        exact, model = self.result["metropolis"], self.result["models"][-1]
        taus = {STEP: model["autocorrelation_time"]}
        taus |= dict.fromkeys((KEPT, LEVELS), exact["autocorrelation_time"])
        rates = {name: 1 / (2 * taus[name] * np.array(times[name])) for name in times}
        return (
            self.folder.name.replace("_", " "),
            f"{model['measured_acceptance']:.2f}",
            *(f"{taus[name]:.2f}" for name in (STEP, KEPT)),
            *(f"{1e3 * np.median(times[name]):.3g}" for name in times),
            *(spread(rates[STEP] / rates[name]) for name in (KEPT, LEVELS)),
        )


def _each(turn: Any, sweeps: int) -> Any:
    return lambda: turn() / sweeps


def main(options: Options) -> None:
    """Measure all conditions."""
    limit_threads(1)
    enable_x64()
    rows, data = [], {}
    with threadpool_limits(limits=1, user_api="blas"):
        for name in options.names:
            folder = options.runs / name
            result = json.loads((folder / "result.json").read_text())
            condition = Condition(folder, result)
            data[name] = condition.times(options)
            rows.append(condition.row(data[name]))
    headings = ["run", "acceptance", "tau of a step", "tau of a sweep", "step, ms"]
    headings += ["sweep, kept, ms", "sweep, diagonalizations, ms"]
    headings += ["samples/s, times kept", "times diagonalizations"]
    tables = {"Conditions": markdown_table(headings, rows)}
    report(options.out, "conditions", tables, data)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
