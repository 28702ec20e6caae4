"""What a check of a pullback found, as a table and as an error."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Comparison:
    """One argument of a function in one test.

    Parameters
    ----------
    argument
        Name of the argument, with the path to the array inside a pytree.
    test
        What the hand-written rule was compared with.
    error
        The largest absolute difference.
    tolerance
        The largest difference that rounding and truncation explain.
    entry
        Index of the worst entry in the array, None where the test has no entries.
    hand_written, reference
        The two values there.
    remark
        What the difference looks like, or why the test was left out.
    """

    argument: str
    test: str
    error: float
    tolerance: float
    entry: tuple[int, ...] | None = None
    hand_written: complex = 0.0
    reference: complex = 0.0
    remark: str = ""

    @property
    def is_passed(self) -> bool:
        """Whether the difference lies within the tolerance."""
        return self.error <= self.tolerance

    @property
    def excess(self) -> float:
        """The error in units of the tolerance."""
        if self.error <= self.tolerance:
            return self.error / self.tolerance if self.tolerance > 0 else 0.0
        return self.error / self.tolerance if self.tolerance > 0 else float("inf")

    def sentence(self, function: str) -> str:
        """Say what is wrong with the rule of which argument."""
        where = "" if self.entry is None else f" at entry {list(self.entry)}"
        remark = f" ({self.remark})" if self.remark else ""
        return (
            f"Expected the pullback of {function} to agree with {self.test}, got "
            f"{_number(self.hand_written)} instead of {_number(self.reference)} for "
            f"'{self.argument}'{where}, an error of {self.error:.2e} with a tolerance "
            f"of {self.tolerance:.1e}{remark}: correct what the rule returns for "
            f"'{self.argument}'."
        )


@dataclass(frozen=True)
class PullbackReport:
    """The comparisons of one check; prints as a table.

    Parameters
    ----------
    function
        Name of the function that was checked.
    comparisons
        One row for each argument and test: the worst over points and cotangents.
    notes
        Tests that could not be made, in sentences.
    """

    function: str
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def is_passed(self) -> bool:
        """Whether every comparison passed."""
        return all(row.is_passed for row in self.comparisons)

    @property
    def worst(self) -> Comparison:
        """The comparison to look at: tests with entries first, then by excess."""
        failed = [row for row in self.comparisons if not row.is_passed]
        rows = failed or list(self.comparisons)
        return max(rows, key=lambda row: (row.entry is not None, row.excess))

    def __str__(self) -> str:
        verdict = "passed" if self.is_passed else "FAILED"
        head = ("argument", "compared with", "error", "tolerance", "worst entry", "")
        rows = [head, *map(_cells, self.comparisons)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = [
            "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join(
            [f"pullback of {self.function}: {verdict}", *lines, *self.notes]
        )


class WrongPullback(ValueError):
    """A hand-written pullback that is wrong; `report` holds the whole table."""

    def __init__(self, report: PullbackReport) -> None:
        super().__init__(f"{report.worst.sentence(report.function)}\n{report}")
        self.report = report


def _cells(row: Comparison) -> tuple[str, ...]:
    entry = "" if row.entry is None else str(list(row.entry))
    verdict = "ok" if row.is_passed else f"WRONG {row.remark}".rstrip()
    errors = (f"{row.error:.1e}", f"{row.tolerance:.1e}")
    return (row.argument, row.test, *errors, entry, verdict)


def _number(value: complex) -> str:
    value = complex(value)
    return f"{value:.6g}" if value.imag else f"{value.real:.6g}"
