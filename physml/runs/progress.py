"""The line that a run shows while it works; quiet where nobody watches."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from physml.parallel.launcher import num_launched

SECONDS_BETWEEN_LINES = 10.0
LEFT, LEFT_IN_PART = "left", "left in this task"


class ProgressLine(Protocol):
    """Shows how far a run is."""

    def update(self, done: int, text: str, part_steps: int | None = None) -> None:
        """Show how far the run is.

        Parameters
        ----------
        done
            Steps, of all or of a part.
        text
            What there is to say.
        part_steps
            Of the part, if the run has parts with paces of their own.
        """
        ...


def is_watched() -> bool:
    """Whether stdout is a terminal.

    The terminal that mpirun gives its ranks is none: it has no width, and what is drawn
    in place may end in a file.
    """
    return sys.stdout.isatty() and num_launched() == 1


@contextmanager
def progress_line(total: int, *, is_shown: bool = True) -> Iterator[ProgressLine]:
    """Show a moving line on a terminal, a line now and then elsewhere.

    Parameters
    ----------
    total
        The number of steps of the whole run.
    is_shown
        Whether this process shows it.
    """
    if not is_shown:
        yield NoLine()
        return
    if not is_watched():
        yield SparseLines(total)
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:3.0f}%"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[left]}"),
        console=Console(),
        transient=True,
    ) as progress:
        yield LiveLine(progress, progress.add_task("compiling", total=total, left=LEFT))


class NoLine:
    """Nothing: another process shows the line."""

    def update(self, done: int, text: str, part_steps: int | None = None) -> None:
        """Show nothing."""


@dataclass(frozen=True)
class LiveLine:
    """A bar with the time left, redrawn in place."""

    progress: Progress
    task: TaskID

    def update(self, done: int, text: str, part_steps: int | None = None) -> None:
        """Redraw the line."""
        (bar,) = self.progress.tasks
        if part_steps is not None and (done < bar.completed or part_steps != bar.total):
            self.progress.reset(self.task, total=part_steps, left=LEFT_IN_PART)
        self.progress.update(self.task, completed=done, description=text)


class SparseLines:
    """A plain line every ten seconds, for log files."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._left = LEFT
        self._start = self._last = time.monotonic()
        self._first_done: int | None = None
        self._done = 0

    def update(self, done: int, text: str, part_steps: int | None = None) -> None:
        """Print a line if the last one is old enough."""
        now = time.monotonic()
        if part_steps is not None and (done < self._done or part_steps != self._total):
            self._total, self._left, self._first_done = part_steps, LEFT_IN_PART, None
        self._done = done
        if self._first_done is None:
            self._first_done, self._start = done, now
        if now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        print(f"{text}, {done / self._total:4.0%}{self._time_left(now)}", flush=True)

    def _time_left(self, now: float) -> str:
        """Return the time at the pace so far, once compilation does not hide it."""
        steps = self._done - (self._first_done or 0)
        if self._done <= 0.1 * self._total or not steps:
            return ""
        pace = (now - self._start) / steps
        return f", at most {pace * (self._total - self._done):.0f} s {self._left}"
