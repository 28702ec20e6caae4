"""Ctrl-C, SIGTERM, SIGUSR1 as a flag that a run looks at, to stop without loss."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

from physml.failures import RunFailure

# mpirun kills its ranks 0.2 s after Ctrl-C and SIGTERM, but hands SIGUSR1 on to them.
SIGNALS: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
if hasattr(signal, "SIGUSR1"):
    SIGNALS += (signal.SIGUSR1,)


class Interrupted(RunFailure):
    """A run that was asked to stop and did, after writing a checkpoint."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


@dataclass
class SignalFlag:
    """The number of the signal that came, if one did."""

    number: int | None = None


@contextmanager
def watched_signals() -> Iterator[SignalFlag]:
    """Let the first signal set a flag; a second one kills as it always does.

    Outside the main thread, where Python allows no signal handlers, it does nothing.
    """
    flag, previous = SignalFlag(), dict[int, Any]()

    def restore() -> None:
        while previous:
            signal.signal(*previous.popitem())

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        flag.number = number
        restore()

    with suppress(ValueError):
        previous.update({number: signal.signal(number, note) for number in SIGNALS})
    try:
        yield flag
    finally:
        restore()
