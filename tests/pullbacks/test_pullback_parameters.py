"""A model as a flat vector and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.optimize import minimize

from physml.layers import Dense, Smearing
from physml.pullbacks import destructure


def test_gradient_through_rebuild_is_the_gradient_of_the_module() -> None:
    model = nnx.Sequential(
        Smearing(2, rngs=nnx.Rngs(0)),
        nnx.Linear(3, 2, param_dtype=jnp.float64, rngs=nnx.Rngs(1)),
    )
    spins = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)))
    flat, rebuild = destructure(model)
    assert flat.shape == (2 + 3 * 2 + 2,)
    got = jax.jit(jax.grad(lambda v: jnp.sum(rebuild(v)(spins) ** 2)))(flat)
    gradient = nnx.jit(nnx.grad(lambda m: jnp.sum(m(spins) ** 2)))(model)
    want, _ = destructure(gradient)
    np.testing.assert_allclose(got, want, rtol=1e2 * np.finfo(np.float64).eps)


def test_rebuild_inverts_and_leaves_the_model_alone() -> None:
    model = Smearing(3, rngs=nnx.Rngs(0))
    flat, rebuild = destructure(model)
    rebuilt = rebuild(2 * flat)
    np.testing.assert_array_equal(rebuilt.coefficients[...], 2 * flat)
    np.testing.assert_array_equal(model.coefficients[...], flat)
    np.testing.assert_array_equal(destructure(rebuilt)[0], 2 * flat)


def test_frozen_variables_stay_out_of_the_vector() -> None:
    model = Dense(2, 3, freeze_bias=True, rngs=nnx.Rngs(0))
    flat, rebuild = destructure(model)
    assert flat.shape == (6,)
    np.testing.assert_array_equal(rebuild(flat).bias[...], model.bias[...])


def test_pytree_with_integers_and_containers_of_modules() -> None:
    tree = {"x": jnp.ones((2, 2)), "n": 3, "z": [jnp.zeros(1)]}
    flat, rebuild = destructure(tree)
    rebuilt = rebuild(flat + 1)
    assert rebuilt["n"] == 3
    np.testing.assert_array_equal(rebuilt["z"][0], 1)
    pair = [Smearing(1, rngs=nnx.Rngs(0)), Smearing(2, rngs=nnx.Rngs(1))]
    flat, rebuild = destructure(pair)
    assert flat.shape == (3,)
    np.testing.assert_array_equal(rebuild(flat)[1].coefficients[...], flat[1:])


def test_scipy_finds_hidden_coefficients() -> None:
    spins = jnp.asarray(np.random.default_rng(0).normal(size=(20, 3)))
    hidden = Smearing(2, rngs=nnx.Rngs(7))
    target = hidden(spins)
    flat, rebuild = destructure(Smearing(2, rngs=nnx.Rngs(0)))

    @jax.jit
    def loss(vector: jax.Array) -> jax.Array:
        return jnp.mean((rebuild(vector)(spins) - target) ** 2)

    result = minimize(
        jax.value_and_grad(loss), np.asarray(flat), jac=True, method="BFGS", tol=1e-12
    )
    # A quadratic with curvature of order 1, solved until its gradient is 1e-12.
    np.testing.assert_allclose(result.x, hidden.coefficients[...], atol=1e-10)


def test_bad_input_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="trainable parameters"):
        destructure({"n": 3})
    with pytest.raises(TypeError, match="complex128 and float64"):
        destructure([jnp.ones(2), jnp.ones(2, complex)])
    flat, rebuild = destructure({"x": jnp.ones(3)})
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        rebuild(flat[:2])
    with pytest.raises(TypeError, match="float32"):
        rebuild(flat.astype(jnp.float32))
