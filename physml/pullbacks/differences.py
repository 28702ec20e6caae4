"""Finite differences of a function, in random directions."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from physml.pullbacks.report import Comparison
from physml.pullbacks.rounding import SAFETY, Arrays, unit_of_rounding, wide


@dataclass(frozen=True)
class Problem:
    """The function on its differentiable leaves: lists of arrays to lists of arrays."""

    names: tuple[str, ...]
    leaves: Arrays
    value: Callable[[Arrays], list]
    pull: Callable[[Arrays, Arrays], tuple[list, list]]
    pull_plain: Callable[[Arrays, Arrays], tuple[list, list]] | None
    push: Callable[[Arrays, Arrays], list]
    push_plain: Callable[[Arrays, Arrays], list]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """Finite differences of <w, f> with respect to leaf number `position`."""

    problem: Problem
    point: Arrays
    cotangents: Arrays
    position: int
    noise: float  # how far one unit of rounding in the arguments moves <w, f>

    def compare(
        self, direction: np.ndarray, pulled: np.ndarray, relative_tolerance: float
    ) -> Comparison:
        """Compare with <g, v>; a failure is followed to the worst entry."""
        row = self.row(direction, pulled, relative_tolerance)
        if row.is_passed or self.problem.pull_plain is not None:
            return row
        chosen = np.arange(pulled.size)
        while chosen.size > 1:
            halves = np.array_split(chosen, 2)
            rows = [
                self.row(only_entries(direction, half), pulled, 0.0) for half in halves
            ]
            chosen = halves[int(rows[1].error > rows[0].error)]
        entry = np.unravel_index(chosen[0], pulled.shape)
        return replace(row, entry=tuple(map(int, entry)))

    def row(
        self, direction: np.ndarray, pulled: np.ndarray, relative_tolerance: float
    ) -> Comparison:
        """Return the comparison along one direction."""
        derivative, allowed = self.derivative(direction)
        along = pairing(pulled, direction)
        size = float(np.linalg.norm(pulled) * np.linalg.norm(direction))
        return Comparison(
            argument=self.problem.names[self.position],
            test="finite differences",
            error=distance(along, derivative),
            tolerance=allowed + relative_tolerance * size,
            hand_written=along,
            reference=derivative,
        )

    def derivative(self, direction: np.ndarray) -> tuple[float, float]:
        """Return d<w, f>/dh along a direction, and its uncertainty."""
        eps = unit_of_rounding([self.point[self.position], *self.cotangents])
        step = eps**0.2
        one, size = self.central(direction, step)
        two, _ = self.central(direction, 2 * step)
        extrapolated = (4 * one - two) / 3
        rounding = SAFETY * (eps * size + self.noise) / step
        return extrapolated, abs(extrapolated - one) + rounding

    def central(self, direction: np.ndarray, step: float) -> tuple[float, float]:
        """Return the central difference of <w, f>, and sum |w f|."""
        sides = []
        for sign in (1, -1):
            moved = list(self.point)
            shifted = moved[self.position] + sign * step * direction
            moved[self.position] = shifted.astype(direction.dtype)
            sides.append([np.asarray(y) for y in self.problem.value(moved)])
        pairs = list(zip(self.cotangents, *sides, strict=True))
        slope = sum(pairing(w, wide(up) - wide(down)) for w, up, down in pairs)
        size = sum(float(np.abs(w * wide(up)).sum()) for w, up, _ in pairs)
        return slope / (2 * step), size


def pairing(left: np.ndarray, right: np.ndarray) -> float:
    """Return Re sum(left * right), how JAX pairs cotangents with tangents."""
    return float(np.real(np.sum(wide(left) * wide(right))))


def distance(left: float, right: float) -> float:
    """Return |left - right|, infinite where one of them is not a number."""
    distance = abs(left - right)
    return distance if np.isfinite(distance) else float("inf")


def only_entries(direction: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the direction with all but the chosen (flat) entries set to zero."""
    masked = np.zeros_like(direction).reshape(-1)
    masked[chosen] = direction.reshape(-1)[chosen]
    return masked.reshape(direction.shape)
