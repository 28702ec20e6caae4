"""The line that a run shows while it works; quiet where nobody watches."""

import sys
import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 10.0


class ProgressLine(Protocol):
    """Shows how far a run is."""

    def update(self, done: int, text: str) -> None:
        """Show that `done` of all steps are done, and what there is to say."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def progress_line(total: int) -> ProgressLine:
    """Return a moving line on a terminal, a line now and then elsewhere.

    Parameters
    ----------
    total
        The number of steps of the whole run.
    """
    return LiveLine(total) if sys.stdout.isatty() else SparseLines(total)


class LiveLine:
    """A bar with the time left, redrawn in place."""

    def __init__(self, total: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f}%"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=Console(),
            transient=True,
        )
        self._task = self._progress.add_task("compiling", total=total)

    def update(self, done: int, text: str) -> None:
        """Redraw the line."""
        self._progress.update(self._task, completed=done, description=text)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()


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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None
