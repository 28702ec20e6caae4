r"""Free numbers of a bath: what a fit may change, and the bath that they stand for.

With particle-hole symmetry levels come in pairs +-e with equal couplings, and an odd
number of sites has one at zero. A sum rule holds by construction: for the matrix X of
free couplings

.. math:: V^T = C K^{-1} X^T , \qquad C C^+ = M^T , \qquad K K^+ = X^T X^*

gives :math:`\sum_l V_{la}^* V_{lb}^{} = M_{ab}`, with C and K lower triangular.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from physml.dynamical_mean_field.bath import Bath


class BathParameters(NamedTuple):
    """The free numbers of a bath, all real."""

    levels: jax.Array  # (num_levels,)
    couplings: jax.Array  # (num_couplings, num_orbitals, 1 or 2: real, imaginary part)


@dataclass(frozen=True)
class BathForm:
    """How many numbers are free, and which sites share one.

    Parameters
    ----------
    num_sites, num_orbitals
        Of the bath.
    is_complex
        Whether couplings are complex.
    is_symmetric
        Whether levels come in pairs +-e with equal couplings.
    """

    num_sites: int
    num_orbitals: int = 1
    is_complex: bool = False
    is_symmetric: bool = False

    @property
    def num_levels(self) -> int:
        """Free levels."""
        return self.num_sites // 2 if self.is_symmetric else self.num_sites

    @property
    def num_zeros(self) -> int:
        """Sites at zero energy, after all others."""
        return self.num_sites % 2 if self.is_symmetric else 0

    @property
    def num_couplings(self) -> int:
        """Free rows of couplings: one for each free level, and for a site at zero."""
        return self.num_levels + self.num_zeros

    @cached_property
    def signs(self) -> np.ndarray:
        """Maps free levels to levels, shape (num_sites, num_levels)."""
        identity = np.eye(self.num_levels)
        mirrored = [-identity] if self.is_symmetric else []
        zero = np.zeros((self.num_zeros, self.num_levels))
        return np.concatenate([identity, *mirrored, zero])

    @cached_property
    def members(self) -> np.ndarray:
        """The row of free couplings that each site has, shape (num_sites,)."""
        pairs = list(range(self.num_levels)) * (2 if self.is_symmetric else 1)
        zero = [self.num_levels] * self.num_zeros
        return np.array(pairs + zero, int)

    @cached_property
    def fold(self) -> np.ndarray:
        """1 where a site has a row of couplings, shape (num_sites, num_couplings)."""
        return np.eye(self.num_couplings)[self.members]

    def levels(self, free: jax.Array) -> jax.Array:
        """Return the levels of all sites."""
        return jnp.asarray(self.signs, free.dtype) @ free

    def bath(self, parameters: BathParameters, sum_rule: jax.Array | None) -> Bath:
        """Return the bath, with couplings of shape (num_sites, num_orbitals).

        Parameters
        ----------
        parameters
            The free numbers.
        sum_rule
            Of the bath, (num_orbitals, num_orbitals), of the couplings' dtype; None: as
            it comes.
        """
        real, *imaginary = jnp.moveaxis(parameters.couplings, -1, 0)
        free = jax.lax.complex(real, *imaginary) if imaginary else real
        couplings = free[self.members]
        if sum_rule is not None:
            couplings = _with_sum_rule(couplings, sum_rule)
        return Bath(self.levels(parameters.levels), couplings)

    def parameters_of(self, bath: Bath) -> BathParameters:
        """Return the free numbers of a bath, its sites in any order.

        One that is not symmetric is given the pairs of its upper levels.

        Parameters
        ----------
        bath
            With couplings of shape (num_sites, num_orbitals).
        """
        order = jnp.argsort(bath.levels)[::-1]  # a level at zero follows those above
        levels = bath.levels[order[: self.num_levels]]
        return self.parameters(levels, bath.couplings[order[: self.num_couplings]])

    def parameters(
        self, levels: jax.Array | np.ndarray, couplings: jax.Array | np.ndarray
    ) -> BathParameters:
        """Return the free numbers of free levels and free rows of couplings."""
        imaginary = [couplings.imag] if self.is_complex else []
        parts = jnp.stack([couplings.real, *imaginary], axis=-1)
        return BathParameters(jnp.asarray(levels), parts)


def _with_sum_rule(couplings: jax.Array, sum_rule: jax.Array) -> jax.Array:
    """Mix the orbitals so that sum V* V is what it shall be."""
    wanted = jnp.linalg.cholesky(sum_rule.T)
    found = jnp.linalg.cholesky(couplings.T @ couplings.conj())
    mixed = jax.scipy.linalg.solve_triangular(found, couplings.T, lower=True)
    return (wanted @ mixed).T
