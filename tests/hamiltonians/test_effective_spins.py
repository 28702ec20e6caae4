"""Effective energies against sums over bonds, their symmetries, and local fields."""

from itertools import combinations
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.hamiltonians import (
    EquivariantSpinModel,
    LinearSpinModel,
    bond_sums,
    fit_linear,
    heisenberg_energy,
    random_equivariant_model,
)
from physml.lattices import BravaisLattice, cubic, pair_shells, square, triangular
from physml.layers import SpinLayerKind

KINDS: tuple[SpinLayerKind, ...] = get_args(SpinLayerKind)
LATTICES = [square(4, 5), triangular(4, 4), cubic(2, 3, 2), square(2, 2)]
EXACT = 1e-12


def random_unit_spins(*shape: int, seed: int = 0) -> jax.Array:
    spins = np.random.default_rng(seed).normal(size=(*shape, 3))
    return jnp.asarray(spins / np.linalg.norm(spins, axis=-1, keepdims=True))


def linear_model(lattice: BravaisLattice, num_shells: int) -> LinearSpinModel:
    couplings = jnp.asarray(np.random.default_rng(3).normal(size=num_shells))
    return LinearSpinModel(jnp.array(0.3), couplings, pair_shells(lattice, num_shells))


def equivariant_model(
    kind: SpinLayerKind, lattice: BravaisLattice, num_layers: int = 2
) -> EquivariantSpinModel:
    """Return a model whose layers change the spins much."""
    return random_equivariant_model(
        jax.random.key(1),
        linear_model(lattice, 2),
        kind=kind,
        num_layers=num_layers,
        block_shells=min(3, lattice.num_shells),
        update=3.0,
    )


def scale(model: EquivariantSpinModel) -> float:
    """Return a bound of the energy of unit spins, for tolerances."""
    return 50 * float(jnp.sum(jnp.abs(model.readout.couplings)))


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: str(lattice.shape))
def test_linear_energy_counts_each_bond_once(lattice: BravaisLattice) -> None:
    pairs = pair_shells(lattice, 2)
    spins = random_unit_spins(2, *lattice.shape)
    flat = np.asarray(spins).reshape(2, -1, 3)
    sums = np.zeros((2, 2))
    for i, j in combinations(range(lattice.num_sites), 2):
        if pairs.numbers[i, j] <= 2:
            products = np.sum(flat[:, i] * flat[:, j], axis=-1)
            sums[:, pairs.numbers[i, j] - 1] += pairs.images[i, j] * products
    np.testing.assert_allclose(bond_sums(spins, pairs), sums, rtol=0, atol=EXACT)
    model = linear_model(lattice, 2)
    want = 0.3 * lattice.num_sites - sums @ np.asarray(model.couplings)
    np.testing.assert_allclose(jax.jit(model)(spins), want, rtol=0, atol=10 * EXACT)


def test_linear_energy_is_half_of_heisenbergs_where_each_site_is_once_in_a_shell() -> (
    None
):
    lattice = square(5, 7)
    model, spins = linear_model(lattice, 2), random_unit_spins(5, 7)
    heisenberg = heisenberg_energy(spins, -model.couplings / 2, lattice=lattice)
    want = 0.3 * lattice.num_sites + heisenberg
    np.testing.assert_allclose(model(spins), want, rtol=0, atol=10 * EXACT)


def test_fit_finds_the_couplings() -> None:
    """Of exact energies, and the least-squares solution of noisy ones."""
    model = linear_model(square(4, 4), 3)
    spins = random_unit_spins(12, 4, 4)
    energies = model(spins)
    found = jax.jit(lambda e: fit_linear(spins, e, model.lattice, 3))(energies)
    np.testing.assert_allclose(found.couplings, model.couplings, rtol=1e-10)
    np.testing.assert_allclose(found.constant, model.constant, rtol=1e-10)
    noisy = energies + jnp.asarray(np.random.default_rng(5).normal(size=12))
    residual = fit_linear(spins, noisy, model.lattice, 3)(spins) - noisy
    sums = bond_sums(spins, model.pairs)
    np.testing.assert_allclose(residual @ sums, 0, atol=1e-9)
    np.testing.assert_allclose(jnp.sum(residual), 0, atol=1e-9)


