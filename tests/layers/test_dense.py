"""The worked example against `nnx.Linear` and against its own check."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from physml.layers import Dense, Frozen, dense
from physml.pullbacks import check_pullback


def _pair(activation: Callable) -> tuple[Dense, Callable]:
    layer = Dense(3, 2, activation=activation, rngs=nnx.Rngs(0))
    linear = nnx.Linear(3, 2, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    return layer, lambda x: activation(linear(x))


@pytest.mark.parametrize("activation", [jnp.tanh, jax.nn.softplus])
def test_equal_to_linear_from_the_same_keys(activation: Callable) -> None:
    layer, reference = _pair(activation)
    inputs = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5, 3)))
    # One matrix product of length 3 and one activation.
    close = {"rtol": 0, "atol": 16 * np.finfo(np.float64).eps}
    np.testing.assert_allclose(layer(inputs), reference(inputs), **close)
    got = jax.grad(lambda x: jnp.sum(layer(x) ** 2))(inputs)
    want = jax.grad(lambda x: jnp.sum(reference(x) ** 2))(inputs)
    np.testing.assert_allclose(got, want, **close)


@pytest.mark.parametrize("derivative", ["custom_vjp", "both_modes"])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_pullback_passes_its_own_check(derivative: str, dtype: type) -> None:
    random = np.random.default_rng(0)
    shapes = ((2, 4, 3), (3, 2), (2,))
    arrays = [random.normal(size=s) + 1j * random.normal(size=s) for s in shapes]
    arrays = [jnp.asarray(a if dtype is np.complex128 else a.real) for a in arrays]

    def layer(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
        return dense(x, weight, bias, activation=jnp.sin, derivative=derivative)

    assert check_pullback(layer, *arrays, directions=1).is_passed


def test_frozen_bias_is_not_trained() -> None:
    layer = Dense(2, 2, freeze_bias=True, rngs=nnx.Rngs(0))
    before = np.asarray(layer.weight[...])
    optimizer = nnx.Optimizer(layer, optax.sgd(0.1), wrt=nnx.Param)
    gradient = nnx.grad(lambda m: jnp.sum(m(jnp.ones((1, 2)))))(layer)
    optimizer.update(layer, gradient)
    assert isinstance(layer.bias, Frozen)
    np.testing.assert_array_equal(layer.bias[...], 0.0)
    np.testing.assert_allclose(layer.weight[...], before - 0.1, rtol=1e-14)


def test_without_bias_and_without_activation() -> None:
    layer = Dense(2, 3, use_bias=False, rngs=nnx.Rngs(0))
    inputs = jnp.ones((1, 2))
    np.testing.assert_array_equal(layer(inputs), inputs @ layer.weight[...])


@pytest.mark.parametrize(
    ("arrays", "error", "words"),
    [
        ((jnp.ones((1, 2), int), jnp.ones((2, 1))), TypeError, "astype"),
        ((jnp.ones((1, 3)), jnp.ones((2, 1))), ValueError, r"\(1, 3\) and \(2, 1\)"),
        ((jnp.ones((1, 2)), jnp.ones(2)), ValueError, "features in"),
        ((jnp.ones((1, 2)), jnp.ones((2, 1)), jnp.ones(2)), ValueError, "a bias of"),
        ((jnp.ones((1, 2)), jnp.ones((2, 1), "float32")), TypeError, "float32"),
    ],
)
def test_bad_input_is_refused_in_words(arrays: tuple, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        jax.eval_shape(dense, *arrays)
