r"""Maps that are linear in each argument, differentiable in every mode and order.

For :math:`y = F(x_1, \ldots, x_k)`, linear in each argument, the pullback to argument
i is :math:`\bar x_i = P_i(x_1, \ldots, \bar y, \ldots, x_k)` with :math:`\bar y` in
place of :math:`x_i`. All of them are faces of one form that is linear in k + 1 slots,

.. math::
    \langle \bar y, F(x_1, \ldots, x_k) \rangle
    = \langle x_i, P_i(x_1, \ldots, \bar y, \ldots, x_k) \rangle ,

so :math:`P_i` is linear in each of its slots too, and transposing it leads to F (in
the slot of :math:`\bar y`) or to :math:`P_j` (in the slot of :math:`x_j`, with the
cotangent in slot i). The set is closed: two JAX primitives, `map_p` for F and
`pullback_p` for the :math:`P_i`, each the transpose of the other, carry the
hand-written rules through every mode and order. :math:`\langle a, b \rangle =
\mathrm{Re} \sum_j a_j b_j`, without conjugation, as JAX has it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import jet
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from physml.failures import expected


@dataclass(frozen=True)
class Multilinear:
    """A map F that is linear in each argument, with its hand-written pullback.

    Parameters
    ----------
    function
        F(*arguments) -> array.
    backward
        (residuals, cotangent) -> one cotangent for each argument.
    forward
        F and the residuals: (*arguments) -> (array, residuals).
    """

    function: Callable[..., jax.Array]
    backward: Callable[..., tuple]
    forward: Callable[..., tuple]

    def apply(self, *arguments: jax.Array) -> jax.Array:
        """Evaluate F."""
        return self.function(*arguments)

    def pull(self, position: int, *slots: jax.Array, like: Any) -> jax.Array:
        """Evaluate P_position; that slot holds the cotangent of F."""
        # P_i does not depend on x_i, only on its shape.
        arguments = [*slots]
        arguments[position] = jnp.zeros(like.shape, like.dtype)
        _, residuals = self.forward(*arguments)
        return self.backward(residuals, slots[position])[position]


@dataclass(frozen=True)
class Batched:
    """A multilinear map under `vmap`: multilinear again, its output batched at axis 0.

    Parameters
    ----------
    inner
        The map of one batch element.
    axes
        The batch axis of each argument, None where the batch shares it.
    """

    inner: "Multilinear | Batched"
    axes: tuple[int | None, ...]

    def apply(self, *arguments: jax.Array) -> jax.Array:
        """Evaluate F for the whole batch."""
        return jax.vmap(self.inner.apply, in_axes=self.axes)(*arguments)

    def pull(self, position: int, *slots: jax.Array, like: Any) -> jax.Array:
        """Evaluate P_position; an argument that the batch shares gets the sum."""
        axis = self.axes[position]
        shape = list(like.shape)
        if axis is not None:
            del shape[axis]
        one = jax.ShapeDtypeStruct(tuple(shape), like.dtype)
        axes = tuple(0 if i == position else a for i, a in enumerate(self.axes))
        pull = jax.vmap(partial(self.inner.pull, position, like=one), in_axes=axes)
        pulled = pull(*slots)
        if axis is None:
            return jnp.sum(pulled, axis=0)
        return jnp.moveaxis(pulled, 0, axis)


@dataclass(frozen=True)
class _Like:
    """Shape and dtype of an argument, hashable as a primitive's parameter must be."""

    shape: tuple[int, ...]
    dtype: Any


def _apply(*arguments: jax.Array, rule: Any) -> jax.Array:
    return rule.apply(*arguments)


def _pull(*slots: jax.Array, rule: Any, position: int, like: _Like) -> jax.Array:
    return rule.pull(position, *slots, like=like)


def evaluate(primitive: Primitive, *slots: jax.Array, **params: Any) -> jax.Array:
    """Evaluate `map_p` or `pullback_p` by the code behind it, without the primitive."""
    return (_apply if primitive is map_p else _pull)(*slots, **params)


map_p = Primitive("multilinear_map")
pullback_p = Primitive("multilinear_pullback")


def _replaced(slots: Sequence, position: int, value: Any) -> list:
    return [value if i == position else slot for i, slot in enumerate(slots)]


def _push(
    primitive: Primitive, slots: Sequence, tangents: Sequence, **params: Any
) -> tuple[Any, Any]:
    """Sum over the slots: the map with that slot's tangent in its place."""
    out = primitive.bind(*slots, **params)
    terms = [
        primitive.bind(*_replaced(slots, i, tangent), **params)
        for i, tangent in enumerate(tangents)
        if type(tangent) is not ad.Zero
    ]
    return out, sum(terms[1:], start=terms[0])


def _undefined(slots: Sequence) -> int:
    (position,) = (i for i, slot in enumerate(slots) if ad.is_undefined_primal(slot))
    return position


def _only(position: int, slots: Sequence, value: Any) -> list:
    return [value if i == position else None for i in range(len(slots))]


def _like(aval: Any) -> _Like:
    return _Like(tuple(aval.shape), aval.dtype)


