"""Ctrl-C and SIGTERM as a flag that a run looks at when it can stop without loss."""

import signal
from types import FrameType, TracebackType
from typing import Self

from physml.failures import RunFailure

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(RunFailure):
    """A run that was asked to stop and did, after writing a checkpoint."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


class InterruptionWatch:
    """A context in which the first signal sets `signal_number`, a second one kills.

    Outside the main thread, where Python allows no signal handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._previous: dict[int, signal.Handlers] = {}

    def __enter__(self) -> Self:
        try:
            self._previous = {s: signal.signal(s, self._note) for s in SIGNALS}  # type: ignore[misc]
        except ValueError:
            self._previous = {}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.signal_number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
