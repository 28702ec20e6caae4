r"""The classical Heisenberg energy on periodic lattices. Units: those of the coupling.

.. math::
    E = \sum_s J_s \sum_i \mathbf S_i \cdot \sum_{j \in \text{shell } s \text{ of } i}
    \mathbf S_j , \qquad
    \text{on a chain: } E = J \sum_i \mathbf S_i \cdot (\mathbf S_{i+1}
    + \mathbf S_{i-1}) .

As in the published formula the sum over i counts each bond twice; J > 0 favors
antiparallel spins. Its derivatives are
:math:`\partial E / \partial \mathbf S_i = 2 \sum_s J_s \sum_j \mathbf S_j` and
:math:`\partial E / \partial J_s = \sum_i \mathbf S_i \cdot \sum_j \mathbf S_j`.
Derivation: docs/derivations/heisenberg.md.
"""

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from physml.failures import expected_type
from physml.lattices.bravais import BravaisLattice
from physml.lattices.neighbors import (
    Displacements,
    matched,
    neighbor_products,
    neighbor_sum,
    require_field,
    shell_displacements,
)
from physml.layers.smearing import smear
from physml.pullbacks import Derivative, with_pullback


def heisenberg_energy(
    spins: jax.Array,
    coupling: jax.Array | float,
    *,
    lattice: BravaisLattice | None = None,
    derivative: Derivative = "custom_vjp",
) -> jax.Array:
    """Return the Heisenberg energy, each bond counted twice.

    Parameters
    ----------
    spins
        Real, shape (..., sites, components), or (..., n_1, ..., n_d, components) with
        a `lattice`; of any length, not normalized here.
    coupling
        J of the nearest neighbors, or J_s of the nearest shells, shape (shells,).
    lattice
        None for the periodic chain; see `physml.layers.smear` for wrap-around.
    derivative
        "custom_vjp", "both_modes" or "autodiff", as in `physml.layers.smear`.

    Returns
    -------
    jax.Array
        The energy of each configuration, shape (...), in units of the coupling.

    Raises
    ------
    ValueError
        For a coupling that is not a number or a vector, an empty lattice, spins that
        do not fit the lattice, or more shells than it has.
    TypeError
        For complex or integer spins, or a coupling of another dtype.

    Notes
    -----
    The pullback keeps the spins and one number for each shell, and costs one sum over
    neighbors.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> heisenberg_energy(jnp.ones((4, 1)), 1.0).item()
    8.0
    """
    spins = jnp.asarray(spins)
    require_field(spins, lattice)
    if jnp.iscomplexobj(spins):
        raise expected_type(
            "real spins", f"spins of {spins.dtype}", "pass spins.real and spins.imag"
        )
    coupling = matched(_as_vector(coupling, spins), spins, "coupling")
    if derivative == "both_modes":
        field = smear(
            spins, coupling, lattice=lattice, identity=False, derivative=derivative
        )
        dimension = 1 if lattice is None else lattice.dimension
        return jnp.sum(spins * field, axis=tuple(range(-1 - dimension, 0)))
    shells = shell_displacements(coupling.shape[0], lattice)
    return _heisenberg(shells)(spins, coupling, derivative=derivative)


def random_spins(key: jax.Array, num_sites: int, *, components: int = 3) -> jax.Array:
    """Return unit vectors in directions that are all equally likely.

    Parameters
    ----------
    key
        A JAX random key.
    num_sites
        How many.
    components
        Of each: 1 for Ising, 2 for planar, 3 for Heisenberg spins.

    Returns
    -------
    jax.Array
        Shape (num_sites, components).
    """
    normal = jax.random.normal(key, (num_sites, components))
    return normal / jnp.linalg.norm(normal, axis=-1, keepdims=True)


def _as_vector(coupling: jax.Array | float, spins: jax.Array) -> jax.Array:
    """Return the coupling as an array; a plain number takes the dtype of the spins."""
    if isinstance(coupling, int | float):
        coupling = jnp.asarray(coupling, spins.dtype)
    coupling = jnp.asarray(coupling)
    return coupling[None] if coupling.ndim == 0 else coupling


@lru_cache(maxsize=256)
def _heisenberg(shells: tuple[Displacements, ...]) -> Any:
    return with_pullback(
        partial(_energy, shells=shells),
        partial(_pullback, shells=shells),
        partial(_energy_and_residuals, shells=shells),
        name="heisenberg_energy",
    )


def _energy(
    spins: jax.Array, coupling: jax.Array, shells: tuple[Displacements, ...]
) -> jax.Array:
    return neighbor_products(spins, spins, shells, keep_batch=True) @ coupling


def _energy_and_residuals(
    spins: jax.Array, coupling: jax.Array, shells: tuple[Displacements, ...]
) -> tuple[jax.Array, tuple]:
    products = neighbor_products(spins, spins, shells, keep_batch=True)  # (..., shells)
    return products @ coupling, (spins, coupling, products)


def _pullback(
    residuals: tuple, cotangent: jax.Array, shells: tuple[Displacements, ...]
) -> tuple[jax.Array, jax.Array]:
    """Pull a cotangent of the energies, shape (...), back to spins and couplings."""
    spins, coupling, products = residuals
    weight = jnp.reshape(cotangent, cotangent.shape + (1,) * _trailing(shells))
    weight = jnp.broadcast_to(weight, spins.shape)
    spins_bar = 2 * weight * neighbor_sum(spins, coupling, shells)
    weighted = jnp.expand_dims(cotangent, -1) * products
    return spins_bar, jnp.sum(weighted, axis=tuple(range(cotangent.ndim)))


def _trailing(shells: tuple[Displacements, ...]) -> int:
    return len(shells[0][0]) + 1
