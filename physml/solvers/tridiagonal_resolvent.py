r"""Solutions of (z - T) y = f for a tridiagonal matrix T and many shifts z.

T is real and symmetric, with the diagonal a_0, a_1, ... and b_k between k - 1 and k.
Elimination from the top: :math:`D_k = z - a_k - b_k^2 / D_{k-1}`, no pivots, as in the
Lanczos recurrence of the Green's function whose derivative it serves.
"""

import jax
import jax.numpy as jnp


def solve_shifted(
    diagonal: jax.Array, off_diagonal: jax.Array, z: jax.Array, right: jax.Array
) -> jax.Array:
    r"""Return :math:`(z - T)^{-1} f` for each shift.

    Parameters
    ----------
    diagonal
        :math:`a_k`, shape (K,).
    off_diagonal
        :math:`b_k`, shape (K,); :math:`b_0` is not used.
    z
        Shifts, shape (num_z,).
    right
        f, shape (K, num_z), of the dtype of z.

    Returns
    -------
    Shape (K, num_z).
    """
    coupling = off_diagonal.at[0].set(0).astype(z.dtype)
    start = jnp.ones_like(z), jnp.zeros_like(z)

    def eliminate(above: tuple, row: tuple) -> tuple:
        pivot, value = above
        a, b, f = row
        ratio = b / pivot
        pivot = z - a - b * ratio
        value = f + ratio * value
        return (pivot, value), (pivot, value)

    rows = diagonal.astype(z.dtype), coupling, right
    _, (pivots, values) = jax.lax.scan(eliminate, start, rows)

    def substitute(below: jax.Array, row: tuple) -> tuple:
        pivot, value, b = row
        y = (value + b * below) / pivot
        return y, y

    rows = pivots, values, jnp.append(coupling[1:], jnp.zeros_like(coupling[:1]))
    return jax.lax.scan(substitute, jnp.zeros_like(z), rows, reverse=True)[1]
