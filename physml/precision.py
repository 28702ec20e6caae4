"""Floating-point precision: asked for by the program, never at import.

JAX computes in float32 unless it is told otherwise. A program that wants the last
digits calls `enable_x64` once, before it makes its first array.
"""

import jax
import numpy as np

from physml.failures import expected


def enable_x64(enable: bool = True) -> None:
    """Let JAX make float64 and complex128 arrays in this process.

    Parameters
    ----------
    enable
        False switches back to JAX's own default, float32.

    Examples
    --------
    >>> import jax.numpy as jnp, physml
    >>> physml.enable_x64()
    >>> jnp.zeros(1).dtype
    dtype('float64')
    """
    jax.config.update("jax_enable_x64", enable)


def default_float_dtype() -> np.dtype:
    """Return the widest real dtype that JAX makes now: float64 or float32."""
    return np.dtype(np.float64 if jax.config.read("jax_enable_x64") else np.float32)


def require_resolvable(
    tolerance: float, scale: float, dtype: np.dtype, name: str
) -> None:
    r"""Refuse a tolerance that lies below the rounding level of a dtype.

    A residual of an operator of norm :math:`\|H\|` cannot be computed better than to
    about :math:`\epsilon \|H\|`.

    Parameters
    ----------
    tolerance
        What the caller asks for, in the unit of `scale`.
    scale
        The norm of the operator.
    dtype
        The dtype of the computation.
    name
        What the caller calls the tolerance.

    Raises
    ------
    ValueError
        If the tolerance is smaller than eps * scale.
    """
    floor = float(np.finfo(dtype).eps) * scale
    if 0 < tolerance < floor:
        cure = f"ask for at least {floor:.1e}"
        if dtype.itemsize < np.dtype(np.float64).itemsize:
            cure += ", or use float64 (physml.enable_x64(), --precision float64)"
        raise expected(
            f"{name} above the rounding level of {dtype}, {floor:.1e} here",
            f"{tolerance:.1e}",
            cure,
        )
