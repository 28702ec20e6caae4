r"""An effective spin Hamiltonian: the Heisenberg energy of smeared spins.

On a periodic chain, with smearings :math:`A_k` (`physml.layers.smear`),

.. math::
    E(S) = J \sum_i \tilde{\mathbf S}_i \cdot (\tilde{\mathbf S}_{i+1}
    + \tilde{\mathbf S}_{i-1}) , \qquad
    \tilde S = A_K \cdots A_1 S , \qquad
    A_k = 1 + \sum_l a^{(k)}_l (T_l + T_{-l}) .

All of these are sums of translations :math:`T_d`, and so is the energy,

.. math::
    E(S) = \sum_i \Big[ J_0 \, \mathbf S_i^2 + \sum_{r \ge 1} J_r \, \mathbf S_i \cdot
    (\mathbf S_{i+r} + \mathbf S_{i-r}) \Big] ,

each bond counted twice, with the effective couplings (* is the convolution)

.. math::
    J_r = J \, (\kappa * \kappa * (\delta_1 + \delta_{-1}))_r , \qquad
    \kappa = \kappa^{(1)} * \cdots * \kappa^{(K)} , \qquad
    \kappa^{(k)} = (a^{(k)}_n, \ldots, a^{(k)}_1, 1, a^{(k)}_1, \ldots, a^{(k)}_n) .

Units: those of the coupling.

What energies tell: the effective couplings, and nothing else. One smearing follows from
them, since :math:`\kappa` is the square root of a polynomial with its middle entry 1.
Several do not: they commute, and :math:`\kappa` can be split into factors in more
than one way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import jax
import jax.numpy as jnp

from physml.failures import expected
from physml.hamiltonians.heisenberg import heisenberg_energy
from physml.layers.smearing import smear
from physml.pytrees import register_dataclass


@register_dataclass
@dataclass(frozen=True)
class SmearedHeisenberg:
    """Stacked smearings, then the Heisenberg energy of nearest neighbors.

    A pytree: its arrays are the parameters, and everything is differentiable in them.

    Parameters
    ----------
    coefficients
        a of each smearing in order, shapes (number of neighbors,).
    coupling
        J, a scalar, in units of energy.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> model = SmearedHeisenberg((jnp.array([0.5]),), jnp.array(1.0))
    >>> model.couplings().tolist()
    [2.0, 1.75, 1.0, 0.25]
    >>> model(jnp.ones((8, 1))).item()  # 8 (2 + 2 (1.75 + 1 + 0.25))
    64.0
    """

    coefficients: tuple[jax.Array, ...]
    coupling: jax.Array

    def __call__(self, spins: jax.Array) -> jax.Array:
        """Return the energy of spins (..., sites, components), shape (...)."""
        for layer in self.coefficients:
            spins = smear(spins, layer)
        return heisenberg_energy(spins, self.coupling)

    def couplings(self) -> jax.Array:
        """Return the effective couplings J_0, J_1, ..., shape (reach + 1,).

        Exact on chains of more than 2 * reach sites; on shorter ones distances that
        lead to the same site add up.
        """
        dtype = self.coupling.dtype
        one, nearest = jnp.ones(1, dtype), jnp.array([1, 0, 1], dtype)
        kernel = one
        for layer in self.coefficients:
            kernel = jnp.convolve(kernel, jnp.concatenate([layer[::-1], one, layer]))
        bonds = jnp.convolve(jnp.convolve(kernel, kernel), nearest)
        return self.coupling * bonds[bonds.size // 2 :]

    def with_best_coupling(self, spins: jax.Array, energies: jax.Array) -> Self:
        """Return the model with the coupling that suits energies best.

        The energy is linear in J: least squares with one unknown.

        Parameters
        ----------
        spins
            Shape (samples, sites, components).
        energies
            Shape (samples,), in units of energy.
        """
        unit = replace(self, coupling=jnp.ones_like(self.coupling))(spins)
        return replace(self, coupling=jnp.vdot(unit, energies) / jnp.vdot(unit, unit))

    @property
    def reach(self) -> int:
        """The largest distance with an effective coupling."""
        return 2 * sum(layer.size for layer in self.coefficients) + 1


def random_smeared_heisenberg(
    key: jax.Array,
    neighbors: Sequence[int],
    *,
    coupling: float = 1.0,
    deviation: float = 0.1,
) -> SmearedHeisenberg:
    """Return a model with normal coefficients.

    Parameters
    ----------
    key
        A JAX random key.
    neighbors
        The number of neighbors of each smearing, in order.
    coupling
        J, in units of energy.
    deviation
        Standard deviation of the coefficients.

    Raises
    ------
    ValueError
        For a smearing without neighbors, or a deviation that is negative or NaN.
    """
    if not 0 <= deviation < float("inf"):
        raise expected("a deviation of the coefficients >= 0", deviation, "try 0.1")
    if any(number < 1 for number in neighbors):
        raise expected(
            "one neighbor or more in each smearing",
            " ".join(map(str, neighbors)),
            "leave out the smearing that has none",
        )
    keys = jax.random.split(key, len(neighbors)) if neighbors else ()
    coefficients = tuple(
        deviation * jax.random.normal(k, (number,))
        for k, number in zip(keys, neighbors, strict=True)
    )
    return SmearedHeisenberg(coefficients, jnp.asarray(coupling, float))
