"""What a minimization writes down on its way."""

from typing import NamedTuple, Self

import numpy as np


class Records(NamedTuple):
    """Columns of equal length: one row for each recorded step."""

    step: np.ndarray  # counted over all stages
    value: np.ndarray  # the loss
    measure: np.ndarray  # what the stop target is compared with

    @classmethod
    def empty(cls) -> Self:
        """Return no rows."""
        return cls(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))

    def __add__(self, other: "Records") -> "Records":  # type: ignore[override]
        """Append rows."""
        return Records(*map(np.concatenate, zip(self, other, strict=True)))
