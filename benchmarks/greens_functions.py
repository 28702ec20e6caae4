"""Time all diagonal elements of the reference chain: physml, the published C, SciPy.

    taskset -c 0 python benchmarks/greens_functions.py --out TABLES     # one thread
    taskset -c 0,1 python benchmarks/greens_functions.py                # two threads

The chain has 1000 sites, hopping -1, potential 0.5, an impurity of 3 at the 500th site;
100 energies from -2.5 to 3, broadening 0.05. The programs run in turns in one process;
a ratio is taken within one turn. Every complex element is checked against the sum over
NumPy's eigenvectors. The published program has one thread. Needs gcc.
"""

import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import tyro
from reporting import markdown_table, report, spread

from physml.greens_functions.map_problem import map_problem
from physml.greens_functions.method_choice import MethodName, choose_method
from physml.greens_functions.rounds import rows_in_rounds
from physml.hamiltonians import impurity_chain
from physml.operators import HoppingOperator
from physml.parallel import SERIAL
from physml.parallel.threads import usable_cores
from physml.precision import enable_x64

C_FLAGS = ("-O3", "-march=native", "-ffast-math", "-shared", "-fPIC")
PUBLISHED = "C, Table III"
LIMIT = 100_000
AIM = 1e-9

Program = Callable[[], np.ndarray]  # returns G_ii(z), shape (num_sites, num_z)


@dataclass(frozen=True)
class Options:
    """Time all diagonal elements of the reference chain."""

    quick: bool = False
    """100 sites, 10 energies, 2 turns."""
    sites: int = 1000
    """Of the chain."""
    energies: int = 100
    """From -2.5 to 3."""
    rounds: int = 5
    """Turns."""
    out: Path | None = None
    """Folder for greens_functions.md and greens_functions.json."""


@dataclass(frozen=True)
class Problem:
    """Which elements: those of some sites at some z, all with one imaginary part."""

    operator: HoppingOperator
    z: np.ndarray
    sites: np.ndarray

    def by_eigenvectors(self) -> np.ndarray:
        """Return the elements from LAPACK's eigenvectors."""
        matrix = self.operator.to_sparse().toarray()
        levels, vectors = np.linalg.eigh(matrix)
        return (vectors[self.sites] ** 2) @ (1 / (self.z[:, None] - levels)).T

    def by_factors(self) -> np.ndarray:
        """Return the elements from SciPy's sparse factors, made for each z."""
        matrix = self.operator.to_sparse()
        units = np.zeros((matrix.shape[0], len(self.sites)), complex)
        units[self.sites, np.arange(len(self.sites))] = 1
        found = [
            np.diagonal(factors(matrix, z).solve(units)[self.sites]) for z in self.z
        ]
        return np.stack(found, axis=1)

    def by_physml(self, method: MethodName, tolerance: float = 1e-10) -> np.ndarray:
        """Do what `local_density_of_states` does, but keep the real part, too."""
        broadening = float(self.z[0].imag)
        problem = map_problem(
            self.operator, self.z.real, broadening, self.sites, tolerance
        )
        chosen = choose_method(method, problem)
        rows = rows_in_rounds(chosen, problem, SERIAL)
        return rows.green if chosen.items == "sites" else rows.green.T


def factors(matrix: scipy.sparse.csr_array, z: complex) -> scipy.sparse.linalg.SuperLU:
    """Return those of z - H, in the order that suits a symmetric matrix."""
    shifted = z * scipy.sparse.eye_array(matrix.shape[0]) - matrix
    return scipy.sparse.linalg.splu(
        shifted.tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )


def reference_problem(num_sites: int, num_energies: int) -> Problem:
    """Return the chain of the reference problem, at any size."""
    operator = impurity_chain(num_sites, impurity_site=num_sites // 2 - 1)
    z = np.linspace(-2.5, 3, num_energies) + 0.05j
    return Problem(operator, z, np.arange(num_sites))


def published(
    problem: Problem, folder: Path, freeze: float, stride: int = 0
) -> Program:
    """Return Table III in C, which stops at residuals of `freeze`.

    Parameters
    ----------
    problem
        A chain, or a square lattice with rows of length `stride`.
    folder
        For the compiled program.
    freeze
        The residual at which a shift stops.
    stride
        0 for a chain.
    """
    library = folder / "greens_functions.so"
    source = Path(__file__).parent / "greens_functions.c"
    subprocess.run(["gcc", *C_FLAGS, str(source), "-o", str(library)], check=True)
    call = ctypes.CDLL(str(library)).diagonal_elements
    call.restype = ctypes.c_long
    matrix = problem.operator.to_sparse()
    size = matrix.shape[0]
    near, far = np.zeros(size + 1), np.zeros(size + stride)
    near[1:size] = matrix.diagonal(1)
    far[stride:size] = matrix.diagonal(stride)
    arrays = np.array(matrix.diagonal()), near, far
    value = np.zeros((len(problem.sites), len(problem.z)), complex)

    def pointer(array: np.ndarray) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data)

    def run() -> np.ndarray:
        steps = call(
            *map(pointer, arrays),
            ctypes.c_long(size),
            ctypes.c_long(stride),
            pointer(problem.sites),
            ctypes.c_long(len(problem.sites)),
            pointer(problem.z),
            ctypes.c_long(len(problem.z)),
            ctypes.c_double(freeze),
            ctypes.c_long(LIMIT),
            pointer(value),
        )
        if steps < 0:
            raise SystemExit(f"The program in C took more than {LIMIT} iterations.")
        return value

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


def contenders(problem: Problem, folder: Path) -> dict[str, Program]:
    """Return all programs by name; the first is what the others are compared with."""
    own = problem.by_physml
    return {
        f"{PUBLISHED}, residual 5e-11": published(problem, folder, 5e-11),
        f"{PUBLISHED}, residual 1e-10": published(problem, folder, 1e-10),
        "krylov, residual 3e-6": partial(own, "krylov"),
        "krylov, residual 1e-10": partial(own, "krylov", 1e-19),  # its square
        "recursive": partial(own, "recursive"),
        "auto": partial(own, "auto"),
        "dense": partial(own, "dense"),
        "kernel_polynomial, residual 1e-10": partial(own, "kernel_polynomial"),
        "NumPy, eigenvectors": problem.by_eigenvectors,
        "SciPy, sparse factors": problem.by_factors,
    }


def main(options: Options) -> None:
    """Check the programs, time them, print the table."""
    enable_x64()
    sites, energies, rounds = (
        (100, 10, 2)
        if options.quick
        else (options.sites, options.energies, options.rounds)
    )
    problem = reference_problem(sites, energies)
    exact = problem.by_eigenvectors()
    with tempfile.TemporaryDirectory() as folder:
        programs = contenders(problem, Path(folder))
        errors = {name: np.abs(run() - exact).max() for name, run in programs.items()}
        times = timed(programs, rounds)
    first = np.array(next(iter(times.values())))
    rows = [
        (
            name,
            spread(each),
            spread(np.array(each) / first),
            spread(first / np.array(each)),
            f"{errors[name]:.1e}" + ("" if errors[name] < AIM else " (too large)"),
        )
        for name, each in times.items()
    ]
    head = ("program", "seconds", "times the first", "times as fast", "largest error")
    title = f"All {sites} sites, {energies} energies, {len(usable_cores())} core(s)"
    data = {"times": times, "errors": {k: float(e) for k, e in errors.items()}}
    report(options.out, "greens_functions", {title: markdown_table(head, rows)}, data)


if __name__ == "__main__":
    main(tyro.cli(Options))
