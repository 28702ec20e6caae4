"""What several test files do with the program of each rank."""

import jax
import jax.numpy as jnp
import numpy as np


def on_each_rank(communicator, program, *arguments):
    """Return what the program of each rank returns, stacked."""

    def gathered(*arguments):
        rows = jax.tree.map(lambda x: jnp.asarray(x)[None], program(*arguments))
        return communicator.gather(rows, communicator.size)

    return communicator.spmd(gathered)(*arguments)


def assert_trees_close(tree, exact, rtol):
    for leaf, exact_leaf in zip(*map(jax.tree.leaves, (tree, exact)), strict=True):
        assert leaf.dtype == exact_leaf.dtype
        scale = np.max(np.abs(exact_leaf))
        np.testing.assert_allclose(leaf, exact_leaf, rtol=0, atol=rtol * scale)
