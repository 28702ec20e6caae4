r"""A cheap test whether an operator is Hermitian: two products with random vectors.

.. math:: \delta = \frac{|\langle u | H v \rangle - \langle v | H u \rangle^*|}
                        {\|u\| \, \|H v\| + \|v\| \, \|H u\|}

With the anti-Hermitian part A it is about :math:`\|A\|_F / (\|H\|_F \sqrt n)`, and for
a Hermitian H rounding alone: the errors of the components of H v are a few eps and add
up at random, so a tolerance of 50 eps is passed by Hermitian matrices of every size and
failed where the Frobenius norm of A is above :math:`50 \epsilon \sqrt n \|H\|_F`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected
from physml.operators.linear_operator import LinearOperator

TOLERANCE = 50  # eps of the operator's dtype


@jax.jit
def hermiticity_defect(
    operator: LinearOperator, *, key: jax.Array | None = None
) -> jax.Array:
    """Return how far from Hermitian an operator is, relative to it.

    Parameters
    ----------
    operator
        Real or complex; it is applied to two random vectors.
    key
        A JAX random key for them; a fixed one if None.

    Returns
    -------
    jax.Array
        The number above, shape (): from 0, for Hermitian, to 1; NaN where an element
        of the operator is NaN or infinite.
    """
    key = jax.random.key(0) if key is None else key
    u, v = jax.random.normal(key, (2, operator.size), operator.dtype)
    applied_u, applied_v = operator(u), operator(v)
    dtype = np.result_type(applied_u.dtype, operator.dtype)
    u, v, applied_u, applied_v = (x.astype(dtype) for x in (u, v, applied_u, applied_v))
    defect = jnp.abs(jnp.vdot(u, applied_v) - jnp.vdot(v, applied_u).conj())
    norm = jnp.linalg.norm
    scale = norm(u) * norm(applied_v) + norm(v) * norm(applied_u)
    return jnp.where(scale == 0, 0.0, defect / jnp.where(scale == 0, 1.0, scale))


def require_hermitian(
    operator: LinearOperator, *, key: jax.Array | None = None
) -> None:
    """Refuse an operator that is not Hermitian, outside of jit.

    Parameters
    ----------
    operator, key
        As for `hermiticity_defect`.

    Raises
    ------
    ValueError
        If it is not Hermitian to rounding, or has elements that are NaN or infinite.

    Examples
    --------
    >>> from physml.operators import as_operator
    >>> require_hermitian(as_operator([[0.0, -1.0], [-2.0, 0.0]]))
    Traceback (most recent call last):
        ...
    ValueError: Expected a Hermitian operator, got ...
    """
    defect = float(hermiticity_defect(operator, key=key))
    if not np.isfinite(defect):
        raise expected(
            "an operator of finite elements",
            "NaN or infinity in its product with a random vector",
            "look for them in its potentials and amplitudes",
        )
    tolerance = TOLERANCE * float(jnp.finfo(operator.dtype).eps)
    if defect > tolerance:
        raise expected(
            "a Hermitian operator",
            f"<u|H v> and <v|H u>* that differ by {defect:.1e} of their scale, with "
            f"rounding below {tolerance:.1e}",
            "make each H_ji the complex conjugate of H_ij, as in (H + H^+) / 2",
        )
