"""Quasiparticle levels in closed form, matrices from indices, symmetries."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.hamiltonians import Vortex, bogoliubov_de_gennes, tight_binding
from physml.lattices import bonds_of_shell, chain, honeycomb, square, triangular
from physml.operators import as_operator, hermiticity_defect, to_sparse

MU, TINY = -0.7, 1e-13


def levels(hamiltonian) -> np.ndarray:
    return np.linalg.eigvalsh(to_sparse(hamiltonian).toarray())


def square_bands(n, m):
    k_x, k_y = np.meshgrid(2 * np.pi * np.arange(n) / n, 2 * np.pi * np.arange(m) / m)
    xi = -2 * (np.cos(k_x) + np.cos(k_y)) - MU
    return xi.ravel(), 2 * (np.cos(k_x) - np.cos(k_y)).ravel()


@pytest.mark.parametrize(
    ("s_wave", "d_wave"),
    [(0.3, None), (0.0, 0.2), (0.3, 0.2), (0.3, 0.2j), (0.3j, None)],
)
def test_uniform_gaps_have_their_closed_form(s_wave, d_wave):
    normal = tight_binding(square(4, 6))
    hamiltonian = bogoliubov_de_gennes(
        normal, chemical_potential=MU, s_wave=s_wave, d_wave=d_wave
    )
    is_complex = np.iscomplexobj([s_wave, d_wave or 0.0])
    assert hamiltonian.dtype == (np.complex128 if is_complex else np.float64)
    xi, form = square_bands(4, 6)
    energy = np.sqrt(xi**2 + np.abs(s_wave + (d_wave or 0) * form) ** 2)
    exact = np.sort(np.concatenate([-energy, energy]))
    np.testing.assert_allclose(levels(hamiltonian), exact, rtol=0, atol=TINY)


def test_d_wave_nodes_lie_on_the_diagonals():
    """At mu = 0 the gap and the band vanish together at (+-pi/2, +-pi/2) only."""
    found = levels(bogoliubov_de_gennes(tight_binding(square(8, 8)), d_wave=0.3))
    assert np.sum(np.abs(found) < TINY) == 8
    gapped = levels(bogoliubov_de_gennes(tight_binding(square(8, 8)), s_wave=0.3))
    np.testing.assert_allclose(np.abs(gapped).min(), 0.3, rtol=1e-13)


def random_problem(lattice, dtype, boundary="periodic"):
    """Return a Hamiltonian with everything random, and its two blocks by hand."""
    rng, bonds = np.random.default_rng(0), bonds_of_shell(lattice)
    shape = (len(bonds), *lattice.shape)

    def draw(shape):
        imaginary = 1j * rng.normal(size=shape) if dtype == np.complex128 else 0.0
        return rng.normal(size=shape) + imaginary

    normal = tight_binding(
        lattice,
        hopping=draw(shape),
        potential=rng.normal(size=lattice.num_sites),
        boundary=boundary,
    )
    on_site, on_bonds = draw(lattice.num_sites), draw(shape)
    hamiltonian = bogoliubov_de_gennes(
        normal, chemical_potential=MU, s_wave=on_site, d_wave=on_bonds
    )
    return hamiltonian, normal, on_site, on_bonds


def square_gap(on_site, on_bonds, n, m):
    gap = np.diag(on_site)
    for x in range(n):
        for y in range(m):
            here = x * m + y
            above, right = x * m + (y + 1) % m, ((x + 1) % n) * m + y
            for there, value in (
                (above, -on_bonds[0, x, y]),
                (right, on_bonds[1, x, y]),
            ):
                gap[here, there] += value
                gap[there, here] += value
    return gap


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_the_matrix_is_that_of_its_blocks(dtype):
    hamiltonian, normal, *gaps = random_problem(square(3, 4), dtype)
    h = to_sparse(normal).toarray() - MU * np.eye(12)
    gap = square_gap(*gaps, 3, 4)
    exact = np.block([[h, gap], [gap.conj().T, -h.conj()]])
    assert (hamiltonian.size, hamiltonian.dtype) == (24, dtype)
    np.testing.assert_allclose(to_sparse(hamiltonian).toarray(), exact, atol=1e-15)
    function = as_operator(lambda v: hamiltonian(v), size=24, dtype=dtype)
    np.testing.assert_allclose(to_sparse(function).toarray(), exact, atol=1e-15)
    v = jax.random.normal(jax.random.key(0), (2, 3, 24), complex)
    applied = jax.jit(jax.vmap(lambda h, v: h(v), in_axes=(None, 0)))(hamiltonian, v)
    np.testing.assert_allclose(applied, np.asarray(v) @ exact.T, atol=1e-14)


@pytest.mark.parametrize("boundary", ["open", "periodic"])
@pytest.mark.parametrize("lattice", [square(3, 4), triangular(3, 4), honeycomb(2, 3)])
def test_levels_come_in_pairs(lattice, boundary):
    hamiltonian, *_ = random_problem(lattice, np.complex128, boundary)
    found = levels(hamiltonian)
    np.testing.assert_allclose(found, -found[::-1], rtol=0, atol=TINY)
    assert hermiticity_defect(hamiltonian) < 50 * np.finfo(float).eps


def test_gradients_of_all_leaves():
    """The product is linear in them: differences of a step of one have no error."""
    hamiltonian, *_ = random_problem(square(3, 4), np.complex128)
    step, *_ = random_problem(square(3, 4), np.complex128)
    v, w = jax.random.normal(jax.random.key(2), (2, 24), complex)

    @jax.jit
    @jax.value_and_grad
    def form(h):
        return jnp.vdot(w, h(v)).real

    value, gradient = form(hamiltonian)
    moved, _ = form(jax.tree.map(jnp.add, hamiltonian, step))
    slope = sum(
        jnp.sum(g * d).real
        for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(step), strict=True)
    )
    np.testing.assert_allclose(slope, moved - value, rtol=1e-12)


def test_a_gap_profile_is_differentiable_through_the_constructor():
    normal, v = tight_binding(square(3, 3)), jnp.arange(18.0)

    def energy(gap, mu):
        h = bogoliubov_de_gennes(normal, chemical_potential=mu, s_wave=gap)
        return jnp.vdot(v, h(v))

    gap_slope, mu_slope = jax.grad(energy, argnums=(0, 1))(jnp.ones(9), jnp.array(0.1))
    np.testing.assert_allclose(gap_slope, 2 * v[:9] * v[9:])
    np.testing.assert_allclose(mu_slope, jnp.sum(v[9:] ** 2 - v[:9] ** 2))


@pytest.mark.parametrize("winding", [1, -2])
def test_the_phase_of_a_vortex_winds(winding):
    lattice, center = square(8, 8), (3.5, 3.5)
    normal = tight_binding(lattice, boundary="open")
    vortex = Vortex(center, winding, core_radius=2.0)
    hamiltonian = bogoliubov_de_gennes(
        normal, chemical_potential=MU, s_wave=0.4, d_wave=0.3, vortex=vortex
    )
    gap = np.asarray(hamiltonian.on_site_gap).reshape(8, 8)
    around = [gap[2, 2:5], gap[2:5, 5], gap[5, 5:2:-1], gap[5:2:-1, 2]]  # clockwise
    phases = np.unwrap(np.angle(np.concatenate([*around, gap[2, 2:3]])))
    np.testing.assert_allclose(phases[-1] - phases[0], -2 * np.pi * winding)
    distance = np.linalg.norm(lattice.positions() - center, axis=-1)
    np.testing.assert_allclose(np.abs(gap), 0.4 * np.tanh(distance / 2.0))
    along_y, along_x = hamiltonian.bond_gaps
    middle = np.exp(1j * winding * np.arctan2(3.5, 0.0))  # of sites (3, 7) and (4, 7)
    np.testing.assert_allclose(along_x[3, 7], 0.3 * np.tanh(3.5 / 2) * middle)
    np.testing.assert_allclose(along_y[7, 3], -0.3 * np.tanh(3.5 / 2), rtol=1e-12)
    found = levels(hamiltonian)
    np.testing.assert_allclose(found, -found[::-1], rtol=0, atol=TINY)


def test_a_vortex_binds_a_state_inside_the_gap():
    normal, gap = tight_binding(square(10, 10), boundary="open"), 0.8
    uniform = bogoliubov_de_gennes(normal, chemical_potential=MU, s_wave=gap)
    vortex = Vortex((4.5, 4.5), core_radius=1.0)
    bound = bogoliubov_de_gennes(
        normal, chemical_potential=MU, s_wave=gap, vortex=vortex
    )
    assert np.abs(levels(uniform)).min() >= gap * (1 - 1e-12)
    energies, states = np.linalg.eigh(to_sparse(bound).toarray())
    lowest = np.argmin(np.abs(energies))
    assert abs(energies[lowest]) < gap / 2
    weight = np.sum(np.abs(states[:, lowest].reshape(2, 10, 10)) ** 2, axis=0)
    assert weight[2:8, 2:8].sum() > 0.6  # a third of the sites, around the core


def test_an_impurity_is_seen_by_electrons_and_holes():
    normal = tight_binding(square(3, 3), potential=jnp.zeros(9).at[4].set(5.0))
    matrix = to_sparse(bogoliubov_de_gennes(normal, s_wave=0.1)).toarray()
    assert (matrix[4, 4], matrix[13, 13]) == (5.0, -5.0)
    assert np.count_nonzero(np.diag(matrix)) == 2


def test_further_bonds_have_no_d_wave():
    lattice = square(4, 4)
    bonds = bonds_of_shell(lattice, 1) + bonds_of_shell(lattice, 2)
    normal = tight_binding(lattice, hopping=[-1, -1, 0.3, 0.3], bonds=bonds)
    hamiltonian = bogoliubov_de_gennes(normal, d_wave=0.2)
    np.testing.assert_allclose(hamiltonian.bond_gaps, [-0.2, 0.2, 0, 0], atol=1e-16)
    same = replace(normal, potential=jnp.zeros(16))
    assert same.size == normal.size


REFUSED = {
    "two directions for a d-wave": lambda: bogoliubov_de_gennes(
        tight_binding(chain(4)), d_wave=0.1
    ),
    "open ends for a vortex": lambda: bogoliubov_de_gennes(
        tight_binding(square(4, 4)), s_wave=0.1, vortex=Vortex((1.5, 1.5))
    ),
    r"s_wave as one number, or of shape \(16,\)": lambda: bogoliubov_de_gennes(
        tight_binding(square(4, 4)), s_wave=np.ones(15)
    ),
    "d_wave of finite": lambda: bogoliubov_de_gennes(
        tight_binding(square(4, 4)), d_wave=np.nan
    ),
}


@pytest.mark.parametrize("words", REFUSED)
def test_bad_input_is_refused_in_words(words):
    with pytest.raises(ValueError, match=words):
        REFUSED[words]()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"center": (np.nan, 0.0)}, "a vortex at a finite point of the plane"),
        ({"center": (0.5, 0.5), "winding": 0.5}, "an integer winding, got 0.5"),
        ({"center": (0.5, 0.5), "core_radius": -1.0}, "core_radius >= 0"),
    ],
)
def test_bad_vortices_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Vortex(**options)
