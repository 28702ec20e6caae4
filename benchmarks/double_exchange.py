"""Exact local Metropolis of double exchange: diagonalizations or Green's functions.

python benchmarks/double_exchange.py --quick
taskset -c 0 python benchmarks/double_exchange.py --out TABLES

A sweep tries each site once. NumPy's loop changes the 2 x 2 block of a site in its
matrix and calls `eigvalsh`; the compiled ones are `LocalMetropolis`. Contenders
take turns on one core, ratios are taken within a turn. OPENBLAS_NUM_THREADS=1 and
`taskset -c 0` keep both sides to one thread.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from reporting import markdown_table, report, spread

from physml.hamiltonians import DoubleExchange, double_exchange_density, random_spins
from physml.lattices import square
from physml.precision import enable_x64
from physml.samplers import LocalDensity, LocalMetropolis
from physml.samplers.kernel import SpinState
from physml.samplers.local_density import with_spin
from physml.solvers import eigenvalues, fermi_poles

TEMPERATURE = 0.05
NUMPY, LEVELS = "NumPy, eigvalsh", "compiled, eigenvalues"
GREEN, KEPT = "Green's functions", "Green's functions, kept"


@dataclass(frozen=True)
class Options:
    """Time exact local Metropolis of double exchange, T = 0.05 t, J = t, mu = 0."""

    sizes: tuple[int, ...] = (4, 6, 8)
    """Extents of the square lattices."""
    angle: float = 1.0
    """Half angle of the cone of proposals, in radians."""
    rounds: int = 5
    """Turns of all contenders."""
    quick: bool = False
    """The smallest lattice, two turns."""
    out: Path | None = None
    """Folder for double_exchange.md and double_exchange.json."""


@dataclass(frozen=True)
class Problem:
    """One lattice and its chain of proposals."""

    model: DoubleExchange
    spins: jax.Array
    angle: float

    @property
    def num_sites(self) -> int:
        """Trials of a sweep."""
        return self.model.lattice.num_sites


@partial(jax.jit, static_argnames="num_steps")
def compiled_steps(
    kernel: LocalMetropolis,
    spins: jax.Array,
    angle: jax.Array,
    key: jax.Array,
    *,
    num_steps: int,
) -> tuple[jax.Array, jax.Array]:
    """Return the spins after some steps and the mean acceptance of trials."""

    def step(state: SpinState, key: jax.Array) -> tuple[SpinState, jax.Array]:
        state, tally = kernel.step(key, state, {"local": angle})
        return state, tally.acceptance["local"]

    start = SpinState(spins, jnp.zeros(()))
    state, acceptance = jax.lax.scan(step, start, jax.random.split(key, num_steps))
    return state.spins, acceptance.mean()


def numpy_sweep(
    matrix: np.ndarray, spins: np.ndarray, angle: float, random: np.random.Generator
) -> None:
    """Sweep once in place: matrix (2n, 2n), spins (n, 3)."""
    sigma = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])

    def log_density() -> float:
        levels = np.linalg.eigvalsh(matrix)
        return float(np.sum(np.logaddexp(0, -levels / TEMPERATURE)))

    before = log_density()
    for site in range(len(spins)):
        drop = 2 * np.sin(angle / 2) ** 2 * random.uniform()
        side = np.cross(spins[site], random.normal(size=3))
        side *= np.sqrt(drop * (2 - drop)) / np.linalg.norm(side)
        new_spin = (1 - drop) * spins[site] + side
        block = (slice(2 * site, 2 * site + 2),) * 2
        old = matrix[block].copy()
        matrix[block] += np.tensordot(new_spin - spins[site], sigma, 1) / 2
        after = log_density()
        if np.log(random.uniform()) < after - before:
            spins[site], before = new_spin, after
        else:
            matrix[block] = old


def contenders(problem: Problem) -> dict[str, tuple[Callable[[], object], int]]:
    """Return programs by name, with how many sweeps each makes."""
    model, spins = problem.model, problem.spins
    matrix, numpy_spins = np.array(model.matrix(spins)), np.array(spins).reshape(-1, 3)
    random = np.random.default_rng(0)
    levels, green = (
        double_exchange_density(model, TEMPERATURE, method=method)
        for method in ("diagonalization", "greens_function")
    )

    def looped(density: LocalDensity, sweeps: int, steps: int) -> tuple:
        kernel = LocalMetropolis(density, num_sweeps=sweeps)
        arguments = (kernel, spins, jnp.asarray(problem.angle), jax.random.key(1))
        run = partial(compiled_steps, *arguments, num_steps=steps)
        return run, sweeps * steps

    return {
        NUMPY: (lambda: numpy_sweep(matrix, numpy_spins, problem.angle, random), 1),
        LEVELS: looped(levels, 1, 1),
        GREEN: looped(green, 1, 10),
        KEPT: looped(green, 50, 1),
    }


@partial(jax.jit, static_argnames=("step", "num_calls"))
def repeated(step: Callable, start: Any, arguments: Any, *, num_calls: int) -> Any:
    """Call step(arguments, index, carry) -> carry in one compiled loop."""
    return jax.lax.fori_loop(0, num_calls, partial(step, arguments), start)


def trial(arguments: tuple, index: jax.Array, total: jax.Array) -> jax.Array:
    """Add up log ratios, each of another site."""
    density, cache, spins, new_spins = arguments
    site = index % new_spins.shape[0]
    # the total enters, so that no trial is made before its turn
    new_spin = new_spins[site] + 0 * total
    return total + density.log_ratio(cache, spins, site, new_spin)


def accepted_move(arguments: tuple, index: jax.Array, carry: tuple) -> tuple:
    """Move one spin."""
    density, new_spins = arguments
    spins, cache = carry
    site = index % new_spins.shape[0]
    new_spin = new_spins[(index * 7 + 3) % new_spins.shape[0]]
    cache = density.move(cache, spins, site, new_spin)
    return with_spin(spins, site, new_spin), cache


def again_started(arguments: tuple, index: jax.Array, total: jax.Array) -> jax.Array:
    """Start from spins that depend on what came before."""
    del index
    density, spins = arguments
    cache = density.start(spins + 0 * total)
    return total + cache.log_density + cache.elements[0, 0, 0, 0]


def levels_of(
    routine: Callable, matrix: jax.Array, index: jax.Array, total: jax.Array
) -> jax.Array:
    """Find all levels."""
    del index
    return total + routine(matrix + 0 * total.astype(matrix.dtype))[0]


def numpy_levels(matrix: np.ndarray, num_calls: int) -> None:
    """Find all levels some times."""
    for _ in range(num_calls):
        np.linalg.eigvalsh(matrix)


def value_and_force(arguments: tuple, index: jax.Array, spins: jax.Array) -> jax.Array:
    """Find F and its derivative."""
    del index
    model = arguments
    value, force = jax.value_and_grad(model.free_energy)(spins, TEMPERATURE)
    return spins + 0 * value * force


# once each, so that nothing is compiled twice
PLAIN_LEVELS, ONLY_LEVELS = (
    partial(levels_of, jnp.linalg.eigvalsh),
    partial(levels_of, eigenvalues),
)


def parts(problem: Problem) -> dict[str, tuple[Callable[[], object], int]]:
    """Return the parts of a sweep by name, with how many calls each makes."""
    model, spins, zero = problem.model, problem.spins, jnp.zeros(())
    density = double_exchange_density(model, TEMPERATURE)
    cache, matrix = density.start(spins), model.matrix(spins)
    new_spins = random_spins(jax.random.key(5), problem.num_sites)
    numpy_matrix = np.array(matrix)

    def looped(step: Callable, start: Any, arguments: Any, calls: int) -> tuple:
        return lambda: repeated(step, start, arguments, num_calls=calls), calls

    return {
        "trial": looped(trial, zero, (density, cache, spins, new_spins), 2000),
        "accepted move": looped(
            accepted_move, (spins, cache), (density, new_spins), 200
        ),
        "start": looped(again_started, zero, (density, spins), 10),
        "all levels, NumPy": (lambda: numpy_levels(numpy_matrix, 10), 10),
        "all levels, jnp.linalg": looped(PLAIN_LEVELS, zero, matrix, 10),
        "all levels, physml": looped(ONLY_LEVELS, zero, matrix, 10),
        "F and its gradient": looped(value_and_force, spins, model, 10),
    }


def seconds(program: Callable[[], object], calls: int) -> float:
    """Return the time of one of the calls."""
    start = time.perf_counter()
    jax.block_until_ready(program())
    return (time.perf_counter() - start) / calls


def timed(
    programs: dict[str, tuple[Callable[[], object], int]], rounds: int
) -> dict[str, list[float]]:
    """Let all programs take turns; the first, in which they compile, does not count."""
    turns = [
        {name: seconds(*pair) for name, pair in programs.items()}
        for _ in range(rounds + 1)
    ]
    return {name: [turn[name] for turn in turns[1:]] for name in programs}


def table(problem_times: dict[str, dict[str, list[float]]], against: str) -> str:
    """Return microseconds, and how many times as long `against` takes."""
    rows = []
    for size, times in problem_times.items():
        for name, values in times.items():
            ratios = np.divide(times[against], values)
            rows.append((size, name, spread(np.array(values) * 1e6), spread(ratios)))
    return markdown_table(["lattice", "", "us", f"times as fast as {against}"], rows)


def accuracy() -> str:
    """Return a table of poles and errors, 6 x 6."""
    model, rows = DoubleExchange(square(6, 6)), []
    spins = random_spins(jax.random.key(0), 36).reshape(6, 6, 3)
    for temperature in (0.2, 0.1, 0.05, 0.03, 0.01):
        for tolerance in (1e-6, 1e-9, 1e-12):
            density = double_exchange_density(model, temperature, tolerance=tolerance)
            error = fermi_poles(4.5 / temperature, tolerance).error
            worst, size = largest_error(model, temperature, density, spins)
            number = density.energies.size
            cells = (f"{tolerance:.0e}", number, *(f"{x:.1e}" for x in (error, worst)))
            rows.append((temperature, *cells, f"{size * np.finfo(float).eps:.1e}"))
    headings = ["T / t", "tolerance", "poles", "error of f", "error of F'/T - F/T"]
    return markdown_table([*headings, "eps F/T"], rows)


def largest_error(
    model: DoubleExchange, temperature: float, density: Any, spins: jax.Array
) -> tuple[float, float]:
    """Return the largest error of 72 trials against NumPy, and F/T."""

    def exact(spins: jax.Array) -> float:
        levels = np.linalg.eigvalsh(np.asarray(model.matrix(spins)))
        return float(np.sum(np.logaddexp(0, -levels / temperature)))

    cache, before, worst = density.start(spins), exact(spins), 0.0
    for k, new_spin in enumerate(random_spins(jax.random.key(3), 72)):
        site = jnp.asarray(k % 36)
        ratio = density.log_ratio(cache, spins, site, new_spin)
        want = exact(with_spin(spins, site, new_spin)) - before
        worst = max(worst, abs(float(ratio) - want))
    return worst, before


def drift(num_moves: int) -> str:
    """Return one line on what accepted moves do to the Green's functions."""
    model = DoubleExchange(square(6, 6))
    spins = random_spins(jax.random.key(0), 36).reshape(6, 6, 3)
    density = double_exchange_density(model, TEMPERATURE)
    new_spins = random_spins(jax.random.key(5), 36)
    start, arguments = (spins, density.start(spins)), (density, new_spins)
    spins, cache = repeated(accepted_move, start, arguments, num_calls=num_moves)
    again = density.start(spins)
    error = float(jnp.abs(cache.elements - again.elements).max())
    largest = float(jnp.abs(again.elements).max())
    value = float(cache.log_density - again.log_density)
    return (
        f"After {num_moves} accepted moves on 6 x 6 the largest error of an element of "
        f"G is {error:.1e} (the largest element is {largest:.2g}), that of F/T, which "
        f"is {-float(again.log_density):.0f}, {abs(value):.1e}.\n"
    )


