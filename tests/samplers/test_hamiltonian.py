"""Geodesic leapfrog: exact rotations, reversible, symplectic, of second order."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spin_densities import ring

from physml.samplers import Hamiltonian, random_configurations
from physml.samplers.geometry import dot, tangent
from physml.samplers.hamiltonian import (
    PhasePoint,
    great_circle,
    leapfrog,
    total_energy,
)

DENSITY = ring(4, 1.5)
KERNEL = Hamiltonian(DENSITY.function())


@pytest.fixture(scope="module")
def start():
    spins = random_configurations(jax.random.key(0), 1, (4,))[0]
    noise = jax.random.normal(jax.random.key(1), spins.shape)
    return spins, tangent(spins, noise)


@partial(jax.jit, static_argnums=1)
def flow(step_size, num_steps, spins, momenta):
    point = PhasePoint(KERNEL.start(spins), momenta)
    end = leapfrog(KERNEL.start, point, step_size, num_steps)
    return end.state.spins, end.momenta


def test_free_motion_is_a_rotation_with_constant_speed(start):
    spins, momenta = start
    time = jnp.array(0.7)
    moved, velocity = great_circle(spins, momenta, time)
    speed = jnp.sqrt(dot(momenta, momenta))
    assert float(jnp.max(jnp.abs(dot(moved, moved) - 1))) < 1e-15 * 4
    np.testing.assert_allclose(dot(spins, moved), jnp.cos(speed * time), atol=1e-15)
    np.testing.assert_allclose(dot(velocity, velocity), speed**2, rtol=1e-14)
    np.testing.assert_allclose(dot(moved, velocity), 0, atol=1e-15)
    np.testing.assert_allclose(  # the velocity is the derivative
        jax.jvp(lambda t: great_circle(spins, momenta, t)[0], (time,), (time / time,))[
            1
        ],
        velocity,
        atol=1e-14,
    )


def test_a_spin_without_momentum_stays(start):
    spins, _ = start
    moved, velocity = great_circle(spins, jnp.zeros_like(spins), jnp.array(1.0))
    assert jnp.array_equal(moved, spins)
    assert not jnp.any(velocity)


def test_it_runs_back_along_itself(start):
    spins, momenta = start
    moved, velocity = flow(0.1, 20, spins, momenta)
    assert float(jnp.max(jnp.abs(moved - spins))) > 0.5
    back, velocity = flow(0.1, 20, moved, -velocity)
    np.testing.assert_allclose(back, spins, atol=1e-13)
    np.testing.assert_allclose(velocity, -momenta, atol=1e-13)


def tangent_basis(spins, momenta):
    """Return a basis of the tangent space of phase space at a point: 4 n vectors.

    They keep the length of S and the right angle between S and p.
    """
    constraints = []
    for site in range(len(spins)):
        length, angle = np.zeros((2, len(spins), 3)), np.zeros((2, len(spins), 3))
        length[0, site] = spins[site]
        angle[0, site], angle[1, site] = momenta[site], spins[site]
        constraints += [length.ravel(), angle.ravel()]
    return np.linalg.svd(np.array(constraints))[2][len(constraints) :]


def test_it_is_symplectic_and_so_keeps_the_volume(start):
    spins, momenta = start

    def vector_flow(vector):
        return jnp.stack(flow(0.2, 5, *vector.reshape(2, 4, 3))).ravel()

    vector = jnp.stack(start).ravel()
    jacobian = np.asarray(jax.jacfwd(vector_flow)(vector))
    basis = tangent_basis(np.asarray(spins), np.asarray(momenta))
    form = np.kron([[0, 1], [-1, 0]], np.eye(12))  # dS wedge dp
    before = basis @ form @ basis.T
    pushed = basis @ jacobian.T
    np.testing.assert_allclose(pushed @ form @ pushed.T, before, atol=1e-12)
    assert np.linalg.matrix_rank(before) == 16  # its power is the volume form


def test_the_energy_errs_by_the_square_of_the_step(start):
    def energy_error(num_steps):
        point = PhasePoint(KERNEL.start(start[0]), start[1])
        end = leapfrog(KERNEL.start, point, 0.8 / num_steps, num_steps)
        return float(total_energy(end) - total_energy(point))

    errors = [energy_error(n) for n in (8, 16, 32)]
    orders = np.log2(np.abs(errors[:-1]) / np.abs(errors[1:]))
    np.testing.assert_allclose(orders, 2, atol=0.1)


def test_rejected_trajectories_stay_and_nan_is_counted(start):
    kernel = Hamiltonian(
        jax.tree_util.Partial(
            lambda limit, s: jnp.where(s[0, 2] < limit, DENSITY(s), jnp.nan),
            start[0][0, 2] + 1e-9,
        ),
        num_steps=3,
    )
    state = kernel.start(start[0])
    keys = jax.random.split(jax.random.key(0), 50)
    sizes = {"hamiltonian": jnp.array(0.3)}
    states, tallies = jax.vmap(kernel.step, (0, None, None))(keys, state, sizes)
    refused = tallies.num_not_finite > 0
    assert 5 < int(jnp.sum(refused)) < 45
    assert jnp.array_equal(
        states.spins[refused], jnp.broadcast_to(start[0], (int(refused.sum()), 4, 3))
    )
    assert not jnp.any(tallies.acceptance["hamiltonian"][refused])
    assert bool(jnp.all(jnp.isfinite(states.gradient)))
