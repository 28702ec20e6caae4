r"""Attach a hand-written pullback to a function, and choose what JAX makes of it.

A pullback takes :math:`\bar y`, the derivative of a number with respect to the output,
to the derivative with respect to each argument. Complex numbers follow JAX: the
pullback of a holomorphic map is the transpose of its derivative, without conjugation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, Literal, get_args

import jax
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.experimental import jet
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from physml.failures import expected, expected_type
from physml.pullbacks import multilinear

Derivative = Literal["custom_vjp", "both_modes", "autodiff"]


def with_pullback(
    function: Callable[..., Any],
    backward: Callable[..., tuple],
    forward: Callable[..., tuple] | None = None,
    *,
    name: str | None = None,
    is_told_what_is_wanted: bool = False,
) -> Callable[..., Any]:
    r"""Attach a hand-written pullback to a function.

    The result is called as ``attached(*arguments, derivative="custom_vjp")``:

    ================ ========================= ==================================
    ``derivative``   rule in use               modes
    ================ ========================= ==================================
    ``"custom_vjp"`` `backward`                reverse, and forward over reverse
    ``"both_modes"`` `backward` and `function` every mode and order; only for maps
                                               linear in each argument (arrays in,
                                               one array out)
    ``"autodiff"``   none                      whatever `function` allows
    ================ ========================= ==================================

    Parameters
    ----------
    function
        The map, ``function(*arguments) -> output``; pure, any pytrees.
    backward
        ``backward(residuals, cotangent)`` returns a tuple with one cotangent for each
        argument, as `jax.custom_vjp` has it.
    forward
        ``forward(*arguments)`` returns ``(output, residuals)``; without it the
        residuals are the tuple of arguments.
    name
        What error sentences call the function; its own name if None.
    is_told_what_is_wanted
        Whether to call ``backward(arguments, cotangent, wanted)``, where `wanted` has a
        bool for each leaf of the arguments: the others are constants, and whatever is
        returned for them is dropped. Not together with `forward`, nor for
        "both_modes".

    Returns
    -------
    Callable
        The function with the keyword `derivative`.

    Raises
    ------
    ValueError
        When called with another `derivative`, or with "both_modes" for a map that is
        not linear in each argument.
    TypeError
        When "custom_vjp" is differentiated in forward mode (jvp, jacfwd,
        linearize, jet).

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> def backward(residuals, cotangent):
    ...     weight, x = residuals
    ...     return jnp.vdot(cotangent, x), weight * cotangent
    >>> scale = with_pullback(lambda weight, x: weight * x, backward)
    >>> jax.grad(lambda w: scale(w, jnp.arange(3.0)).sum())(2.0).item()
    3.0
    """
    called = name or str(getattr(function, "__name__", "the function"))
    save = forward or _save_arguments(function)
    custom = jax.custom_vjp(function)
    if is_told_what_is_wanted:
        custom.defvjp(
            partial(_save_wanted, function),
            partial(_pull_wanted, backward),
            symbolic_zeros=True,
        )
    else:
        custom.defvjp(save, backward)
    rule = multilinear.Multilinear(function, backward, save)

    @wraps(function)
    def attached(*arguments: Any, derivative: Derivative = "custom_vjp") -> Any:
        require_derivative(derivative)
        if derivative == "autodiff":
            return function(*arguments)
        if derivative == "both_modes":
            multilinear.require_linear(rule, *_arrays(arguments, called))
            return multilinear.map_p.bind(*arguments, rule=rule)
        return custom(*_reverse_only(arguments, called))

    attached.__name__ = called
    return attached


def require_derivative(derivative: str) -> None:
    """Raise a ValueError unless `derivative` names one of the three forms."""
    if derivative not in get_args(Derivative):
        raise expected(
            "derivative='custom_vjp', 'both_modes' or 'autodiff'",
            f"derivative={derivative!r}",
            "choose one of the three",
        )


def _save_arguments(function: Callable[..., Any]) -> Callable[..., tuple]:
    def forward(*arguments: Any) -> tuple:
        return function(*arguments), arguments

    return forward


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Wanted:
    """Which leaves of the arguments have tangents."""

    flags: tuple[bool, ...]


def _save_wanted(function: Callable[..., Any], *arguments: Any) -> tuple:
    """Take the arguments, of leaves that know whether they have tangents."""
    leaves, structure = jax.tree.flatten(arguments)
    values = jax.tree.unflatten(structure, [leaf.value for leaf in leaves])
    wanted = _Wanted(tuple(bool(leaf.perturbed) for leaf in leaves))
    return function(*values), (values, wanted)


def _pull_wanted(
    backward: Callable[..., tuple], kept: tuple[tuple, _Wanted], cotangent: Any
) -> tuple:
    arguments, wanted = kept
    flags = jax.tree.unflatten(jax.tree.structure(arguments), wanted.flags)
    return backward(arguments, jax.tree.map(_instantiated, cotangent), flags)


def _instantiated(cotangent: Any) -> Any:
    if not isinstance(cotangent, SymbolicZero):
        return cotangent
    if cotangent.dtype == jax.dtypes.float0:
        return np.zeros(cotangent.shape, cotangent.dtype)
    return jax.numpy.zeros(cotangent.shape, cotangent.dtype)


def _arrays(arguments: tuple, name: str) -> tuple:
    for position, argument in enumerate(arguments):
        if not hasattr(argument, "dtype"):
            raise expected_type(
                f"arrays in {name} with derivative='both_modes'",
                f"{type(argument).__name__} as argument {position}",
                "pass arrays, or derivative='custom_vjp'",
            )
    return arguments


# A function with a custom_vjp alone has no forward mode, and JAX says so without
# saying what to do. The tangents of the arguments therefore pass through an identity
# that reverse mode transposes away, and that nothing else can evaluate.
tangent_p = Primitive("reverse_mode_only")


def _refuse(*_: Any, name: str) -> Any:
    raise expected_type(
        f"reverse mode (grad, vjp, jacrev, hessian) through {name} with "
        "derivative='custom_vjp'",
        "forward mode (jvp, jacfwd, linearize, jet)",
        "pass derivative='both_modes' for a map linear in each argument, or "
        "derivative='autodiff'",
    )


def _refuse_lowering(_context: Any, *_: Any, name: str) -> Any:
    return _refuse(name=name)


tangent_p.def_impl(_refuse)
tangent_p.def_abstract_eval(lambda aval, *, name: aval)  # noqa: ARG005
ad.deflinear(tangent_p, lambda cotangent, *, name: [cotangent])  # noqa: ARG005
batching.defvectorized(tangent_p)
mlir.register_lowering(tangent_p, _refuse_lowering)


def _reverse_only(arguments: tuple, name: str) -> tuple:
    """Return the arguments, their tangents marked as wanted in reverse mode only."""
    leaves, structure = jax.tree.flatten(arguments)
    if any(isinstance(leaf, jet.JetTracer) for leaf in leaves):
        _refuse(name=name)
    marked = [i for i, leaf in enumerate(leaves) if _is_differentiable(leaf)]
    tagged = _mark(name, tuple(leaves[i] for i in marked))
    for i, leaf in zip(marked, tagged, strict=True):
        leaves[i] = leaf
    return jax.tree.unflatten(structure, leaves)


def _is_differentiable(leaf: Any) -> bool:
    return jax.numpy.issubdtype(jax.numpy.result_type(leaf), jax.numpy.inexact)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _mark(name: str, leaves: tuple) -> tuple:
    del name
    return leaves


def _mark_tangents(name: str, primals: tuple, tangents: tuple) -> tuple:
    marked = tuple(
        t if isinstance(t, SymbolicZero) else tangent_p.bind(t, name=name)
        for t in tangents[0]
    )
    return tuple(primals[0]), marked


# Without symbolic zeros a constant argument would look like one in forward mode.
_mark.defjvp(_mark_tangents, symbolic_zeros=True)
