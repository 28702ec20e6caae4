"""Every item has one rank, whatever the numbers."""

import jax
import numpy as np
import pytest

from physml.parallel import Division


@pytest.mark.parametrize("num_items", [0, 1, 2, 5, 6, 7, 100])
@pytest.mark.parametrize("num_ranks", [1, 2, 3, 7])
def test_blocks_hold_each_item_once_and_in_order(num_items, num_ranks):
    division = Division(num_items, num_ranks)
    ranks = range(num_ranks)
    counts = [int(division.count(rank)) for rank in ranks]
    assert max(counts) - min(counts) <= 1
    assert division.length == max(counts)
    blocks = [division.indices(rank)[division.mask(rank)] for rank in ranks]
    np.testing.assert_array_equal(np.concatenate(blocks), np.arange(num_items))
    assert [int(division.start(rank)) for rank in ranks] == [0, *np.cumsum(counts)[:-1]]


def test_rank_may_be_traced():
    division = Division(7, 3)
    blocks = jax.jit(jax.vmap(division.indices))(np.arange(3))
    np.testing.assert_array_equal(blocks, [[0, 1, 2], [3, 4, 5], [5, 6, 6]])
    masks = jax.vmap(division.mask)(np.arange(3))
    np.testing.assert_array_equal(np.sum(masks, axis=1), [3, 2, 2])


@pytest.mark.parametrize("numbers", [(-1, 2), (3, 0)])
def test_impossible_divisions_are_refused(numbers):
    with pytest.raises(ValueError, match="Expected num_items >= 0 and num_ranks >= 1"):
        Division(*numbers)
