"""Levels and states on a disc: exact answers, a second method, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import jn_zeros

from physml.hamiltonians import (
    FreeDisk,
    HarmonicDisk,
    QuarticDisk,
    RingDisk,
    quantum_disk,
    schrodinger_hamiltonian,
)
from physml.lattices import Grid, Line
from physml.pullbacks import check_pullback
from physml.solvers import lowest_levels

# omega: levels of m = 0, 1, 2 with R = 1, roots of a confluent hypergeometric function
HARMONIC = {
    1: (
        (3, 15.391538049465, 37.605834867303),
        (7.5071721804519, 24.776009996133),
        (13.391538049465, 35.605834867303),
    ),
    4: (
        (4.4888341187157, 17.76202083982, 40.067928750378),
        (9.8871008454007, 27.303097797428),
        (16.370397413396, 38.331305260179),
    ),
    16: (
        (16.000053731443, 48.010160632418, 80.32905579413),
        (32.000796541259, 64.063310312061),
        (48.005857602286, 80.256857044331),
    ),
}


def levels(disk, potential):
    return np.asarray(jax.jit(lambda: disk.radial_levels(potential))())


@pytest.mark.parametrize("radius", [1.0, 2.5])
def test_free_disc(radius):
    disk = quantum_disk(radius, num_functions=20)
    got = levels(disk, FreeDisk())
    for m in range(3):
        exact = (jn_zeros(m, 20) / radius) ** 2 / 2
        np.testing.assert_allclose(got[m], exact, rtol=1e-14, atol=1e-12)


@pytest.mark.parametrize("omega", HARMONIC)
def test_harmonic_disc(omega):
    got = levels(quantum_disk(num_functions=80), HarmonicDisk(float(omega)))
    for m, exact in enumerate(HARMONIC[omega]):
        np.testing.assert_allclose(got[m, : len(exact)], exact, rtol=0, atol=1e-10)
        roots = HarmonicDisk(omega).exact_levels(m, 1.0, len(exact))
        np.testing.assert_allclose(roots, exact, rtol=0, atol=1e-11)


def test_half_a_flux_quantum_is_exact():
    """The order is one half: J_(1/2) is a sine, levels (k pi)^2 / 2."""
    disk = quantum_disk(angular_momenta=(0, 1), num_functions=20, flux=0.5)
    exact = (np.pi * np.arange(1, 21)) ** 2 / 2
    for got in levels(disk, FreeDisk()):
        np.testing.assert_allclose(got, exact, rtol=1e-14)


@pytest.mark.parametrize("flux", [0.5, -0.3, 1.25])
def test_harmonic_disc_with_a_flux(flux):
    disk = quantum_disk(angular_momenta=(-1, 0, 2), num_functions=40, flux=flux)
    got = levels(disk, HarmonicDisk(4.0))[:, :2]
    for m, row in zip((-1, 0, 2), got, strict=True):
        exact = HarmonicDisk(4.0).exact_levels(abs(m - flux), 1.0, 2)
        np.testing.assert_allclose(row, exact, atol=1e-10)


def test_error_falls_with_the_seventh_power_of_the_number_of_functions():
    exact = HARMONIC[4][0][0]
    errors = [
        levels(quantum_disk(angular_momenta=[0], num_functions=n), HarmonicDisk(4.0))[
            0, 0
        ]
        - exact
        for n in (5, 10, 20)
    ]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert min(errors) > 0  # upper bounds
    np.testing.assert_allclose(orders, 7, atol=0.6)


def wall_correction(along, across, spacing):
    """Return what puts the wall between a point and its neighbor outside.

    At a distance t h from the wall the value outside is extrapolated linearly, which
    adds (1 / t - 1) / 2 h^2 to the diagonal: symmetric, of second order.
    """
    distance = np.sqrt(np.maximum(1 - across**2, 0)) - np.abs(along)
    is_last = (distance > 0) & (distance < spacing)
    ratio = spacing / np.where(is_last, distance, spacing)
    return np.where(is_last, ratio - 1, 0) / (2 * spacing**2)


def cartesian_levels(num_points):
    """Return the levels of central differences on the points inside the disc."""
    grid, h = Grid((Line(-1, 1, num_points),) * 2), 2 / (num_points + 1)

    def potential(x, y):
        walls = wall_correction(x, y, h) + wall_correction(y, x, h)
        return HarmonicDisk(4.0)(np.hypot(x, y)) + walls

    matrix = schrodinger_hamiltonian(grid, potential, stencil_order=2).to_sparse()
    inside = np.flatnonzero(np.linalg.norm(grid.points(), axis=1) < 1 - 1e-9)
    return lowest_levels(matrix[inside][:, inside], 6).energies


def test_central_differences_in_the_plane_converge_to_the_same_levels():
    disk = quantum_disk(angular_momenta=(0, 1, 2), num_functions=20)
    m0, m1, m2 = levels(disk, HarmonicDisk(4.0))
    want = np.array([m0[0], m1[0], m1[0], m2[0], m2[0], m0[1]])
    sizes = (31, 47, 63)
    squares = np.array([2 / (n + 1) for n in sizes]) ** 2
    rows = np.stack([cartesian_levels(n) for n in sizes])
    orders = np.log2((rows[0] - want) / (rows[2] - want))
    np.testing.assert_allclose(orders, 2, atol=0.05)
    limits = np.polynomial.polynomial.polyfit(squares, rows, 1)[0]
    np.testing.assert_allclose(limits, want, rtol=3e-5)


def test_a_displaced_oscillator_couples_angular_momenta():
    """Far from the wall its levels are omega (n + 1), n + 1 of each."""
    disk = quantum_disk(3.0, angular_momenta=range(-4, 5), num_functions=10)

    def potential(r, theta):
        x, y = r * jnp.cos(theta), r * jnp.sin(theta)
        return 8 * ((x - 0.2) ** 2 + (y + 0.1) ** 2)

    got = jax.jit(lambda: disk.planar_levels(potential))()[:3]
    np.testing.assert_allclose(got, [4, 8, 8], atol=1e-4)


def test_a_radial_potential_in_the_plane_has_the_radial_levels():
    disk = quantum_disk(angular_momenta=(-1, 0, 2), num_functions=8, flux=0.3)
    got = jax.jit(lambda: disk.planar_levels(lambda r, theta: 8 * r**2 + 0 * theta))()
    want = np.sort(levels(disk, lambda r: 8 * r**2).ravel())
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_wave_functions_are_orthonormal_and_the_same_on_all_grids():
    disk = quantum_disk(2.0, angular_momenta=(0, 1), num_functions=12, flux=0.25)
    states = disk.radial_states(RingDisk(5.0, 1.0), 2)
    angles = 2 * np.pi * np.arange(8) / 8
    radii = np.asarray(disk.basis.radii)
    r, theta = np.meshgrid(radii, angles, indexing="ij")
    psi = jax.jit(lambda s: disk.wave_functions(s, r, theta))(states)
    psi = psi.reshape(4, *r.shape)
    area = disk.basis.weights * (2 * np.pi / 8)
    overlaps = jnp.einsum("apt,bpt,p->ab", psi.conj(), psi, area.astype(psi.dtype))
    np.testing.assert_allclose(overlaps, np.eye(4), atol=1e-12)
    r, theta = disk.cartesian_grid(61)
    density = disk.densities(states, r, theta)
    assert density.shape == (2, 2, 61, 61)
    # zero at the wall, where a sum errs by the square of the spacing
    np.testing.assert_allclose(density.sum((-2, -1)) * (4 / 60) ** 2, 1, atol=2e-3)
    r, theta = disk.polar_grid(5, 4)
    polar = disk.densities(states, r, theta)
    np.testing.assert_allclose(polar[..., 2, 0], density[..., 45, 30], atol=1e-12)


def test_derivative_of_a_level_is_the_mean_of_that_of_the_potential():
    disk = quantum_disk(angular_momenta=[1], num_functions=12)

    def ground_level(omega):
        return disk.radial_levels(lambda r: omega**2 * r**2 / 2)[0, 0]

    states = disk.radial_states(HarmonicDisk(4.0), 1)
    radii = np.asarray(disk.basis.radii)
    density = disk.densities(states, radii, 0.0)[0, 0]  # does not depend on theta
    want = 2 * np.pi * jnp.sum(density * 4.0 * radii**2 * disk.basis.weights)
    np.testing.assert_allclose(jax.jit(jax.grad(ground_level))(4.0), want, rtol=1e-12)


def test_pullback_of_levels_and_densities():
    disk = quantum_disk(angular_momenta=(0, 1), num_functions=6, flux=0.2)
    r, theta = np.array([0.1, 0.5, 0.8]), np.array([0.0, 1.0, 2.0])

    def radial(parameters):
        first, second = parameters
        states = disk.radial_states(lambda r: first * r**2 + second * r**4, 2)
        return states.energies, disk.densities(states, r, theta)

    assert check_pullback(radial, jnp.array([8.0, 3.0]), directions=1).is_passed


def test_pullback_where_angular_momenta_are_coupled():
    disk = quantum_disk(angular_momenta=(-1, 0, 1), num_functions=4, num_angles=9)
    r, theta = np.array([0.1, 0.5, 0.8]), np.array([0.0, 1.0, 2.0])

    def planar(parameters):
        def potential(r, t):
            return parameters[0] * r * jnp.cos(t) + parameters[1] * r**2 * jnp.sin(
                2 * t
            )

        states = disk.planar_states(potential, 2)
        return states.energies, disk.densities(states, r, theta)

    assert check_pullback(planar, jnp.array([8.0, 3.0]), directions=1).is_passed


def test_density_of_a_degenerate_pair_is_differentiated_and_one_of_it_is_refused():
    disk = quantum_disk(angular_momenta=(-1, 1), num_functions=5)
    r, theta = np.array([0.2, 0.5]), np.array([0.3, 2.0])

    def pair(strength):
        states = disk.planar_states(lambda r, t: strength * r**2 + 0 * t, 2)
        return disk.densities(states, r, theta).sum(0)

    def both(strength):
        states = disk.radial_states(lambda r: strength * r**2, 1)
        return disk.densities(states, r, theta).sum((0, 1))

    got, want = (jax.jit(jax.jacrev(f))(8.0) for f in (pair, both))
    np.testing.assert_allclose(got, want, atol=1e-12)

    def one(strength):
        states = disk.planar_states(lambda r, t: strength * r**2 + 0 * t, 1)
        mixed = states.coefficients[0, 0] + states.coefficients[0, 1]
        return jnp.sum(jnp.abs(mixed) ** 2)

    assert np.isnan(jax.jit(jax.grad(one))(8.0))


def test_vmap_over_a_parameter():
    disk = quantum_disk(angular_momenta=(0, 1), num_functions=10)
    omegas = jnp.array([1.0, 4.0])

    def ground_level(omega):
        return disk.radial_levels(lambda r: omega**2 * r**2 / 2)[0, 0]

    got = jax.jit(jax.vmap(ground_level))(omegas)
    np.testing.assert_allclose(got, [HARMONIC[1][0][0], HARMONIC[4][0][0]], rtol=1e-8)


def test_error_of_the_integrals_bounds_that_of_the_levels():
    potential = HarmonicDisk(4.0)
    disk = quantum_disk(angular_momenta=[0], num_functions=10)
    assert disk.radial_quadrature_error(potential) < 1e-11
    coarse = quantum_disk(angular_momenta=[0], num_functions=10, num_points=16)
    moved = np.abs(levels(coarse, potential) - levels(disk, potential)).max()
    assert 1e-6 < moved <= coarse.radial_quadrature_error(potential)


def test_error_of_the_integrals_shows_a_step():
    disk = quantum_disk(angular_momenta=[0, 1], num_functions=5)
    step = disk.planar_quadrature_error(
        lambda r, theta: jnp.where(r < 0.3, 10.0, 0 * theta)
    )
    assert 1e-3 < step < 10.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"radius": -1.0}, "a radius > 0"),
        ({"angular_momenta": (0, 0)}, "different integers"),
        ({"angular_momenta": (0.5,)}, "different integers"),
        ({"angular_momenta": ()}, "different integers"),
        ({"num_functions": 0}, "num_functions >= 1"),
        ({"flux": np.nan}, "a finite flux"),
        ({"num_angles": 3}, "more than 4 angles"),
    ],
)
def test_bad_discs_are_refused_in_words(options, words):
    with pytest.raises(ValueError, match=words):
        quantum_disk(**options)


@pytest.mark.parametrize(
    ("potential", "words"),
    [
        (lambda r: r[:2], "a potential of shape"),
        (lambda r: r.astype(complex), "a real potential"),
        (lambda r: jnp.nan * r, "finite inside the disc"),
    ],
)
def test_bad_potentials_are_refused_in_words(potential, words):
    disk = quantum_disk(num_functions=3)
    with pytest.raises(ValueError, match=words):
        disk.radial_levels(potential)


def test_more_levels_than_functions_are_refused_in_words():
    disk = quantum_disk(num_functions=3)
    with pytest.raises(ValueError, match="between 1 and 3 levels in a basis"):
        disk.radial_states(FreeDisk(), 4)
    with pytest.raises(ValueError, match="between 1 and 9 levels in a basis"):
        disk.planar_states(lambda r, theta: r + theta, 10)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: HarmonicDisk(0.0), "omega > 0"),
        (lambda: QuarticDisk(np.inf), "a finite strength"),
        (lambda: RingDisk(1.0, -0.5), "ring_radius > 0"),
    ],
)
def test_bad_parameters_of_potentials_are_refused_in_words(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(("omega", "is_known"), [(0.1, True), (1e-3, False)])
def test_exact_levels_are_exact_or_unknown_in_a_weak_potential(omega, is_known):
    potential = HarmonicDisk(omega)
    exact = potential.exact_levels(0.0, 1.0, 4)
    assert (exact is not None) == is_known
    if exact is not None:
        disk = quantum_disk(angular_momenta=[0], num_functions=60)
        found = disk.radial_levels(potential)[0, :4]
        np.testing.assert_allclose(exact, found, rtol=1e-12)


def test_a_traced_flux_is_refused_in_words():
    def lowest(flux):
        return quantum_disk(flux=flux).radial_levels(FreeDisk())[0, 0]

    with pytest.raises(TypeError, match="a known radius and flux, got traced ones"):
        jax.grad(lowest)(0.2)
