"""Runs of tasks: what resumes, what a checkpoint holds."""

import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import pytest

from physml.failures import RunFailure
from physml.parallel import SERIAL
from physml.runs.run import RunConfiguration, open_run
from physml.runs.tasks import TasksComputation, perform_tasks


@dataclass(frozen=True)
class Count:
    """Add the results before to a counter, step by step."""

    name: str
    num_steps: int

    def perform(self, results, observe, state):
        state = jnp.zeros((), int) if state is None else state
        while state < self.num_steps:
            state = state + 1
            observe(state, [{"step": int(state), "sum": float(state)}])
        return {"total": state + sum(r["total"] for r in results.values())}

    def state_template(self, results):
        del results
        return jax.ShapeDtypeStruct((), jnp.int64)

    def result_template(self, results):
        return {"total": self.state_template(results)}


@dataclass(frozen=True)
class Jump:
    """Add the results before, in one step and without a state."""

    name: str
    num_steps: int = 1

    def perform(self, results, observe, state):
        total = sum(r["total"] for r in results.values())
        observe(state, [{"step": 1, "sum": float(total)}])
        return {"total": total}

    def state_template(self, results):
        del results

    def result_template(self, results):
        del results
        return {"total": jax.ShapeDtypeStruct((), jnp.int64)}


TASKS = (Count("first", 2), Jump("jump"), Count("second", 3))
NUM_OBSERVED = 8  # each state, and the end of each task


def test_tasks_build_on_the_results_before():
    snapshots = []
    results = perform_tasks(TASKS, observer=lambda *seen: snapshots.append(seen))
    assert {name: int(r["total"]) for name, r in results.items()} == {
        "first": 2,
        "jump": 2,
        "second": 7,
    }
    is_end = [snapshot.state is None for snapshot, _ in snapshots]
    assert is_end == [0, 0, 1, 1, 0, 0, 0, 1]


@pytest.mark.parametrize("stop", range(NUM_OBSERVED))
def test_any_snapshot_goes_on_to_the_same_end_through_a_checkpoint(stop):
    seen = []
    computation = TasksComputation(TASKS)
    whole = computation.compute(lambda *pair: seen.append(pair), None)
    snapshot, _ = seen[stop]
    tree, information = computation.pack(snapshot)
    template = computation.template(information)
    assert jax.tree.structure(tree) == jax.tree.structure(template)
    again = []
    restored = computation.unpack(tree, information)
    assert computation.compute(lambda *pair: again.append(pair), restored) == whole
    rows = [computation.rows(*pair) for pair in seen]
    assert [computation.rows(*pair) for pair in again] == rows[stop + 1 :]


class Stopped(Exception):
    pass


def perform(out, *, stop=None, resume=False):
    """Run the tasks in a folder, or up to an observation; return the records."""
    computation = TasksComputation(TASKS)
    configuration = RunConfiguration(out=out, resume=resume)
    run = open_run(
        "tasks",
        configuration,
        computation,
        started=time.monotonic(),
        communicator=SERIAL,
    )
    count = 0

    def compute(*, observer, snapshot):
        def watch(*seen):
            nonlocal count
            observer(*seen)
            count += 1
            if count == stop:
                raise Stopped  # after the checkpoint of this observation is due

        return computation.compute(watch, snapshot)

    try:
        run.perform(compute)
    except Stopped:
        return None
    return (out / "records.jsonl").read_text().splitlines()


@pytest.mark.parametrize("stop", range(1, NUM_OBSERVED))
def test_records_of_a_run_are_the_same_wherever_it_was_stopped(tmp_path, stop):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert perform(cut, stop=stop) is None
    assert perform(cut, resume=True) == perform(whole)


def test_the_time_limit_is_a_sentence_that_says_how_to_go_on():
    computation = TasksComputation(TASKS, time_limit=1e-9)
    with pytest.raises(RunFailure, match=r"'first'.*--resume"):
        computation.compute(lambda *_: False, None)


def test_standing_says_how_far_a_task_is():
    computation = TasksComputation(TASKS)
    standing = computation.standing({"task": "second", "step": 1, "sum": 1.5})
    assert (standing.steps, standing.part_steps) == (1, 3)
    assert computation.num_steps == 6
    assert "3 of 3, second" in standing.line
    assert standing.place == "in 'second', at step 1"
    assert "sum 1.5" in standing.line
