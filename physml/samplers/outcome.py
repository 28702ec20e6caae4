"""Why sampling ended."""

import enum


class SamplingOutcome(enum.IntEnum):
    """Why sampling ended."""

    FINISHED = 0
    NOT_FINITE = 1
    TIME_LIMIT = 2
    INTERRUPTED = 3

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")

    @property
    def sentence(self) -> str:
        """The outcome in words, with what to do about it."""
        return _SENTENCES[self]

    @property
    def is_failure(self) -> bool:
        """Whether the result is not what a finished run would give."""
        return self in (SamplingOutcome.NOT_FINITE, SamplingOutcome.INTERRUPTED)


_SENTENCES = {
    SamplingOutcome.FINISHED: "finished: all sweeps were taken",
    SamplingOutcome.NOT_FINITE: (
        "finished, but the log density of some proposals was NaN or infinite and they "
        "were refused: check the density, or the model that proposes"
    ),
    SamplingOutcome.TIME_LIMIT: "time limit reached: resume, or allow more time",
    SamplingOutcome.INTERRUPTED: "interrupted: go on from the last snapshot",
}
