"""Time smearing, forward plus pullback, against autodiff and against C.

    python benchmarks/smearing.py                             # everything, one hour
    python benchmarks/smearing.py --sites 1e3 1e5 --coefficients 2 8    # one minute

All programs of a row run in turn in one process; a ratio is taken within one turn, so
that a busy machine slows both sides. Needs gcc.
"""

import argparse
import ctypes
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import isqrt
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import physml
from physml.lattices import BravaisLattice, chain, square
from physml.lattices.neighbors import shell_displacements
from physml.layers import smear

HERE = Path(__file__).parent
COMPONENTS = 3
HAND = "hand-written"
Program = Callable[[], object]
MOST_MEMORY = 6 * 2**30  # bytes of intermediate results that a program may take


@dataclass(frozen=True)
class Case:
    """One row of the table: what is smeared, in which dtype."""

    kind: str
    num_sites: int
    num_coefficients: int
    dtype: str

    @property
    def lattice(self) -> BravaisLattice:
        """The lattice; a square one has the nearest square number of sites."""
        if self.kind == "chain":
            return chain(self.num_sites)
        side = isqrt(self.num_sites)
        return square(side, side)

    @property
    def shells(self) -> tuple:
        """The displacements of the shells."""
        lattice = None if self.kind == "chain" else self.lattice
        return shell_displacements(self.num_coefficients, lattice)

    def arrays(self) -> list[np.ndarray]:
        """Return spins, coefficients and a cotangent."""
        random = np.random.default_rng(0)
        shape = (*self.lattice.shape, COMPONENTS)
        shapes = (shape, (self.num_coefficients,), shape)
        return [random.normal(size=s).astype(self.dtype) for s in shapes]


def roll_smear(spins: jax.Array, coefficients: jax.Array, shells: tuple) -> jax.Array:
    """Smear as one writes it first: a `roll` for each displacement."""
    axes = tuple(range(spins.ndim - 1))
    total = spins
    for a, shell in zip(coefficients, shells, strict=True):
        shifted = [jnp.roll(spins, [-d for d in step], axes) for step in shell]
        total = total + a * sum(shifted[1:], start=shifted[0])
    return total


def jax_program(smeared: Callable, arrays: list[np.ndarray]) -> Program | str:
    """Return the compiled forward plus pullback, or how much memory it would take."""
    spins, coefficients, cotangent = map(jnp.asarray, arrays)

    @jax.jit
    def both(spins: jax.Array, coefficients: jax.Array, cotangent: jax.Array) -> tuple:
        value, pull = jax.vjp(smeared, spins, coefficients)
        return value, *pull(cotangent)

    program = both.lower(spins, coefficients, cotangent).compile()
    memory = program.memory_analysis().temp_size_in_bytes
    if memory > MOST_MEMORY:
        return f"needs {memory / 2**30:.0f} GiB"
    return lambda: jax.block_until_ready(program(spins, coefficients, cotangent))


def c_program(library: Path, case: Case, arrays: list[np.ndarray]) -> Program:
    """Return the same in C, with room for the outputs and the margins."""
    shape, steps = case.lattice.shape, case.shells
    sizes = [*shape[:-1], shape[-1] * COMPONENTS]
    rows, width = (1, sizes[0]) if len(sizes) == 1 else sizes
    flat = [((0,) * (2 - len(step)) + step) for shell in steps for step in shell]
    up = max(abs(step[0]) for step in flat)
    side = COMPONENTS * max(abs(step[1]) for step in flat)
    offsets = np.array([d[0] * (width + 2 * side) + d[1] * COMPONENTS for d in flat])
    first = np.cumsum([0, *(len(shell) for shell in steps)])
    room = (rows + 2 * up) * (width + 2 * side)
    spins, coefficients, cotangent = arrays
    outputs = [np.empty_like(a) for a in (spins, spins, coefficients)]
    margins = [np.empty(room, case.dtype) for _ in range(2)]
    call = getattr(ctypes.CDLL(str(library)), f"smear_{case.dtype}")
    numbers = [ctypes.c_long(n) for n in (rows, width, up, side, len(steps))]
    keep = [spins, coefficients, cotangent, *outputs, *margins]
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in keep]
    tables = [ctypes.c_void_p(a.ctypes.data) for a in (first, offsets)]

    def run(_keep: tuple = (keep, first, offsets)) -> list[np.ndarray]:
        call(*pointers, *numbers, *tables)
        return outputs

    return run


def programs(case: Case, libraries: dict[str, Path]) -> dict[str, Program | str]:
    """Return every program of one row, a string where it takes too much memory."""
    arrays = case.arrays()
    lattice = None if case.kind == "chain" else case.lattice
    hand = partial(smear, lattice=lattice)
    built: dict[str, Program | str] = {
        HAND: jax_program(hand, arrays),
        "autodiff of its forward": jax_program(
            partial(hand, derivative="autodiff"), arrays
        ),
        "autodiff of roll": jax_program(
            partial(roll_smear, shells=case.shells), arrays
        ),
    }
    for name, library in libraries.items():
        built[name] = c_program(library, case, arrays)
    require_equal(case, runnable(built))
    return built


def runnable(built: dict[str, Program | str]) -> dict[str, Program]:
    """Leave out what takes too much memory."""
    return {name: run for name, run in built.items() if not isinstance(run, str)}


