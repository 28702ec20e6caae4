"""Time a product H v: hopping without a matrix, physml's sparse rows, SciPy's CSR.

python benchmarks/hopping.py --quick
python benchmarks/hopping.py --out TABLES

Products follow one another, v -> H v, in one compiled loop for physml and in a loop of
`csr @ v` for SciPy, which uses one thread; H has a norm below one. Run under
`taskset -c 0` for one thread against one. Bursts of all contenders take turns; ratios
are taken within a turn.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.typing import ArrayLike
from reporting import markdown_table, report, spread

from physml.hamiltonians import bogoliubov_de_gennes, disorder_potential, tight_binding
from physml.lattices import Lattice, chain, cubic, honeycomb, square, triangular
from physml.operators import HoppingOperator, LinearOperator, as_operator, to_sparse
from physml.precision import enable_x64


@dataclass(frozen=True)
class Options:
    """Time a product H v on lattices."""

    quick: bool = False
    """A hundredth of the sites."""
    out: Path | None = None
    """Folder for hopping.md and hopping.json."""
    rounds: int = 5
    """Turns of all contenders."""


def disordered(
    lattice: Lattice, *, hopping: ArrayLike = -0.1, flux: float | None = None
) -> HoppingOperator:
    """Return a disordered Hamiltonian with open ends."""
    return tight_binding(
        lattice,
        hopping=hopping,
        potential=disorder_potential(jax.random.key(0), lattice, 0.1),
        flux=flux,
        boundary="open",
    )


def problems(scale: int) -> dict[str, LinearOperator]:
    """Return the operators by name, of about 1e6 rows for a scale of 10."""
    plane, side = square(100 * scale, 100 * scale), 100 * scale
    bonds = np.random.default_rng(0).uniform(-0.1, -0.05, (2, *plane.shape))
    d_wave = bogoliubov_de_gennes(
        disordered(square(70 * scale, 70 * scale)), d_wave=0.02
    )
    return {
        "chain, 1000 sites": disordered(chain(1000)),
        "square": disordered(plane),
        "square, a hopping for each bond": disordered(plane, hopping=bonds),
        "square, flux 1/3 (complex)": disordered(plane, flux=1 / 3),
        "triangular": disordered(triangular(side, side)),
        "honeycomb": disordered(honeycomb(70 * scale, 70 * scale)),
        "cubic": disordered(cubic(10 * scale, 100, 10 * scale)),
        "d-wave on a square": d_wave,
    }


@partial(jax.jit, static_argnums=2)
def products(operator: LinearOperator, vector: jax.Array, count: int) -> jax.Array:
    """Apply an operator `count` times."""
    return jax.lax.fori_loop(0, count, lambda _, v: operator(v), vector)


def contenders(operator: LinearOperator, count: int) -> dict[str, Callable[[], object]]:
    """Return what is timed."""
    matrix = to_sparse(operator)
    vector = jnp.ones(operator.size, operator.dtype)
    plain, rows = np.asarray(vector), as_operator(matrix)

    def scipy_products() -> np.ndarray:
        result = plain
        for _ in range(count):
            result = matrix @ result
        return result

    return {
        "hopping": lambda: products(operator, vector, count).block_until_ready(),
        "sparse rows": lambda: products(rows, vector, count).block_until_ready(),
        "SciPy CSR": scipy_products,
    }


def seconds_of_a_product(
    operator: LinearOperator, rounds: int
) -> dict[str, list[float]]:
    """Return the times of all rounds, after a check that all results agree."""
    count = max(4, 4_000_000 // operator.size)
    runs = contenders(operator, count)
    first, *others = (np.asarray(run()) for run in runs.values())
    for other in others:
        np.testing.assert_allclose(other, first, rtol=0, atol=1e-12)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - start) / count)
    return times


def main(options: Options) -> None:
    """Measure and print the table."""
    enable_x64()
    data, lines = {}, []
    for name, operator in problems(1 if options.quick else 10).items():
        times = data[name] = seconds_of_a_product(operator, options.rounds)
        ours = np.array(times["hopping"])
        ratios = [
            spread(np.array(times[k]) / ours) for k in ("sparse rows", "SciPy CSR")
        ]
        lines.append([name, operator.size, spread(ours * 1e6), *ratios])
    headings = [
        "operator",
        "n",
        "hopping, us",
        "sparse rows, times",
        "SciPy CSR, times",
    ]
    table = markdown_table(headings, lines)
    report(options.out, "hopping", {"A product H v": table}, data)


if __name__ == "__main__":
    main(tyro.cli(Options))
