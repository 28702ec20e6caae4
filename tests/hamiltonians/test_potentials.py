"""Closed forms against the diagonalized grid operator, and other closed forms."""

import numpy as np
import pytest

from physml.hamiltonians import (
    POTENTIALS,
    DoubleWell,
    FiniteWell,
    Harmonic,
    InfiniteWell,
    Linear,
    Morse,
    PairForce,
    PoschlTeller,
    RadialHydrogen,
    default_grid,
    make_potential,
    schrodinger_hamiltonian,
)
from physml.hamiltonians.potentials import gaussian_pair
from physml.lattices import Grid
from physml.solvers import lowest_levels


def grid_levels(potential, grid, *, order=8, num_levels=4):
    hamiltonian = schrodinger_hamiltonian(grid, potential, stencil_order=order)
    bottom = float(hamiltonian.potential.min()) - 1.0
    matrix = hamiltonian.to_sparse()
    return lowest_levels(matrix, num_levels, lower_bound=bottom).energies


@pytest.mark.parametrize(
    ("potential", "tolerance"),
    [
        (Harmonic(), 1e-11),
        (Harmonic(omega=30.0), 3e-10),
        (PoschlTeller(), 1e-9),
        (PoschlTeller(depth=6.5), 1e-8),
        (Morse(), 1e-9),
        (Morse(dissociation=12.0, steepness=0.7), 1e-9),
        (Linear(), 1e-8),  # the slope at the wall leaves an error of order h^4
        (Linear(force=5.0), 1e-7),
        (InfiniteWell(), 1e-10),
        (InfiniteWell(width=3.0), 1e-10),
    ],
    ids=repr,
)
def test_closed_form_agrees_with_the_grid(potential, tolerance):
    levels = grid_levels(potential, default_grid(potential, 511))
    exact = potential.exact_levels(4)
    assert len(exact) == 4
    np.testing.assert_allclose(levels, exact, rtol=0, atol=tolerance)


def test_finite_well_converges_with_the_square_of_the_spacing():
    potential = FiniteWell()
    exact = potential.exact_levels(4)
    coarse, fine = (
        grid_levels(potential, default_grid(potential, n), order=2) - exact
        for n in (511, 1023)
    )
    np.testing.assert_allclose(coarse / fine, 4.0, rtol=0.05)


def test_finite_well_has_as_many_levels_as_are_bound():
    well = FiniteWell(depth=2.0, half_width=1.0)  # k_max a = 2: two levels
    levels = well.exact_levels(10)
    assert len(levels) == 2
    k = np.sqrt(2 * (levels + 2.0))
    kappa = np.sqrt(-2 * levels)
    assert k[0] * np.tan(k[0]) == pytest.approx(kappa[0], rel=1e-12)
    assert -k[1] / np.tan(k[1]) == pytest.approx(kappa[1], rel=1e-12)


def test_hydrogen_grid_level_in_closed_form():
    """Order 2, l = 0: the ground state of the grid is (1 - sqrt(1 + h^2)) / h^2."""
    grid = Grid.line(0.0, 30.0, 599)
    h = grid.lines[0].spacing
    level = grid_levels(RadialHydrogen(), grid, order=2, num_levels=1)[0]
    assert level == pytest.approx((1 - np.sqrt(1 + h**2)) / h**2, abs=1e-10)


@pytest.mark.parametrize("angular_momentum", [0, 1, 2])
def test_hydrogen_approaches_the_rydberg_levels(angular_momentum):
    potential = RadialHydrogen(angular_momentum)
    exact = potential.exact_levels(4)
    errors = [
        np.abs(grid_levels(potential, default_grid(potential, n), order=2) - exact)
        for n in (999, 1999)
    ]
    assert np.all(errors[1] < 0.3 * errors[0])
    assert errors[1].max() < 1e-3


@pytest.mark.parametrize(
    ("potential", "num_bound"),
    [(PoschlTeller(depth=2.0), 2), (Morse(dissociation=2.0), 2)],
)
def test_only_bound_levels_are_returned(potential, num_bound):
    levels = potential.exact_levels(10)
    assert len(levels) == num_bound
    assert np.all(levels < 0)


@pytest.mark.parametrize("potential", [PoschlTeller(2.0), PoschlTeller(), FiniteWell()])
def test_box_is_sized_by_the_highest_of_four_bound_states(potential):
    """Walls at distance d from the well shift a level by about exp(-2 kappa d)."""
    kappa = np.sqrt(-2 * potential.exact_levels(4)[-1])
    decay = kappa * (potential.box()[1] - getattr(potential, "half_width", 0.0))
    assert 0.5 * np.log(1e9) <= decay <= 2 * 18.0


def test_double_well_splitting():
    levels = grid_levels(DoubleWell(separation=2.0), Grid.line(-6, 6, 767))
    assert levels[1] - levels[0] == pytest.approx(1.6e-5, rel=0.05)
    assert DoubleWell().exact_levels(4) is None


def test_pair_force_is_a_trap_and_a_gaussian():
    x, y = np.array([0.3]), np.array([-0.5])
    force = PairForce(amplitude=2.0, width=np.sqrt(0.5))
    expected = 0.5 * (0.09 + 0.25) + 2.0 * np.exp(-0.64)
    assert force(x, y)[0] == pytest.approx(expected, rel=1e-14)
    normalized = gaussian_pair(3.0, 0.5)
    integral = np.trapezoid(
        normalized(r := np.linspace(-6, 6, 4001), 0 * r) - 0.5 * r**2, r
    )
    assert integral == pytest.approx(3.0, rel=1e-10)


@pytest.mark.parametrize("name", POTENTIALS)
def test_every_potential_can_be_made_by_name(name):
    potential = make_potential(name)
    x = default_grid(potential, 31).coordinates()[0]
    assert np.isfinite(potential(x)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Harmonic(omega=0.0), "omega > 0"),
        (lambda: Harmonic(omega=float("nan")), "omega > 0"),
        (lambda: DoubleWell(separation=-1.0), "separation > 0"),
        (lambda: RadialHydrogen(angular_momentum=-1), "angular momentum"),
        (lambda: RadialHydrogen(angular_momentum=0.5), "angular momentum"),
        (lambda: PairForce(1.0, width=0.0), "width > 0"),
        (lambda: make_potential("harmonica"), "one of the potentials"),
        (lambda: make_potential("morse", width=1.0), "a parameter of morse"),
    ],
)
def test_bad_potentials_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("half_width", [0.3, 1.0, 1.3])
@pytest.mark.parametrize("num_bound", [1, 2, 3])
def test_a_level_at_the_rim_of_the_well_is_not_bound(half_width, num_bound):
    k_max = num_bound * np.pi / (2 * half_width)  # the next level has the energy zero
    well = FiniteWell(k_max**2 / 2, half_width)
    assert len(well.exact_levels(5)) == num_bound
    assert np.isfinite(well.box()).all()
