r"""An interval that holds the spectrum, from a few Lanczos steps.

With the Ritz values :math:`\theta_i` of k steps, the last components :math:`s_{ki}` of
their vectors and the next coupling :math:`b_k`, each interval
:math:`\theta_i \pm b_k |s_{ki}|` holds an eigenvalue. The ends of their union lie
beyond those of the spectrum unless the random start vector has almost nothing along the
outer eigenvectors (Y. Zhou and R.-C. Li, Linear Algebra Appl. 435, 480 (2011)).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from physml.operators import LinearOperator
from physml.operators.scaled_operator import (
    ScaledOperator,
    exponent_of,
    times_power_of_two,
)
from physml.solvers.lanczos import lanczos_chunk, lanczos_start


class SpectralInterval(NamedTuple):
    """The interval [center - half_width, center + half_width]."""

    center: jax.Array
    half_width: jax.Array

    def mapped(self, product: jax.Array, vectors: jax.Array) -> jax.Array:
        """Return X v with X = (H - center) / half_width, from H v and v."""
        center, half_width = (x.astype(vectors.dtype) for x in self)
        return (product - center * vectors) / half_width


@partial(jax.jit, static_argnames="num_steps")
def spectral_interval(
    operator: LinearOperator,
    *,
    num_steps: int = 40,
    margin: float = 0.01,
    key: jax.Array | None = None,
) -> SpectralInterval:
    """Return an interval that holds the spectrum of a Hermitian operator.

    Parameters
    ----------
    operator
        Hermitian; applied `num_steps` times.
    num_steps
        Lanczos steps; more make the interval tighter and safer.
    margin
        Added to each side, as a share of the half width.
    key
        Of the start vector, by default a fixed one.
    """
    key = jax.random.key(0) if key is None else key
    start = jax.random.normal(key, (operator.size,), operator.dtype)
    exponent = exponent_of(operator, jnp.ones((), start.real.dtype))
    scaled = ScaledOperator(operator, -exponent)
    steps = lanczos_chunk(scaled, lanczos_start(start)[0], num_steps=num_steps)[1]
    a = jnp.where(steps.is_valid, steps.diagonal, steps.diagonal[0])
    follows = jnp.append(steps.is_valid[1:], True) & steps.is_valid
    b = jnp.where(follows, steps.coupling, jnp.zeros_like(steps.coupling))
    tridiagonal = jnp.diag(a) + jnp.diag(b[:-1], 1) + jnp.diag(b[:-1], -1)
    ritz, vectors = jnp.linalg.eigh(tridiagonal)
    reach = b[-1] * jnp.abs(vectors[-1])
    low, high = jnp.min(ritz - reach), jnp.max(ritz + reach)
    center, half_width = (low + high) / 2, (1 + margin) * (high - low) / 2
    # a constant operator has no width of its own
    smallest = jnp.sqrt(jnp.finfo(center.dtype).eps) * jnp.abs(center)
    half_width = jnp.maximum(half_width, jnp.where(smallest > 0, smallest, 1.0))
    return SpectralInterval(
        times_power_of_two(center, exponent), times_power_of_two(half_width, exponent)
    )
