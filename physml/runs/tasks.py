"""A run made of tasks, each of which builds on the results of those before it.

Where a run stands is plain data: the results of the finished tasks and the state of the
one under way, pytrees of arrays. A task shows its state after each piece of its work;
that is what a checkpoint holds, and any number of ranks goes on from it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from physml.failures import RunFailure
from physml.parallel import SERIAL, Communicator
from physml.runs.run import Standing

Results = dict[str, Any]  # pytrees of arrays by the names of their tasks
Rows = list[dict[str, Any]]  # lines of the records
Observe = Callable[[Any, Rows], Any]  # state, new lines


class Task(Protocol):
    """A part of a run. All methods give the same on every process."""

    @property
    def name(self) -> str:
        """What is done, for people; no two tasks of a run share one."""
        ...

    @property
    def num_steps(self) -> int:
        """The most steps that it may take."""
        ...

    def perform(self, results: Results, observe: Observe, state: Any) -> Any:
        """Return the result, a pytree of arrays.

        Parameters
        ----------
        results
            Of the tasks before.
        observe
            To be called after each piece of about a second, with the state, a pytree of
            arrays, and the new lines of the records: "step" and figures. How the work
            is cut into pieces must not change the lines. Without a state, None, nobody
            can go on from here, and the lines wait for the result.
        state
            To go on from; None at the start.
        """
        ...

    def state_template(self, results: Results) -> Any:
        """Return the shapes and dtypes of a state; `results` may be shapes, too."""
        ...

    def result_template(self, results: Results) -> Any:
        """Return the shapes and dtypes of the result."""
        ...


class TaskSnapshot(NamedTuple):
    """Where a run of tasks stands."""

    results: Results  # of the finished tasks, in their order
    state: Any = None  # of the task under way; None before it starts


Observer = Callable[[TaskSnapshot, Rows], Any]


def perform_tasks(
    tasks: Sequence[Task],
    *,
    observer: Observer,
    snapshot: TaskSnapshot | None = None,
) -> Results:
    """Perform all tasks in order, or what is left of them.

    Parameters
    ----------
    tasks
        The whole run.
    observer
        Called after each piece and after each task with a snapshot and new lines of the
        records.
    snapshot
        To go on from.
    """
    results, state = TaskSnapshot({}) if snapshot is None else snapshot
    for task in tasks[len(results) :]:
        results = _with_result(task, results, observer, state)
        state = None
    return results


def _with_result(
    task: Task, results: Results, observer: Observer, state: Any
) -> Results:
    """Perform a task; add its result to those before."""
    last: Rows = []  # a snapshot has the work of all lines before it, and no other

    def observe(state: Any, rows: Rows) -> None:
        named = [{"task": task.name} | row for row in rows]
        if state is None:
            last.extend(named)
        else:
            observer(TaskSnapshot(results, state), named)

    after = {**results, task.name: task.perform(results, observe, state)}
    observer(TaskSnapshot(after), last)
    return after


@dataclass(frozen=True)
class TasksComputation:
    """How a run of tasks is written to records and checkpoints.

    Parameters
    ----------
    tasks
        The whole run, in order.
    time_limit
        In seconds, looked at after each piece; None for no limit.
    communicator
        The ranks; the root's clock decides.
    """

    tasks: tuple[Task, ...]
    time_limit: float | None = None
    communicator: Communicator = SERIAL

    @property
    def num_steps(self) -> int:
        """The most steps that the run may take."""
        return sum(task.num_steps for task in self.tasks)

    def compute(
        self, observer: Callable[..., bool], snapshot: TaskSnapshot | None
    ) -> Results:
        """Perform all tasks, or go on from some of them."""
        limit = self.time_limit
        end = float("inf") if limit is None else time.monotonic() + limit

        def watch(snapshot: TaskSnapshot, rows: Rows) -> None:
            observer(snapshot, rows)
            is_over = self.communicator.broadcast_object(time.monotonic() > end)
            if is_over and len(snapshot.results) < len(self.tasks):
                name = self.tasks[len(snapshot.results)].name
                raise RunFailure(
                    f"The time limit of {limit:g} s came in '{name}'; go on with the "
                    "same options, --out and --resume."
                )

        return perform_tasks(self.tasks, observer=watch, snapshot=snapshot)

    def rows(self, snapshot: TaskSnapshot, rows: Rows) -> Rows:
        """Return the lines as they are."""
        del snapshot
        return rows

    def standing(self, row: dict[str, Any]) -> Standing:
        """Say which task, at which of its steps, and its figures."""
        names = [task.name for task in self.tasks]
        index = names.index(row["task"])
        number = f"{index + 1} of {len(names)}"
        figures = "  ".join(
            f"{name} {value:.4g}"
            for name, value in row.items()
            if name not in ("task", "step")
        )
        return Standing(
            f"in '{row['task']}', at step {row['step']}",
            row["step"],
            f"{number}, {row['task']}  step {row['step']}  {figures}",
            self.tasks[index].num_steps,
        )

    def pack(self, snapshot: TaskSnapshot) -> tuple[Any, dict[str, Any]]:
        """Take the results and the state."""
        information = {
            "finished": list(snapshot.results),
            "is_under_way": snapshot.state is not None,
        }
        return (list(snapshot.results.values()), snapshot.state), information

    def template(self, information: dict[str, Any]) -> Any:
        """Return the shapes of what `pack` took."""
        results: Results = {}
        for task in self.tasks[: len(information["finished"])]:
            results[task.name] = task.result_template(results)
        state = None
        if information["is_under_way"]:
            state = self.tasks[len(results)].state_template(results)
        return list(results.values()), state

    def unpack(self, tree: Any, information: dict[str, Any]) -> TaskSnapshot:
        """Return the snapshot again."""
        results, state = tree
        return TaskSnapshot(
            dict(zip(information["finished"], results, strict=True)), state
        )
