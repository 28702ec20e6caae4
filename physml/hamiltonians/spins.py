"""Classical unit spins on a lattice: shapes, dtypes, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected, expected_type
from physml.lattices.bravais import BravaisLattice
from physml.lattices.neighbors import require_field
from physml.tracing import is_traced


def require_unit_spins(spins: jax.Array, lattice: BravaisLattice) -> None:
    """Refuse what is no array of unit vectors (..., n_1, ..., n_d, 3) on a lattice.

    Lengths are looked at where they are known, outside of jit and grad.

    Raises
    ------
    ValueError
        For another shape, NaN, or vectors whose length is not 1 to half the digits.
    TypeError
        For complex or integer spins.
    """
    require_field(spins, lattice)
    if jnp.iscomplexobj(spins):
        raise expected_type("real spins", spins.dtype, "pass their real part")
    if spins.shape[-1] != 3:
        raise expected(
            "spins of three components",
            f"shape {spins.shape}",
            f"pass spins of shape {(*lattice.shape, 3)}, with any leading axes",
        )
    if not is_traced(spins):
        _require_unit_length(np.asarray(spins))


def _require_unit_length(spins: np.ndarray) -> None:
    if not np.isfinite(spins).all():
        raise expected(
            "spins of finite components", "NaN or infinity", "look where they come from"
        )
    lengths = np.linalg.norm(spins, axis=-1)
    worst = lengths.flat[np.argmax(np.abs(lengths - 1))] if lengths.size else 1.0
    if abs(worst - 1) > np.sqrt(np.finfo(spins.dtype).eps):
        raise expected(
            "spins of length 1",
            f"unnormalized spins, one of length {worst:.6g}",
            "divide each by its length, spins / jnp.linalg.norm(spins, axis=-1, "
            "keepdims=True)",
        )
