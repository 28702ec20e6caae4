"""Time and memory of one element of G on lattices of up to 1e7 sites.

    python benchmarks/large_lattices.py --parts growth --figure images
    python benchmarks/large_lattices.py --parts map matsubara
    python benchmarks/large_lattices.py --quick

Open square and cubic lattices with disorder of width 1, broadening 0.05. Every line is
a process of its own. The time of an iteration is the difference between two runs that
differ in their number of iterations alone; memory is the growth of the largest resident
size from a tiny problem to the end, with the making of the operator in it.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from matplotlib.figure import Figure
from reporting import markdown_table, report, spread

from physml.greens_functions import greens_function, local_density_of_states
from physml.hamiltonians import disorder_potential, tight_binding
from physml.lattices import chain, cubic, square
from physml.operators import HoppingOperator
from physml.parallel import limit_threads
from physml.precision import enable_x64

WORKER = "--worker"
BROADENING = 0.05
Part = Literal["growth", "map", "matsubara"]


@dataclass(frozen=True)
class Options:
    """Measure one element of G on large lattices."""

    quick: bool = False
    """Small lattices, one round."""
    parts: tuple[Part, ...] = ("growth", "map", "matsubara")
    """growth: 1e3 to 1e7 sites; map: all energies of a site of a million sites;
    matsubara: 50 000 frequencies against one."""
    lattices: tuple[Literal["square", "cubic"], ...] = ("square", "cubic")
    """For the growth."""
    exponents: tuple[int, ...] = (3, 4, 5, 6, 7)
    """Of ten, for the growth: numbers of sites."""
    energies: int = 1000
    """Of the element."""
    rounds: int = 3
    """Timings within a process."""
    threads: tuple[int, ...] = (1, 2)
    """Of the processes for map and matsubara; growth uses the first."""
    out: Path | None = None
    """Folder for large_lattices.md and large_lattices.json."""
    figure: Path | None = None
    """Folder for large_lattices.png."""


def lattice_operator(name: str, exponent: int) -> HoppingOperator:
    """Return a disordered lattice of about 10^exponent sites, 10^5 exactly for 250."""
    size = 10**exponent
    if name == "square":
        width = 250 if exponent == 5 else round(size**0.5)
        lattice = square(round(size / width), width)
    elif name == "cubic":
        width = round(size ** (1 / 3))
        lattice = cubic(round(size / width**2), width, width)
    else:
        lattice = chain(size)
    potential = disorder_potential(jax.random.key(0), lattice, 1.0)
    return tight_binding(lattice, potential=potential, boundary="open")


def peak_bytes() -> int:
    """Return the largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def seconds_of(run: Callable[[], Any]) -> float:
    """Return the time of a call."""
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def element(operator: HoppingOperator, z: jax.Array, limit: int) -> jax.Array:
    """Return G in the middle of a lattice after so many iterations at most."""
    return greens_function(
        operator,
        z,
        column=operator.size // 2,
        method="krylov",
        max_iterations=limit,
        on_failure="return",
    ).value