def _transpose_map(cotangent: Any, *slots: Any, rule: Any) -> list:
    """F in the slot of x_i: P_i."""
    position = _undefined(slots)
    aval = slots[position].aval
    if type(cotangent) is ad.Zero:
        return _only(position, slots, ad.Zero(aval))
    pulled = pullback_p.bind(
        *_replaced(slots, position, cotangent),
        rule=rule,
        position=position,
        like=_like(aval),
    )
    return _only(position, slots, pulled)


def _transpose_pullback(
    cotangent: Any, *slots: Any, rule: Any, position: int, like: _Like
) -> list:
    """P_i in the slot of ybar: F; in the slot of x_j: P_j."""
    del like
    open_slot = _undefined(slots)
    aval = slots[open_slot].aval
    if type(cotangent) is ad.Zero:
        return _only(open_slot, slots, ad.Zero(aval))
    filled = _replaced(slots, position, cotangent)
    if open_slot == position:
        return _only(open_slot, slots, map_p.bind(*filled, rule=rule))
    filled[open_slot] = slots[position]
    pulled = pullback_p.bind(*filled, rule=rule, position=open_slot, like=_like(aval))
    return _only(open_slot, slots, pulled)


def _batch_map(slots: Sequence, axes: Sequence, *, rule: Any) -> tuple[Any, int]:
    return map_p.bind(*slots, rule=Batched(rule, tuple(axes))), 0


def _batch_pullback(
    slots: Sequence, axes: Sequence, *, rule: Any, position: int, like: _Like
) -> tuple[Any, int]:
    sizes = {s.shape[a] for s, a in zip(slots, axes, strict=True) if a is not None}
    (size,) = sizes
    cotangent, axis = slots[position], axes[position]
    if axis is None:
        cotangent = jnp.broadcast_to(cotangent[None], (size, *cotangent.shape))
    else:
        cotangent = jnp.moveaxis(cotangent, axis, 0)
    # The pulled-back argument counts as batched: each element keeps its own.
    batched = Batched(rule, tuple(_replaced(axes, position, 0)))
    pulled = pullback_p.bind(
        *_replaced(slots, position, cotangent),
        rule=batched,
        position=position,
        like=_Like((size, *like.shape), like.dtype),
    )
    return pulled, 0


def _series(
    primitive: Primitive, primals: Sequence, series: Sequence, **params: Any
) -> tuple[Any, list]:
    """Multiply Taylor series: coefficient n collects the orders that add up to n."""
    terms = [[x, *higher] for x, higher in zip(primals, series, strict=True)]
    orders = range(len(terms[0]))
    out: list = [None for _ in orders]
    for powers in product(orders, repeat=len(terms)):
        if (n := sum(powers)) in orders:
            slots = [term[i] for term, i in zip(terms, powers, strict=True)]
            value = primitive.bind(*slots, **params)
            out[n] = value if out[n] is None else out[n] + value
    return out[0], out[1:]


def _register(primitive: Primitive, transpose: Callable, batch: Callable) -> None:
    body = partial(evaluate, primitive)

    def shape(*avals: Any, **params: Any) -> Any:
        structs = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals]
        out = jax.eval_shape(partial(body, **params), *structs)
        return jax.core.ShapedArray(out.shape, out.dtype)

    names = ("rule",) if primitive is map_p else ("rule", "position", "like")
    primitive.def_impl(jax.jit(body, static_argnames=names))
    primitive.def_abstract_eval(shape)
    ad.primitive_jvps[primitive] = partial(_push, primitive)
    ad.primitive_transposes[primitive] = transpose
    jet.jet_rules[primitive] = partial(_series, primitive)
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(body, multiple_results=False))


_register(map_p, _transpose_map, _batch_map)
_register(pullback_p, _transpose_pullback, _batch_pullback)


def require_linear(rule: Multilinear, *arguments: jax.Array) -> None:
    """Refuse a map whose code is not linear in one of its arguments.

    The operations are looked at, not their values: a map that adds a constant passes
    here and is found by `check_pullback`.

    Raises
    ------
    ValueError
        If JAX cannot transpose the map in one of the arguments.
    """
    structs = [jax.ShapeDtypeStruct(jnp.shape(a), a.dtype) for a in arguments]
    out = jax.eval_shape(rule.function, *structs)
    if not isinstance(out, jax.ShapeDtypeStruct):
        raise expected(
            "one array from a map with derivative='both_modes'",
            jax.tree.structure(out),
            "return one array, or pass derivative='custom_vjp'",
        )
    for position, struct in enumerate(structs):
        try:
            jax.eval_shape(partial(_transposed, rule, position), out, *structs)
        except Exception as reason:
            name = getattr(rule.function, "__name__", "the function")
            raise expected(
                "a map linear in each argument with derivative='both_modes'",
                f"{name}, not linear in argument {position} {struct.shape}",
                "pass derivative='custom_vjp' or derivative='autodiff'",
            ) from reason


def _transposed(
    rule: Multilinear, position: int, cotangent: jax.Array, *arguments: jax.Array
) -> jax.Array:
    def partial_map(argument: jax.Array) -> jax.Array:
        return rule.function(*_replaced(arguments, position, argument))

    (pulled,) = jax.linear_transpose(partial_map, arguments[position])(cotangent)
    return pulled
