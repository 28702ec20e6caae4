"""Time the gradient of a map of local densities with respect to all potentials.

    taskset -c 0 python benchmarks/map_gradient.py
    python benchmarks/map_gradient.py --quick

The gradient of sum w rho, w random, with respect to all on-site potentials, beside the
value alone, both compiled, and beside a map outside of jit, where "krylov" takes half
of the digits; in turns. It is checked against sums over eigenvectors: the derivative of
G_ii with respect to the potential of k is G_ik G_ki.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from greens_functions import timed
from reporting import markdown_table, report, spread

from physml.greens_functions import local_density_of_states
from physml.greens_functions.method_choice import MethodName
from physml.hamiltonians import disorder_potential, impurity_chain, tight_binding
from physml.lattices import square
from physml.operators import HoppingOperator
from physml.parallel.threads import usable_cores
from physml.precision import enable_x64

AIM = 4.0
BROADENING = 0.05
CHECKED = 33  # one energy of so many


@dataclass(frozen=True)
class Options:
    """Time the gradient of a map."""

    quick: bool = False
    """Small lattices, one turn."""
    methods: tuple[MethodName, ...] = ("recursive", "dense", "krylov")
    """Of those that can be differentiated."""
    energies: int = 100
    """Of the maps."""
    krylov_sites: int = 16
    """Sites of the maps by the method "krylov"; the others do all."""
    rounds: int = 5
    """Turns."""
    out: Path | None = None
    """Folder for map_gradient.md and map_gradient.json."""


def problems(is_quick: bool) -> dict[str, HoppingOperator]:
    """Return operators by name."""
    length, side = (60, 6) if is_quick else (1000, 30)
    lattice = square(side, side)
    potential = disorder_potential(jax.random.key(0), lattice, 1.0)
    chain = impurity_chain(length, impurity_site=length // 2 - 1)
    plane = tight_binding(lattice, potential=potential, boundary="open")
    return {f"chain, {length}": chain, f"square, {side} x {side}": plane}


def exact_gradient(
    operator: HoppingOperator, z: np.ndarray, sites: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Return the gradient from all eigenvectors."""
    levels, vectors = np.linalg.eigh(operator.to_sparse().toarray())
    total = np.zeros(operator.size)
    wanted = np.any(weight, axis=1)
    for one_z, row in zip(z[wanted], weight[wanted], strict=True):
        green = (vectors[sites] / (one_z - levels)) @ vectors.T  # (num_sites, n)
        total -= row @ (green * green).imag / np.pi
    return total


def measured(
    operator: HoppingOperator, method: MethodName, options: Options, rounds: int
) -> dict:
    """Return the times of value and gradient, and the error of the gradient."""
    sites = np.arange(operator.size)
    if method == "krylov":
        sites = sites[:: -(-operator.size // options.krylov_sites)]
    energies = np.linspace(-4.0, 4.0, options.energies)
    weight = np.random.default_rng(0).normal(size=(len(energies), len(sites)))

    def loss(potential: jax.Array, weight: np.ndarray = weight) -> jax.Array:
        found = local_density_of_states(
            replace(operator, potential=potential),
            energies,
            BROADENING,
            sites=sites,
            method=method,
        )
        return jnp.sum(weight * found.values)

    potential = jnp.asarray(operator.potential)
    value, both = jax.jit(loss), jax.jit(jax.value_and_grad(loss))
    few = weight * (np.arange(len(energies)) % CHECKED == 0)[:, None]
    exact = exact_gradient(operator, energies + 1j * BROADENING, sites, few)
    found = np.ravel(jax.jit(jax.grad(loss))(potential, few))
    error = np.abs(found - exact).max() / np.abs(exact).max()
    runs: dict[str, Callable[[], Any]] = {
        "value": lambda: value(potential).block_until_ready(),
        "map": lambda: loss(potential).block_until_ready(),
        "gradient": lambda: jax.block_until_ready(both(potential)),
    }
    for run in runs.values():
        run()  # compiles
    return {"times": timed(runs, rounds), "error": float(error), "sites": len(sites)}


def main(options: Options) -> None:
    """Measure and print the table."""
    enable_x64()
    rounds = 1 if options.quick else options.rounds
    data, rows = {}, []
    for name, operator in problems(options.quick).items():
        for method in options.methods:
            found = measured(operator, method, options, rounds)
            data[f"{name}, {method}"] = found
            value, alone, both = (np.array(t) for t in found["times"].values())
            ratio = both / value
            rows.append(
                [
                    f"{name}, {found['sites']} sites, {method}",
                    spread(1e3 * value),
                    spread(1e3 * both),
                    spread(ratio),
                    spread(both / alone),
                    "met" if np.median(ratio) <= AIM else "missed",
                    f"{found['error']:.0e}",
                ]
            )
    headings = ["map", "value, ms", "value and gradient, ms"]
    headings += ["ratio", "ratio to a map outside of jit"]
    headings += [f"at most {AIM:g}", "relative error"]
    title = f"{options.energies} energies, {len(usable_cores())} core(s)"
    report(options.out, "map_gradient", {title: markdown_table(headings, rows)}, data)


if __name__ == "__main__":
    main(tyro.cli(Options))