@pytest.mark.parametrize("num_shells", [1, 3])
@pytest.mark.parametrize(
    "lattice", LATTICES[:3], ids=lambda lattice: str(lattice.shape)
)
def test_local_fields_are_differences_of_energies(
    lattice: BravaisLattice, num_shells: int
) -> None:
    model = linear_model(lattice, num_shells)
    spins, new = random_unit_spins(*lattice.shape), random_unit_spins(1)[0]
    flat = jnp.reshape(spins, (-1, 3))

    @jax.jit
    def both(spins: jax.Array, site: jax.Array) -> tuple[jax.Array, jax.Array]:
        cache = model.start(spins)
        ratio = model.log_ratio(cache, spins, site, new)
        after = jnp.reshape(flat.at[site].set(new), spins.shape)
        cache = model.move(cache, spins, site, new)
        change = model.log_density(cache, after) + model(spins)
        return ratio, change

    for site in range(0, lattice.num_sites, 3):
        ratio, change = both(spins, jnp.asarray(site))
        np.testing.assert_allclose(ratio, change, rtol=0, atol=1e-11)
    field = model.local_field(model.start(spins), spins, jnp.array(1))
    slope = -jax.grad(model)(spins).reshape(-1, 3)[1]
    np.testing.assert_allclose(field, slope, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lattice", [square(4, 4), triangular(4, 4)], ids=["sq", "tri"])
def test_energy_has_all_symmetries(
    kind: SpinLayerKind, lattice: BravaisLattice
) -> None:
    """Rotation, reflection and inversion of the spins; the space group of the lattice.

    A rotation by 90 or 60 degrees, a mirror and a translation generate the group.
    """
    model = equivariant_model(kind, lattice)
    spins = random_unit_spins(*lattice.shape)
    turn = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0])
    is_square = lattice == square(4, 4)
    steps = np.array([[0, -1], [1, 0]] if is_square else [[0, -1], [1, 1]])
    sites = np.indices(lattice.shape)
    x, y = np.tensordot(steps, sites, 1) % 4
    variants = {
        "none": spins,
        "element of O(3)": spins @ turn,
        "reflection": spins * jnp.array([[[1.0, -1.0, 1.0]]]),
        "inversion": -spins,
        "rotation of the lattice": spins[x, y],
        "mirror": jnp.swapaxes(spins, 0, 1),
        "translation": jnp.roll(spins, (1, 2), (0, 1)),
    }
    energies = np.asarray(jax.jit(model)(jnp.stack(list(variants.values()))))
    bound = EXACT * scale(model)
    np.testing.assert_allclose(energies, energies[0], rtol=0, atol=bound)
    other = spins.at[0, 0].set(-spins[0, 0])
    assert abs(model(other) - energies[0]) > 1e3 * bound


@pytest.mark.parametrize("kind", ["attention", "convolution_and_attention"])
def test_a_periodic_pattern_has_four_times_the_energy_on_four_times_the_sites(
    kind: SpinLayerKind,
) -> None:
    """Three shells on 4 x 4 sites: the third is the antipode along an axis."""
    model = equivariant_model(kind, square(4, 4))
    spins = random_unit_spins(4, 4)
    large = model.on(square(8, 8))
    assert large.lattice == square(8, 8)
    assert large.num_parameters == model.num_parameters
    energy = large(jnp.tile(spins, (2, 2, 1)))
    np.testing.assert_allclose(energy, 4 * model(spins), atol=10 * EXACT * scale(model))


