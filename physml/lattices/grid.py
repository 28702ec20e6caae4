r"""Real-space grids: products of one to three uniformly divided lines.

A line holds only the points at which a wave function is unknown. On a Dirichlet line
the two walls are not points: :math:`x_i = a + i h`, :math:`i = 1..n`, with
:math:`h = (b - a) / (n + 1)`. On a periodic line the right end is the left end again:
:math:`x_i = a + i h`, :math:`i = 0..n - 1`, :math:`h = (b - a) / n`. Lengths are in the
program's unit of length (hbar = m = 1).
"""

import math
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from physml.failures import expected, expected_type

Boundary = Literal["dirichlet", "periodic"]
MAX_DIMENSION = 3


@dataclass(frozen=True)
class Line:
    """A uniformly divided interval.

    Parameters
    ----------
    lower, upper
        The two ends, lower < upper.
    num_points
        The number of unknowns: interior points (Dirichlet) or all points (periodic).
    boundary
        "dirichlet": the wave function is zero at both ends; "periodic": the ends are
        one point.

    Raises
    ------
    ValueError
        If the interval is empty or not finite, or there are fewer than two points.
    TypeError
        If the number of points is not an integer.
    """

    lower: float
    upper: float
    num_points: int
    boundary: Boundary = "dirichlet"

    def __post_init__(self) -> None:
        """Refuse an interval that has no inside."""
        ends = (self.lower, self.upper)
        if not (all(map(math.isfinite, ends)) and self.lower < self.upper):
            raise expected(
                "a line with finite ends, lower < upper",
                f"[{self.lower}, {self.upper}]",
                "give the ends of the box in increasing order",
            )
        if not isinstance(self.num_points, int | np.integer):
            raise expected_type(
                "an integer number of grid points", self.num_points, "round it"
            )
        if self.num_points < 2:
            raise expected(
                "at least 2 grid points on a line",
                self.num_points,
                "take more points",
            )
        if self.boundary not in ("dirichlet", "periodic"):
            raise expected(
                'the boundary "dirichlet" or "periodic"',
                repr(self.boundary),
                "choose one of the two",
            )

    @property
    def length(self) -> float:
        """The length of the interval."""
        return self.upper - self.lower

    @property
    def center(self) -> float:
        """The middle of the interval."""
        return 0.5 * (self.lower + self.upper)

    @property
    def is_periodic(self) -> bool:
        """Whether the two ends are one point."""
        return self.boundary == "periodic"

    @property
    def spacing(self) -> float:
        """The distance h of neighboring points."""
        return self.length / (self.num_points + (0 if self.is_periodic else 1))

    @property
    def coordinates(self) -> np.ndarray:
        """The points, shape (num_points,), float64."""
        first = 0 if self.is_periodic else 1
        return self.lower + self.spacing * np.arange(first, first + self.num_points)


@dataclass(frozen=True)
class Grid:
    """The product of one to three lines.

    Functions on the grid are arrays of shape `grid.shape`, one axis for each line.

    Parameters
    ----------
    lines
        The line of each axis.

    Examples
    --------
    >>> grid = Grid.line(-8, 8, 511)
    >>> grid.shape, grid.volume_element
    ((511,), 0.03125)
    """

    lines: tuple[Line, ...]

    def __post_init__(self) -> None:
        """Refuse dimensions other than 1, 2, 3."""
        if not 1 <= len(self.lines) <= MAX_DIMENSION:
            raise expected(
                "a grid of 1 to 3 lines", len(self.lines), "give one line for each axis"
            )

    @classmethod
    def line(
        cls,
        lower: float,
        upper: float,
        num_points: int,
        *,
        boundary: Boundary = "dirichlet",
        dimension: int = 1,
    ) -> Self:
        """Build the grid of one line, or of the same line along each of the axes."""
        return cls((Line(lower, upper, num_points, boundary),) * dimension)

    @property
    def dimension(self) -> int:
        """The number of axes."""
        return len(self.lines)

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of points along each axis."""
        return tuple(line.num_points for line in self.lines)

    @property
    def num_points(self) -> int:
        """The number of points in all."""
        return math.prod(self.shape)

    @property
    def volume_element(self) -> float:
        """The volume of one cell, the weight of a point in an integral."""
        return math.prod(line.spacing for line in self.lines)

    def coordinates(self) -> tuple[np.ndarray, ...]:
        """Return x (and y, and z), each of shape `grid.shape`."""
        axes = [line.coordinates for line in self.lines]
        return tuple(np.meshgrid(*axes, indexing="ij"))

    def points(self) -> np.ndarray:
        """Return all points, shape (num_points, dimension), last axis fastest."""
        return np.stack([axis.ravel() for axis in self.coordinates()], axis=-1)
