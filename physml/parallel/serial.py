"""One rank: nothing travels."""

from collections.abc import Callable
from typing import Any

import jax

from physml.parallel.communicator import Communicator, Program, Tree, require_length
from physml.parallel.division import Divided, Division, block_of, division_of


class SerialCommunicator(Communicator):
    """The only rank of a program that runs alone."""

    name = "serial"

    @property
    def size(self) -> int:
        """One."""
        return 1

    @property
    def rank(self) -> int:
        """Zero."""
        return 0

    @property
    def process(self) -> int:
        """Zero."""
        return 0

    @property
    def num_processes(self) -> int:
        """One."""
        return 1

    def _send(self, transfer: Callable[[jax.Array], jax.Array], tree: Tree) -> Tree:
        del transfer
        return tree

    def _sum_vector(self, vector: jax.Array) -> jax.Array:
        return vector

    def _replicate_vector(self, vector: jax.Array) -> jax.Array:
        return vector

    def _shift_vector(self, vector: jax.Array, step: int) -> jax.Array:
        del step
        return vector

    def gather(self, tree: Tree, num_items: int) -> Tree:
        """Return the only block."""
        for block in jax.tree.leaves(tree):
            require_length(block, Division(num_items, 1))
        return tree

    def spmd(self, program: Program, *, divided_outputs: Any = False) -> Program:
        """Compile the program."""
        del divided_outputs
        return jax.jit(program)

    def divide(self, tree: Any) -> Divided:
        """Return the whole as one block."""
        return block_of(tree, division_of(tree, 1), 0)

    def barrier(self) -> None:
        """Wait until the programs have finished."""
        jax.effects_barrier()

    def gather_objects(self, value: Any) -> list[Any]:
        """Return the one object."""
        return [value]


SERIAL = SerialCommunicator()
