"""Look for hand-written rules in a function, and take them out of it.

A function is traced to a jaxpr. An equation with a rule (`jax.custom_vjp`, or one of
the primitives of `physml.pullbacks.multilinear`) is replaced by the code of its
forward, also inside `jit`, `checkpoint`, `scan`, `while_loop` and `cond`. What is left
is differentiated by autodiff. Rules inside other transforms (`shard_map`, the rule of
a `custom_jvp`) stay where they are, and `count_rules` finds them there.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jax.extend.core.primitives import (
    closed_call_p,
    cond_p,
    custom_vjp_call_p,
    jit_p,
    remat_p,
    scan_p,
    while_p,
)

from physml.pullbacks import multilinear

_INLINED = {
    custom_vjp_call_p: "call_jaxpr",
    closed_call_p: "call_jaxpr",
    jit_p: "jaxpr",
    remat_p: "jaxpr",
}
_REWRITTEN = {
    scan_p: ("jaxpr",),
    while_p: ("cond_jaxpr", "body_jaxpr"),
    cond_p: ("branches",),
}
_MULTILINEAR = (multilinear.map_p, multilinear.pullback_p)


def count_rules(function: Callable[..., Any], *arguments: Any) -> dict[str, int]:
    """Count the hand-written rules that a call of the function meets.

    Returns
    -------
    dict[str, int]
        "custom_vjp": rules for reverse mode; "both_modes": rules for every mode.
    """
    counts = {"custom_vjp": 0, "both_modes": 0}
    for equation in _equations(jax.make_jaxpr(function)(*arguments)):
        if equation.primitive is custom_vjp_call_p:
            counts["custom_vjp"] += 1
        elif equation.primitive in _MULTILINEAR:
            counts["both_modes"] += 1
    return counts


def without_rules(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the same function without its hand-written reverse-mode rules.

    Examples
    --------
    >>> import jax
    >>> wrong = jax.custom_vjp(lambda x: x * x)
    >>> wrong.defvjp(lambda x: (x * x, x), lambda x, g: (x * g,))
    >>> jax.grad(wrong)(3.0).item(), jax.grad(without_rules(wrong))(3.0).item()
    (3.0, 6.0)
    """

    def plain(*arguments: Any) -> Any:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        outputs = _evaluate(closed, *jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shape), outputs)

    return plain


def _equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for inner in _jaxprs(tuple(equation.params.values())):
            yield from _equations(inner)


def _jaxprs(values: tuple) -> Iterator[Any]:
    for value in values:
        if isinstance(value, Jaxpr | ClosedJaxpr):
            yield value
        elif isinstance(value, tuple | list):
            yield from _jaxprs(tuple(value))


def _evaluate(closed: Any, *arguments: Any) -> list:
    """Run a jaxpr equation by equation, each with its rules taken out."""
    jaxpr = getattr(closed, "jaxpr", closed)
    values = dict(zip(jaxpr.constvars, getattr(closed, "consts", ()), strict=True))
    values.update(zip(jaxpr.invars, arguments, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        outputs = _evaluate_equation(equation, *map(read, equation.invars))
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _evaluate_equation(equation: Any, *inputs: Any) -> list:
    primitive, params = equation.primitive, equation.params
    if primitive in _INLINED:
        return _evaluate(params[_INLINED[primitive]], *inputs)
    if primitive in _MULTILINEAR:
        body = partial(multilinear.evaluate, primitive, **params)
        return [without_rules(body)(*inputs)]
    if primitive in _REWRITTEN:
        names = _REWRITTEN[primitive]
        params = params | {name: _rewrite(params[name]) for name in names}
    outputs = primitive.bind(*inputs, **primitive.get_bind_params(params))
    return outputs if primitive.multiple_results else [outputs]


def _rewrite(jaxprs: Any) -> Any:
    """Trace a jaxpr, or a tuple of them, again without its rules."""
    if isinstance(jaxprs, tuple):
        return tuple(map(_rewrite, jaxprs))
    structs = [
        jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype, weak_type=v.aval.weak_type)
        for v in jaxprs.jaxpr.invars
    ]
    return jax.make_jaxpr(partial(_evaluate, jaxprs))(*structs)
