r"""Smearing: each site of a periodic lattice gets a weighted sum of its neighbors.

On a chain, with coefficients :math:`a_l`,

.. math::
    \tilde S_i = S_i + \sum_{l=1}^{n} a_l (S_{i+l} + S_{i-l}) ,

and on other lattices the sum in brackets runs over the sites of shell l. The map is
symmetric in the sites, so for a cotangent :math:`\bar y` the pullback is

.. math::
    \bar S_i = \bar y_i + \sum_l a_l (\bar y_{i+l} + \bar y_{i-l}) , \qquad
    \bar a_l = \sum_i \bar y_i \cdot (S_{i+l} + S_{i-l}) .

The first terms of :math:`\tilde S` and of :math:`\bar S` belong together: a program
that has the one needs the other. Derivation: docs/derivations/smearing.md.
"""

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from physml.failures import expected
from physml.lattices.bravais import BravaisLattice
from physml.lattices.neighbors import (
    Displacements,
    matched,
    neighbor_products,
    neighbor_sum,
    require_field,
    shell_displacements,
)
from physml.precision import default_float_dtype
from physml.pullbacks import Derivative, with_pullback


def smear(
    spins: jax.Array,
    coefficients: jax.Array,
    *,
    lattice: BravaisLattice | None = None,
    identity: bool = True,
    derivative: Derivative = "custom_vjp",
) -> jax.Array:
    r"""Add to each site the sums over its shells of neighbors, times coefficients.

    Parameters
    ----------
    spins
        Real or complex, shape (..., sites, components), or
        (..., n_1, ..., n_d, components) with a `lattice` of shape (n_1, ..., n_d).
    coefficients
        :math:`a_l`, shape (number of neighbors,), in the dtype of the spins or, for
        complex spins, real of the same precision.
    lattice
        None for the periodic chain of the formula: every l is allowed, indices are
        modulo the number of sites, and both neighbors count also where they are the
        same site (l = n/2). A lattice from `physml.lattices` counts each site of a
        shell once, and has only the shells that it can tell apart.
    identity
        False leaves out the first term, S itself.
    derivative
        "custom_vjp": the hand-written pullback; reverse mode, and forward over
        reverse. "both_modes": hand-written rules in every mode and order. "autodiff":
        JAX's own derivative of the same forward.

    Returns
    -------
    jax.Array
        The smeared spins, shape and dtype of `spins`.

    Raises
    ------
    ValueError
        For coefficients that are not a vector, an empty lattice, spins that do not
        fit the lattice, or more shells than it has.
    TypeError
        For integer spins, or coefficients of another dtype.

    Notes
    -----
    The pullback keeps the spins and the coefficients and costs one more smearing and
    one product with each shell.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> spins = jnp.zeros((5, 1)).at[2].set(1.0)
    >>> smear(spins, jnp.array([0.5, 0.25]))[:, 0].tolist()
    [0.25, 0.5, 1.0, 0.5, 0.25]
    """
    spins, coefficients = jnp.asarray(spins), jnp.asarray(coefficients)
    require_field(spins, lattice)
    coefficients = matched(coefficients, spins, "coefficients")
    shells = shell_displacements(coefficients.shape[0], lattice)
    if identity and derivative == "both_modes":
        # With the first term the map is not linear in the coefficients.
        smeared = _smearing(shells, False)
        return spins + smeared(spins, coefficients, derivative=derivative)
    return _smearing(shells, identity)(spins, coefficients, derivative=derivative)


@lru_cache(maxsize=256)
def _smearing(shells: tuple[Displacements, ...], identity: bool) -> Any:
    return with_pullback(
        partial(neighbor_sum, shells=shells, identity=identity),
        partial(_pullback, shells=shells, identity=identity),
        name="smear",
    )


def _pullback(
    residuals: tuple[jax.Array, jax.Array],
    cotangent: jax.Array,
    shells: tuple[Displacements, ...],
    identity: bool,
) -> tuple[jax.Array, jax.Array]:
    """Pull a cotangent of S + sum_l a_l A_l S, or of the sum alone, back to S and a."""
    spins, coefficients = residuals
    if len(shells) == 1 and len(shells[0]) > 2:
        # The sum over neighbors is best made once and kept for both, as an array.
        one = jnp.ones_like(coefficients)
        neighbors = lax.optimization_barrier(neighbor_sum(cotangent, one, shells))
        spins_bar = coefficients[0] * neighbors
        spins_bar = cotangent + spins_bar if identity else spins_bar
        return spins_bar, jnp.sum(spins * neighbors)[None]
    return (
        neighbor_sum(cotangent, coefficients, shells, identity=identity),
        neighbor_products(spins, cotangent, shells),
    )


START = nnx.initializers.normal(0.1)


class Smearing(nnx.Module):
    """The layer of `smear`, with trainable coefficients.

    Parameters
    ----------
    num_neighbors
        Number of coefficients: neighbors to each side on a chain, shells on a lattice.
    lattice, identity, derivative
        As in `smear`.
    coefficients_init
        Initializer of the coefficients; normal with deviation 0.1.
    param_dtype
        Dtype of the coefficients; None takes JAX's default float.
    rngs
        Source of the random numbers.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> layer = Smearing(2, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((10, 3))).shape
    (10, 3)
    """

    def __init__(
        self,
        num_neighbors: int,
        *,
        lattice: BravaisLattice | None = None,
        identity: bool = True,
        derivative: Derivative = "custom_vjp",
        coefficients_init: nnx.Initializer = START,
        param_dtype: Any = None,
        rngs: nnx.Rngs,
    ) -> None:
        if num_neighbors < 1:
            raise expected(
                "at least one neighbor", num_neighbors, "pass num_neighbors >= 1"
            )
        shell_displacements(num_neighbors, lattice)  # refuses too many shells now
        dtype = param_dtype or default_float_dtype()
        key = rngs.params()
        self.coefficients = nnx.Param(coefficients_init(key, (num_neighbors,), dtype))
        self.lattice = lattice
        self.identity = identity
        self.derivative = derivative

    def __call__(self, spins: jax.Array) -> jax.Array:
        """Smear spins of shape (..., sites, components)."""
        return smear(
            spins,
            self.coefficients[...],
            lattice=self.lattice,
            identity=self.identity,
            derivative=self.derivative,
        )
