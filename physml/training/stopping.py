"""When a minimization ends, and why."""

import enum
from dataclasses import dataclass

from physml.failures import expected


class Outcome(enum.IntEnum):
    """Why a minimization ended. The numbers live in compiled code."""

    RUNNING = 0
    CONVERGED = 1
    NO_PROGRESS = 2
    STEP_LIMIT = 3
    TIME_LIMIT = 4
    NON_FINITE = 5
    INTERRUPTED = 6

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")

    @property
    def sentence(self) -> str:
        """The outcome in words, with what to do about it."""
        return _SENTENCES[self]

    @property
    def is_failure(self) -> bool:
        """Whether the result is not what a finished run would give."""
        return self in (Outcome.NON_FINITE, Outcome.INTERRUPTED)


_SENTENCES = {
    Outcome.RUNNING: "still running",
    Outcome.CONVERGED: "converged: the target was reached",
    Outcome.NO_PROGRESS: "no more progress: the loss is at its rounding level",
    Outcome.STEP_LIMIT: "step limit reached: more steps would lower the loss further",
    Outcome.TIME_LIMIT: "time limit reached: resume, or allow more time",
    Outcome.NON_FINITE: (
        "stopped at a value that is not finite, best parameters kept: "
        "try a smaller learning rate"
    ),
    Outcome.INTERRUPTED: "interrupted: go on from the last snapshot",
}


@dataclass(frozen=True)
class StopRules:
    """The rules that end a minimization besides its number of steps.

    Parameters
    ----------
    target
        Converged when the measure is at or below this; 0 never.
    patience
        No more progress when the best loss has not fallen for so many steps.
    improvement
        What counts as a fall: more than this times the size of the loss. 0: any.
    time_limit
        In seconds, looked at between compiled pieces; None for no limit.

    Raises
    ------
    ValueError
        If a rule is negative or NaN.
    """

    target: float = 0.0
    patience: int = 200
    improvement: float = 0.0
    time_limit: float | None = None

    def __post_init__(self) -> None:
        """Refuse rules that mean nothing."""
        for name in ("target", "improvement"):
            if not getattr(self, name) >= 0:
                raise expected(f"{name} >= 0", getattr(self, name), "0 switches it off")
        if self.patience < 1:
            raise expected("a patience of 1 step or more", self.patience, "raise it")
        if self.time_limit is not None and not self.time_limit > 0:
            raise expected("a time limit > 0 s", self.time_limit, "None for no limit")
