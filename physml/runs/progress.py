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


class ProgressLine(Protocol):
    """Shows how far a run is."""

    def update(self, done: int, text: str) -> None:
        """Show that `done` of all steps are done, and what there is to say."""
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
        TextColumn("left"),
        console=Console(),
        transient=True,
    ) as progress:
        yield LiveLine(progress, progress.add_task("compiling", total=total))


class NoLine:
    """Nothing: another process shows the line."""

    def update(self, done: int, text: str) -> None:
        """Show nothing."""


@dataclass(frozen=True)
class LiveLine:
    """A bar with the time left, redrawn in place."""

    progress: Progress
    task: TaskID

    def update(self, done: int, text: str) -> None:
        """Redraw the line."""
        self.progress.update(self.task, completed=done, description=text)


class SparseLines:
    """A plain line every ten seconds, for log files."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._start = self._last = time.monotonic()
        self._first_done: int | None = None

    def update(self, done: int, text: str) -> None:
        """Print a line if the last one is old enough."""
        now = time.monotonic()
        if self._first_done is None:
            self._first_done, self._start = done, now
        if now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        line = f"{text}, {done / self._total:4.0%}"
        if done > 0.1 * self._total:  # before, compilation hides the pace
            pace = (now - self._start) / max(done - self._first_done, 1)
            line += f", at most {pace * (self._total - done):.0f} s left"
        print(line, flush=True)
