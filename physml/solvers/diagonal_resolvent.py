"""What every direct method returns for the diagonal of a resolvent."""

from typing import NamedTuple

import jax


class DiagonalResolvent(NamedTuple):
    """Diagonal elements of (z - H)^-1, and how well they are known."""

    values: jax.Array  # (num_z, n)
    relative_residual: jax.Array  # (num_z, n)
