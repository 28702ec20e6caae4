r"""A dense layer from scratch: the worked example of a layer of one's own.

.. math::
    y = f(z), \qquad z = x W + b .

The product x W is linear in x and in W, and its pullback for a cotangent
:math:`\bar z` is written by hand,

.. math::
    \bar x = \bar z W^T , \qquad \bar W = x^T \bar z ,

without conjugation, as JAX has it for complex numbers; the bias and the activation f
are left to JAX. Equal to `flax.nnx.Linear` followed by f.
Derivation: docs/derivations/dense.md.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from physml.failures import expected, expected_type
from physml.precision import default_float_dtype
from physml.pullbacks import Derivative, with_pullback


def dense(
    inputs: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    *,
    activation: Callable[[jax.Array], jax.Array] | None = None,
    derivative: Derivative = "custom_vjp",
) -> jax.Array:
    """Return activation(inputs @ weight + bias).

    Parameters
    ----------
    inputs
        x, shape (..., features in).
    weight
        W, shape (features in, features out), of the dtype of `inputs`.
    bias
        b, shape (features out,); None for none.
    activation
        f, applied entry by entry; None for the identity.
    derivative
        Which rule the product x W has, see `physml.pullbacks.with_pullback`.

    Returns
    -------
    jax.Array
        Shape (..., features out).

    Raises
    ------
    ValueError
        If the shapes do not fit.
    TypeError
        If the dtypes differ or are integer.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> dense(jnp.ones((1, 2)), jnp.ones((2, 1)), jnp.ones(1), activation=jnp.square)
    Array([[9.]], dtype=float32)
    """
    inputs, weight = jnp.asarray(inputs), jnp.asarray(weight)
    _require_matching(inputs, weight, bias)
    outputs = _product(inputs, weight, derivative=derivative)
    if bias is not None:
        outputs = outputs + jnp.broadcast_to(bias, outputs.shape)
    return outputs if activation is None else activation(outputs)


def _matrix_product(inputs: jax.Array, weight: jax.Array) -> jax.Array:
    return inputs @ weight


def _pullback(
    residuals: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    inputs, weight = residuals
    rows = inputs.reshape(-1, inputs.shape[-1])  # (batch, features in)
    columns = cotangent.reshape(-1, cotangent.shape[-1])  # (batch, features out)
    return cotangent @ weight.T, rows.T @ columns


_product = with_pullback(_matrix_product, _pullback, name="dense")


def _require_matching(
    inputs: jax.Array, weight: jax.Array, bias: jax.Array | None
) -> None:
    if not jnp.issubdtype(inputs.dtype, jnp.inexact):
        raise expected_type(
            "real or complex inputs", inputs.dtype, "call inputs.astype(float)"
        )
    if weight.ndim != 2 or inputs.ndim < 1 or inputs.shape[-1] != weight.shape[0]:
        raise expected(
            "inputs (..., features in) and a weight (features in, features out)",
            f"shapes {inputs.shape} and {weight.shape}",
            "let the last axis of the inputs be as long as the first of the weight",
        )
    if bias is not None and bias.shape != weight.shape[1:]:
        raise expected(
            f"a bias of shape {weight.shape[1:]}", bias.shape, "pass one per feature"
        )
    for name, array in (("weight", weight), ("bias", bias)):
        if array is not None and array.dtype != inputs.dtype:
            raise expected_type(
                f"a {name} of {inputs.dtype}, as the inputs",
                array.dtype,
                "cast one of them",
            )


class Frozen(nnx.Variable):
    """A variable of a module that training leaves as it is."""


class Dense(nnx.Module):
    """The layer of `dense`; the same start and the same result as `nnx.Linear`.

    Parameters
    ----------
    features_in, features_out
        Number of features.
    activation
        Applied to each output; None for none.
    use_bias
        False leaves out the bias.
    freeze_bias
        True keeps the bias at its start: it becomes `Frozen`, not `nnx.Param`.
    derivative
        As in `dense`.
    param_dtype
        Dtype of weight and bias; None takes JAX's default float.
    rngs
        Source of the random numbers.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> layer = Dense(3, 2, activation=jnp.tanh, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((5, 3))).shape
    (5, 2)
    """

    def __init__(
        self,
        features_in: int,
        features_out: int,
        *,
        activation: Callable[[jax.Array], jax.Array] | None = None,
        use_bias: bool = True,
        freeze_bias: bool = False,
        derivative: Derivative = "custom_vjp",
        param_dtype: Any = None,
        rngs: nnx.Rngs,
    ) -> None:
        dtype = param_dtype or default_float_dtype()
        shape = (features_in, features_out)
        weight = nnx.initializers.lecun_normal()(rngs.params(), shape, dtype)
        self.weight = nnx.Param(weight)
        zeros = nnx.initializers.zeros
        kind = Frozen if freeze_bias else nnx.Param
        self.bias = (
            kind(zeros(rngs.params(), (features_out,), dtype)) if use_bias else None
        )
        self.activation = activation
        self.derivative = derivative

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Apply the layer to inputs of shape (..., features in)."""
        return dense(
            inputs,
            self.weight[...],
            None if self.bias is None else self.bias[...],
            activation=self.activation,
            derivative=self.derivative,
        )
