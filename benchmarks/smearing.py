"""Time smearing, forward plus pullback, against autodiff and against C.

    python benchmarks/smearing.py --out TABLES       # everything, half an hour
    python benchmarks/smearing.py --sites 1e3 1e5 --coefficients 2 8    # one minute

Each row of the table has a process of its own, in which its programs run in turn; a
ratio is taken within one turn, so that a busy machine slows both sides. The
hand-written program is timed twice in a turn: the ratio of the two says how much a
ratio is worth. A program that compiles or runs too long, or that the system ends, is
left out of its row with the reason. With --out every row is kept at once, and rows that
are there already are not measured again. Needs gcc.
"""

import ctypes
import json
import multiprocessing
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from math import isqrt
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from reporting import machine, markdown_table

import physml
from physml.lattices import BravaisLattice, chain, square
from physml.lattices.neighbors import shell_displacements
from physml.layers import smear

HERE = Path(__file__).parent
COMPONENTS = 3
HAND, AGAIN = "hand-written", "itself again"
FORWARD, ROLL = "autodiff of its forward", "autodiff of roll"
C_FLAGS: dict[str, list[str]] = {"C, one thread": [], "C, OpenMP": ["-fopenmp"]}
DTYPES = ("float64", "float32")
NAMES = (HAND, AGAIN, FORWARD, ROLL, *C_FLAGS)
MOST_MEMORY = 6 * 2**30  # bytes of intermediate results that a program may take

# The C library's `free` gives large blocks back to the system, so that a program of
# 1e6 sites spends most of its time on getting them again. A program that runs in a
# compiled loop has its memory once, as the C loop here has.
KEEP_MEMORY = {
    "MALLOC_TOP_PAD_": "1000000000",
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
}

Program = Callable[[], object]
Times = dict[str, list[float]]  # seconds of one call, for each turn
Reasons = dict[str, str]  # why a program is not in its row


@dataclass(frozen=True)
class Options:
    """Time smearing, forward plus pullback, against autodiff and against C."""

    lattices: tuple[Literal["chain", "square"], ...] = ("chain", "square")
    """Lattices."""
    sites: tuple[float, ...] = (1e3, 1e4, 1e5, 1e6, 1e7)
    """Numbers of sites."""
    coefficients: tuple[int, ...] = (1, 2, 8, 32)
    """Numbers of coefficients."""
    seconds: float = 2.0
    """Of measurement for each row, about."""
    limit: float = 60.0
    """Seconds for one program to be compiled and to run once."""
    keep_memory: bool = True
    """Let the C library keep freed memory instead of returning it to the system."""
    out: Path | None = None
    """Folder for smearing.md and smearing.jsonl; rows in there are not run again."""


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


def temporary_bytes(program: jax.stages.Compiled) -> int:
    """Return what a compiled program needs for its intermediate results."""
    memory = program.memory_analysis()
    assert memory is not None
    return memory.temp_size_in_bytes


def jax_program(smeared: Callable, arrays: list[np.ndarray]) -> Program | str:
    """Return the compiled forward plus pullback, or how much memory it would take."""
    spins, coefficients, cotangent = map(jnp.asarray, arrays)

    @jax.jit
    def both(spins: jax.Array, coefficients: jax.Array, cotangent: jax.Array) -> tuple:
        value, pull = jax.vjp(smeared, spins, coefficients)
        return value, *pull(cotangent)

    program = both.lower(spins, coefficients, cotangent).compile()
    memory = temporary_bytes(program)
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


def build(name: str, case: Case, folder: Path) -> Program | str:
    """Return one program of a row, or why there is none."""
    arrays = case.arrays()
    lattice = None if case.kind == "chain" else case.lattice
    smeared = {
        HAND: partial(smear, lattice=lattice),
        FORWARD: partial(smear, lattice=lattice, derivative="autodiff"),
        ROLL: partial(roll_smear, shells=case.shells),
    }
    if name in smeared:
        return jax_program(smeared[name], arrays)
    return c_program(folder / f"{name}.so", case, arrays)


def flat_result(run: Program) -> list[np.ndarray]:
    """Run a program and return its numbers."""
    return [np.asarray(x, float).ravel() for x in run()]  # type: ignore[attr-defined]


def require_equal(
    name: str, case: Case, result: list[np.ndarray], wanted: list[np.ndarray]
) -> None:
    """Stop unless a program gives the same numbers, to rounding in a long sum."""
    terms = 16 * case.num_coefficients * np.sqrt(COMPONENTS * case.num_sites)
    bound = terms * np.finfo(case.dtype).eps
    for got, want in zip(result, wanted, strict=True):
        error = np.abs(got - want).max() / np.abs(want).max()
        if not error <= bound:
            raise SystemExit(f"{case}: {name} is off by {error:.1e} > {bound:.1e}")


def timed(built: dict[str, Program], seconds: float) -> Times:
    """Run the programs in turns, in random order; return the seconds of each turn."""
    start = time.perf_counter()
    for run in built.values():
        run()
    round_time = time.perf_counter() - start
    repeats = max(1, int(0.002 / (round_time / len(built)))) if round_time < 0.01 else 1
    turns = int(np.clip(seconds / (round_time * repeats), 4, 200))
    times: Times = {name: [] for name in built}
    random = np.random.default_rng(0)
    for _ in range(turns):
        for name in random.permutation(list(built)):
            run = built[name]
            start = time.perf_counter()
            for _ in range(repeats):
                run()
            times[name].append((time.perf_counter() - start) / repeats)
    return times


