"""Time all diagonal elements of the reference chain, Krylov against the published C.

    python benchmarks/greens_functions.py --out TABLES                  # one minute
    taskset -c 0 python benchmarks/greens_functions.py                  # one thread

The chain has 1000 sites, hopping -1, potential 0.5, an impurity of 3 at the 500th site;
100 energies from -2.5 to 3, broadening 0.05. The programs run in turns in one process;
a ratio is taken within one turn. Every program is checked against the sum over
eigenvectors, whose time (diagonalization and sum) is in the table, too. Needs gcc.
"""

import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from reporting import markdown_table, report, spread

import physml
from physml.hamiltonians.tight_binding import impurity_chain
from physml.operators.hopping import HoppingOperator
from physml.solvers import reduced_shifted_krylov

C_FLAGS = ("-O3", "-march=native", "-ffast-math", "-shared", "-fPIC")
PUBLISHED = "C, Table III"
LIMIT = 10_000

Program = Callable[[], np.ndarray]  # returns G_ii(z), shape (num_sites, num_z)


@dataclass(frozen=True)
class Options:
    """Time all diagonal elements of the reference chain."""

    sites: int = 1000
    """Of the chain."""
    energies: int = 100
    """From -2.5 to 3."""
    batch: int = 16
    """Sites whose Krylov spaces are built together."""
    rounds: int = 5
    """Turns."""
    out: Path | None = None
    """Folder for greens_functions.md and greens_functions.json."""


@dataclass(frozen=True)
class Problem:
    """The operator and the shifts."""

    operator: HoppingOperator
    z: np.ndarray

    def by_eigenvectors(self) -> np.ndarray:
        """Return the elements from LAPACK's eigenvectors."""
        matrix = self.operator.to_sparse().toarray()
        levels, vectors = np.linalg.eigh(matrix)
        return (vectors * vectors) @ (1 / (self.z[:, None] - levels)).T


def reference_problem(options: Options) -> Problem:
    """Return the chain of the reference problem, at any size."""
    size = options.sites
    operator = impurity_chain(size, impurity_site=size // 2 - 1)
    return Problem(operator, np.linspace(-2.5, 3, options.energies) + 0.05j)


def published(problem: Problem, folder: Path, freeze: float) -> Program:
    """Return Table III in C, which stops at residuals of `freeze`."""
    library = folder / "greens_functions.so"
    source = Path(__file__).parent / "greens_functions.c"
    subprocess.run(["gcc", *C_FLAGS, str(source), "-o", str(library)], check=True)
    call = ctypes.CDLL(str(library)).diagonal_elements
    call.restype = ctypes.c_long
    matrix = problem.operator.to_sparse()
    diagonal, hopping = np.array(matrix.diagonal()), np.array(matrix.diagonal(1))
    size, number = matrix.shape[0], len(problem.z)
    value = np.zeros((size, number), complex)

    def pointer(array: np.ndarray) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data)

    def run() -> np.ndarray:
        steps = call(
            pointer(diagonal),
            pointer(hopping),
            ctypes.c_long(size),
            pointer(problem.z),
            ctypes.c_long(number),
            ctypes.c_double(freeze),
            ctypes.c_long(LIMIT),
            pointer(value),
        )
        if steps < 0:
            raise SystemExit(f"The program in C took more than {LIMIT} iterations.")
        return value

    return run


def krylov(problem: Problem, batch: int, tolerance: float) -> Program:
    """Return physml's program, which stops at residuals of `tolerance`."""
    z, unit = jnp.asarray(problem.z), jnp.eye(problem.operator.size)
    limits = {"tolerance": tolerance, "max_iterations": LIMIT}

    def run() -> np.ndarray:
        found = [
            reduced_shifted_krylov(
                problem.operator, z, unit[i : i + batch], None, **limits
            )
            for i in range(0, len(unit), batch)
        ]
        return np.concatenate([jax.device_get(one.value[..., 0]) for one in found])

    return run


def timed(programs: dict[str, Program], rounds: int) -> dict[str, list[float]]:
    """Run the programs in turns; return the seconds of each turn."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, run in programs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return times


def main(options: Options) -> None:
    """Check the programs, time them, print the table."""
    physml.enable_x64()
    problem = reference_problem(options)
    with tempfile.TemporaryDirectory() as folder:
        programs = {
            f"{PUBLISHED}, frozen at 1e-12": published(problem, Path(folder), 1e-12),
            f"{PUBLISHED}, frozen at 1e-11": published(problem, Path(folder), 1e-11),
            "physml, residual 1e-10": krylov(problem, options.batch, 1e-10),
            "physml, residual 3e-6": krylov(problem, options.batch, 3e-6),
            "NumPy, eigenvectors": problem.by_eigenvectors,
        }
        exact = problem.by_eigenvectors()
        errors = {name: np.abs(run() - exact).max() for name, run in programs.items()}
        times = timed(programs, options.rounds)
    first = np.array(next(iter(times.values())))
    rows = [
        (name, spread(each), spread(np.array(each) / first), f"{errors[name]:.1e}")
        for name, each in times.items()
    ]
    head = ("program", "seconds", f"times {PUBLISHED}", "largest error")
    title = f"All {options.sites} sites, {options.energies} energies"
    data = {"times": times, "errors": {k: float(e) for k, e in errors.items()}}
    report(options.out, "greens_functions", {title: markdown_table(head, rows)}, data)


if __name__ == "__main__":
    main(tyro.cli(Options))
