r"""Effective energies of classical spins, learned from those of a more costly model.

The linear model has a coupling for each of the nearest shells, each bond once,

.. math::
    E(S) = N e_0 - \sum_n J_n \sum_{\langle ij \rangle_n}
    \mathbf S_i \cdot \mathbf S_j ,

and the equivariant model takes the linear energy of spins that went through layers
(`physml.layers.spin_layer`),

.. math::
    E(S) = E_\text{linear}(S^{(L)}) , \qquad
    S^{(l)} = \text{layer}_l(S^{(l-1)}) , \qquad S^{(0)} = S .

Units: those of the energies that were learned; in self-learning Monte Carlo free
energies divided by the temperature, F/T. J > 0 favors parallel spins. Bonds are those
of the infinite lattice: where a site is as near by two ways around, two bonds lead to
it. So J_n belongs to a distance and e_0 to a site, and `model.on(lattice)` is the same
model on another size.

After Nagai and Tomiya, J. Phys. Soc. Jpn. 93, 114007 (2024), arXiv:2306.11527.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp

from physml.failures import expected
from physml.lattices.bravais import BravaisLattice
from physml.lattices.neighbors import matched, neighbor_products, require_field
from physml.lattices.pair_shells import PairShells, pair_shells
from physml.layers.spin_attention import (
    SpinLayerKind,
    SpinLayerWeights,
    block_spins,
    random_spin_layer,
    spin_layer,
)
from physml.pytrees import register_dataclass
from physml.tracing import is_traced


@partial(register_dataclass, static=("pairs",))
@dataclass(frozen=True, eq=False)  # compared as objects, so that jax.jit takes it
class LinearSpinModel:
    """One coupling for each shell; a pytree whose arrays are the parameters.

    It is also its own log density for moves of single sites, -E by local fields, in the
    methods `start`, `log_ratio`, `move`, `log_density` and `local_field`; there is
    nothing to keep beside the spins.

    Parameters
    ----------
    constant
        e_0, the energy for each site, a scalar.
    couplings
        J_n of the nearest shells, shape (shells,).
    pairs
        The lattice, and the distances that the couplings belong to.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from physml.lattices import pair_shells, square
    >>> pairs = pair_shells(square(4, 4), 1)
    >>> model = LinearSpinModel(jnp.array(0.0), jnp.array([1.0]), pairs)
    >>> model(jnp.ones((4, 4, 1))).item()  # 32 bonds
    -32.0
    """

    constant: jax.Array
    couplings: jax.Array
    pairs: PairShells

    def __call__(self, spins: jax.Array) -> jax.Array:
        """Return the energy of spins (..., n_1, ..., n_d, components), shape (...)."""
        spins = jnp.asarray(spins)
        fields = block_spins(spins, self._weights(), self.pairs)
        axes = tuple(range(-1 - self.lattice.dimension, 0))
        bonds = jnp.sum(spins * fields, axis=axes) / 2  # each was counted twice
        return self.lattice.num_sites * self.constant - bonds

    def on(self, lattice: BravaisLattice) -> Self:
        """Return the model on another lattice, which must have its distances."""
        return replace(self, pairs=self.pairs.on(lattice))

    @property
    def lattice(self) -> BravaisLattice:
        """Where the spins are."""
        return self.pairs.lattice

    @property
    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return _num_parameters(self)

    def start(self, spins: jax.Array) -> tuple[()]:
        """Return what is kept beside one configuration: nothing."""
        del spins
        return ()

    def log_ratio(
        self, cache: tuple[()], spins: jax.Array, site: jax.Array, new_spin: jax.Array
    ) -> jax.Array:
        """Return -E after setting one spin minus -E before, from its neighbors alone.

        Parameters
        ----------
        cache
            From `start`.
        spins
            One configuration, shape (n_1, ..., n_d, components).
        site
            Its number in the order of the array.
        new_spin
            Shape (components,).
        """
        old_spin = jnp.reshape(spins, (-1, spins.shape[-1]))[site]
        return jnp.dot(new_spin - old_spin, self.local_field(cache, spins, site))

    def local_field(
        self, cache: tuple[()], spins: jax.Array, site: jax.Array
    ) -> jax.Array:
        """Return the derivative of -E by one spin, shape (components,).

        It does not depend on that spin, so overrelaxation about it is exact.
        """
        del cache
        sites, shells = self.pairs.neighbors(self.couplings.size)
        flat = jnp.reshape(spins, (-1, spins.shape[-1]))
        couplings = matched(self.couplings, flat, "couplings")[shells - 1]
        return couplings @ flat[jnp.asarray(sites)[site]]

    def move(
        self,
        cache: tuple[()],
        spins: jax.Array,
        site: jax.Array,
        new_spin: jax.Array,
    ) -> tuple[()]:
        """Return what is kept after the spin was set: nothing."""
        del spins, site, new_spin
        return cache

    def log_density(self, cache: tuple[()], spins: jax.Array) -> jax.Array:
        """Return -E of one configuration."""
        del cache
        return -self(spins)

    def _weights(self) -> jax.Array:
        return jnp.append(jnp.zeros((1,), self.couplings.dtype), self.couplings)


def bond_sums(spins: jax.Array, pairs: PairShells) -> jax.Array:
    r"""Return the sums of S_i . S_j over the bonds of each shell, each bond once.

    Parameters
    ----------
    spins
        Real, shape (..., n_1, ..., n_d, components).
    pairs
        The shells.

    Returns
    -------
    jax.Array
        Shape (..., shells).
    """
    spins = jnp.asarray(spins)
    require_field(spins, pairs.lattice)
    sums = neighbor_products(spins, spins, pairs.displacements, keep_batch=True)
    return sums / 2


def fit_linear(
    spins: jax.Array, energies: jax.Array, lattice: BravaisLattice, num_shells: int
) -> LinearSpinModel:
    """Return the linear model with the least squared error.

    Parameters
    ----------
    spins
        Shape (samples, n_1, ..., n_d, components).
    energies
        Shape (samples,), in the unit that the model shall have, F/T in Monte Carlo.
    lattice
        Where the spins are.
    num_shells
        How many couplings the model has.

    Raises
    ------
    ValueError
        If there are fewer samples than parameters, or energies that are not finite.

    Examples
    --------
    >>> import jax
    >>> from physml.hamiltonians import random_spins
    >>> from physml.lattices import pair_shells, square
    >>> lattice = square(4, 4)
    >>> spins = random_spins(jax.random.key(0), 5 * 16).reshape(5, 4, 4, 3)
    >>> energies = bond_sums(spins, pair_shells(lattice, 1))[:, 0]
    >>> round(fit_linear(spins, energies, lattice, 1).couplings[0].item(), 4)
    -1.0
    """
    pairs = pair_shells(lattice, num_shells)
    spins, energies = jnp.asarray(spins), jnp.asarray(energies)
    _require_samples(spins, energies, num_shells + 1)
    sums = bond_sums(spins, pairs)
    ones = jnp.full((*energies.shape, 1), lattice.num_sites, sums.dtype)
    features = jnp.concatenate([ones, -sums], axis=1)  # (samples, 1 + shells)
    scales = jnp.sqrt(jnp.mean(features**2, axis=0, keepdims=True))
    solution = jnp.linalg.lstsq(features / scales, energies)[0] / scales[0]
    return LinearSpinModel(solution[0], solution[1:], pairs)


@register_dataclass
@dataclass(frozen=True, eq=False)  # compared as objects, so that jax.jit takes it
class EquivariantSpinModel:
    """Layers, then the linear energy; a pytree whose arrays are the parameters.

    Parameters
    ----------
    layers
        The weights of each layer, in order.
    readout
        The linear model; its `pairs` are those of the layers as well.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from physml.lattices import pair_shells, square
    >>> pairs = pair_shells(square(6, 6), 3)
    >>> linear = LinearSpinModel(jnp.array(0.0), jnp.ones(3), pairs)
    >>> model = random_equivariant_model(jax.random.key(0), linear, block_shells=6)
    >>> model.num_parameters, model.on(square(8, 8))(jnp.ones((8, 8, 3))).shape
    (25, ())
    """

    layers: tuple[SpinLayerWeights, ...]
    readout: LinearSpinModel

    def __call__(self, spins: jax.Array) -> jax.Array:
        """Return the energy of spins (..., n_1, ..., n_d, components), shape (...)."""
        for weights in self.layers:
            spins = spin_layer(spins, weights, self.readout.pairs)
        return self.readout(spins)

    def on(self, lattice: BravaisLattice) -> Self:
        """Return the model on another lattice, which must have its distances."""
        return replace(self, readout=self.readout.on(lattice))

    @property
    def lattice(self) -> BravaisLattice:
        """Where the spins are."""
        return self.readout.lattice

    @property
    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return _num_parameters(self)

    def deepened(self, key: jax.Array, *, update: float = 0.0) -> Self:
        """Return a model with one more layer of the kind of the last.

        Parameters
        ----------
        key
            A JAX random key.
        update
            As in `random_spin_layer`; with 0 the energies of unit spins stay as they
            are, and a minimizer finds the update by its gradient.
        """
        last = self.layers[-1]
        new = random_spin_layer(
            key,
            last.kind,
            num_shells=last.num_shells,
            bias_shells=None if last.bias is None else last.bias.size - 1,
            update=update,
        )
        return replace(self, layers=(*self.layers, new))


def random_equivariant_model(
    key: jax.Array,
    linear: LinearSpinModel,
    *,
    kind: SpinLayerKind = "attention",
    num_layers: int = 1,
    block_shells: int | None = None,
    update: float = 0.1,
) -> EquivariantSpinModel:
    """Return random layers before a linear model that was fitted without them.

    Parameters
    ----------
    key
        A JAX random key.
    linear
        The readout to start from, see `fit_linear`.
    kind, update
        As in `physml.layers.random_spin_layer`.
    num_layers
        How many layers.
    block_shells
        Shells of block spins and convolutions; None takes as many as are read out. A
        bias has a weight for each shell of either.

    Raises
    ------
    ValueError
        If the lattice has fewer shells, or there is no layer.
    """
    if num_layers < 1:
        raise expected("1 layer or more", num_layers, "a model without is linear")
    num_shells = linear.couplings.size if block_shells is None else block_shells
    all_shells = max(num_shells, linear.couplings.size)
    layers = tuple(
        random_spin_layer(
            k, kind, num_shells=num_shells, bias_shells=all_shells, update=update
        )
        for k in jax.random.split(key, num_layers)
    )
    pairs = pair_shells(linear.lattice, all_shells)
    return EquivariantSpinModel(layers, replace(linear, pairs=pairs))


def _num_parameters(model: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(model))


def _require_samples(
    spins: jax.Array, energies: jax.Array, num_parameters: int
) -> None:
    fits = energies.ndim == 1 and spins.shape[:1] == energies.shape
    if not fits or energies.size < num_parameters:
        raise expected(
            f"at least {num_parameters} configurations with an energy each, as many as "
            "there are parameters",
            f"shapes {spins.shape} and {energies.shape}",
            "make more configurations, or fit fewer shells",
        )
    if not is_traced(energies) and not bool(jnp.all(jnp.isfinite(energies))):
        raise expected("finite energies", "NaN or infinity", "look at their making")
