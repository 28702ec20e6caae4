"""Ranks are devices of JAX: those of this process, or of all in jax.distributed.

A rank's program runs under `jax.shard_map`.
"""

import functools
import pickle
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from physml.failures import expected
from physml.parallel.agreement import installation
from physml.parallel.communicator import Communicator, Program
from physml.parallel.division import Divided, block_of, division_of
from physml.parallel.transfer import Transfer, transfer

_AXIS = "ranks"
_WHOLE = PartitionSpec()
_BLOCK = PartitionSpec(_AXIS)


def _add(vector: jax.Array) -> jax.Array:
    is_alone = jax.lax.axis_size(_AXIS) == 1  # where XLA aborts on complex numbers
    return vector if is_alone else jax.lax.psum(vector, _AXIS)


def _keep(vector: jax.Array) -> jax.Array:
    return vector


@functools.cache
def _shift(step: int) -> Transfer:
    def shift(vector: jax.Array) -> jax.Array:
        size = jax.lax.axis_size(_AXIS)
        pairs = [(rank, (rank + step) % size) for rank in range(size)]
        return jax.lax.ppermute(vector, _AXIS, pairs)

    return shift


class ShardedCommunicator(Communicator):
    """One rank for each device.

    Parameters
    ----------
    devices
        By default all that JAX sees, in all processes of `jax.distributed`.
    """

    name = "sharded"

    def __init__(self, devices: Sequence[jax.Device] | None = None) -> None:
        chosen = jax.devices() if devices is None else devices
        self._mesh = Mesh(np.array(chosen), _AXIS)
        self.require_agreement(installation())

    def __eq__(self, other: object) -> bool:
        """Whether the devices are the same, in the same order."""
        return isinstance(other, ShardedCommunicator) and self._mesh == other._mesh

    def __hash__(self) -> int:
        return hash(self._mesh)

    @property
    def _is_on_cpu(self) -> bool:
        return self._mesh.devices.flat[0].platform == "cpu"

    @property
    def size(self) -> int:
        """The number of devices."""
        return self._mesh.size

    @property
    def rank(self) -> jax.Array:
        """The number of the device, in a program made by `spmd`."""
        _require_program()
        return jax.lax.axis_index(_AXIS).astype(int)

    def _sum_vector(self, vector: jax.Array) -> jax.Array:
        _require_program()
        return transfer(vector, _add, _keep)

    def _replicate_vector(self, vector: jax.Array) -> jax.Array:
        _require_program()
        return transfer(vector, _keep, _add)

    def _shift_vector(self, vector: jax.Array, step: int) -> jax.Array:
        _require_program()
        return transfer(vector, _shift(step), _shift(-step))

    def spmd(self, program: Program, *, divided_outputs: Any = False) -> Program:
        """Compile the program of a device and map it over all of them."""
        out_specs = jax.tree.map(lambda x: _BLOCK if x else _WHOLE, divided_outputs)

        @jax.jit
        def on_all_ranks(*arguments: Any) -> Any:
            return jax.shard_map(
                program,
                mesh=self._mesh,
                in_specs=_specs(arguments),
                out_specs=out_specs,
                check_vma=False,  # it has its own rules for the sums
            )(*arguments)

        return _one_at_a_time(on_all_ranks) if self._is_on_cpu else on_all_ranks

    def divide(self, tree: Any) -> Divided:
        """Put one block on each device."""
        division = division_of(tree, self.size)
        blocks = {
            device: block_of(tree, division, rank)
            for rank, device in enumerate(self._mesh.devices)
            if device.process_index == self.process
        }
        leaves = zip(
            *(jax.tree.leaves(block) for block in blocks.values()), strict=True
        )
        structure = jax.tree.structure(next(iter(blocks.values())))
        joined = [
            self._join(dict(zip(blocks, pieces, strict=True))) for pieces in leaves
        ]
        return jax.tree.unflatten(structure, joined)

    def _join(self, pieces: dict[jax.Device, jax.Array]) -> jax.Array:
        """Make one global array of the pieces of this process's devices."""
        length, *rest = next(iter(pieces.values())).shape
        return jax.make_array_from_single_device_arrays(
            (self.size * length, *rest),
            NamedSharding(self._mesh, _BLOCK),
            [jax.device_put(piece, device) for device, piece in pieces.items()],
        )

    def share(self, tree: Any) -> Any:
        """Put arrays on all devices."""
        return jax.device_put(tree, NamedSharding(self._mesh, _WHOLE))

    def fetch(self, tree: Any) -> Any:
        """Take arrays from the first device of this process."""
        return jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), tree)

    @property
    def process(self) -> int:
        """The number of this process in `jax.distributed`."""
        return jax.process_index()

    @property
    def num_processes(self) -> int:
        """The number of processes in `jax.distributed`."""
        return jax.process_count()

    def barrier(self) -> None:
        """Wait for the programs, then for the other processes."""
        jax.effects_barrier()
        multihost_utils.sync_global_devices("physml barrier")

    def gather_objects(self, value: Any) -> list[Any]:
        """Send the objects as bytes, padded to the longest."""
        if self.num_processes == 1:
            return [value]
        packed = np.frombuffer(pickle.dumps(value), np.uint8)
        lengths = multihost_utils.process_allgather(np.array([packed.size])).ravel()
        padded = np.zeros(lengths.max(), np.uint8)
        padded[: packed.size] = packed
        rows = np.asarray(multihost_utils.process_allgather(padded))
        return [pickle.loads(row[:n]) for row, n in zip(rows, lengths, strict=True)]


def _specs(arguments: Any) -> Any:
    """Return the layout of each argument: blocks of what is divided, else the whole."""

    def is_divided(node: Any) -> bool:
        return isinstance(node, Divided)

    return jax.tree.map(
        lambda node: _BLOCK if is_divided(node) else _WHOLE,
        arguments,
        is_leaf=is_divided,
    )


def _one_at_a_time(program: Program) -> Program:
    """Wait for each call: XLA's CPU devices deadlock with many programs in flight."""

    @functools.wraps(program)
    def run(*arguments: Any) -> Any:
        return jax.block_until_ready(program(*arguments))

    return run


def _require_program() -> None:
    try:
        jax.lax.axis_size(_AXIS)
    except NameError:
        raise expected(
            "a program of a rank",
            "a call outside of it",
            "compile the function with communicator.spmd and call the result",
        ) from None
