"""What chains leave behind: numbers of each chain, sweep after sweep."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from physml.estimators import ChainEstimate, chain_estimate
from physml.failures import expected


@dataclass(frozen=True)
class ChainRecords:
    """Observables and acceptances at each record, of all chains.

    `values` has "log_density" and the observables, arrays (num_chains, num_records,
    ...); `acceptance` the mean probability of acceptance since the last record, for
    each kind of move, (num_chains, num_records); `sweep` counts the sweeps done,
    (num_records,); `seconds` is the time that each record took, (num_records,).
    """

    sweep: np.ndarray
    seconds: np.ndarray
    values: dict[str, np.ndarray]
    acceptance: dict[str, np.ndarray]

    def __add__(self, other: Self) -> Self:
        """Append later records."""
        return type(self)(
            np.concatenate([self.sweep, other.sweep]),
            np.concatenate([self.seconds, other.seconds]),
            _joined(self.values, other.values),
            _joined(self.acceptance, other.acceptance),
        )

    def after(self, sweep: int) -> Self:
        """Return the records of later sweeps: those after burn-in."""
        later = self.sweep > sweep
        return type(self)(
            self.sweep[later],
            self.seconds[later],
            {name: rows[:, later] for name, rows in self.values.items()},
            {name: rows[:, later] for name, rows in self.acceptance.items()},
        )

    def estimates(self) -> dict[str, ChainEstimate]:
        """Return mean, error and autocorrelation time of each scalar observable.

        Raises
        ------
        ValueError
            If there are fewer than 8 records, or an observable is not finite.
        """
        return {
            name: chain_estimate(rows)
            for name, rows in self.values.items()
            if rows.ndim == 2
        }

    def slowest(self) -> ChainEstimate:
        """Return the estimate with the fewest effective samples."""
        return min(self.estimates().values(), key=lambda x: x.effective_samples)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays by flat names, for a file: "values/magnetization"."""
        flat = {"sweep": self.sweep, "seconds": self.seconds}
        for group in ("values", "acceptance"):
            rows = getattr(self, group)
            flat |= {f"{group}/{name}": array for name, array in rows.items()}
        return flat

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """Return the records that `arrays` has taken apart."""
        groups: dict[str, dict[str, np.ndarray]] = {"values": {}, "acceptance": {}}
        for path, array in arrays.items():
            group, _, name = path.partition("/")
            if name:
                groups[group][name] = array
        return cls(arrays["sweep"], arrays["seconds"], **groups)


def _joined(
    first: dict[str, np.ndarray], second: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    if first.keys() != second.keys():
        raise expected(
            f"records of {', '.join(first)}",
            ", ".join(second),
            "append the records of the same observables",
        )
    return {name: np.concatenate([first[name], second[name]], 1) for name in first}