def main(options: Options) -> None:
    """Measure and report."""
    enable_x64()
    sizes = options.sizes[:1] if options.quick else options.sizes
    rounds = 2 if options.quick else options.rounds
    sweeps, each, acceptances = {}, {}, []
    for size in sizes:
        lattice, name = square(size, size), f"{size} x {size}"
        spins = random_spins(jax.random.key(0), size**2).reshape(size, size, 3)
        model = DoubleExchange(lattice)
        density = double_exchange_density(model, TEMPERATURE)
        spins, acceptance = compiled_steps(
            LocalMetropolis(density),
            spins,
            jnp.asarray(options.angle),
            jax.random.key(2),
            num_steps=200,
        )
        acceptances.append(f"{name} {float(acceptance):.2f}")
        problem = Problem(model, spins, options.angle)
        sweeps[name] = timed(contenders(problem), rounds)
        each[name] = timed(parts(problem), rounds)
    sections = {
        "A sweep": f"Accepted: {', '.join(acceptances)}.\n\n{table(sweeps, NUMPY)}",
        "Its parts": table(each, "all levels, NumPy"),
        "Poles and errors": accuracy() + "\n" + drift(10_000),
    }
    report(options.out, "double_exchange", sections, {"sweeps": sweeps, "parts": each})


if __name__ == "__main__":
    main(tyro.cli(Options))
