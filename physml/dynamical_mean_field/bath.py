r"""A bath of discrete levels around an impurity, and what the impurity sees of it.

.. math:: H = \sum_{l a} \left( V_{la}^* \, d_a^+ c_l^{} + V_{la} \, c_l^+ d_a^{}
              \right) + \sum_l \epsilon_l \, c_l^+ c_l^{} ,
          \qquad
          \Delta_{ab}(z) = \sum_l \frac{V_{la}^* V_{lb}^{}}{z - \epsilon_l} .

Units: levels, couplings, z and Delta are energies. Delta falls as the sum rule
:math:`\sum_l V_{la}^* V_{lb}` over z; its residues are Hermitian, of rank one and have
no negative eigenvalue.

Source: A. Georges, G. Kotliar, W. Krauth, M. J. Rozenberg, Rev. Mod. Phys. 68, 13
(1996), https://doi.org/10.1103/RevModPhys.68.13.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected
from physml.pytrees import register_dataclass


@register_dataclass
@dataclass(frozen=True)
class Bath:
    """Levels and their couplings to the orbitals of an impurity; a pytree of arrays.

    Parameters
    ----------
    levels
        Real energies, shape (num_sites,).
    couplings
        Real or complex energies V: shape (num_sites,) for one orbital, or (num_sites,
        num_orbitals).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from physml.dynamical_mean_field import Bath
    >>> bath = Bath(jnp.array([-0.5, 0.5]), jnp.array([0.6, 0.8]))
    >>> float(bath.sum_rule)
    1.0
    """

    levels: jax.Array
    couplings: jax.Array

    @property
    def num_sites(self) -> int:
        """The number of levels."""
        return self.levels.shape[0]

    @property
    def residues(self) -> jax.Array:
        """|V|^2, shape (num_sites,), or V* V of all pairs of orbitals behind it."""
        v = self.couplings
        if v.ndim not in (1, 2) or v.shape[:1] != self.levels.shape:
            raise expected(
                "levels (num_sites,) and couplings (num_sites,) or (num_sites, "
                "num_orbitals)",
                f"shapes {self.levels.shape} and {v.shape}",
                "give each level one row of couplings; many baths go through vmap",
            )
        if v.ndim == 1:
            return (v.conj() * v).real
        return v.conj()[:, :, None] * v[:, None, :]

    @property
    def sum_rule(self) -> jax.Array:
        """The sum of the residues, lim z Delta(z): a number or a Hermitian matrix."""
        return jnp.sum(self.residues, axis=0)

    def hybridization(self, z: jax.Array) -> jax.Array:
        """Return Delta(z).

        Parameters
        ----------
        z
            Complex energies of any shape, none of them a level.

        Returns
        -------
        jax.Array
            The shape of z, followed by (num_orbitals, num_orbitals) if the couplings
            have an axis of orbitals.

        Raises
        ------
        ValueError
            If levels and couplings do not belong together.
        """
        z, residues = jnp.asarray(z), self.residues
        dtype = np.promote_types(z.dtype, residues.dtype)
        levels = self.levels.astype(dtype).reshape((1,) * z.ndim + (-1,))
        terms = 1 / (z.astype(dtype)[..., None] - levels)  # (..., num_sites)
        return jnp.tensordot(terms, residues.astype(dtype), axes=1)


def matsubara_frequencies(inverse_temperature: float, number: int) -> np.ndarray:
    r"""Return the first positive fermionic Matsubara frequencies.

    .. math:: \omega_n = (2n + 1) \pi / \beta , \qquad n = 0, 1, \dots

    Parameters
    ----------
    inverse_temperature
        beta, in units of 1 / energy.
    number
        How many.

    Raises
    ------
    ValueError
        If one of them is not positive.

    Examples
    --------
    >>> matsubara_frequencies(20.0, 2).round(6).tolist()
    [0.15708, 0.471239]
    """
    if not 0 < inverse_temperature < float("inf"):
        raise expected(
            "an inverse temperature > 0", inverse_temperature, "beta is 1 / (k_B T)"
        )
    if number < 1:
        raise expected("1 Matsubara frequency or more", number, "ask for some 50")
    return (2 * np.arange(number) + 1) * np.pi / inverse_temperature


def semicircular_greens_function(
    z: jax.Array, half_bandwidth: float = 1.0
) -> jax.Array:
    r"""Return the Green's function of a semicircular density of states.

    .. math:: G(z) = \frac{2}{D^2} \left( z - \sqrt{z^2 - D^2} \right)
              = \frac{2}{z + \sqrt{z - D} \sqrt{z + D}} , \qquad z \, G(z) \to 1

    On the Bethe lattice Delta = (D / 2)^2 G. The second form does not cancel.

    Parameters
    ----------
    z
        Complex energies outside of the band, of any shape.
    half_bandwidth
        D, an energy.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> complex(semicircular_greens_function(jnp.array(0.75j)).round(6))
    -1j
    """
    z = jnp.asarray(z)
    root = jnp.sqrt(z - half_bandwidth) * jnp.sqrt(z + half_bandwidth)
    return 2 / (z + root)


def weiss_field(
    z: jax.Array,
    hybridization: jax.Array,
    chemical_potential: float | jax.Array = 0.0,
) -> jax.Array:
    r"""Return the Green's function of the impurity without interaction.

    .. math:: \mathcal{G}_0(z) = \left( z + \mu - \Delta(z) \right)^{-1}

    Parameters
    ----------
    z
        Complex energies of any shape.
    hybridization
        Delta(z): the shape of z, or that followed by (num_orbitals, num_orbitals).
    chemical_potential
        mu, counted from the level of the impurity.
    """
    hybridization = jnp.asarray(hybridization)
    dtype = hybridization.dtype
    shifted = jnp.asarray(z, dtype) + jnp.asarray(chemical_potential, dtype)
    if hybridization.ndim == shifted.ndim:
        return 1 / (shifted - hybridization)
    identity = jnp.eye(hybridization.shape[-1], dtype=dtype)
    shift = jnp.tensordot(shifted, identity, axes=0)
    return jnp.linalg.inv(shift - hybridization)
