"""Blocks of items come and go in order, whatever their number.

Run as it stands this tests the serial communicator; test_ranks.py runs it under mpirun
and over devices.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.parallel import Division, item_keys


def numbers_of_items(size):
    return sorted({0, 1, size - 1, size, 2 * size + 1})


def test_blocks_are_gathered_in_order(communicator):
    numbers = numbers_of_items(communicator.size)

    def gathered(num_items):
        indices = Division(num_items, communicator.size).indices(communicator.rank)
        tree = {"i": indices, "x": 1j * indices[:, None].astype(complex)}
        return communicator.gather(tree | {"odd": indices % 2 > 0}, num_items)

    results = communicator.spmd(lambda: [gathered(n) for n in numbers])()
    for num_items, whole in zip(numbers, results, strict=True):
        np.testing.assert_array_equal(whole["i"], np.arange(num_items))
        np.testing.assert_array_equal(whole["x"], 1j * np.arange(num_items)[:, None])
        np.testing.assert_array_equal(whole["odd"], np.arange(num_items) % 2 > 0)


def test_gather_is_differentiable(communicator):
    weights = np.arange(7.0)

    def loss(scale, block):
        whole = communicator.gather(communicator.replicate(scale) * block.values**2, 7)
        return jnp.sum(weights * whole) ** 2

    x = np.linspace(1, 2, 7)
    gradient = communicator.spmd(jax.grad(loss))(0.5, communicator.divide(x))
    np.testing.assert_allclose(gradient, np.sum(weights * x**2) ** 2, rtol=1e-14)


def test_gather_of_blocks_of_a_wrong_length_is_refused(communicator):
    program = communicator.spmd(
        lambda: communicator.gather(jnp.zeros(3), 5 * communicator.size)
    )
    with pytest.raises(ValueError, match="Expected blocks of 5 rows"):
        program()


def test_divided_arrays_come_back(communicator):
    numbers = numbers_of_items(communicator.size)
    trees = [{"x": np.arange(n) / 7, "y": np.ones((n, 2), np.float32)} for n in numbers]

    def program(blocks):
        return [
            (communicator.sum(jnp.sum(b.mask)), communicator.gather(b.values, n))
            for b, n in zip(blocks, numbers, strict=True)
        ]

    results = communicator.spmd(program)([communicator.divide(t) for t in trees])
    for num_items, tree, (count, whole) in zip(numbers, trees, results, strict=True):
        assert count == num_items
        jax.tree.map(np.testing.assert_array_equal, whole, tree)


def test_divided_outputs_stay_divided(communicator):
    x = np.arange(2.0 * communicator.size + 1)
    block = communicator.divide(x)
    square = communicator.spmd(
        lambda block: (block.values**2, communicator.sum(1)),
        divided_outputs=(True, False),
    )
    squares, _ = square(block)
    again = communicator.spmd(
        lambda b: communicator.sum(jnp.sum(b.values, where=b.mask))
    )
    block = type(block)(squares, block.mask)
    np.testing.assert_allclose(again(block), np.sum(x**2), rtol=1e-14)


def test_padding_is_made_of_items(communicator):
    block = communicator.divide(np.arange(1.0, 2 + communicator.size))
    program = communicator.spmd(lambda b: communicator.sum(jnp.sum(1 / b.values)))
    assert np.isfinite(program(block))


@pytest.mark.parametrize("tree", [1.0, {"x": np.ones(2), "y": np.ones(3)}, {}])
def test_what_has_no_common_axis_is_refused(communicator, tree):
    with pytest.raises(ValueError, match="Expected arrays with a common first axis"):
        communicator.divide(tree)


def test_random_numbers_belong_to_items(communicator):
    key, num_items = jax.random.key(7), 2 * communicator.size + 1
    division = Division(num_items, communicator.size)

    def program(key):
        keys = item_keys(key, division.indices(communicator.rank))
        return communicator.gather(jax.vmap(jax.random.normal)(keys), num_items)

    exact = [jax.random.normal(jax.random.fold_in(key, i)) for i in range(num_items)]
    np.testing.assert_array_equal(communicator.spmd(program)(key), exact)
