"""Numbers on the sites and the bonds of a lattice: shapes, dtypes, what is refused."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected
from physml.lattices.crystal import Crystal
from physml.operators.hopping import BondGeometry
from physml.precision import default_float_dtype
from physml.tracing import is_traced

Values = jax.typing.ArrayLike | Sequence[jax.typing.ArrayLike]


def real_dtype(*values: Values) -> np.dtype:
    """Return the widest real dtype of some arrays; plain numbers have none."""
    dtypes = [np.dtype(v.dtype) for v in values if hasattr(v, "dtype")]
    known = [jax.dtypes.canonicalize_dtype(d) for d in dtypes if d.kind in "fc"]
    inexact = [np.zeros((), d).real.dtype for d in known]
    return np.result_type(*inexact) if inexact else default_float_dtype()


def each_bond(
    values: Values, geometry: BondGeometry, name: str, dtype: np.dtype
) -> tuple[jax.Array, ...]:
    """Return one array for each bond, of a shape that broadcasts to the cells.

    Parameters
    ----------
    values
        One number, one for each bond, or shape (num_bonds, n_1, ..., n_d) with axes of
        length 1 for equal ones.
    geometry
        The bonds.
    name
        What an error calls them.
    dtype
        The real dtype of the result, or that of its parts.

    Raises
    ------
    ValueError
        For another shape, or a number that is not finite.
    """
    array = _converted(values, name, dtype)
    count, shape = len(geometry.bonds), geometry.shape
    is_full = array.ndim == len(shape) + 1 and all(
        length in (1, n) for length, n in zip(array.shape[1:], shape, strict=True)
    )
    if array.ndim > 0 and not (len(array) == count and (array.ndim == 1 or is_full)):
        raise expected(
            f"{name} as one number, or of shape ({count},) or {(count, *shape)}",
            f"shape {array.shape}",
            f"pass one for each of the {count} bonds and, if they differ, each cell",
        )
    return tuple(array) if array.ndim else (array,) * count


def each_site(
    values: Values, crystal: Crystal, name: str, dtype: np.dtype
) -> jax.Array:
    """Return one number, shape (), or one for each site, shape (n,).

    Parameters
    ----------
    values
        One number, shape (n,), or the shape of the sites as `positions` has it.
    crystal
        The sites.
    name, dtype
        As for `each_bond`.

    Raises
    ------
    ValueError
        For another shape, or a number that is not finite.
    """
    array = _converted(values, name, dtype)
    cells = (*crystal.shape, crystal.sites_per_cell)
    shapes = [(), (crystal.num_sites,), cells]
    if crystal.sites_per_cell == 1:
        shapes.append(crystal.shape)
    if array.shape not in shapes:
        raise expected(
            f"{name} as one number, or of shape ({crystal.num_sites},)",
            f"shape {array.shape}",
            "pass one for each site of the lattice",
        )
    return array.reshape(-1) if array.ndim else array


def one_number(value: Values, name: str, dtype: np.dtype) -> jax.Array:
    """Return a real number, shape ().

    Raises
    ------
    ValueError
        For an array, a complex number, or one that is not finite.
    """
    require_real(value, name)
    number = _converted(value, name, dtype)
    if number.ndim:
        raise expected(
            f"{name} as one number",
            f"shape {number.shape}",
            "use jax.vmap for several",
        )
    return number


def require_real(values: Values, name: str) -> None:
    """Refuse complex numbers."""
    dtype = jnp.asarray(values).dtype
    if jnp.issubdtype(dtype, jnp.complexfloating):
        raise expected(
            f"{name} of real numbers", dtype, "take the real part if it is meant"
        )


def _converted(values: Values, name: str, dtype: np.dtype) -> jax.Array:
    if not is_traced(values) and not np.isfinite(np.asarray(values)).all():
        raise expected(
            f"{name} of finite numbers", "NaN or infinity", "look where they come from"
        )
    array = jnp.asarray(values)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        dtype = np.result_type(dtype, np.complex64)
    return array.astype(dtype)
