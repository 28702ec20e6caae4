r"""The Anderson impurity: one interacting level in a bath of a few others.

.. math:: H = U n_\uparrow n_\downarrow + \epsilon_d \sum_\sigma n_\sigma
              + \sum_{l \sigma} \left[ \epsilon_l c_{l\sigma}^\dagger c_{l\sigma}
              + |V_l| ( d_\sigma^\dagger c_{l\sigma} + \text{h.c.} ) \right] .

Phases of V_l belong to the choice of c_l and play no role. The numbers of electrons of
either spin are conserved. In a sector of both, a state is a matrix psi, with a row for
each determinant of spin up and a column for each of spin down, and

.. math:: H \psi = T_\uparrow \psi + \psi T_\downarrow^T + U n_\uparrow n_\downarrow
                   \circ \psi ,

where T is the hopping of electrons of one spin. Units: U, levels and couplings are
energies; mu = 0, so that epsilon_d holds it, and half filling is epsilon_d = -U / 2 in
a bath that is symmetric about zero.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from physml.dynamical_mean_field.bath import Bath
from physml.failures import expected
from physml.operators.fock_space import (
    annihilators,
    determinants,
    occupations,
    second_quantized,
)
from physml.operators.kronecker_sum import KroneckerSum
from physml.pytrees import register_dataclass
from physml.tracing import is_traced


@register_dataclass
@dataclass(frozen=True)
class AndersonImpurity:
    """U, the level of the impurity, and its bath; a pytree of arrays.

    Parameters
    ----------
    interaction
        U, shape ().
    level
        epsilon_d, shape ().
    bath
        Of one orbital, up to 11 sites: couplings of shape (num_sites,).
    """

    interaction: jax.Array
    level: jax.Array
    bath: Bath

    @property
    def num_orbitals(self) -> int:
        """The impurity's and those of the bath, for each spin."""
        return self.bath.num_sites + 1

    def one_body(self) -> jax.Array:
        """Return the matrix of one electron; the impurity comes first."""
        levels = jnp.concatenate([jnp.reshape(self.level, (1,)), self.bath.levels])
        couplings = jnp.abs(self.bath.couplings)
        return jnp.diag(levels).at[0, 1:].set(couplings).at[1:, 0].set(couplings)

    def self_energy(self, z: jax.Array, greens_function: jax.Array) -> jax.Array:
        r"""Return :math:`\Sigma = z - \epsilon_d - \Delta(z) - G(z)^{-1}`.

        Parameters
        ----------
        z
            Complex energies, any shape.
        greens_function
            G of the impurity there.
        """
        return z - self.level - self.bath.hybridization(z) - 1 / greens_function


def half_filled_impurity(interaction: jax.Array, bath: Bath) -> AndersonImpurity:
    """Return the impurity with epsilon_d = -U / 2."""
    interaction = jnp.asarray(interaction, bath.levels.dtype)
    return AndersonImpurity(interaction, -interaction / 2, bath)


def require_impurity(impurity: AndersonImpurity) -> None:
    """Refuse a bath of several orbitals or too many sites, and what is not finite."""
    couplings = impurity.bath.couplings
    determinants(impurity.num_orbitals)  # raises for too many
    if jnp.ndim(couplings) != 1:
        raise expected(
            "a bath of one orbital, couplings of shape (num_sites,)",
            f"shape {jnp.shape(couplings)}",
            "solve for one orbital at a time",
        )
    for name, value in (
        ("U", impurity.interaction),
        ("level of the impurity", impurity.level),
        ("levels of the bath", impurity.bath.levels),
        ("couplings", couplings),
    ):
        if not (is_traced(value) or np.isfinite(value).all()):
            raise expected(f"{name} without NaN and infinity", value, "look there")


class Sectors(NamedTuple):
    """All operators of one spin, stacked over its number of electrons N = 0, ..., m."""

    hopping: jax.Array  # T, (m + 1, width, width)
    annihilation: jax.Array  # d, from N to N - 1 electrons, the same shape
    creation: jax.Array  # d^+, from N to N + 1
    occupation: jax.Array  # of the impurity in each determinant, (m + 1, width)
    determinants: jax.Array  # 1 for those there are, 0 for those that pad, as above
    interaction: jax.Array  # U, ()

    def hamiltonian(self, num_up: jax.Array, num_down: jax.Array) -> KroneckerSum:
        """Return H for electrons of both spins."""
        repulsion = jnp.outer(self.occupation[num_up], self.occupation[num_down])
        return KroneckerSum(
            self.hopping[num_up],
            self.hopping[num_down],
            self.interaction * repulsion,
        )

    def states(self, num_up: jax.Array, num_down: jax.Array) -> jax.Array:
        """Return 1 for all pairs of determinants there are, (width, width)."""
        return jnp.outer(self.determinants[num_up], self.determinants[num_down])


def sectors_of(impurity: AndersonImpurity) -> Sectors:
    """Return the operators of one spin."""
    m = impurity.num_orbitals
    one_body = impurity.one_body()
    dtype = one_body.dtype
    annihilation = jnp.asarray(annihilators(m, 0), dtype)
    creation = jnp.swapaxes(jnp.roll(annihilation, -1, axis=0), 1, 2)
    hopping = second_quantized(one_body)
    numbers = second_quantized(jnp.eye(m, dtype=dtype))  # N, and 0 where it pads
    exists = jnp.diagonal(numbers, axis1=1, axis2=2) > 0
    return Sectors(
        hopping=hopping,
        annihilation=annihilation,
        creation=creation,
        occupation=jnp.asarray(occupations(m, 0), dtype),
        determinants=exists.at[0, 0].set(True).astype(dtype),  # the vacuum has N = 0
        interaction=jnp.asarray(impurity.interaction, dtype),
    )
