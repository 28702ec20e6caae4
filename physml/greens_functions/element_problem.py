"""Which elements of a Green's function are wanted: sites or vectors, as arrays."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected
from physml.operators.linear_operator import LinearOperator
from physml.tracing import is_traced


class ElementProblem(NamedTuple):
    """Which elements are wanted, in one precision."""

    operator: LinearOperator
    z: jax.Array  # complex, (num_z,)
    column: jax.Array  # b, (n,)
    rows: jax.Array | None  # sites (m,), vectors (m, n); None if the column is wanted
    is_one_row: bool  # whether the row was given without an axis m
    tolerance: jax.Array

    @property
    def num_columns(self) -> int:
        """How many Krylov spaces are needed."""
        return 1

    @property
    def num_rows(self) -> int:
        """How many elements there are in a column."""
        return 1 if self.rows is None else len(self.rows)

    @property
    def is_diagonal(self) -> bool:
        """Whether each row is the column."""
        return self.rows is None

    @property
    def num_level_terms(self) -> float:
        """How many terms all sums over levels have together."""
        return float(self.operator.size * self.num_rows * len(self.z))


def element_problem(
    operator: LinearOperator, z: Any, row: Any, column: Any, tolerance: float
) -> ElementProblem:
    """Check what `greens_function` was given, and bring it into one form.

    Raises
    ------
    ValueError
        For sites that are not there, wrong shapes, NaN, a tolerance of zero or less.
    """
    if not tolerance > 0:
        raise expected("a tolerance > 0", tolerance, "1e-10 is the default")
    shifts = _checked_shifts(z)
    start = _checked_place("column", column, operator.size)
    if start.ndim != _rank_of_one(start):
        shape = f"shape {start.shape}"
        raise expected("one column, a site or a vector", shape, "call once for each")
    rows = None if row is None else _checked_place("row", row, operator.size)
    is_one_row = rows is None or rows.ndim == _rank_of_one(rows)
    if rows is not None and is_one_row:
        rows = None if _are_one_site(rows, start) else rows[None]
    real = _precision(operator, shifts, start, rows)
    return ElementProblem(
        operator,
        shifts.astype(np.result_type(real, np.complex64)),
        _as_vector(start, operator, real),
        rows if rows is None or _holds_sites(rows) else _in_precision(rows, real),
        is_one_row,
        jnp.asarray(tolerance, real),
    )


def _checked_shifts(z: Any) -> jax.Array:
    shifts = jnp.asarray(z)
    if shifts.ndim != 1 or not len(shifts):
        raise expected("z of shape (num_z,)", f"shape {shifts.shape}", "pass a list")
    _require_finite("z", shifts)
    return shifts if jnp.issubdtype(shifts.dtype, jnp.inexact) else shifts.astype(float)


def _checked_place(name: str, place: Any, size: int) -> jax.Array:
    """Return a site or sites, or a vector or vectors, as an array."""
    array = jnp.asarray(place)
    if not _holds_sites(array):
        if not 0 < array.ndim <= 2 or array.shape[-1] != size or not array.size:
            cure = f"pass a site, or a vector of {size} floating numbers"
            raise expected(f"a {name} on {size} sites", f"shape {array.shape}", cure)
        _require_finite(f"a {name}", array)
        return array
    if array.ndim > 1 or not array.size:
        cure = "pass a site, or a list of them"
        raise expected(f"sites as a {name}", f"shape {array.shape}", cure)
    if not is_traced(array) and not np.all((array >= 0) & (array < size)):
        cure = "sites are counted from 0"
        raise expected(f"a {name} from 0 to {size - 1}", np.asarray(array), cure)
    return array


def _require_finite(name: str, array: jax.Array) -> None:
    if not is_traced(array) and not np.isfinite(array).all():
        raise expected(f"{name} without NaN and infinity", "such numbers", "look there")


def _are_one_site(row: jax.Array, column: jax.Array) -> bool:
    """Tell whether both are known to be the same site."""
    if not (_holds_sites(row) and _holds_sites(column)):
        return False
    return not (is_traced(row) or is_traced(column)) and int(row) == int(column)


def _precision(
    operator: LinearOperator, shifts: jax.Array, *places: jax.Array | None
) -> np.dtype:
    """Return the widest real dtype of all that have floating numbers."""
    arrays = [x for x in places if x is not None and not _holds_sites(x)]
    dtypes = [operator.dtype, shifts.dtype, *(x.dtype for x in arrays)]
    return jnp.finfo(np.result_type(np.float32, *dtypes)).dtype


def _in_precision(array: jax.Array, real: np.dtype) -> jax.Array:
    is_complex = jnp.iscomplexobj(array)
    return array.astype(np.result_type(real, np.complex64) if is_complex else real)


def _as_vector(place: jax.Array, operator: LinearOperator, real: np.dtype) -> jax.Array:
    """Return the start vector in the dtype that H v will have."""
    if _holds_sites(place):
        vector = jnp.zeros(operator.size, real).at[place].set(1)
    else:
        vector = _in_precision(place, real)
    return vector.astype(np.result_type(vector.dtype, operator.dtype))


def _holds_sites(place: jax.Array) -> bool:
    return jnp.issubdtype(place.dtype, jnp.integer)


def _rank_of_one(place: jax.Array) -> int:
    return 0 if _holds_sites(place) else 1
