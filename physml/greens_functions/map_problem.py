"""What a map of local densities of states is of: checked, and in one form."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected
from physml.operators import LinearOperator, require_hermitian
from physml.tracing import is_traced

DEFAULT_TOLERANCES = {"float64": 1e-10, "float32": 1e-3}


class MapProblem(NamedTuple):
    """What the map is of."""

    operator: LinearOperator
    z: jax.Array  # energies with broadening, (num_energies,)
    sites: jax.Array  # (num_sites,)
    tolerance: jax.Array

    @property
    def num_columns(self) -> int:
        """How many Krylov spaces are needed."""
        return len(self.sites)

    @property
    def num_rows(self) -> int:
        """How many elements there are in a column."""
        return 1

    @property
    def is_diagonal(self) -> bool:
        """Whether each row is its column."""
        return True

    @property
    def num_level_terms(self) -> float:
        """How many terms all sums over levels have together: one sum for each site."""
        return float(self.operator.size**2 * len(self.z))


def map_problem(
    operator: LinearOperator,
    energies: Any,
    broadening: Any,
    sites: Any,
    tolerance: float | None,
) -> MapProblem:
    """Check what `local_density_of_states` was given, and bring it into one form.

    Raises
    ------
    ValueError
        For whatever is not of the shape, type or range that it should have, and for an
        operator that is not Hermitian.
    """
    energies, broadening = _as_floating(energies), jnp.asarray(broadening)
    if energies.ndim != 1 or not energies.size or jnp.iscomplexobj(energies):
        cure = "pass a list of real numbers; the broadening makes them complex"
        got = f"shape {energies.shape}, {energies.dtype}"
        raise expected("energies of shape (num_energies,)", got, cure)
    if broadening.shape not in ((), energies.shape):
        cure = f"pass a number, or an array of shape {energies.shape}"
        got = f"shape {broadening.shape}"
        raise expected("one broadening, or one for each energy", got, cure)
    if not is_traced(energies) and not np.isfinite(energies).all():
        raise expected("finite energies", "NaN or infinity", "look there")
    if not is_traced(broadening) and not _is_positive(broadening):
        cure = (
            "levels of a finite system are lines without it; take a few level spacings"
        )
        raise expected("a broadening > 0", f"{np.min(broadening)}", cure)
    if tolerance is not None and not 0 < tolerance < math.inf:
        raise expected("a tolerance > 0", tolerance, "1e-10 is the default")
    if not is_traced(operator):
        with jax.ensure_compile_time_eval():
            require_hermitian(operator)
    dtypes = (operator.dtype, energies.dtype, np.float32)
    dtype = jnp.finfo(np.result_type(*dtypes)).dtype
    if tolerance is None:
        tolerance = DEFAULT_TOLERANCES[dtype.name]
    imaginary = jnp.broadcast_to(broadening.astype(dtype), energies.shape)
    return MapProblem(
        operator,
        jax.lax.complex(energies.astype(dtype), imaginary),
        _checked_sites(sites, operator.size),
        jnp.asarray(tolerance, dtype),
    )


def _as_floating(energies: Any) -> jax.Array:
    array = jnp.asarray(energies)
    return array if jnp.issubdtype(array.dtype, jnp.inexact) else array.astype(float)


def _is_positive(broadening: jax.Array) -> bool:
    values = np.asarray(broadening)
    return bool(np.all((values > 0) & (values < math.inf)))


def _checked_sites(sites: Any, size: int) -> jax.Array:
    array = np.arange(size) if sites is None else np.atleast_1d(np.asarray(sites))
    if array.ndim != 1 or not array.size or not np.issubdtype(array.dtype, np.integer):
        got = f"shape {array.shape}, {array.dtype}"
        raise expected("sites of shape (num_sites,), integers", got, "pass a list")
    if array.min() < 0 or array.max() >= size:
        wrong = array[(array < 0) | (array >= size)][0]
        raise expected(f"sites from 0 to {size - 1}", wrong, "sites are counted from 0")
    return jnp.asarray(array)
