"""Pairs of sites against distances between positions and their images."""

import jax.numpy as jnp
import numpy as np
import pytest

from physml.lattices import (
    BravaisLattice,
    chain,
    cubic,
    pair_matrix,
    pair_shells,
    square,
    triangular,
)

LATTICES = [chain(7), square(4, 5), triangular(5, 4), cubic(3, 4, 2), square(2, 2)]


def squared_distances(lattice: BravaisLattice) -> np.ndarray:
    """Return r^2 of each pair, to the nearest of the images around."""
    positions = lattice.positions().reshape(-1, lattice.dimension)
    reach = np.stack(np.indices((5,) * lattice.dimension), -1) - 2
    images = reach.reshape(-1, lattice.dimension) * np.array(lattice.shape)
    images = images @ np.asarray(lattice.primitive_vectors)
    apart = positions[None, :, None] - positions[:, None, None] + images
    return np.sum(apart**2, axis=-1).min(axis=-1)


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: str(lattice.shape))
def test_numbers_sort_pairs_by_distance(lattice: BravaisLattice) -> None:
    pairs = pair_shells(lattice, lattice.num_shells)
    of_number = np.array([0.0, *pairs.squared_distances])
    got = of_number[pairs.numbers]
    np.testing.assert_allclose(got, squared_distances(lattice), atol=1e-9)


def test_matrix_has_the_weight_of_each_pair_and_zero_beyond() -> None:
    lattice, weights = square(4, 5), jnp.array([5.0, 3.0, 2.0])
    matrix = pair_matrix(weights, pair_shells(lattice, 3))
    apart = np.round(squared_distances(lattice), 9)
    want = np.select([apart == 0, apart == 1, apart == 2], weights, 0.0)
    np.testing.assert_array_equal(matrix, want)


def test_neighbors_are_sorted_and_complete() -> None:
    pairs = pair_shells(triangular(6, 6), 3)
    sites, numbers = pairs.neighbors(2)
    assert sites.shape == (36, 12)
    assert numbers.tolist() == [1] * 6 + [2] * 6
    for site in range(36):
        near = np.flatnonzero(np.isin(pairs.numbers[site], [1, 2]))
        assert sorted(sites[site]) == near.tolist()
        np.testing.assert_array_equal(pairs.numbers[site, sites[site]], numbers)


def test_distances_mean_the_same_on_another_size() -> None:
    """The antipodes of 6 x 6, shell 9, are shell 11 of 8 x 8."""
    small = pair_shells(square(6, 6), 9)
    large = small.on(square(8, 8))
    assert large.squared_distances == small.squared_distances
    assert [len(s.displacements) for s in small.shells] == [4, 4, 4, 8, 4, 2, 4, 4, 1]
    assert [len(s.displacements) for s in large.shells] == [4, 4, 4, 8, 4, 4, 8, 8, 4]
    assert large.on(small.lattice) == small


def test_bad_input_is_refused() -> None:
    pairs = pair_shells(square(6, 6), 9)
    with pytest.raises(ValueError, match="squared distance 9, got shape"):
        pairs.on(square(4, 4))
    with pytest.raises(ValueError, match="same kind of lattice"):
        pairs.on(triangular(8, 8))
    with pytest.raises(ValueError, match="at most 9 shells"):
        pair_shells(square(6, 6), 10)
    with pytest.raises(ValueError, match="at most 10 weights"):
        pair_matrix(jnp.ones(11), pairs)
    with pytest.raises(ValueError, match="at most 10 weights"):
        pair_matrix(jnp.array(1.0), pairs)
