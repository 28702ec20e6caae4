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
    pair_values,
    square,
    triangular,
)

LATTICES = [chain(7), square(4, 5), triangular(5, 4), cubic(3, 4, 2), square(2, 2)]


def squared_distances(lattice: BravaisLattice) -> np.ndarray:
    """Return r^2 of each pair and each image, shape (sites, sites, images)."""
    positions = lattice.positions().reshape(-1, lattice.dimension)
    reach = np.stack(np.indices((5,) * lattice.dimension), -1) - 2
    images = reach.reshape(-1, lattice.dimension) * np.array(lattice.shape)
    images = images @ np.asarray(lattice.primitive_vectors)
    apart = positions[None, :, None] - positions[:, None, None] + images
    return np.round(np.sum(apart**2, axis=-1), 9)


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: str(lattice.shape))
def test_numbers_sort_pairs_by_distance(lattice: BravaisLattice) -> None:
    pairs = pair_shells(lattice, lattice.num_shells)
    of_number = np.array([0.0, *pairs.squared_distances])
    squared = squared_distances(lattice)
    nearest = squared.min(axis=-1, keepdims=True)
    np.testing.assert_allclose(of_number[pairs.numbers], nearest[..., 0], atol=1e-9)
    np.testing.assert_array_equal(pairs.images, np.sum(squared == nearest, axis=-1))


def test_matrix_has_the_weight_of_each_pair_and_zero_beyond() -> None:
    """On 4 x 5 sites r^2 = 4 leads up and down to the same site."""
    lattice, weights = square(4, 5), jnp.array([5.0, 3.0, 2.0, 1.0])
    pairs = pair_shells(lattice, 4)
    apart = squared_distances(lattice)
    at = [apart == r2 for r2 in (0, 1, 2, 4)]
    matrix = sum(
        float(w) * np.sum(a, axis=-1) for w, a in zip(weights, at, strict=True)
    )
    np.testing.assert_array_equal(pair_matrix(weights, pairs), matrix)
    values = np.select([np.any(a, axis=-1) for a in at], weights, 0.0)
    np.testing.assert_array_equal(pair_values(weights, pairs), values)
    assert np.any(matrix != values)


def test_neighbors_are_sorted_and_complete() -> None:
    pairs = pair_shells(square(6, 4), 4)
    sites, numbers = pairs.neighbors(3)
    assert numbers.tolist() == [1] * 4 + [2] * 4 + [3] * 4
    for site in range(24):
        counts = np.bincount(sites[site], minlength=24)
        near = np.isin(pairs.numbers[site], [1, 2, 3])
        np.testing.assert_array_equal(counts, np.where(near, pairs.images[site], 0))
        np.testing.assert_array_equal(pairs.numbers[site, sites[site]], numbers)


def test_distances_mean_the_same_on_another_size() -> None:
    """The antipodes of 6 x 6, shell 9, are shell 11 of 8 x 8."""
    small = pair_shells(square(6, 6), 9)
    large = small.on(square(8, 8))
    assert large.squared_distances == small.squared_distances
    assert list(map(len, small.displacements)) == [4, 4, 4, 8, 4, 4, 8, 8, 4]
    assert small.displacements == large.displacements
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