def measure(
    case: Case, skip: Reasons, folder: Path, seconds: float, parent: Connection
) -> None:
    """Build and time the programs of a row; tell the parent process what goes on."""
    physml.enable_x64()
    built: dict[str, Program] = {}
    left_out = dict(skip)
    wanted: list[np.ndarray] = []
    for name in NAMES:
        if name == AGAIN or name in skip:
            continue
        parent.send(name)
        program = build(name, case, folder)
        if isinstance(program, str):
            left_out[name] = program
            continue
        result = flat_result(program)
        wanted = wanted or result
        require_equal(name, case, result, wanted)
        built[name] = program
    parent.send("the measurement")
    parent.send((timed(built | {AGAIN: built[HAND]}, seconds), left_out))


def attempt(
    case: Case, skip: Reasons, folder: Path, options: Options
) -> tuple[Times | str, Any]:
    """Measure a row in a process of its own; or say which program failed, and why."""
    context = multiprocessing.get_context("spawn")
    parent, child = context.Pipe()
    arguments = (case, skip, folder, options.seconds, child)
    process = context.Process(target=measure, args=arguments)
    process.start()
    child.close()
    message: Any = "the start"
    try:
        while isinstance(message, str):
            name = message
            programs = 1 if name in NAMES else len(NAMES)
            if not parent.poll(options.limit * programs):
                return name, f"over {options.limit * programs:.0f} s"
            message = parent.recv()
    except EOFError:
        process.join()
        return name, f"ended with exit code {process.exitcode}"
    else:
        return message
    finally:
        process.kill()
        process.join()


def run_row(case: Case, folder: Path, options: Options) -> tuple[Times, Reasons]:
    """Measure a row, without the programs that do not come to an end."""
    skip: Reasons = {}
    while True:
        first, second = attempt(case, skip, folder, options)
        if not isinstance(first, str):
            return first, second
        if first not in NAMES or first == HAND:
            raise SystemExit(f"{case}: {first} {second}")
        skip[first] = f"not run: {second}"


def cells(case: Case, times: Times, left_out: Reasons) -> list[str]:
    """Return a line of the table: milliseconds, then ratios with their quartiles."""
    hand = np.array(times[HAND])
    line = [case.kind, f"{case.num_sites:.0e}", str(case.num_coefficients), case.dtype]
    line.append(f"{1e3 * np.median(hand):.3g}")
    for name in NAMES[1:]:
        if name in times:
            ratio = np.array(times[name]) / hand
            low, middle, high = np.quantile(ratio, [0.25, 0.5, 0.75])
            line.append(f"{middle:.2f} ({low:.2f}-{high:.2f})")
        else:
            line.append(left_out[name])
    return line


def compile_c(folder: Path) -> None:
    """Compile the C loop, with one thread and with OpenMP."""
    for name, flags in C_FLAGS.items():
        command = ["gcc", "-O3", "-march=native", *flags, "-shared", "-fPIC"]
        target = str(folder / f"{name}.so")
        subprocess.run([*command, str(HERE / "smearing.c"), "-o", target], check=True)


def residual_table() -> str:
    """Return what stacked layers keep for the pullback, in units of the spins."""
    rows = []
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

        program = jax.jit(both).lower(spins, coefficients).compile()
        peak = temporary_bytes(program) / spins.nbytes
        rows.append((layers, f"{kept / spins.nbytes:.2f}", f"{peak:.2f}"))
    return markdown_table(("layers", "residuals / spins", "peak / spins"), rows)


def cases(options: Options) -> list[Case]:
    """Return the sweep."""
    sweep = product(options.lattices, options.sites, options.coefficients, DTYPES)
    return [Case(kind, int(n), count, dtype) for kind, n, count, dtype in sweep]


def read_rows(out: Path | None) -> dict[Case, list[str]]:
    """Return the rows that an earlier run has left."""
    path = out / "smearing.jsonl" if out else None
    if path is None or not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {Case(**line["case"]): line["cells"] for line in lines}


def write(out: Path, case: Case, times: Times, rows: dict[Case, list[str]]) -> None:
    """Add a row to the files."""
    out.mkdir(parents=True, exist_ok=True)
    line: dict[str, Any] = {"case": asdict(case), "cells": rows[case], "times": times}
    with (out / "smearing.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    (out / "smearing.md").write_text(f"Machine: {machine()}\n\n{table(rows)}")


def table(rows: dict[Case, list[str]]) -> str:
    """Return all rows as Markdown, in the order of the sweep."""
    head = ["lattice", "sites", "coefficients", "dtype", f"{HAND}, ms"]
    head += [f"{name} / {HAND}" for name in NAMES[1:]]
    order = sorted(
        rows,
        key=lambda c: (c.kind, c.num_sites, c.num_coefficients, DTYPES.index(c.dtype)),
    )
    return markdown_table(head, [rows[case] for case in order])


def main(options: Options) -> None:
    """Measure the rows, print each, and print the table of the memory."""
    # Threads of OpenMP that wait by spinning would slow down the program after them.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    if options.keep_memory:
        os.environ.update(KEEP_MEMORY)  # read when a process starts
    rows = read_rows(options.out)
    with tempfile.TemporaryDirectory() as folder:
        compile_c(Path(folder))
        for case in cases(options):
            if case in rows:
                continue
            times, left_out = run_row(case, Path(folder), options)
            rows[case] = cells(case, times, left_out)
            print("| " + " | ".join(rows[case]) + " |", flush=True)
            if options.out:
                write(options.out, case, times, rows)
    physml.enable_x64()
    print("\n" + table(rows) + "\n" + residual_table())


if __name__ == "__main__":
    main(tyro.cli(Options))
