"""The smeared Heisenberg energy against its sum over distances, and against Flax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from physml.hamiltonians import (
    SmearedHeisenberg,
    heisenberg_energy,
    random_smeared_heisenberg,
    random_spins,
)
from physml.layers import Smearing
from physml.pullbacks import check_pullback

EPS = np.finfo(np.float64).eps
STACKS = [(), (1,), (4,), (2, 3, 2)]


def _spins(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=shape))


@pytest.mark.parametrize("neighbors", STACKS, ids=str)
def test_energy_is_the_sum_over_distances(neighbors: tuple[int, ...]) -> None:
    """Also on 9 sites, where distances wrap around and couplings add up."""
    model = random_smeared_heisenberg(jax.random.key(0), neighbors, coupling=0.7)
    couplings = model.couplings()
    assert couplings.shape == (model.reach + 1,)
    for sites in (9, 40):
        spins = _spins(5, sites, 3)
        same_site = couplings[0] * jnp.sum(spins**2, axis=(1, 2))
        want = same_site + heisenberg_energy(spins, couplings[1:])
        size = float(jnp.sum(jnp.abs(couplings)) * jnp.sum(spins**2))
        np.testing.assert_allclose(model(spins), want, rtol=0, atol=16 * EPS * size)


def test_couplings_are_the_square_of_the_factor_of_plane_waves() -> None:
    """J(k) = J 2 cos k prod (1 + 2 sum_l a_l cos kl)^2, the transform of J_r."""
    model = random_smeared_heisenberg(jax.random.key(1), (2, 3), coupling=-1.3)
    k = np.linspace(0, np.pi, 7)
    factor = -1.3 * 2 * np.cos(k)
    for layer in model.coefficients:
        steps = np.arange(1, layer.size + 1)
        factor = factor * (1 + 2 * np.cos(np.outer(k, steps)) @ np.asarray(layer)) ** 2
    couplings = np.asarray(model.couplings())
    cosines = np.cos(np.outer(k, np.arange(couplings.size)))
    transform = (2 * cosines - (np.arange(couplings.size) == 0)) @ couplings
    np.testing.assert_allclose(transform, factor, rtol=0, atol=1e3 * EPS)


def test_one_neighbor_by_hand() -> None:
    """(z + 1/z) (1 + a (z + 1/z))^2: 4a, 1 + 3 a^2, 2a, a^2."""
    a = 0.3
    model = SmearedHeisenberg((jnp.array([a]),), jnp.array(2.0))
    want = 2 * np.array([4 * a, 1 + 3 * a**2, 2 * a, a**2])
    np.testing.assert_allclose(model.couplings(), want, rtol=8 * EPS)


def test_the_order_of_the_smearings_does_not_matter() -> None:
    """Why stacked smearings are not determined by the energies."""
    model = random_smeared_heisenberg(jax.random.key(0), (2, 3))
    swapped = SmearedHeisenberg(model.coefficients[::-1], model.coupling)
    spins = _spins(4, 12, 3)
    np.testing.assert_allclose(swapped(spins), model(spins), rtol=1e3 * EPS)
    np.testing.assert_allclose(swapped.couplings(), model.couplings(), rtol=1e2 * EPS)


def test_equal_to_stacked_flax_modules() -> None:
    rngs = nnx.Rngs(0)
    layers = [Smearing(n, rngs=rngs) for n in (2, 3, 2)]
    stack = nnx.Sequential(*layers, lambda spins: heisenberg_energy(spins, 0.7))
    coefficients = tuple(layer.coefficients[...] for layer in layers)
    model = SmearedHeisenberg(coefficients, jnp.array(0.7))
    spins = _spins(3, 16, 3)
    np.testing.assert_array_equal(model(spins), stack(spins))


def test_derivatives_pass_the_check() -> None:
    model = random_smeared_heisenberg(jax.random.key(0), (1, 2))
    energy = lambda model, spins: model(spins)  # noqa: E731
    assert check_pullback(energy, model, _spins(2, 6, 3), directions=1).is_passed


def test_best_coupling_is_the_least_squares_solution() -> None:
    model = random_smeared_heisenberg(jax.random.key(0), (2,), coupling=5.0)
    spins, energies = _spins(6, 8, 3), _spins(6)
    best = jax.jit(lambda m: m.with_best_coupling(spins, energies))(model)
    unit = np.asarray(model(spins)) / 5.0
    want = np.linalg.lstsq(unit[:, None], np.asarray(energies), rcond=None)[0][0]
    np.testing.assert_allclose(best.coupling, want, rtol=1e2 * EPS)
    np.testing.assert_array_equal(best.coefficients[0], model.coefficients[0])


@pytest.mark.parametrize("components", [1, 2, 3])
def test_random_spins_are_unit_vectors_in_all_directions(components: int) -> None:
    spins = random_spins(jax.random.key(0), 4000, components=components)
    np.testing.assert_allclose(jnp.linalg.norm(spins, axis=1), 1.0, rtol=8 * EPS)
    # five standard errors of a mean of entries with variance 1 / components
    bound = 5 / np.sqrt(4000 * components)
    np.testing.assert_allclose(jnp.mean(spins, axis=0), 0.0, atol=bound)


def test_a_smearing_without_neighbors_is_refused() -> None:
    with pytest.raises(ValueError, match="one neighbor or more"):
        random_smeared_heisenberg(jax.random.key(0), (2, 0))
