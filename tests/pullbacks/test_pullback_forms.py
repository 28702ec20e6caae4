"""Every transform of JAX through every form, against autodiff of the same forward."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.jet import jet

from physml.pullbacks import with_pullback

# Two programs of the same sums differ by a few roundings of terms of order 10.
ROUNDING = 1e3 * np.finfo(np.float64).eps


def _pullback(residuals: tuple, cotangent: jax.Array) -> tuple:
    inputs, weight = residuals
    return cotangent @ weight.T, inputs.T @ cotangent


product = with_pullback(
    lambda inputs, weight: inputs @ weight, _pullback, name="product"
)


def _loss(derivative: str) -> Callable:
    def loss(inputs: jax.Array, weight: jax.Array) -> jax.Array:
        hidden = product(jnp.sin(inputs), weight * weight, derivative=derivative)
        return jnp.sum(hidden**3).real

    return loss


def _arguments(dtype: type) -> tuple[jax.Array, jax.Array]:
    random = np.random.default_rng(1)
    shapes = ((2, 3), (3, 2))
    arrays = [random.normal(size=s) + 0.5j * random.normal(size=s) for s in shapes]
    if dtype is np.float64:
        arrays = [a.real for a in arrays]
    return jnp.asarray(arrays[0]), jnp.asarray(arrays[1])


def _push(function: Callable) -> Callable:
    return lambda x, w: jax.jvp(function, (x, w), (w.T, x.T))


def _gradient(function: Callable) -> Callable:
    return jax.grad(function, (0, 1))


def _gradient_norm(function: Callable) -> Callable:
    def norm(x: jax.Array, w: jax.Array) -> jax.Array:
        return sum(jnp.sum(jnp.abs(g) ** 2) for g in _gradient(function)(x, w))

    return norm


def _batched(function: Callable, axes: tuple) -> Callable:
    """Sum over a batch in which one or both arguments carry the batch axis."""

    def batched(x: jax.Array, w: jax.Array) -> jax.Array:
        stacked = [
            a if axis is None else jnp.stack([a, 0.5 * a, -a], axis=axis)
            for a, axis in zip((x, w), axes, strict=True)
        ]
        return jnp.sum(jax.vmap(function, in_axes=axes)(*stacked))

    return batched


def _scanned(function: Callable) -> Callable:
    def scanned(x: jax.Array, w: jax.Array) -> jax.Array:
        def step(carry: jax.Array, _: None) -> tuple:
            value = jax.checkpoint(function)(x * carry.astype(x.dtype), w)
            return carry + 0.01 * jnp.sin(value), None

        return jax.lax.scan(step, jnp.ones(()), None, length=3)[0]

    return scanned


REVERSE = {
    "grad": _gradient,
    "jit of grad": lambda f: jax.jit(_gradient(f)),
    "vmap, shared weight": lambda f: _gradient(_batched(f, (0, None))),
    "vmap, shared inputs": lambda f: _gradient(_batched(f, (None, 1))),
    "vmap of both": lambda f: jax.jit(_gradient(_batched(f, (2, 1)))),
    "vmap of grad": lambda f: _batched(_gradient_norm(f), (1, None)),
    "vmap of vmap": lambda f: _gradient(_batched(_batched(f, (0, None)), (0, 2))),
    "grad of grad": lambda f: _gradient(_gradient_norm(f)),
    "jvp of grad": lambda f: _push(_gradient(f)),
    "scan, checkpoint": lambda f: _gradient(_scanned(f)),
    "jvp of grad of scan": lambda f: _push(_gradient(_scanned(f))),
}
REAL_REVERSE = {
    "hessian": lambda f: jax.hessian(f, (0, 1)),
    "jacrev": lambda f: jax.jacrev(f, (0, 1)),
    "jacrev of jacrev": lambda f: jax.jacrev(jax.jacrev(f, (0, 1)), (0, 1)),
}
FORWARD = {
    "jvp": _push,
    "jit of jvp": lambda f: jax.jit(_push(f)),
    "jvp of jit": lambda f: _push(jax.jit(f)),
    "jvp of jvp": lambda f: _push(_push(f)),
    "jvp of vmap": lambda f: _push(_batched(f, (0, None))),
    "jvp of scan": lambda f: _push(_scanned(f)),
    "linearize": lambda f: lambda x, w: jax.linearize(f, x, w)[1](w.T, x.T),
}
REAL_FORWARD = {
    "jacfwd": lambda f: jax.jacfwd(f, (0, 1)),
    "jacfwd of jacfwd": lambda f: jax.jacfwd(jax.jacfwd(f, 1), 1),
    "jacrev of jacfwd": lambda f: jax.jacrev(jax.jacfwd(f, 1), (0, 1)),
    "jet": lambda f: lambda x, w: jet(f, (x, w), ((w.T, x), (x.T, w))),
}
CASES = [
    pytest.param(
        derivative, transform, dtype, id=f"{derivative}-{name}-{dtype.__name__}"
    )
    for derivative, groups in (
        ("custom_vjp", (REVERSE, REAL_REVERSE)),
        ("both_modes", (REVERSE | FORWARD, REAL_REVERSE | REAL_FORWARD)),
    )
    for group, dtypes in zip(
        groups, ((np.float64, np.complex128), (np.float64,)), strict=True
    )
    for name, transform in group.items()
    for dtype in dtypes
]


@pytest.mark.parametrize(("derivative", "transform", "dtype"), CASES)
def test_transform_agrees_with_autodiff(
    derivative: str, transform: Callable, dtype: type
) -> None:
    arguments = _arguments(dtype)
    got = jax.jit(transform(_loss(derivative)))(*arguments)
    want = jax.jit(transform(_loss("autodiff")))(*arguments)
    for left, right in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        scale = float(jnp.max(jnp.abs(right)))
        np.testing.assert_allclose(left, right, rtol=0, atol=ROUNDING * scale)


@pytest.mark.parametrize("derivative", ["custom_vjp", "both_modes"])
def test_without_jit_and_with_a_constant_argument(derivative: str) -> None:
    inputs, weight = _arguments(np.float64)
    for argument in (0, 1):
        got = jax.grad(_loss(derivative), argument)(inputs, weight)
        want = jax.grad(_loss("autodiff"), argument)(inputs, weight)
        scale = float(jnp.max(jnp.abs(want)))
        np.testing.assert_allclose(got, want, rtol=0, atol=ROUNDING * scale)


@pytest.mark.parametrize("name", [*FORWARD, *REAL_FORWARD])
def test_custom_vjp_names_the_argument_that_allows_forward_mode(name: str) -> None:
    transform = (FORWARD | REAL_FORWARD)[name]
    with pytest.raises(TypeError, match=r"product.*derivative='both_modes'"):
        transform(_loss("custom_vjp"))(*_arguments(np.float64))


@pytest.mark.parametrize("derivative", ["custom_vjp", "both_modes"])
def test_the_hand_written_rule_runs(derivative: str) -> None:
    wrong = with_pullback(lambda x, y: x * y, lambda kept, g: (7 * g * kept[1], g))
    gradient = jax.grad(lambda x: wrong(x, jnp.array(2.0), derivative=derivative))
    assert gradient(jnp.array(3.0)) == 14.0
    assert jax.grad(lambda x: wrong(x, 2.0, derivative="autodiff"))(3.0) == 2.0


def test_both_modes_keeps_the_hand_written_rule_in_second_order() -> None:
    """A rule with a wrong factor shows up, once: the transpose of P is F itself."""
    scaled = with_pullback(lambda x, y: x * y, lambda kept, g: (3 * g * kept[1], g))
    x, y = jnp.array(2.0), jnp.array(5.0)

    def first(x: jax.Array) -> jax.Array:
        return scaled(x, y, derivative="both_modes") ** 2

    # The gradient 3 y (2 x y) is linear in the cotangent 2 x y, whose pullback has
    # the factor 3 in it, too; pulling back to the cotangent is F, without it.
    assert jax.grad(first)(x) == 3 * y * 2 * x * y
    assert jax.grad(jax.grad(first))(x) == 2 * y * (3 * y)


def test_pytrees_and_integer_arguments_with_custom_vjp() -> None:
    def select(tree: dict, index: jax.Array) -> jax.Array:
        return tree["a"][index] * tree["b"]

    def backward(kept: tuple, g: jax.Array) -> tuple:
        tree, index = kept
        pulled = jnp.zeros_like(tree["a"]).at[index].set(g * tree["b"])
        return {"a": pulled, "b": g * tree["a"][index]}, None

    selected = with_pullback(select, backward)
    tree = {"a": jnp.arange(4.0), "b": jnp.array(3.0)}
    got = jax.grad(selected)(tree, jnp.array(2))
    want = jax.grad(select)(tree, jnp.array(2))
    jax.tree.map(np.testing.assert_array_equal, got, want)


def test_forward_with_residuals_of_its_own() -> None:
    exponential = with_pullback(
        jnp.exp, lambda kept, g: (kept * g,), lambda x: (jnp.exp(x), jnp.exp(x))
    )
    assert jax.grad(exponential)(1.0) == jnp.exp(1.0)


@pytest.mark.parametrize(
    "function",
    [jnp.sin, lambda x: x * x, lambda x: jnp.abs(x)],
    ids=["sin", "square", "abs"],
)
def test_both_modes_refuses_a_map_that_is_not_linear(function: Callable) -> None:
    attached = with_pullback(function, lambda kept, g: (g * kept[0],))
    with pytest.raises(ValueError, match="not linear in argument 0"):
        attached(jnp.ones(3), derivative="both_modes")


def test_bad_input_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="derivative='magic'"):
        product(jnp.ones((1, 1)), jnp.ones((1, 1)), derivative="magic")
    pair = with_pullback(lambda x: (x, x), lambda _, g: (g[0] + g[1],))
    with pytest.raises(ValueError, match="one array from a map"):
        pair(jnp.ones(2), derivative="both_modes")
    with pytest.raises(TypeError, match="float as argument 0"):
        product(1.0, jnp.ones((1, 1)), derivative="both_modes")
