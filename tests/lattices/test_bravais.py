"""Shells against a search over all images of all sites."""

import itertools

import numpy as np
import pytest

from physml.lattices import BravaisLattice, chain, cubic, square, triangular

LATTICES = [
    chain(1),
    chain(2),
    chain(7),
    chain(8),
    square(6, 6),
    square(2, 5),
    square(1, 4),
    triangular(6, 6),
    triangular(3, 3),
    triangular(2, 17),  # the nearest image lies several periods away
    cubic(4, 4, 4),
    cubic(2, 3, 5),
]


def _distances(lattice: BravaisLattice) -> dict[tuple[int, ...], float]:
    """Return r^2 from the origin to each other site, over very many images."""
    reach = 10 if lattice.dimension < 3 else 3
    vectors = np.asarray(lattice.primitive_vectors)
    periods = itertools.product(range(-reach, reach + 1), repeat=lattice.dimension)
    images = np.array(list(periods)) * np.array(lattice.shape)
    distances = {}
    for site in itertools.product(*map(range, lattice.shape)):
        if any(site):
            squared = np.sum(((images + np.array(site)) @ vectors) ** 2, axis=1)
            distances[site] = round(float(squared.min()), 6)
    return distances


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_shells_partition_the_sites_by_distance(lattice: BravaisLattice) -> None:
    distances = _distances(lattice)
    shells = lattice.shells()
    assert lattice.num_shells == len(shells)
    assert [s.squared_distance for s in shells] == sorted(set(distances.values()))
    for shell in shells:
        sites = [tuple(np.mod(d, lattice.shape)) for d in shell.displacements]
        assert len(set(sites)) == len(sites)
        assert all(distances[site] == shell.squared_distance for site in sites)
    assert sum(len(s.displacements) for s in shells) == lattice.num_sites - 1


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_every_displacement_has_its_negative(lattice: BravaisLattice) -> None:
    for shell in lattice.shells():
        sites = {tuple(np.mod(d, lattice.shape)) for d in shell.displacements}
        negative = {tuple(np.mod(-np.array(d), lattice.shape)) for d in sites}
        assert sites == negative


@pytest.mark.parametrize(
    ("lattice", "squared", "sizes"),
    [
        (chain(100), [1, 4, 9], [2, 2, 2]),
        (square(50, 50), [1, 2, 4, 5, 8, 9, 10], [4, 4, 4, 8, 4, 4, 8]),
        (triangular(50, 50), [1, 3, 4, 7, 9, 12, 13], [6, 6, 6, 12, 6, 6, 12]),
        (cubic(20, 20, 20), [1, 2, 3, 4, 5, 6, 8], [6, 12, 8, 6, 24, 24, 12]),
    ],
    ids=["chain", "square", "triangular", "cubic"],
)
def test_shells_of_the_infinite_lattice(
    lattice: BravaisLattice, squared: list[int], sizes: list[int]
) -> None:
    """Numbers of representations by x^2 + y^2, x^2 + xy + y^2, x^2 + y^2 + z^2."""
    shells = lattice.shells(len(squared))
    assert [s.squared_distance for s in shells] == squared
    assert [len(s.displacements) for s in shells] == sizes


def test_positions_are_combinations_of_the_primitive_vectors() -> None:
    positions = triangular(3, 4).positions()
    assert positions.shape == (3, 4, 2)
    np.testing.assert_allclose(positions[2, 3], [2 + 3 / 2, 3 * np.sqrt(3) / 2])


def test_bad_input_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="at most 9 shells"):
        square(6, 6).shells(10)
    with pytest.raises(ValueError, match="at most 3 shells"):
        chain(7).shells(-1)
    with pytest.raises(ValueError, match="at least one site"):
        square(0, 3)
    with pytest.raises(TypeError, match="integer numbers of sites"):
        chain(2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="2 primitive vectors"):
        BravaisLattice((2, 2), ((1.0,),))
    with pytest.raises(ValueError, match="linearly independent"):
        BravaisLattice((2, 2), ((1.0, 1.0), (2.0, 2.0)))
