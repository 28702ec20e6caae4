"""Magnetizations of configurations whose order is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.estimators import (
    has_two_sublattices,
    magnetization,
    staggered_magnetization,
)
from physml.lattices import chain, cubic, square, triangular


def checkerboard(lattice):
    signs = (-1.0) ** np.indices(lattice.shape).sum(axis=0)
    return jnp.asarray(signs[..., None] * np.array([0.6, 0.0, 0.8]))


@pytest.mark.parametrize("lattice", [chain(6), square(4, 6), cubic(2, 2, 4)])
def test_ferromagnet_and_antiferromagnet(lattice):
    staggered = checkerboard(lattice)
    uniform = jnp.broadcast_to(jnp.array([0.6, 0.0, 0.8]), staggered.shape)
    spins = jnp.stack([uniform, staggered])
    np.testing.assert_allclose(magnetization(spins, lattice), [1, 0], atol=1e-15)
    np.testing.assert_allclose(
        jax.jit(staggered_magnetization, static_argnums=1)(spins, lattice),
        [0, 1],
        atol=1e-15,
    )


def test_one_turned_spin():
    lattice = square(2, 2)
    spins = jnp.zeros((2, 2, 3)).at[..., 2].set(1.0).at[0, 0].set(jnp.eye(3)[0])
    assert abs(magnetization(spins, lattice) - np.hypot(3, 1) / 4) < 1e-15


def test_lattices_without_two_sublattices_are_refused():
    odd, frustrated = square(3, 4), triangular(4, 4)
    for lattice in (odd, frustrated):
        assert not has_two_sublattices(lattice)
        with pytest.raises(ValueError, match="a lattice of two sublattices"):
            staggered_magnetization(jnp.ones((*lattice.shape, 3)), lattice)
    assert all(map(has_two_sublattices, (chain(4), square(2, 4), cubic(2, 4, 2))))


@pytest.mark.parametrize("lattice", [chain(1), square(1, 1)])
def test_a_single_site_has_no_two_sublattices(lattice):
    assert not has_two_sublattices(lattice)