def growth(name: str, exponent: int, energies: int, rounds: int) -> dict[str, Any]:
    """Measure an iteration: no energy of these has converged after so few."""
    z = jnp.linspace(-4.5, 4.5, energies) + 1j * BROADENING
    element(lattice_operator("chain", 2), z, 16).block_until_ready()
    before = peak_bytes()
    operator = lattice_operator(name, exponent)
    few, many = 16, 16 + max(16, min(256, 10**8 // operator.size))
    element(operator, z, few).block_until_ready()
    times = []
    for _ in range(rounds):
        short = seconds_of(lambda: element(operator, z, few))
        long = seconds_of(lambda: element(operator, z, many))
        times.append((long - short) / (many - few))
    memory = peak_bytes() - before
    return {"sites": operator.size, "seconds": times, "bytes": memory}


def map_of_a_site(exponent: int, energies: int, method: Any) -> dict[str, Any]:
    """Measure all energies of one site, compilation included, as a user has it."""
    operator = lattice_operator("square", exponent)
    before = peak_bytes()
    spectrum = np.linspace(-4.5, 4.5, energies)
    site = [operator.size // 2]
    start = time.perf_counter()
    found = local_density_of_states(
        operator, spectrum, BROADENING, sites=site, method=method
    )
    return {
        "sites": operator.size,
        "method": found.method,
        "seconds": time.perf_counter() - start,
        "iterations": int(np.max(found.num_iterations)),
        "residual": float(np.max(found.relative_residual)),
        "bytes": peak_bytes() - before,
        "values": np.asarray(found.values[:, 0]).tolist(),
    }


def matsubara(exponent: int, frequencies: int, rounds: int) -> dict[str, Any]:
    """Compare all frequencies with the lowest alone, temperature 0.01."""
    operator = lattice_operator("square", exponent)
    z = 1j * np.pi * 0.01 * (2 * jnp.arange(frequencies) + 1)
    before = peak_bytes()
    limit = 100_000
    times: dict[int, list[float]] = {1: [], frequencies: []}
    for _ in range(rounds + 1):
        for count, each in times.items():
            each.append(seconds_of(lambda z=z[:count]: element(operator, z, limit)))
    found = greens_function(operator, z, column=operator.size // 2, method="krylov")
    return {
        "sites": operator.size,
        "one": times[1][1:],  # the first compiles
        "all": times[frequencies][1:],
        "iterations": int(np.max(found.num_iterations)),
        "residual": float(np.max(found.relative_residual)),
        "bytes": peak_bytes() - before,
    }


def start(task: str, threads: int, *arguments: Any) -> dict[str, Any]:
    """Run a task in a process of its own."""
    command = [sys.executable, __file__, WORKER, task, str(threads)]
    done = subprocess.run(
        [*command, json.dumps(arguments)], stdout=subprocess.PIPE, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    numbers = {name: value for name, value in found.items() if name != "values"}
    print(task, *arguments, f"on {threads} thread(s):", numbers, flush=True)
    return {"task": task, "threads": threads} | found


def work(task: str, threads: int, arguments: list[Any]) -> None:
    """Do a task and print what it found."""
    limit_threads(threads)
    enable_x64()
    tasks = {"growth": growth, "map": map_of_a_site, "matsubara": matsubara}
    print(json.dumps(tasks[task](*arguments)))


def main(options: Options) -> None:
    """Start the processes, print the tables, draw the figure."""
    rounds = 1 if options.quick else options.rounds
    sections, data = {}, []
    if "growth" in options.parts:
        exponents = (3, 4) if options.quick else options.exponents
        rows = {
            name: [
                start("growth", options.threads[0], name, k, options.energies, rounds)
                for k in exponents
            ]
            for name in options.lattices
        }
        title = f"Growth, {options.energies} energies, {options.threads[0]} thread(s)"
        sections[title] = _growth_table(rows, options.energies)
        data += [row | {"lattice": k} for k, each in rows.items() for row in each]
        if options.figure is not None:
            _draw(rows, options.figure / "large_lattices.png")
    if "map" in options.parts:
        exponent = 4 if options.quick else 6
        found = [
            start("map", threads, exponent, options.energies, method)
            for threads in options.threads
            for method in ("krylov", "auto")
        ]
        sections["One site, all energies"] = _map_table(found)
        data += found
    if "matsubara" in options.parts:
        size = (3, 1000) if options.quick else (5, 50_000)
        found = [start("matsubara", k, *size, rounds) for k in options.threads]
        sections[f"{size[1]} Matsubara frequencies"] = _matsubara_table(found)
        data += found
    for row in data:
        row.pop("values", None)
    report(options.out, "large_lattices", sections, data)


def _growth_table(rows: dict[str, list[dict[str, Any]]], energies: int) -> str:
    lines = []
    for name, found in rows.items():
        last = None
        for row in found:
            time_of_step, sites = float(np.median(row["seconds"])), row["sites"]
            exponent = "-"
            if last is not None:
                ratio = np.log(time_of_step / last[1]) / np.log(sites / last[0])
                exponent = f"{ratio:.2f}"
            last = sites, time_of_step
            each = spread(1e9 * np.array(row["seconds"]) / (sites + energies))
            micro = spread(1e6 * np.array(row["seconds"]))
            memory = [f"{row['bytes'] / 2**20:.0f}", f"{row['bytes'] / sites:.0f}"]
            lines.append([f"{name}, {sites:,}", micro, exponent, each, *memory])
    head = ["lattice, sites", "us an iteration", "exponent", "ns for each of n + num_z"]
    return markdown_table([*head, "MiB", "bytes a site"], lines)


def _map_table(found: list[dict[str, Any]]) -> str:
    values = np.array([row["values"] for row in found])
    lines = [
        [
            f"{row['sites']:,} sites, {row['threads']} thread(s), {row['method']}",
            f"{row['seconds']:.1f}",
            row["iterations"],
            f"{row['residual']:.0e}",
            f"{np.abs(value - values[0]).max():.0e}",
            f"{row['bytes'] / row['sites']:.0f}",
        ]
        for row, value in zip(found, values, strict=True)
    ]
    head = ["map", "seconds", "products", "residual", "difference from the first"]
    return markdown_table([*head, "bytes a site"], lines)


def _matsubara_table(found: list[dict[str, Any]]) -> str:
    lines = [
        [
            f"{row['sites']:,} sites, {row['threads']} thread(s)",
            spread(row["one"]),
            spread(row["all"]),
            spread(np.array(row["all"]) / np.array(row["one"])),
            row["iterations"],
            f"{row['residual']:.0e}",
            f"{row['bytes'] / 2**20:.0f}",
        ]
        for row in found
    ]
    head = ["problem", "lowest alone, s", "all, s", "ratio", "iterations", "residual"]
    return markdown_table([*head, "MiB"], lines)


def _draw(rows: dict[str, list[dict[str, Any]]], path: Path) -> None:
    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    times, memory = figure.subplots(1, 2)
    for name, found in rows.items():
        sites = np.array([row["sites"] for row in found])
        seconds = np.array([np.median(row["seconds"]) for row in found])
        sizes = np.array([row["bytes"] for row in found])
        times.plot(sites, 1e6 * seconds, "o-", label=name)
        memory.plot(sites, sizes / 2**20, "o-", label=name)
    for axes, scale in ((times, 1e6 * seconds[-1]), (memory, sizes[-1] / 2**20)):
        linear = scale * sites / sites[-1]
        axes.plot(sites, linear, "--", color="gray", label="proportional to n")
        axes.set(xscale="log", yscale="log", xlabel="sites n")
        axes.grid(alpha=0.3)
        axes.legend()
    times.set(ylabel="microseconds an iteration", title="Time, 1000 energies")
    memory.set(ylabel="MiB", title="Peak memory above that of a tiny problem")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    if WORKER in sys.argv:
        task_name, num_threads, words = sys.argv[sys.argv.index(WORKER) + 1 :]
        work(task_name, int(num_threads), json.loads(words))
    else:
        main(tyro.cli(Options))
