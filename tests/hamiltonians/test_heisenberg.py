"""The Heisenberg energy against loops over bonds and exact ground states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.hamiltonians import heisenberg_energy
from physml.lattices import BravaisLattice, chain, cubic, square, triangular
from physml.pullbacks import check_pullback

EPS = np.finfo(np.float64).eps
DERIVATIVES = ("custom_vjp", "both_modes", "autodiff")


def _spins(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=shape))


@pytest.mark.parametrize("derivative", DERIVATIVES)
def test_chain_agrees_with_a_loop_over_sites(derivative: str) -> None:
    spins, coupling = _spins(2, 7, 3), 0.7
    energy = heisenberg_energy(spins, coupling, derivative=derivative)
    s = np.asarray(spins)
    want = np.zeros(2)
    for i in range(7):
        field = s[:, (i + 1) % 7] + s[:, (i - 1) % 7]
        want += coupling * np.sum(s[:, i] * field, axis=-1)
    np.testing.assert_allclose(energy, want, rtol=1e3 * EPS)


@pytest.mark.parametrize(
    ("lattice", "pattern", "per_site"),
    [
        (chain(8), lambda m: (-1.0) ** m[0], -2.0),
        (square(4, 4), lambda m: (-1.0) ** (m[0] + m[1]), -4.0),
        (cubic(4, 4, 4), lambda m: (-1.0) ** (m[0] + m[1] + m[2]), -6.0),
        (square(4, 4), lambda m: np.ones_like(m[0], float), 4.0),
    ],
    ids=["Neel chain", "Neel square", "Neel cubic", "ferromagnet"],
)
def test_ordered_states(
    lattice: BravaisLattice, pattern: object, per_site: float
) -> None:
    """Every bond twice: coordination number times J for each site."""
    sign = pattern(np.indices(lattice.shape))  # type: ignore[operator]
    spins = jnp.asarray(sign[..., None] * np.array([0.0, 0.0, 1.0]))
    energy = heisenberg_energy(spins, 1.0, lattice=lattice)
    assert energy == per_site * lattice.num_sites


def test_triangular_120_degree_state() -> None:
    """Six neighbors at cos 120 = -1/2: E = -3 J for each site."""
    lattice = triangular(6, 6)
    m = np.indices(lattice.shape)
    angle = 2 * np.pi / 3 * (m[0] - m[1])
    spins = jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], axis=-1))
    energy = heisenberg_energy(spins, 1.0, lattice=lattice)
    np.testing.assert_allclose(energy, -3.0 * 36, rtol=36 * EPS)


@pytest.mark.parametrize("lattice", [None, square(3, 4), triangular(4, 3)], ids=str)
@pytest.mark.parametrize("derivative", ["custom_vjp", "both_modes"])
def test_pullback_passes_its_own_check(
    lattice: BravaisLattice | None, derivative: str
) -> None:
    shape = (5,) if lattice is None else lattice.shape

    def energy(spins: jax.Array, coupling: jax.Array) -> jax.Array:
        return heisenberg_energy(
            spins, coupling, lattice=lattice, derivative=derivative
        )

    arguments = (_spins(2, *shape, 3), jnp.array([0.7, -0.3]))
    assert check_pullback(energy, *arguments, directions=1).is_passed


@pytest.mark.parametrize("derivative", DERIVATIVES)
def test_gradient_and_hessian_are_those_of_a_quadratic_form(derivative: str) -> None:
    """E = S.A S has the gradient 2 A S and the Hessian 2 A."""
    spins = _spins(5, 1)
    matrix = np.roll(np.eye(5), 1, 0) + np.roll(np.eye(5), -1, 0)
    energy = lambda s: heisenberg_energy(s, 0.5, derivative=derivative)  # noqa: E731
    gradient = jax.jit(jax.grad(energy))(spins)
    np.testing.assert_allclose(gradient, matrix @ spins, rtol=0, atol=32 * EPS)
    hessian = jax.jit(jax.hessian(energy))(spins)[:, 0, :, 0]
    np.testing.assert_allclose(hessian, matrix, rtol=0, atol=32 * EPS)


def test_vmap_over_configurations_and_couplings() -> None:
    spins, couplings = _spins(3, 6, 2), jnp.array([[1.0], [2.0]])
    energies = jax.vmap(lambda j: heisenberg_energy(spins, j))(couplings)
    assert energies.shape == (2, 3)
    np.testing.assert_allclose(energies[1], 2 * energies[0], rtol=64 * EPS)


def test_bad_input_is_refused_in_words() -> None:
    spins = jnp.ones((4, 3))
    with pytest.raises(TypeError, match="real spins"):
        heisenberg_energy(spins.astype(complex), 1.0)
    with pytest.raises(TypeError, match="real or complex spins"):
        heisenberg_energy(spins.astype(int), 1.0)
    with pytest.raises(ValueError, match="coupling as a vector"):
        heisenberg_energy(spins, jnp.ones((2, 2)))
    with pytest.raises(TypeError, match="float32"):
        heisenberg_energy(spins, jnp.ones(1, jnp.float32))
    with pytest.raises(ValueError, match="at most 2 shells"):
        heisenberg_energy(spins, jnp.ones(3), lattice=chain(4))
    with pytest.raises(TypeError, match="heisenberg_energy"):
        jax.jvp(lambda s: heisenberg_energy(s, 1.0), (spins,), (spins,))
