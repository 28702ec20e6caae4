"""Time maps of local densities on one and two ranks.

    python benchmarks/map_scaling.py --figure images
    python benchmarks/map_scaling.py --quick

Each rank has one thread; mpirun starts fresh processes for each line and round, and
what compiles is not timed. The methods divide energies ("recursive") or sites (the
others) over the ranks; in the end each rank has the whole map.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import tyro
from matplotlib.figure import Figure
from reporting import markdown_table, report, spread

from physml.greens_functions import local_density_of_states
from physml.hamiltonians import disorder_potential, impurity_chain, tight_binding
from physml.lattices import square
from physml.operators import HoppingOperator
from physml.parallel import choose_communicator, limit_threads
from physml.precision import enable_x64

WORKER = "--worker"
AIM = 1.9
BROADENING = 0.05
# name: method, size (chain if negative), sites (0 for all), energies
PROBLEMS = {
    "chain of 1000, recursive": ("recursive", -1000, 0, 2000),
    "square 40 x 40, recursive": ("recursive", 40, 0, 100),
    "square 50 x 50, krylov": ("krylov", 50, 256, 100),
}
QUICK = {
    "chain of 100, recursive": ("recursive", -100, 0, 100),
    "square 8 x 8, recursive": ("recursive", 8, 0, 20),
    "square 10 x 10, krylov": ("krylov", 10, 16, 10),
}


@dataclass(frozen=True)
class Options:
    """Time maps on ranks."""

    quick: bool = False
    """Small maps, one round."""
    maps: tuple[str, ...] | None = None
    """Those whose name holds one of these words. By default all."""
    ranks: tuple[int, ...] = (1, 2)
    """The first is what the others are compared with."""
    rounds: int = 3
    """How often each set-up is started."""
    seconds: float = 1.0
    """Of each burst, at least."""
    out: Path | None = None
    """Folder for map_scaling.md and map_scaling.json."""
    figure: Path | None = None
    """Folder for map_scaling.png."""


def operator_of(size: int) -> HoppingOperator:
    """Return the reference chain for a negative size, or a square lattice."""
    if size < 0:
        return impurity_chain(-size, impurity_site=-size // 2 - 1)
    lattice = square(size, size)
    potential = disorder_potential(jax.random.key(0), lattice, 1.0)
    return tight_binding(lattice, potential=potential, boundary="open")


def work(arguments: list, seconds: float) -> None:
    """Time maps on this rank; the root prints the time of one and its mean."""
    limit_threads(1)
    enable_x64()
    communicator = choose_communicator("mpi")
    method, size, num_sites, num_energies = arguments
    operator = operator_of(size)
    energies = np.linspace(-4.5, 4.5, num_energies)
    sites = np.linspace(0, operator.size - 1, num_sites or operator.size).astype(int)

    def run(count: int) -> tuple[float, np.ndarray]:
        communicator.barrier()
        begin = time.perf_counter()
        for _ in range(count):
            found = local_density_of_states(
                operator,
                energies,
                BROADENING,
                sites=sites,
                method=method,
                communicator=communicator,
            )
        values = np.asarray(found.values)
        communicator.barrier()
        return (time.perf_counter() - begin) / count, values

    run(1)  # compiles
    once = communicator.broadcast_object(run(1)[0])
    each, values = run(max(1, round(seconds / once)))
    if communicator.is_root:
        print(json.dumps({"seconds": each, "mean": float(values.mean())}))


def start(arguments: tuple, ranks: int, seconds: float) -> dict:
    """Run a map under mpirun."""
    folder = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    launcher = shutil.which("mpirun", path=folder)
    if launcher is None:
        raise SystemExit("Expected mpirun: install the extra 'mpi' (docs/clusters.md).")
    worker = [sys.executable, __file__, WORKER, json.dumps(arguments), str(seconds)]
    done = subprocess.run(
        [launcher, "--bind-to", "none", "-np", str(ranks), *worker],
        env=os.environ
        | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def main(options: Options) -> None:
    """Start the workers, print the table, draw the figure."""
    problems, rounds, seconds = (
        (QUICK, 1, 0.1)
        if options.quick
        else (PROBLEMS, options.rounds, options.seconds)
    )
    data: dict[str, dict[int, list[dict]]] = {}
    for name, arguments in problems.items():
        if not any(word in name for word in options.maps or ("",)):
            continue
        found = data[name] = {ranks: [] for ranks in options.ranks}
        for _ in range(rounds):
            for ranks, rows in found.items():
                rows.append(start(arguments, ranks, seconds))
                print(name, f"on {ranks} rank(s)", rows[-1], flush=True)
    table = _table(data)
    report(options.out, "map_scaling", {"Strong scaling": table}, data)
    if options.figure is not None:
        _draw(data, options.figure / "map_scaling.png")


def _speeds(found: dict[int, list[dict]]) -> dict[int, np.ndarray]:
    times = {k: np.array([row["seconds"] for row in rows]) for k, rows in found.items()}
    first = next(iter(times.values()))
    return {ranks: first / each for ranks, each in times.items()}


def _table(data: dict[str, dict[int, list[dict]]]) -> str:
    rows = []
    for name, found in data.items():
        speeds = _speeds(found)
        base, *others = speeds
        means = [row["mean"] for each in found.values() for row in each]
        seconds = [row["seconds"] for row in found[base]]
        cells = [spread(speeds[ranks]) for ranks in others]
        cells.append("met" if np.median(speeds[others[-1]]) >= AIM else "missed")
        cells.append(f"{max(means) - min(means):.0e}")
        rows.append([name, spread(1e3 * np.array(seconds)), *cells])
    names = [f"{ranks} ranks: speed" for ranks in list(found)[1:]]
    headings = ["map", f"ms on {base} rank", *names, f"aim {AIM}"]
    return markdown_table([*headings, "difference of the mean"], rows)


def _draw(data: dict[str, dict[int, list[dict]]], path: Path) -> None:
    figure = Figure(figsize=(6.0, 4.5), layout="constrained")
    axes = figure.subplots()
    for k, (name, found) in enumerate(data.items()):
        speeds = _speeds(found)
        ranks = np.array(list(speeds))
        low, middle, high = np.quantile(list(speeds.values()), (0, 0.5, 1), axis=1)
        bars = (middle - low, high - middle)
        axes.errorbar(ranks + 0.02 * k, middle, bars, fmt="o-", label=name)
    axes.plot(ranks, ranks / ranks[0], "--", color="gray", label="ideal")
    axes.set(xlabel="ranks of one thread", ylabel="speed relative to one rank")
    axes.set(title="Maps of local densities of states", xticks=ranks, ylim=(0, None))
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    if WORKER in sys.argv:
        words, burst = sys.argv[sys.argv.index(WORKER) + 1 :]
        work(json.loads(words), float(burst))
    else:
        main(tyro.cli(Options))
