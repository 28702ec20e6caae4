"""The line of a run: how far it is, and how long it still takes."""

import pytest
from rich.progress import Progress

from physml.runs import progress
from physml.runs.progress import LiveLine, SparseLines


@pytest.fixture
def at(monkeypatch):
    """Return a function that sets the clock."""
    clock = {"now": 0.0}
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock["now"])
    return lambda seconds: clock.update(now=float(seconds))


def test_time_left_follows_from_the_pace_after_the_first_update(at, capsys):
    at(0)
    line = SparseLines(100)
    at(20)  # compilation
    line.update(10, "loss 1")
    at(40)
    line.update(30, "loss 0.5")
    assert capsys.readouterr().out.splitlines() == [
        "loss 1,  10%",
        "loss 0.5,  30%, at most 70 s left",
    ]


def test_a_part_has_a_pace_of_its_own(at, capsys):
    at(0)
    line = SparseLines(1000)
    for seconds, done in ((0, 1), (11, 2), (22, 4)):
        at(seconds)
        line.update(done, "slow", 4)
    for seconds, done in ((22, 10), (33, 20)):
        at(seconds)
        line.update(done, "fast", 40)
    at(44)
    line.update(10, "another", 40)  # as many steps, from the start again
    assert capsys.readouterr().out.splitlines() == [
        "slow,  50%, at most 22 s left in this task",
        "slow, 100%, at most 0 s left in this task",
        "fast,  50%, at most 22 s left in this task",
        "another,  25%",
    ]


def test_a_bar_starts_again_with_each_part():
    bar = Progress(disable=True)
    line = LiveLine(bar, bar.add_task("", total=100, left="left"))
    line.update(3, "first", 10)
    line.update(10, "first", 10)
    line.update(2, "second", 10)
    (task,) = bar.tasks
    assert (task.completed, task.total) == (2, 10)
    assert task.fields["left"] == "left in this task"
    assert task.description == "second"
