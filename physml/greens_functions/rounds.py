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
        If the snapshot belongs to another map.
    RunFailure
        If the observer ended the map before its end.
    """
    total = num_rows(method, problem)
    done = [] if snapshot is None else [_checked(snapshot.rows, method, problem)]
    start = 0 if snapshot is None else snapshot.num_done
    wanted = (method.batch(problem) if batch is None else batch) * communicator.size
    length = _even_length(total - start, wanted)
    while start < total:
        # a last round that is short is filled up: all rounds share one program
        items = np.minimum(np.arange(start, start + length), total - 1)
        rows = _one_round(
            method,
            problem,
            _divided(items, communicator),
            num_rows=length,
            communicator=communicator,
        )
        rows = jax.tree.map(np.asarray, communicator.fetch(rows))
        done.append(jax.tree.map(lambda x, left=total - start: x[:left], rows))
        start = min(start + length, total)
        if observer is not None:
            done = [_joined(done)]
            if _tell(observer, done[0], total) and start < total:
                raise RunFailure(
                    f"The map was ended after {start} of {total} rows: go on from the "
                    "last snapshot."
                )
    return _joined(done)


def num_rows(method: MapMethod, problem: MapProblem) -> int:
    """Return how many rows the whole map has."""
    return len(problem.z if method.items == "energies" else problem.sites)


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


def _tell(observer: Observer, rows: Rows, total: int) -> bool:
    largest = float(np.max(rows.relative_residual))
    return observer(MapSnapshot(rows), MapRecord(len(rows.green), total, largest))


def _joined(parts: list[Rows]) -> Rows:
    return jax.tree.map(lambda *x: np.concatenate(x), *parts)


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
