"""Softplus against many digits, its derivatives against the logistic function."""

from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from physml.layers import softplus

POINTS = np.concatenate(
    [np.linspace(-40, 40, 401), np.linspace(-1e-3, 1e-3, 21), [-700.0, 700.0]]
)


def exact(x: float) -> float:
    with localcontext() as context:
        context.prec = 350  # exp(-700) beside 1
        return float((1 + Decimal(float(x)).exp()).ln())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit, jax.vmap])
def test_value_to_the_last_digits(dtype, transform):
    x = POINTS.astype(dtype)
    x = x[x > np.log(np.finfo(dtype).tiny)]  # below, the exact value is subnormal
    got = np.asarray(transform(softplus)(jnp.asarray(x)))
    assert got.dtype == dtype
    np.testing.assert_allclose(
        got, [exact(v) for v in x], rtol=4 * np.finfo(dtype).eps, atol=0
    )


def test_first_and_second_derivative():
    x = jnp.asarray(POINTS)
    slope = jax.vmap(jax.grad(softplus))(x)
    np.testing.assert_array_equal(slope, jax.nn.sigmoid(x))
    curvature = jax.vmap(jax.grad(jax.grad(softplus)))(x)
    s = jax.nn.sigmoid(x)
    np.testing.assert_allclose(curvature, s * (1 - s), rtol=1e-12, atol=1e-300)
    check_grads(softplus, (jnp.linspace(-3, 3, 7),), order=3, modes=["fwd", "rev"])


def test_infinities_and_nan():
    x = jnp.array([-jnp.inf, jnp.inf, jnp.nan])
    np.testing.assert_array_equal(softplus(x), [0.0, np.inf, np.nan])


@pytest.mark.parametrize("dtype", [jnp.complex128, jnp.int32])
def test_only_real_numbers(dtype):
    with pytest.raises(TypeError, match="Expected a real array"):
        softplus(jnp.zeros(2, dtype))
