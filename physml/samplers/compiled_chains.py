"""The compiled loop of many chains: sweeps, records and adaptation in one program.

One call of `run_piece` takes many sweeps of all chains and returns to Python with a
block of records; how many sweeps a piece takes changes nothing in them. The random
numbers of a sweep follow from the seed's key, the number of the chain and the number of
the sweep, so that chains are the same on any number of ranks and after any resumption.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from physml.failures import expected
from physml.parallel import Communicator, Divided, item_keys
from physml.samplers.adaptation import adapt
from physml.samplers.kernel import Kernel

Batching = Literal["vmap", "map"]

RECORDS_PER_PIECE = 256  # the size of the compiled program's record buffer


class Chains(NamedTuple):
    """Many chains: a pytree of arrays with one row for each."""

    number: jax.Array  # of the chain, from 0: its random numbers follow from it
    state: Any
    step_sizes: dict[str, jax.Array]
    num_not_finite: jax.Array


class Schedule(NamedTuple):
    """Numbers of the loop; not static, so changing them compiles nothing."""

    sweep: jax.Array  # done before the piece
    num_records: jax.Array
    record_every: jax.Array
    num_burn_in: jax.Array


class Rows(NamedTuple):
    """What is recorded, (num_chains, ...) in the loop and (num_chains, rows, ...)."""

    values: dict[str, jax.Array]
    acceptance: dict[str, jax.Array]


def map_chains(function: Callable, batching: Batching) -> Callable:
    """Return a function of one chain as a function of all of them.

    Parameters
    ----------
    function
        Of arguments without an axis of chains.
    batching
        "vmap": all at once, which computes both sides of a branch; "map": one after the
        other, which keeps branches, so that an expensive move is paid for only where it
        was accepted.
    """
    if batching == "vmap":
        return jax.vmap(function)
    if batching == "map":
        return lambda *rows: jax.lax.map(lambda row: function(*row), rows)
    raise expected('"vmap" or "map" as batching', repr(batching), "choose one")


@partial(jax.jit, static_argnames=("num_chains", "batching", "communicator"))
def start_chains(
    kernel: Kernel,
    spins: Divided,
    *,
    num_chains: int,
    batching: Batching,
    communicator: Communicator,
) -> Any:
    """Return the states of all chains, on every rank."""

    def program(kernel: Kernel, spins: Divided) -> Any:
        states = map_chains(kernel.start, batching)(spins.values)
        return communicator.gather(states, num_chains)

    return communicator.spmd(program)(kernel, spins)


@partial(jax.jit, static_argnames=("num_chains", "batching", "communicator"))
def run_piece(
    kernel: Kernel,
    observables: Partial,
    key: jax.Array,
    schedule: Schedule,
    chains: Divided,
    *,
    num_chains: int,
    batching: Batching,
    communicator: Communicator,
) -> tuple[Chains, Rows]:
    """Run all chains up to `num_records` records.

    Returns
    -------
    All chains and their rows, (num_chains, RECORDS_PER_PIECE, ...), on every rank.
    """

    def program(*arguments: Any) -> tuple[Chains, Rows]:
        return communicator.gather(_run_records(batching, *arguments), num_chains)

    return communicator.spmd(program)(kernel, observables, key, schedule, chains)


def _run_records(
    batching: Batching,
    kernel: Kernel,
    observables: Partial,
    key: jax.Array,
    schedule: Schedule,
    block: Divided,
) -> tuple[Chains, Rows]:
    """Do this on each rank, for its block of chains."""
    sweep_all = partial(_sweep, batching, kernel, key, schedule.num_burn_in)
    observe_all = map_chains(partial(_observe, observables), batching)

    def to_next_record(index: jax.Array, carry: tuple[Chains, Rows]) -> Any:
        chains, rows = carry
        first = schedule.sweep + index * schedule.record_every
        chains, acceptance = _take_sweeps(
            sweep_all, chains, first, schedule.record_every
        )
        row = Rows(observe_all(chains.state), acceptance)
        return chains, jax.tree.map(lambda all_, x: all_.at[:, index].set(x), rows, row)

    row = jax.eval_shape(
        lambda chains: Rows(
            observe_all(chains.state), sweep_all(jnp.zeros((), int), chains)[1]
        ),
        block.values,
    )
    rows = jax.tree.map(_buffer, row)
    return jax.lax.fori_loop(
        0, schedule.num_records, to_next_record, (block.values, rows)
    )


def _take_sweeps(
    sweep_all: Callable,
    chains: Chains,
    first: jax.Array,
    count: jax.Array,
) -> tuple[Chains, dict[str, jax.Array]]:
    """Sweep up to the next record; return the mean acceptance."""

    def one_sweep(index: jax.Array, carry: Any) -> Any:
        chains, total = carry
        chains, acceptance = sweep_all(first + index, chains)
        return chains, jax.tree.map(jnp.add, total, acceptance)

    shapes = jax.eval_shape(sweep_all, first, chains)[1]
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    chains, total = jax.lax.fori_loop(0, count, one_sweep, (chains, zeros))
    return chains, jax.tree.map(lambda x: x / count.astype(x.dtype), total)


def _sweep(
    batching: Batching,
    kernel: Kernel,
    key: jax.Array,
    num_burn_in: jax.Array,
    sweep: jax.Array,
    chains: Chains,
) -> tuple[Chains, dict[str, jax.Array]]:
    """Step each chain once, then adapt its step sizes."""
    keys = item_keys(jax.random.fold_in(key, sweep), chains.number)
    step_all = map_chains(kernel.step, batching)
    state, tally = step_all(keys, chains.state, chains.step_sizes)
    step_sizes = adapt(
        chains.step_sizes, kernel.step_sizes(), tally.acceptance, sweep, num_burn_in
    )
    count = chains.num_not_finite + tally.num_not_finite
    return Chains(chains.number, state, step_sizes, count), tally.acceptance


def _observe(observables: Partial, state: Any) -> dict[str, jax.Array]:
    """Return the log density and the observables of one chain."""
    return {"log_density": state.log_density, **observables(state.spins)}


def _buffer(row: jax.ShapeDtypeStruct) -> jax.Array:
    length, *rest = row.shape
    return jnp.zeros((length, RECORDS_PER_PIECE, *rest), row.dtype)
