"""Runs of tasks: what resumes, what a checkpoint holds."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import pytest

from physml.failures import RunFailure
from physml.runs.tasks import TasksComputation, TaskSnapshot, perform_tasks


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


TASKS = (Count("first", 2), Count("second", 3))


def test_tasks_build_on_the_results_before():
    snapshots = []
    results = perform_tasks(TASKS, observer=lambda *seen: snapshots.append(seen))
    assert {name: int(r["total"]) for name, r in results.items()} == {
        "first": 2,
        "second": 5,
    }
    assert [rows is None for _, rows in snapshots] == [0, 0, 1, 0, 0, 0, 1]


@pytest.mark.parametrize("stop", range(7))
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


def test_the_time_limit_is_a_sentence_that_says_how_to_go_on():
    computation = TasksComputation(TASKS, time_limit=1e-9)
    with pytest.raises(RunFailure, match=r"'first'.*--resume"):
        computation.compute(lambda *_: False, None)


def test_standing_says_how_far_the_whole_run_is():
    computation = TasksComputation(TASKS)
    snapshot = TaskSnapshot({"first": {"total": 2}}, jnp.asarray(1))
    (row,) = computation.rows(snapshot, [{"step": 1, "sum": 1.5}])
    assert row == {"task": "second", "step": 1, "sum": 1.5}
    standing = computation.standing(row)
    assert (standing.steps, computation.num_steps) == (3, 5)
    assert standing.place == "in 'second', at step 1"
    assert "sum 1.5" in standing.line
