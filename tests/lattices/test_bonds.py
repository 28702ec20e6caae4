"""Bonds against distances between positions; crystals of several sites."""

import numpy as np
import pytest

from physml.lattices import (
    Bond,
    BravaisLattice,
    Crystal,
    bonds_of_shell,
    chain,
    cubic,
    honeycomb,
    square,
    triangular,
)
from physml.lattices.bonds import is_periodic
from physml.lattices.crystal import as_crystal


def bond_length(lattice, bond: Bond) -> float:
    crystal = as_crystal(lattice)
    basis = np.asarray(crystal.basis)
    step = np.asarray(bond.displacement) + basis[bond.end] - basis[bond.start]
    return float(np.linalg.norm(step @ np.asarray(crystal.bravais.primitive_vectors)))


@pytest.mark.parametrize(
    ("lattice", "squared", "counts"),
    [
        (chain(5), [1, 4, 9], [1, 1, 1]),
        (square(5, 5), [1, 2, 4, 5], [2, 2, 2, 4]),
        (triangular(5, 5), [1, 3, 4, 7], [3, 3, 3, 6]),
        (cubic(5, 5, 5), [1, 2, 3, 4], [3, 6, 4, 3]),
        (honeycomb(5, 5), [1, 3, 4, 7, 9], [3, 6, 3, 6, 6]),
    ],
)
def test_shells_of_the_infinite_lattices(lattice, squared, counts):
    """Coordination numbers: half of them bonds for each site of a cell."""
    for k, (length, count) in enumerate(zip(squared, counts, strict=True)):
        bonds = bonds_of_shell(lattice, k + 1)
        assert len(bonds) == count
        assert np.allclose([bond_length(lattice, b) ** 2 for b in bonds], length)
        both_ways = {*bonds, *(b.reversed() for b in bonds)}
        assert len(both_ways) == 2 * count


def test_bonds_do_not_depend_on_the_size_of_the_lattice():
    assert bonds_of_shell(square(1, 2), 3) == bonds_of_shell(square(50, 50), 3)


def test_positions_of_a_honeycomb_have_three_neighbors_at_distance_one():
    lattice = honeycomb(4, 5)
    points = lattice.positions()
    assert points.shape == (4, 5, 2, 2)
    assert (lattice.num_sites, lattice.dimension) == (40, 2)
    points = points.reshape(-1, 2)
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    inner = (1 * 5 + 2) * 2  # cell (1, 2), the first site
    np.testing.assert_allclose(np.sort(distances[inner])[1:4], 1)
    assert np.sort(distances[inner])[4] > 1.5


def test_a_crystal_of_one_site_has_the_order_of_its_bravais_lattice():
    lattice = triangular(3, 4)
    crystal = as_crystal(lattice)
    np.testing.assert_array_equal(crystal.positions()[:, :, 0], lattice.positions())
    assert as_crystal(crystal) is crystal


def test_a_lattice_of_ones_own():
    """A dimerized chain: the short bond is the first shell, the long one the second."""
    crystal = Crystal(BravaisLattice((4,), ((2.0,),)), ((0.0,), (0.45,)))
    assert bonds_of_shell(crystal) == (Bond((0,), 0, 1),)
    assert bonds_of_shell(crystal, 2) == (Bond((-1,), 0, 1),)


def test_bad_input_is_refused_in_words():
    with pytest.raises(ValueError, match="sites of 2 coordinates"):
        Crystal(square(2, 2), ((0.0,),))
    with pytest.raises(ValueError, match="at least one"):
        Crystal(square(2, 2), ())
    with pytest.raises(ValueError, match="a shell from 1 on"):
        bonds_of_shell(square(2, 2), 0)
    with pytest.raises(ValueError, match="each of 2 directions"):
        is_periodic(("open", "open", "open"), square(2, 2))


def test_sites_in_one_place_are_refused():
    with pytest.raises(ValueError, match="sites in different places"):
        Crystal(square(3, 3), ((0.0, 0.0), (1.0, 0.0)))
