"""Spectra in closed form, matrices from indices, magnetic fields against Bloch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.hamiltonians import (
    disorder_potential,
    impurity_chain,
    impurity_potential,
    tight_binding,
)
from physml.lattices import bonds_of_shell, chain, cubic, honeycomb, square, triangular
from physml.operators import as_operator, to_sparse

T, EPSILON = -1.3, 0.4
LATTICES = {
    "chain": chain(7),
    "square": square(4, 5),
    "triangular": triangular(5, 4),
    "honeycomb": honeycomb(3, 4),
    "cubic": cubic(3, 4, 5),
}
TINY = 1e-13  # the rounding of a diagonalization of some hundred levels of order one


def levels(hamiltonian) -> np.ndarray:
    return np.linalg.eigvalsh(to_sparse(hamiltonian).toarray())


def momenta(*counts: int) -> np.ndarray:
    """Return k_i in units of the reciprocal vectors, k . a_i, for every level."""
    axes = [2 * np.pi * np.arange(n) / n for n in counts]
    return np.stack(np.meshgrid(*axes, indexing="ij")).reshape(len(counts), -1)


def standing(n: int) -> np.ndarray:
    return 2 * T * np.cos(np.pi * np.arange(1, n + 1) / (n + 1))


def triangular_band(k):
    return 2 * T * (np.cos(k[0]) + np.cos(k[1]) + np.cos(k[1] - k[0]))


def honeycomb_bands(k):
    size = np.abs(T * (1 + np.exp(1j * k[0]) + np.exp(1j * k[1])))
    return np.concatenate([-size, size])


SPECTRA = {
    "open chain": (chain(9), "open", standing(9)),
    "ring": (chain(9), "periodic", 2 * T * np.cos(momenta(9)[0])),
    "ring of two": (chain(2), "periodic", [2 * T, -2 * T]),
    "ring of one": (chain(1), "periodic", [2 * T]),
    "torus": (square(4, 6), "periodic", 2 * T * np.cos(momenta(4, 6)).sum(0)),
    "open square": (
        square(4, 6),
        "open",
        np.add.outer(standing(4), standing(6)).ravel(),
    ),
    "cylinder": (
        square(5, 4),
        ("open", "periodic"),
        np.add.outer(standing(5), 2 * T * np.cos(momenta(4)[0])).ravel(),
    ),
    "triangular": (triangular(4, 6), "periodic", triangular_band(momenta(4, 6))),
    "narrow triangular": (triangular(2, 3), "periodic", triangular_band(momenta(2, 3))),
    "honeycomb": (honeycomb(4, 6), "periodic", honeycomb_bands(momenta(4, 6))),
    "narrow honeycomb": (honeycomb(1, 2), "periodic", honeycomb_bands(momenta(1, 2))),
    "cubic": (cubic(3, 4, 5), "periodic", 2 * T * np.cos(momenta(3, 4, 5)).sum(0)),
    "open cubic": (
        cubic(3, 2, 4),
        "open",
        np.add.outer(np.add.outer(standing(3), standing(2)), standing(4)).ravel(),
    ),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_spectra_have_their_closed_forms(name):
    lattice, boundary, exact = SPECTRA[name]
    hamiltonian = tight_binding(
        lattice, hopping=T, potential=EPSILON, boundary=boundary
    )
    assert hamiltonian.dtype == np.float64
    np.testing.assert_allclose(
        levels(hamiltonian), EPSILON + np.sort(exact), rtol=0, atol=TINY
    )


@pytest.mark.parametrize("boundary", ["open", "periodic"])
def test_next_neighbors_of_a_square_lattice(boundary):
    lattice, further = square(4, 6), -0.3
    bonds = bonds_of_shell(lattice, 1) + bonds_of_shell(lattice, 2)
    hamiltonian = tight_binding(
        lattice, hopping=[T, T, further, further], bonds=bonds, boundary=boundary
    )
    if boundary == "open":
        x, y = standing(4), standing(6)
        exact = np.add.outer(x, y) + further * np.multiply.outer(x, y) / T**2
    else:
        x, y = np.cos(momenta(4, 6))
        exact = 2 * T * (x + y) + 4 * further * x * y
    np.testing.assert_allclose(
        levels(hamiltonian), np.sort(exact.ravel()), rtol=0, atol=TINY
    )


def random_problem(name, boundary, dtype):
    """Return a Hamiltonian with everything random, and what it was made of."""
    lattice, rng = LATTICES[name], np.random.default_rng(0)
    bonds = bonds_of_shell(lattice)
    hopping = rng.normal(size=(len(bonds), *lattice.shape))
    if dtype == np.complex128:
        hopping = hopping + 1j * rng.normal(size=hopping.shape)
    potential = rng.normal(size=lattice.num_sites)
    hamiltonian = tight_binding(
        lattice, hopping=hopping, potential=potential, boundary=boundary
    )
    return hamiltonian, lattice, hopping, potential


def matrix_from_positions(lattice, hopping, potential, is_periodic):
    """Join each pair of sites at distance one, found among all images."""
    matrix = np.diag(potential).astype(hopping.dtype)
    cells = getattr(lattice, "bravais", lattice)
    vectors = np.asarray(cells.primitive_vectors) * np.asarray(lattice.shape)[:, None]
    points = lattice.positions().reshape(lattice.num_sites, -1)
    count = lattice.num_sites // cells.num_sites
    around = (-1, 0, 1) if is_periodic else (0,)
    images = np.stack(np.meshgrid(*[around] * lattice.dimension), -1)
    for bond, amplitude in zip(bonds_of_shell(lattice), hopping, strict=True):
        basis = getattr(lattice, "basis", ((0.0,) * lattice.dimension,))
        step = np.add(
            bond.displacement, np.subtract(basis[bond.end], basis[bond.start])
        )
        along = step @ np.asarray(cells.primitive_vectors)
        assert abs(np.linalg.norm(along) - 1) < 1e-12
        for cell, value in enumerate(amplitude.ravel()):
            start = cell * count + bond.start
            for image in images.reshape(-1, lattice.dimension):
                target = points[start] + along + image @ vectors
                near = np.linalg.norm(points - target, axis=1) < 1e-6
                for end in np.flatnonzero(near):
                    matrix[end, start] += value
                    matrix[start, end] += np.conj(value)
    return matrix


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("boundary", ["open", "periodic"])
@pytest.mark.parametrize("name", LATTICES)
def test_matrices_are_those_of_the_bonds(name, boundary, dtype):
    hamiltonian, *parts = random_problem(name, boundary, dtype)
    exact = matrix_from_positions(*parts, boundary == "periodic")
    assert hamiltonian.dtype == dtype
    np.testing.assert_allclose(to_sparse(hamiltonian).toarray(), exact, atol=1e-15)
    shape = (2, 3, hamiltonian.size)
    vectors = jax.random.normal(jax.random.key(0), shape, complex)
    for v in (vectors, vectors.real):
        products = np.asarray(v) @ exact.T
        assert hamiltonian(v).dtype == products.dtype
        np.testing.assert_allclose(hamiltonian(v), products, atol=1e-14)
    mapped = jax.jit(jax.vmap(lambda h, v: h(v), in_axes=(None, 0)))
    np.testing.assert_allclose(mapped(hamiltonian, vectors), hamiltonian(vectors))


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("name", LATTICES)
def test_gradients_of_all_leaves(name, dtype):
    """The product is linear in them: differences of a step of one have no error."""
    hamiltonian, *_ = random_problem(
        name, ("periodic",) * LATTICES[name].dimension, dtype
    )
    step = jax.tree.map(
        lambda x: (
            jnp.asarray(np.random.default_rng(1).normal(size=x.shape), x.dtype)
            * (1 + (0.5j if dtype == np.complex128 and x.dtype == dtype else 0))
        ),
        hamiltonian,
    )
    v = jax.random.normal(jax.random.key(2), (2, hamiltonian.size), dtype)
    w = jax.random.normal(jax.random.key(3), v.shape, dtype)

    def form(h):
        return jnp.vdot(w, h(v)).real

    gradient = jax.jit(jax.grad(form))(hamiltonian)
    slope = sum(
        jnp.sum(g * d).real
        for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(step), strict=True)
    )
    moved = jax.tree.map(jnp.add, hamiltonian, step)
    np.testing.assert_allclose(slope, form(moved) - form(hamiltonian), rtol=1e-12)


def test_gradients_of_flux_and_phases_against_differences():
    lattice = honeycomb(3, 3)
    v = jax.random.normal(jax.random.key(0), (lattice.num_sites,), complex)

    def energy(flux, phases):
        h = tight_binding(lattice, flux=flux, phases=phases, boundary="open")
        return jnp.vdot(v, h(v)).real

    at, step = (jnp.array(0.13), jnp.array([0.1, -0.4, 0.7])), 1e-5
    slopes = jax.jit(jax.grad(energy, argnums=(0, 1)))(*at)
    middle = (energy(at[0] + step, at[1]) - energy(at[0] - step, at[1])) / (2 * step)
    np.testing.assert_allclose(slopes[0], middle, rtol=1e-7)
    for k in range(3):
        turn = step * jnp.eye(3)[k]
        middle = (energy(at[0], at[1] + turn) - energy(at[0], at[1] - turn)) / (
            2 * step
        )
        np.testing.assert_allclose(slopes[1][k], middle, rtol=1e-7)


def harper_levels(p: int, q: int, num_x: int, num_y: int) -> np.ndarray:
    """Diagonalize Hofstadter's q x q matrix at each k of a num_x x num_y torus."""
    found = []
    for k_x in 2 * np.pi * np.arange(num_x // q) / num_x:  # magnetic zone
        for k_y in 2 * np.pi * np.arange(num_y) / num_y:
            matrix = np.zeros((q, q), complex)
            for m in range(q):
                matrix[m, m] += 2 * T * np.cos(k_y - 2 * np.pi * p * m / q)
                matrix[(m + 1) % q, m] += T * np.exp(-1j * k_x)
                matrix[m, (m + 1) % q] += T * np.exp(1j * k_x)
            found.append(np.linalg.eigvalsh(matrix))
    return np.sort(np.concatenate(found))


@pytest.mark.parametrize(("p", "q"), [(1, 2), (1, 3), (2, 5)])
def test_hofstadter_levels(p, q):
    hamiltonian = tight_binding(square(2 * q, 4), hopping=T, flux=p / q)
    exact = harper_levels(p, q, 2 * q, 4)
    np.testing.assert_allclose(levels(hamiltonian), exact, rtol=0, atol=TINY)


def test_landau_levels_of_graphene_and_flux_periodicity():
    """Weak fields: E^2 / E_1^2 = 0, 1, 2, ...; a flux quantum in each hexagon: none."""
    lattice = honeycomb(12, 12)
    e = levels(tight_binding(lattice, flux=1 / 144))
    np.testing.assert_allclose(e[143:145], 0, atol=TINY)  # 1 state of each sublattice
    first, second = e[145], e[147]
    np.testing.assert_allclose(first, np.sqrt(2 * np.pi * np.sqrt(3) / 144), rtol=0.02)
    np.testing.assert_allclose(second / first, np.sqrt(2), rtol=0.02)
    lattice = honeycomb(3, 4)
    whole, none = (
        levels(tight_binding(lattice, flux=f, boundary="open")) for f in (1, 0)
    )
    np.testing.assert_allclose(whole, none, atol=TINY)


FLUX_QUANTA = {"square": 1 / 20, "triangular": 1 / 40, "honeycomb": 1 / 12}


def loop_phase(matrix: np.ndarray, sites: list[int]) -> float:
    """Return the phase that a particle gains around a loop, over 2 pi, from 0 to 1."""
    pairs = zip(sites, [*sites[1:], sites[0]], strict=True)
    steps = [matrix[end, start] / -1.0 for start, end in pairs]
    assert all(abs(abs(step) - 1) < 1e-12 for step in steps)
    return float(np.angle(np.prod(steps)) / (2 * np.pi) % 1)


@pytest.mark.parametrize("boundary", ["periodic", ("periodic", "open"), "open"])
def test_every_plaquette_of_the_torus_has_the_flux(boundary):
    for name, quantum in FLUX_QUANTA.items():
        lattice, flux = LATTICES[name], 3 * quantum
        matrix = to_sparse(
            tight_binding(lattice, flux=flux, boundary=boundary)
        ).toarray()
        n, m = lattice.shape
        ends = [boundary] * 2 if isinstance(boundary, str) else boundary
        for x in range(n if ends[0] == "periodic" else n - 1):
            for y in range(m if ends[1] == "periodic" else m - 1):
                for loop in plaquettes(name, x, y, n, m):
                    phase = loop_phase(matrix, loop)
                    assert abs(phase - flux) < 1e-12


def plaquettes(name, x, y, n, m):
    """Return the loops of the cell from (x, y) to (x + 1, y + 1), counterclockwise."""
    a, b, c, d = (
        ((x + i) % n) * m + (y + j) % m for i, j in [(0, 0), (1, 0), (1, 1), (0, 1)]
    )
    if name == "square":
        return [[a, b, c, d]]
    if name == "triangular":
        return [[a, b, d], [b, c, d]]
    return [[2 * a + 1, 2 * b, 2 * b + 1, 2 * c, 2 * d + 1, 2 * d]]


@pytest.mark.parametrize("name", FLUX_QUANTA)
def test_gauge_transformations_leave_the_spectrum(name):
    lattice, rng = LATTICES[name], np.random.default_rng(0)
    angle = rng.normal(size=lattice.num_sites)
    count = lattice.num_sites // np.prod(lattice.shape)
    cells = np.arange(lattice.num_sites).reshape(*lattice.shape, count)
    phases = np.stack(
        [
            angle[
                np.roll(cells, [-d for d in bond.displacement], (0, 1))[..., bond.end]
            ]
            - angle[cells[..., bond.start]]
            for bond in bonds_of_shell(lattice)
        ]
    )
    flux = FLUX_QUANTA[name]
    plain = tight_binding(lattice, flux=flux)
    turned = tight_binding(lattice, flux=flux, phases=phases)
    np.testing.assert_allclose(levels(turned), levels(plain), rtol=0, atol=TINY)
    assert np.abs(levels(plain) - levels(tight_binding(lattice))).max() > 0.01


def test_flux_through_a_ring_sits_on_one_bond_or_on_all():
    n, flux = 8, 0.3
    spread = tight_binding(chain(n), hopping=T, phases=2 * np.pi * flux / n)
    at_one = np.zeros((1, n))
    at_one[0, 5] = 2 * np.pi * flux
    exact = np.sort(2 * T * np.cos(2 * np.pi * (np.arange(n) - flux) / n))
    np.testing.assert_allclose(levels(spread), exact, rtol=0, atol=TINY)
    hamiltonian = tight_binding(chain(n), hopping=T, phases=at_one)
    np.testing.assert_allclose(levels(hamiltonian), exact, rtol=0, atol=TINY)


def test_the_impurity_chain_has_its_known_green_function():
    hamiltonian = impurity_chain()
    z = np.linspace(-2.5, 3, 100)[50] + 0.05j
    matrix = to_sparse(hamiltonian).toarray()
    assert matrix[499, 499] == 3.5
    assert matrix[0, 1] == -1.0
    value = np.linalg.inv(z * np.eye(1000) - matrix)[499, 499]
    np.testing.assert_allclose(value, -0.2314357042 - 0.1530990239j, rtol=0, atol=1e-10)


def test_impurities_and_disorder():
    lattice = square(20, 30)
    added = impurity_potential(lattice, [3, 599, 3], jnp.array([1.0, -2.0, 0.5]))
    assert (added[3], added[599], jnp.count_nonzero(added)) == (1.5, -2.0, 2)
    slope = jax.grad(lambda s: impurity_potential(lattice, [4], s)[4])(2.0)
    assert slope == 1.0
    disorder = disorder_potential(jax.random.key(0), lattice, 2.0)
    assert jnp.abs(disorder).max() <= 1.0
    # the variance of width**2 / 12, within five standard errors, sqrt(0.8 / n) of it
    assert abs(jnp.var(disorder) * 3 - 1) < 5 * np.sqrt(0.8 / 600)
    again = disorder_potential(jax.random.key(0), lattice, 2.0)
    np.testing.assert_array_equal(disorder, again)
    tight_binding(lattice, potential=disorder.reshape(20, 30) + 0.5)


def test_hamiltonians_are_made_under_jit_and_vmap():
    lattice = square(3, 4)

    def product(hopping, potential):
        return tight_binding(lattice, hopping=hopping, potential=potential)(
            jnp.ones(12)
        )

    hopping, potential = jnp.array([-1.0, -2.0]), jnp.ones((2, 12))
    both = jax.jit(jax.vmap(product))(hopping, potential)
    np.testing.assert_allclose(both, 1 + 4 * hopping[:, None] * np.ones((2, 12)))


def test_dtypes_follow_the_arrays():
    lattice, ones = square(3, 3), jnp.ones(9, jnp.float32)
    assert tight_binding(lattice, potential=ones).dtype == np.float32
    flux = tight_binding(lattice, potential=ones, flux=1 / 3)
    assert flux.dtype == np.complex64
    assert flux(ones).dtype == np.complex64


REFUSED = {
    "multiple of 1/20": lambda: tight_binding(square(4, 5), flux=0.21),
    "multiple of 1/40": lambda: tight_binding(triangular(4, 5), flux=1 / 20 + 1 / 60),
    "a real flux, one number": lambda: tight_binding(square(2, 2), flux=[0.25, 0.5]),
    "a real flux, one number, got 0.25j": lambda: tight_binding(
        square(2, 2), flux=0.25j
    ),
    "plaquettes": lambda: tight_binding(chain(4), flux=0.5),
    "a known flux": lambda: jax.jit(lambda f: tight_binding(square(2, 2), flux=f))(0.5),
    r"shape \(20,\)": lambda: tight_binding(square(4, 5), potential=np.ones(19)),
    r"\(2,\) or \(2, 4, 5\)": lambda: tight_binding(square(4, 5), hopping=np.ones(3)),
    "potential of finite": lambda: tight_binding(chain(1), potential=[np.nan]),
    "hopping of finite": lambda: tight_binding(chain(3), hopping=np.inf),
    "potential of real": lambda: tight_binding(chain(3), potential=1j),
    "phases of real": lambda: tight_binding(chain(3), phases=1j),
    '"open" or "periodic"': lambda: tight_binding(chain(3), boundary="closed"),
    "each of 2 directions": lambda: tight_binding(square(2, 2), boundary=("open",)),
    "sites from 0 to 999": lambda: impurity_chain(impurity_site=1000),
}


@pytest.mark.parametrize("words", REFUSED)
def test_bad_input_is_refused_in_words(words):
    with pytest.raises((ValueError, TypeError), match=words):
        REFUSED[words]()


def test_to_sparse_of_every_kind_agrees():
    hamiltonian, *_ = random_problem("honeycomb", "periodic", np.complex128)
    matrix = to_sparse(hamiltonian)
    function = as_operator(lambda h, v: h(v), hamiltonian, size=24, dtype=complex)
    for same in (as_operator(matrix), as_operator(matrix.toarray()), function):
        np.testing.assert_allclose(to_sparse(same).toarray(), matrix.toarray())


def test_impurities_that_do_not_fit_are_refused_in_words():
    with pytest.raises(TypeError, match="integer numbers of sites, got float64"):
        impurity_potential(chain(4), [1.7], 3.0)
    with pytest.raises(ValueError, match="one strength, or 2 of them"):
        impurity_potential(chain(4), [1, 2], [3.0, 1.0, 2.0])
