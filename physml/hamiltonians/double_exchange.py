r"""Double exchange: electrons that hop between classical spins.

.. math::
    H = -t \sum_{\langle ij \rangle \sigma} (c_{i\sigma}^\dagger c_{j\sigma} + h.c.)
    + \frac{J}{2} \sum_i \mathbf S_i \cdot c_i^\dagger \boldsymbol\sigma \, c_i
    - \mu N , \qquad |\mathbf S_i| = 1 .

Units: energies and temperatures in those of t, :math:`k_B = 1`. Signs: t > 0 puts the
lowest level of a band at k = 0, J > 0 favors electrons antiparallel to the spin. A
configuration of spins has the weight :math:`e^{-F/T}` with the electrons' free energy
:math:`F(\mathbf S)`. Source: Y. Nagai and A. Tomiya, J. Phys. Soc. Jpn. 93, 114007
(2024), arXiv:2306.11527. Derivation: docs/derivations/double_exchange.md.

States 2i and 2i + 1 are an electron on site i with spin up and down, sites numbered as
by `lattice.positions()`. Each bond counts once; along a direction of one or two sites
bonds wrap around and add up, as in `tight_binding`: a ring of two is joined by 2t.
"""

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected
from physml.hamiltonians import free_electrons
from physml.hamiltonians.lattice_fields import one_number
from physml.hamiltonians.spins import require_unit_spins
from physml.lattices.bonds import bonds_of_shell
from physml.lattices.bravais import BravaisLattice
from physml.lattices.crystal import as_crystal
from physml.operators.hopping import BondGeometry
from physml.pullbacks import Derivative
from physml.pytrees import register_dataclass
from physml.solvers.eigenvalues import eigenvalues
from physml.tracing import is_traced


@partial(register_dataclass, static=("lattice",))
@dataclass(frozen=True)
class DoubleExchange:
    """The model above, a pytree whose numbers are differentiable.

    Parameters
    ----------
    lattice
        `chain`, `square`, `triangular`, `cubic`, or another Bravais lattice; nearest
        neighbors are joined.
    hopping
        t.
    coupling
        J, by which a spin splits a level: J/2 up and J/2 down.
    chemical_potential
        mu; 0 is half filling where the lattice is bipartite.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from physml.lattices import chain
    >>> up = jnp.zeros((4, 3)).at[:, 2].set(1.0)
    >>> model = DoubleExchange(chain(4))
    >>> f"{model.free_energy(up, 0.1):.4f}"  # levels -2, 0, 0, 2, each +1/2 and -1/2
    '-5.0027'
    """

    lattice: BravaisLattice
    hopping: jax.typing.ArrayLike = 1.0
    coupling: jax.typing.ArrayLike = 1.0
    chemical_potential: jax.typing.ArrayLike = 0.0

    def matrix(self, spins: jax.Array) -> jax.Array:
        """Return H of spins (..., n_1, ..., n_d, 3), shape (..., 2n, 2n), complex.

        Raises
        ------
        ValueError
            For spins that do not fit the lattice, are not finite or, where that is
            known, not of length 1; for numbers of the model that are not finite.
        TypeError
            For complex or integer spins.
        """
        spins = jnp.asarray(spins)
        require_unit_spins(spins, self.lattice)
        return _matrices(self.with_arrays(spins.dtype), spins)

    def free_energy(
        self,
        spins: jax.Array,
        temperature: jax.typing.ArrayLike,
        *,
        derivative: Derivative = "custom_vjp",
    ) -> jax.Array:
        """Return the free energy of the electrons for each configuration.

        Parameters
        ----------
        spins
            Unit vectors, shape (..., n_1, ..., n_d, 3), float64 or float32.
        temperature
            T > 0, one number.
        derivative
            "custom_vjp", the hand-written pullback, or "autodiff" of the levels.

        Returns
        -------
        jax.Array
            F, shape (...). Differentiable in reverse mode in the spins (as free
            vectors: project on the spheres where that is meant), the temperature, and
            the numbers of the model; value and derivative take one diagonalization.

        Raises
        ------
        ValueError
            As for `matrix`, and for T <= 0 or NaN.
        TypeError
            For complex or integer spins.
        """
        spins = jnp.asarray(spins)
        matrix = self.matrix(spins)
        temperature = require_temperature(temperature, spins.dtype)
        return free_electrons.free_energy(matrix, temperature, derivative=derivative)

    def electron_number(
        self, spins: jax.Array, temperature: jax.typing.ArrayLike
    ) -> jax.Array:
        """Return the mean number of electrons, -dF/dmu, shape (...)."""
        levels, temperature = self._levels(spins, temperature)
        return jnp.sum(free_electrons.occupations(levels, temperature), axis=-1)

    def entropy(self, spins: jax.Array, temperature: jax.typing.ArrayLike) -> jax.Array:
        """Return the entropy of the electrons, -dF/dT, shape (...)."""
        return free_electrons.entropy(*self._levels(spins, temperature))

    def _levels(
        self, spins: jax.Array, temperature: jax.typing.ArrayLike
    ) -> tuple[jax.Array, jax.Array]:
        levels = eigenvalues(self.matrix(spins))
        return levels, require_temperature(temperature, levels.dtype)

    def with_arrays(self, dtype: np.dtype) -> Self:
        """Return the model with its numbers as arrays, checked where they are known."""
        return replace(
            self,
            hopping=one_number(self.hopping, "hopping", dtype),
            coupling=one_number(self.coupling, "coupling", dtype),
            chemical_potential=one_number(
                self.chemical_potential, "chemical_potential", dtype
            ),
        )


