"""What the gradient of Green's functions with respect to all potentials costs.

python benchmarks/greens_function_gradient.py

Each line is the time of value and gradient divided by that of the value, measured in
turns on one thread: the median, with the smallest and the largest. The derivative is
that of the sum over energies and sites of w rho, w random; its error is against a sum
over all eigenvectors.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import physml
from physml.hamiltonians import impurity_chain, impurity_potential, tight_binding
from physml.lattices import square
from physml.solvers.resolvent_elements import resolvent_elements

ROUTES = ("chebyshev", "resolvent", "lanczos", "auto")
BROADENING = 0.05


def problems(sites: int) -> dict:
    """Return the operators, and the sites whose elements are computed."""
    lattice = square(30, 30)
    random = np.random.default_rng(0)
    places = random.choice(lattice.num_sites, 10, replace=False)
    potential = impurity_potential(lattice, places, random.uniform(-6, 6, 10))
    return {
        "chain of 1000, one impurity": (
            impurity_chain(),
            np.arange(sites) + 499 - sites // 2,
        ),
        "square of 30 x 30, ten impurities": (
            tight_binding(lattice, potential=potential, boundary="open"),
            np.arange(sites) + 450,
        ),
    }


def elements(
    operator: object, z: jax.Array, columns: jax.Array, route: str, weight: jax.Array
) -> jax.Array:
    """Return the weighted sum of the densities of states."""
    found = resolvent_elements(
        operator, z, columns, max_iterations=10_000, derivative=route
    )
    return -jnp.sum(weight * found.value[..., 0].imag) / jnp.pi


def exact_gradient(
    operator: object, z: jax.Array, sites: np.ndarray, weight
) -> np.ndarray:
    """Return the gradient from all eigenvectors."""
    levels, states = np.linalg.eigh(operator.to_sparse().toarray())
    total = 0.0
    for site, row in zip(sites, np.asarray(weight), strict=True):
        solution = (states * states[site]) @ (1 / (np.asarray(z) - levels[:, None]))
        total = total - (solution**2).imag @ row / np.pi
    return total


def seconds(function: Callable, *arguments: object) -> float:
    """Return the time of one call."""
    start = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, default=8, help="elements at a time")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--routes", nargs="+", default=ROUTES, choices=ROUTES)
    options = parser.parse_args()
    physml.enable_x64()
    z = jnp.linspace(-2.5, 3, 100) + 1j * BROADENING
    for name, (operator, sites) in problems(options.sites).items():
        print(f"{name}, {len(z)} energies, {len(sites)} sites, broadening {BROADENING}")
        columns = jax.nn.one_hot(jnp.asarray(sites), operator.size, dtype=float)
        weight = jax.random.normal(jax.random.key(0), (len(sites), len(z)))
        exact = exact_gradient(operator, z, sites, weight)

        def loss(
            route: str,
            potential: jax.Array,
            operator=operator,
            columns=columns,
            weight=weight,
        ):
            return elements(
                replace(operator, potential=potential), z, columns, route, weight
            )

        value = jax.jit(partial(loss, "auto"))
        for route in options.routes:
            both = jax.jit(jax.value_and_grad(partial(loss, route)))
            gradient = both(operator.potential)[1]
            value(operator.potential).block_until_ready()
            error = np.abs(gradient - exact).max() / np.abs(exact).max()
            times = [
                (seconds(value, operator.potential), seconds(both, operator.potential))
                for _ in range(options.repeats)
            ]
            ratio = np.sort([pair[1] / pair[0] for pair in times])
            print(
                f"  {route:10s} {np.median(ratio):6.2f} ({ratio[0]:.2f} to "
                f"{ratio[-1]:.2f}); the value {min(t[0] for t in times):.3f} s; "
                f"error {error:.1e}"
            )


if __name__ == "__main__":
    main()
