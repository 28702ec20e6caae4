"""Rows of a map in rounds: divided over ranks, watched, and resumable.

In a round each rank computes a batch of rows. After it every process has all rows so
far, which is what a snapshot holds: any number of ranks may go on from it.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from physml.failures import RunFailure, expected
from physml.greens_functions.map_methods import MapMethod, Rows
from physml.greens_functions.map_problem import MapProblem
from physml.parallel import Communicator, Divided
from physml.parallel.threads import blas_threads


class MapSnapshot(NamedTuple):
    """The rows so far, as arrays of the host."""

    rows: Rows

    @property
    def num_done(self) -> int:
        """How many rows there are."""
        return len(self.rows.green)


class MapRecord(NamedTuple):
    """What an observer is told after a round."""

    num_done: int
    num_rows: int
    largest_residual: float


Observer = Callable[[MapSnapshot, MapRecord], bool]


def all_rows(
    method: MapMethod, problem: MapProblem, communicator: Communicator
) -> Rows:
    """Compute all rows in one program, differentiable; inside of jit as well."""
    return _one_round(
        method,
        problem,
        _divided(np.arange(num_rows(method, problem)), communicator),
        num_rows=num_rows(method, problem),
        communicator=communicator,
    )


def rows_in_rounds(
    method: MapMethod,
    problem: MapProblem,
    communicator: Communicator,
    *,
    batch: int | None = None,
    observer: Observer | None = None,
    snapshot: MapSnapshot | None = None,
) -> Rows:
    """Compute all rows round by round, outside of jit.

    Parameters
    ----------
    method, problem
        What is computed, and how.
    communicator
        The ranks over which the rows of a round are divided.
    batch
        Rows of one rank in one round. By default what the method likes.
    observer
        Called after each round with a snapshot and a record; True ends the map.
    snapshot
        To go on from.

    Raises
    ------
    ValueError
        If a batch has no row, or the snapshot belongs to another map.
    RunFailure
        If the observer ended the map before its end.
    """
    if batch is not None and batch < 1:
        raise expected("a batch of 1 row or more", batch, "leave it out")
    total = num_rows(method, problem)
    start, largest = 0, 0.0
    whole = None
    if snapshot is not None:
        start = _checked(snapshot.rows, method, problem).green.shape[0]
        largest = float(np.max(snapshot.rows.relative_residual, initial=0.0))
        whole = _with_room(snapshot.rows, total)
    wanted = (method.batch(problem) if batch is None else batch) * communicator.size
    length = _even_length(total, wanted)  # of all rows, also when some are there
    while start < total:
        # a last round that is short is filled up: all rounds share one program
        items = np.minimum(np.arange(start, start + length), total - 1)
        with blas_threads():
            rows = _rows_of_round(method, problem, items, communicator)
        stop = min(start + length, total)
        rows = jax.tree.map(lambda x, count=stop - start: x[:count], rows)
        if stop - start == total:
            whole = rows
        else:
            whole = _with_room(rows, total) if whole is None else whole
            jax.tree.map(lambda x, y, a=start, b=stop: _put(x, y, a, b), whole, rows)
        start = stop
        if observer is not None:
            largest = max(largest, float(np.max(rows.relative_residual)))
            snapshot = MapSnapshot(jax.tree.map(lambda x, b=stop: x[:b], whole))
            is_over = observer(snapshot, MapRecord(start, total, largest))
            if is_over and start < total:
                raise RunFailure(
                    f"The map was ended after {start} of {total} rows: go on from the "
                    "last snapshot."
                )
    assert whole is not None  # a map has a row
    return whole


def num_rows(method: MapMethod, problem: MapProblem) -> int:
    """Return how many rows the whole map has."""
    return len(problem.z if method.items == "energies" else problem.sites)


def _rows_of_round(
    method: MapMethod,
    problem: MapProblem,
    items: np.ndarray,
    communicator: Communicator,
) -> Rows:
    """Compute rows outside of jit, and return them on the host of every process.

    Ranks that are processes exchange their blocks as they are, once; a sum over ranks
    of what is zero elsewhere, which can be differentiated, takes several times as long.
    """
    mine = _divided(items, communicator)
    is_alone = communicator.size == 1
    if is_alone or communicator.num_processes < communicator.size:
        rows = _one_round(
            method, problem, mine, num_rows=len(items), communicator=communicator
        )
        return jax.tree.map(np.asarray, communicator.fetch(rows))
    block = _one_block(method, problem, mine, communicator=communicator)
    count = int(np.sum(mine.mask))
    return jax.tree.map(
        lambda x: communicator.gather_rows(np.asarray(x)[:count]), block
    )


@partial(jax.jit, static_argnames="communicator")
def _one_block(
    method: MapMethod,
    problem: MapProblem,
    items: Divided,
    *,
    communicator: Communicator,
) -> Rows:
    def program(method: MapMethod, problem: MapProblem, items: Divided) -> Rows:
        return method.rows(problem, items.values)

    return communicator.spmd(program, divided_outputs=True)(method, problem, items)


@partial(jax.jit, static_argnames=("num_rows", "communicator"))
def _one_round(
    method: MapMethod,
    problem: MapProblem,
    items: Divided,
    *,
    num_rows: int,
    communicator: Communicator,
) -> Rows:
    def program(method: MapMethod, problem: MapProblem, items: Divided) -> Rows:
        shared = communicator.replicate(problem)
        return communicator.gather(method.rows(shared, items.values), num_rows)

    return communicator.spmd(program)(method, problem, items)


def _divided(items: np.ndarray, communicator: Communicator) -> Divided:
    with jax.ensure_compile_time_eval():
        return communicator.divide(items)


def _even_length(num_rows: int, most: int) -> int:
    """Return the length of rounds that are as equal as can be."""
    num_rounds = max(1, -(-num_rows // most))
    return max(1, -(-num_rows // num_rounds))


def _with_room(rows: Rows, total: int) -> Rows:
    """Return arrays for all rows that begin with these: snapshots are views of them."""
    whole = jax.tree.map(lambda x: np.empty((total, *x.shape[1:]), x.dtype), rows)
    jax.tree.map(lambda x, y: _put(x, y, 0, len(y)), whole, rows)
    return whole


def _put(whole: np.ndarray, rows: np.ndarray, start: int, stop: int) -> None:
    whole[start:stop] = rows


def _checked(rows: Rows, method: MapMethod, problem: MapProblem) -> Rows:
    by_energies = method.items == "energies"
    width = len(problem.sites if by_energies else problem.z)
    shape = (num_rows(method, problem), width)
    if rows.green.ndim != 2 or rows.green.shape[1] != width:
        raise expected(
            f"a snapshot of a map of shape {shape}",
            f"rows of shape {rows.green.shape}",
            "resume with the same energies, sites and method",
        )
    return rows