@jax.jit
def _matrices(model: DoubleExchange, spins: jax.Array) -> jax.Array:
    """Return H of spins (..., n_1, ..., n_d, 3) for a model of arrays."""
    lattice = model.lattice
    batch, n = spins.shape[: -1 - lattice.dimension], lattice.num_sites
    numbers = (model.hopping, model.coupling, model.chemical_potential)
    hopping, coupling, mu = map(jnp.asarray, numbers)
    sites, spin = jnp.eye(n, dtype=spins.dtype), jnp.eye(2, dtype=spins.dtype)
    bonds = jnp.asarray(adjacency(lattice), spins.dtype)
    moving = jnp.kron(-hopping * bonds - mu * sites, spin)  # (2n, 2n)
    blocks = pauli(coupling / 2 * spins.reshape(*batch, n, 3))  # (..., n, 2, 2)
    on_sites = jnp.einsum("ij,...iab->...iajb", sites.astype(blocks.dtype), blocks)
    on_sites = on_sites.reshape(*batch, 2 * n, 2 * n)
    return on_sites + jnp.broadcast_to(moving, on_sites.shape).astype(on_sites.dtype)


def pauli(vectors: jax.Array) -> jax.Array:
    """Return v . sigma for real vectors (..., 3), shape (..., 2, 2), complex."""
    x, y, z = jnp.moveaxis(vectors, -1, 0)
    zero = jnp.zeros_like(x)
    up = jnp.stack([jax.lax.complex(z, zero), jax.lax.complex(x, -y)], axis=-1)
    down = jnp.stack([jax.lax.complex(x, y), jax.lax.complex(-z, zero)], axis=-1)
    return jnp.stack([up, down], axis=-2)


@lru_cache(maxsize=64)
def adjacency(lattice: BravaisLattice) -> np.ndarray:
    """Return the number of bonds between any two sites, shape (n, n)."""
    joined = (True,) * lattice.dimension
    geometry = BondGeometry(as_crystal(lattice), joined, bonds_of_shell(lattice))
    one, start = np.ones(()), np.zeros((lattice.num_sites,) * 2)
    matrices = (geometry.matrix(bond, one).toarray() for bond in geometry.bonds)
    one_way = sum(matrices, start=start)
    return one_way + one_way.T


def require_temperature(
    temperature: jax.typing.ArrayLike, dtype: np.dtype
) -> jax.Array:
    """Return T as an array; refuse what is not one positive number."""
    checked = one_number(temperature, "temperature", dtype)
    if not is_traced(checked) and not float(checked) > 0:
        raise expected("a temperature T > 0", checked, "try 0.05")
    return checked
