"""Proposals: unit vectors, the right distribution, and symmetric."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import kstest
from spin_densities import ring

from physml.samplers import (
    Overrelaxation,
    WholeDensity,
    cone_rotation,
    global_rotation,
    random_configurations,
)
from physml.samplers.geometry import dot, rotation_matrix, unit
from physml.samplers.overrelaxation import reflection

SPINS = random_configurations(jax.random.key(0), 1, (4000,))[0]


@pytest.mark.parametrize("angle", [0.01, 1.0, np.pi])
def test_cones_are_filled_uniformly(angle):
    new_spins, correction = cone_rotation(jax.random.key(1), SPINS, jnp.array(angle))
    assert not jnp.any(correction)
    np.testing.assert_allclose(dot(new_spins, new_spins), 1, atol=1e-15)
    # 1 - cos = |S' - S|^2 / 2 is uniform up to that of the cone
    drop = dot(new_spins - SPINS, new_spins - SPINS)[:, 0] / 2
    assert kstest(drop / (1 - np.cos(angle)), "uniform").pvalue > 1e-3
    # and the direction around the spin is uniform, whatever the spin
    sideways = jnp.cross(SPINS, jnp.array([[0.3, -0.5, 0.8]]))
    upward = jnp.cross(SPINS, sideways)
    azimuth = jnp.arctan2(dot(new_spins, unit(sideways)), dot(new_spins, unit(upward)))
    uniform = azimuth[:, 0] / (2 * np.pi) + 0.5
    assert kstest(uniform, "uniform").pvalue > 1e-3


def test_rotations_are_those_of_scipy():
    axis = unit(jnp.array([1.0, -2.0, 0.5]))
    exact = Rotation.from_rotvec(np.asarray(axis) * 0.7).as_matrix()
    np.testing.assert_allclose(rotation_matrix(axis, jnp.array(0.7)), exact, atol=1e-15)


def test_a_global_rotation_keeps_all_angles():
    spins = SPINS[:12].reshape(3, 4, 3)
    new_spins, correction = global_rotation(jax.random.key(2), spins, jnp.array(0.5))
    assert correction.shape == ()
    flat, new_flat = spins.reshape(-1, 3), new_spins.reshape(-1, 3)
    np.testing.assert_allclose(new_flat @ new_flat.T, flat @ flat.T, atol=1e-14)
    moved = jnp.max(jnp.arccos(dot(new_flat, flat)))
    assert 0 < float(moved) <= 0.5


def test_reflections_are_their_own_inverse():
    spin, field = SPINS[0], 3 * SPINS[1]
    reflected = reflection(spin, field)
    np.testing.assert_allclose(reflected @ field, spin @ field, rtol=1e-14)
    np.testing.assert_allclose(reflection(reflected, field), spin, atol=1e-15)
    assert jnp.array_equal(reflection(spin, jnp.zeros(3)), spin)


def test_overrelaxation_keeps_the_density_and_moves_far():
    kernel = Overrelaxation(ring(8, 0.9))
    state = kernel.start(SPINS[:8])
    moved, tally = kernel.step(jax.random.key(0), state, {})
    assert float(jnp.max(jnp.abs(moved.spins - state.spins))) > 0.5
    np.testing.assert_allclose(moved.log_density, state.log_density, atol=1e-13)
    np.testing.assert_allclose(tally.acceptance["overrelaxation"], 1, atol=1e-13)


def test_a_density_without_shortcut_agrees_with_one_with():
    cached, whole = ring(8, 0.9), WholeDensity(ring(8, 0.9).function())
    spins, site, new_spin = SPINS[:8], jnp.array(3), SPINS[100]
    ratios = []
    for density in (cached, whole):
        cache = density.start(spins)
        ratios.append(density.log_ratio(cache, spins, site, new_spin))
        moved = spins.at[site].set(new_spin)
        cache = density.move(cache, spins, site, new_spin)
        np.testing.assert_allclose(
            density.log_density(cache, moved), cached(moved), atol=1e-13
        )
    np.testing.assert_allclose(*ratios, atol=1e-13)
