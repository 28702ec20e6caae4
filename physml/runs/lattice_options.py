"""Lattices as a command line names them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from physml.failures import expected
from physml.lattices import Ends, Lattice, chain, cubic, honeycomb, square, triangular

LatticeName = Literal["chain", "ring", "square", "triangular", "honeycomb", "cubic"]


@dataclass(frozen=True)
class _Kind:
    make: Callable[..., Lattice]
    num_directions: int
    size: int  # cells along each direction, by default
    ends: Ends = "periodic"  # by default


KINDS: dict[LatticeName, _Kind] = {
    "chain": _Kind(chain, 1, 1000, "open"),
    "ring": _Kind(chain, 1, 1000),
    "square": _Kind(square, 2, 40),
    "triangular": _Kind(triangular, 2, 40),
    "honeycomb": _Kind(honeycomb, 2, 28),
    "cubic": _Kind(cubic, 3, 12),
}


def make_lattice(
    name: LatticeName, size: tuple[int, ...] | None, boundary: Ends | None
) -> tuple[Lattice, Ends]:
    """Return a lattice and what its ends are.

    Parameters
    ----------
    name
        A ring is a periodic chain.
    size
        Cells along each direction; one number stands for all directions.
    boundary
        Of all directions; by default open for a chain, periodic for the others.

    Raises
    ------
    ValueError
        For a size of another number of directions, or a ring with open ends.
    """
    kind = KINDS[name]
    ends = kind.ends if boundary is None else boundary
    if name == "ring" and ends == "open":
        raise expected("a periodic ring", "open ends", "take --lattice chain")
    size = (kind.size,) if size is None else size
    if len(size) == 1:
        size *= kind.num_directions
    if len(size) != kind.num_directions or min(size) < 1:
        several = "" if kind.num_directions == 1 else f", or of {kind.num_directions}"
        raise expected(
            f"--size of one positive number{several}, for a {name} lattice",
            " ".join(map(str, size)),
            "give the number of cells along each direction",
        )
    return kind.make(*size), ends


def central_site(lattice: Lattice) -> int:
    """Return the number of a site in the middle; 499, the 500th, of 1000 in a row."""
    shape = lattice.positions().shape[:-1]
    cell = tuple((n - 1) // 2 for n in lattice.shape)
    return int(np.ravel_multi_index(cell + (0,) * (len(shape) - len(cell)), shape))
