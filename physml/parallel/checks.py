"""Every collective once, compared with a closed form."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from physml.parallel.communicator import Communicator
from physml.parallel.division import Division


def check_collectives(communicator: Communicator) -> dict[str, bool]:
    """Return for each collective whether it is right on all ranks."""
    program = communicator.spmd(lambda: _ask(communicator))
    found = jax.tree.map(np.asarray, program()) | _ask_host(communicator)
    exact = _answers(communicator.size) | _host_answers(communicator.num_processes)
    right = {name: np.array_equal(found[name], exact[name]) for name in exact}
    reports = communicator.gather_objects(right)
    return {name: all(report[name] for report in reports) for name in right}


def _ask(communicator: Communicator) -> dict[str, jax.Array]:
    """Let rank r contribute r + 1."""
    one = jnp.asarray(communicator.rank + 1, float)

    def square(x: jax.Array) -> jax.Array:
        return communicator.sum(one * communicator.replicate(x)) ** 2

    division = Division(_num_items(communicator.size), communicator.size)
    doubled = jax.lax.fori_loop(0, 3, lambda _, x: communicator.sum(x), one)
    return {
        "sum, real": communicator.sum(one),
        "sum, complex": communicator.sum(1j * one.astype(complex)),
        "sum, integer": communicator.sum(one.astype(int)),
        "sum, in a loop": doubled,
        "gradient": jax.grad(square)(jnp.ones(())),
        "shift": communicator.gather(
            communicator.shift(one, 1)[None], communicator.size
        ),
        "broadcast": communicator.broadcast(one, root=communicator.size - 1),
        "gather": communicator.gather(
            division.indices(communicator.rank), division.num_items
        ),
    }


def _answers(size: int) -> dict[str, Any]:
    total = size * (size + 1) // 2
    return {
        "sum, real": total,
        "sum, complex": 1j * total,
        "sum, integer": total,
        "sum, in a loop": total * size**2,
        "gradient": 2 * total**2,
        "shift": np.roll(np.arange(size) + 1, 1),
        "broadcast": size,
        "gather": np.arange(_num_items(size)),
    }


def _num_items(size: int) -> int:
    return 2 * size + 1  # unequal blocks on two ranks or more


def _ask_host(communicator: Communicator) -> dict[str, Any]:
    communicator.barrier()
    mine = communicator.process
    return {
        "objects, gathered": communicator.gather_objects(mine),
        "objects, broadcast": communicator.broadcast_object({"root": mine})["root"],
        "rows, gathered": communicator.gather_rows(np.full(mine, mine)),
    }


def _host_answers(num_processes: int) -> dict[str, Any]:
    return {
        "objects, gathered": np.arange(num_processes),
        "objects, broadcast": 0,
        "rows, gathered": np.repeat(np.arange(num_processes), np.arange(num_processes)),
    }
