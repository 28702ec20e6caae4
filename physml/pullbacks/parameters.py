"""A model as one flat vector, and back, for optimizers that want a vector."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.flatten_util import ravel_pytree

from physml.failures import expected, expected_type


def destructure(
    model: Any, *, trainable: Any = nnx.Param
) -> tuple[jax.Array, Callable[[Any], Any]]:
    """Take the parameters of a model as one flat vector.

    Parameters
    ----------
    model
        A Flax nnx module, a container of them, or any pytree of arrays.
    trainable
        Which variables of an nnx module enter the vector, an nnx filter; the others
        (frozen weights, statistics, keys) stay in `rebuild`. Of a plain pytree the
        floating-point and complex leaves enter.

    Returns
    -------
    flat
        The parameters, shape (number of parameters,), in the model's dtype.
    rebuild
        ``rebuild(vector)`` is a new model with these parameters; differentiable.

    Raises
    ------
    ValueError
        If the model has no parameters; from `rebuild`, for a vector of another shape.
    TypeError
        If the parameters have several dtypes; from `rebuild`, for a vector of another
        dtype.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> flat, rebuild = destructure({"weight": jnp.ones((2, 2)), "bias": jnp.zeros(2)})
    >>> flat.shape, float(rebuild(flat)["weight"].sum())
    ((6,), 4.0)
    """
    parameters, merge = _split(model, trainable)
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(parameters)]
    if not leaves:
        raise expected(
            "a model with trainable parameters",
            f"{type(model).__name__} without any",
            "pass a module with nnx.Param, or a pytree with floating-point arrays",
        )
    dtypes = {str(leaf.dtype) for leaf in leaves}
    if len(dtypes) > 1:
        raise expected_type(
            "parameters of one dtype",
            " and ".join(sorted(dtypes)),
            "cast the model to one dtype, or flatten its parts one by one",
        )
    flat, unravel = ravel_pytree(parameters)

    def rebuild(vector: Any) -> Any:
        _require_same(vector, flat.shape, flat.dtype)
        return merge(unravel(jnp.asarray(vector)))

    return flat, rebuild


def _split(model: Any, trainable: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Separate the parameters from the rest: (parameters, parameters -> model)."""
    if _has_modules(model):
        parts: Any = nnx.split(model, trainable, ...)
        graph, parameters, rest = parts
        return nnx.to_pure_dict(parameters), lambda pure: nnx.merge(
            graph, _filled(parameters, pure), rest
        )
    leaves, structure = jax.tree.flatten(model)
    positions = [i for i, leaf in enumerate(leaves) if _is_parameter(leaf)]

    def merge(values: list) -> Any:
        filled = list(leaves)
        for position, value in zip(positions, values, strict=True):
            filled[position] = value
        return jax.tree.unflatten(structure, filled)

    return [leaves[i] for i in positions], merge


def _filled(state: Any, pure: Any) -> Any:
    """Return a copy of an nnx state that holds other values."""
    copy = jax.tree.map(lambda leaf: leaf, state)
    nnx.replace_by_pure_dict(copy, pure)
    return copy


def _has_modules(model: Any) -> bool:
    def is_module(node: Any) -> bool:
        return isinstance(node, nnx.Module)

    return any(map(is_module, jax.tree.leaves(model, is_leaf=is_module)))


def _is_parameter(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


def _require_same(vector: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if jnp.shape(vector) != shape:
        raise expected(
            f"a vector of shape {shape}",
            f"shape {jnp.shape(vector)}",
            "pass a vector as long as the one from destructure",
        )
    if jnp.result_type(vector) != dtype:
        raise expected_type(
            f"a vector of {dtype}, as the model",
            jnp.result_type(vector),
            f"call rebuild(jnp.asarray(vector, '{dtype}'))",
        )