def require_equal(case: Case, built: dict[str, Program]) -> None:
    """Stop unless all programs give the same numbers, to rounding in a long sum."""
    results = {
        name: [np.asarray(x, float).ravel() for x in run()]
        for name, run in built.items()
    }
    terms = 16 * case.num_coefficients * np.sqrt(COMPONENTS * case.num_sites)
    bound = terms * np.finfo(case.dtype).eps
    for name, arrays in results.items():
        for got, want in zip(arrays, results[HAND], strict=True):
            error = np.abs(got - want).max() / np.abs(want).max()
            if not error <= bound:
                raise SystemExit(f"{case}: {name} is off by {error:.1e} > {bound:.1e}")


def timed(built: dict[str, Program], seconds: float) -> dict[str, np.ndarray]:
    """Run the programs in turn; return the seconds of each turn."""
    start = time.perf_counter()
    for run in built.values():
        run()
    round_time = time.perf_counter() - start
    repeats = max(1, int(0.002 / (round_time / len(built)))) if round_time < 0.01 else 1
    turns = int(np.clip(seconds / (round_time * repeats), 4, 200))
    times: dict[str, list[float]] = {name: [] for name in built}
    for turn in range(turns):
        order = list(built)[turn % len(built) :] + list(built)[: turn % len(built)]
        for name in order:
            run = built[name]
            start = time.perf_counter()
            for _ in range(repeats):
                run()
            times[name].append((time.perf_counter() - start) / repeats)
    return {name: np.array(values) for name, values in times.items()}


def row(case: Case, built: dict[str, Program | str], seconds: float) -> str:
    """Return a line of the table: milliseconds, then ratios with their quartiles."""
    times = timed(runnable(built), seconds)
    hand = times[HAND]
    cells = [case.kind, f"{case.num_sites:.0e}", str(case.num_coefficients), case.dtype]
    cells.append(f"{1e3 * np.median(hand):.3g}")
    for name, run in built.items():
        if isinstance(run, str):
            cells.append(run)
        elif name != HAND:
            low, middle, high = np.quantile(times[name] / hand, [0.25, 0.5, 0.75])
            cells.append(f"{middle:.2f} ({low:.2f}-{high:.2f})")
    return "| " + " | ".join(cells) + " |"


def compiled(folder: Path) -> dict[str, Path]:
    """Compile the C loop, with one thread and with OpenMP."""
    libraries = {}
    # Threads of OpenMP that wait by spinning would slow down the program after them.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    for name, flags in (("C, one thread", []), ("C, OpenMP", ["-fopenmp"])):
        target = folder / f"smearing{len(libraries)}.so"
        command = ["gcc", "-O3", "-march=native", *flags, "-shared", "-fPIC"]
        source = str(HERE / "smearing.c")
        subprocess.run([*command, source, "-o", str(target)], check=True)
        libraries[name] = target
    return libraries


def residual_table() -> list[str]:
    """Return what stacked layers keep for the pullback, in units of the spins."""
    lines = [
        "| layers | residuals / spins | hand-written peak / spins |",
        "|---|---|---|",
    ]
    spins = jnp.zeros((100_000, COMPONENTS))
    coefficients = jnp.full(8, 0.01)
    for layers in (1, 2, 5, 10):

        def stack(spins: jax.Array, a: jax.Array, layers: int = layers) -> jax.Array:
            for _ in range(layers):
                spins = smear(spins, a)
            return spins

        _, pull = jax.vjp(stack, spins, coefficients)
        kept = sum(x.nbytes for x in jax.tree.leaves(pull) if hasattr(x, "nbytes"))

        def both(spins: jax.Array, a: jax.Array, stack: Callable = stack) -> tuple:
            value, pull = jax.vjp(stack, spins, a)
            return value, pull(value)

        memory = jax.jit(both).lower(spins, coefficients).compile().memory_analysis()
        peak = memory.temp_size_in_bytes / spins.nbytes
        lines.append(f"| {layers} | {kept / spins.nbytes:.2f} | {peak:.2f} |")
    return lines


def cases(options: argparse.Namespace) -> list[Case]:
    """Return the sweep."""
    dtypes = ("float64", "float32")
    sweep = product(options.lattices, options.sites, options.coefficients, dtypes)
    return [Case(kind, int(n), count, dtype) for kind, n, count, dtype in sweep]


def machine() -> str:
    """Describe the machine."""
    info = Path("/proc/cpuinfo")
    names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
    model = names[0].split(":")[1].strip() if names else platform.processor()
    return f"{model}, {len(names)} cores, {platform.system()}, jax {jax.__version__}"


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = partial(parser.add_argument, nargs="+")
    add("--lattices", default=["chain", "square"], choices=["chain", "square"])
    add("--sites", type=float, default=[1e3, 1e4, 1e5, 1e6, 1e7])
    add("--coefficients", type=int, default=[1, 2, 8, 32])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each row")
    options = parser.parse_args()
    physml.enable_x64()
    print(f"Machine: {machine()}.\nCommand: `python {' '.join(sys.argv)}`.\n")
    with tempfile.TemporaryDirectory() as folder:
        libraries = compiled(Path(folder))
        names = ["autodiff of its forward", "autodiff of roll", *libraries]
        head = ["lattice", "sites", "coefficients", "dtype", f"{HAND}, ms"]
        head += [f"{name} / {HAND}" for name in names]
        print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
        for case in cases(options):
            built = programs(case, libraries)
            print(row(case, built, options.seconds), flush=True)
    print("\n" + "\n".join(residual_table()))


if __name__ == "__main__":
    main()