@pytest.mark.parametrize("kind", KINDS)
def test_deeper_model_starts_as_the_shallower_one(kind: SpinLayerKind) -> None:
    model = equivariant_model(kind, square(4, 4), num_layers=1)
    deeper = model.deepened(jax.random.key(5))
    assert len(deeper.layers) == 2
    assert jax.tree.structure(deeper.layers[0]) == jax.tree.structure(deeper.layers[1])
    spins = random_unit_spins(3, 4, 4)
    bound = EXACT * scale(model)
    np.testing.assert_allclose(deeper(spins), model(spins), rtol=0, atol=bound)
    changed = model.deepened(jax.random.key(5), update=0.5)
    assert jnp.any(jnp.abs(changed(spins) - model(spins)) > 1e3 * bound)


def test_numbers_of_parameters() -> None:
    """As the references count them: 25, 46, 67, 88 for 1 to 4 layers."""
    linear = linear_model(square(6, 6), 3)
    assert linear.num_parameters == 4
    model = random_equivariant_model(jax.random.key(0), linear, block_shells=6)
    for number in (25, 46, 67, 88):
        assert model.num_parameters == number
        model = model.deepened(jax.random.key(1))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_agree_with_finite_differences(kind: SpinLayerKind) -> None:
    model = equivariant_model(kind, square(3, 3), num_layers=1)
    spins = random_unit_spins(3, 3)
    random = np.random.default_rng(2)
    rates = jax.tree.map(lambda x: jnp.asarray(random.normal(size=x.shape)), model)
    along = jnp.asarray(random.normal(size=spins.shape))
    value = jax.jit(lambda model, spins: model(spins))

    def at(step: float) -> jax.Array:
        changed = jax.tree.map(lambda x, v: x + step * v, model, rates)
        return value(changed, spins + step * along)

    h = 1e-6  # so small that no score is cut off on the way
    difference = (at(h) - at(-h)) / (2 * h)
    gradients = jax.jit(jax.grad(value, (0, 1)))(model, spins)
    products = jax.tree.map(jnp.vdot, gradients, (rates, along))
    np.testing.assert_allclose(sum(jax.tree.leaves(products)), difference, rtol=1e-6)


def test_several_starts_at_once() -> None:
    linear = linear_model(square(3, 3), 2)
    keys = jax.random.split(jax.random.key(0), 3)
    starts = jax.vmap(lambda key: random_equivariant_model(key, linear))(keys)
    spins = random_unit_spins(4, 3, 3)
    energies = jax.vmap(lambda model: model(spins))(starts)
    one = random_equivariant_model(keys[1], linear)
    np.testing.assert_allclose(energies[1], one(spins), rtol=0, atol=1e-11)
    assert jax.vmap(lambda m: m.deepened(keys[0]))(starts).layers[1].query.shape == (
        3,
        3,
    )


def test_bad_input_is_refused() -> None:
    lattice = square(4, 4)
    spins, linear = random_unit_spins(5, 4, 4), linear_model(lattice, 2)
    with pytest.raises(ValueError, match="at most 5 shells"):
        fit_linear(spins, jnp.ones(5), lattice, 6)
    with pytest.raises(ValueError, match="at least 6 configurations"):
        fit_linear(spins, jnp.ones(5), lattice, 5)
    with pytest.raises(ValueError, match="an energy each"):
        fit_linear(spins, jnp.ones(4), lattice, 1)
    with pytest.raises(ValueError, match="finite energies, got NaN"):
        fit_linear(spins, jnp.ones(5).at[2].set(jnp.nan), lattice, 1)
    with pytest.raises(ValueError, match="a lattice of shape"):
        linear(random_unit_spins(5, 4))
    with pytest.raises(ValueError, match="1 layer or more, got 0"):
        random_equivariant_model(jax.random.key(0), linear, num_layers=0)
    with pytest.raises(ValueError, match="at most 5 shells"):
        random_equivariant_model(jax.random.key(0), linear, block_shells=6)
    with pytest.raises(ValueError, match="squared distance 4, got shape"):
        linear_model(lattice, 3).on(square(3, 3))
