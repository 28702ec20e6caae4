r"""The kernel polynomial method: spectral densities from Chebyshev moments.

H is mapped to :math:`X = (H - c) / a` with its spectrum inside [-1, 1]. The moments

.. math:: \mu_n = \langle v | T_n(X) | v \rangle , \qquad
          \mu_{2k} = 2 \langle t_k | t_k \rangle - \mu_0 , \quad
          \mu_{2k+1} = 2 \langle t_{k+1} | t_k \rangle - \mu_1 ,

with :math:`t_k = T_k(X) v`, two for each product with H, give at :math:`x = (E - c)/a`

* the density, smoothed by a kernel g of a width of about :math:`\pi a / N`,

.. math:: \rho(E) = \frac{1}{\pi a \sqrt{1 - x^2}}
          \Big[ g_0 \mu_0 + 2 \sum_{n=1}^{N-1} g_n \mu_n T_n(x) \Big] ;

* the resolvent off the real axis: see `physml.solvers.chebyshev_resolvent`.

A. Weisse, G. Wellein, A. Alvermann, H. Fehske, Rev. Mod. Phys. 78, 275 (2006).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected
from physml.operators import LinearOperator
from physml.solvers.spectral_interval import SpectralInterval
from physml.solvers.vector_rows import norms_squared, real_overlaps

EXCESS = 1e-6  # by which a moment may be larger than the first


@partial(jax.jit, static_argnames="num_moments")
def chebyshev_moments(
    operator: LinearOperator,
    vectors: jax.Array,
    interval: SpectralInterval,
    *,
    num_moments: int,
) -> jax.Array:
    r"""Return :math:`\langle v|T_n(X)|v\rangle` for each vector.

    Parameters
    ----------
    operator
        Hermitian. Differentiable; a derivative recomputes all but the square root of
        the number of vectors t_k.
    vectors
        v, shape (num_vectors, n), all worked on at once.
    interval
        Holds the spectrum.
    num_moments
        N; half as many products with H.

    Returns
    -------
    jax.Array
        Real, shape (num_vectors, num_moments).
    """

    def apply(vectors: jax.Array) -> jax.Array:
        return interval.mapped(operator(vectors), vectors)

    step = partial(_chebyshev_step, apply)
    num_steps = -(-num_moments // 2)
    length = math.isqrt(num_steps - 1) + 1 if num_steps > 1 else 1
    dtype = np.result_type(operator.dtype, vectors.dtype)
    first = vectors.astype(dtype)

    @jax.checkpoint
    def chunk(pair: _Pair, _: None) -> tuple[_Pair, tuple[jax.Array, jax.Array]]:
        return jax.lax.scan(step, pair, None, length=length)

    pair = _Pair(first, apply(first))
    _, found = jax.lax.scan(chunk, pair, None, length=-(-num_steps // length))
    even, odd = (x.reshape(-1, x.shape[-1]) for x in found)  # (steps, num_vectors)
    even = (2 * even - even[:1]).at[0].set(even[0])
    odd = (2 * odd - odd[:1]).at[0].set(odd[0])
    moments = jnp.stack([even, odd], axis=1).reshape(-1, even.shape[-1])
    return moments[:num_moments].T


class _Pair(NamedTuple):
    """t_k and t_k+1."""

    current: jax.Array
    following: jax.Array


def _chebyshev_step(
    apply: Callable[[jax.Array], jax.Array], pair: _Pair, _: None
) -> tuple[_Pair, tuple[jax.Array, jax.Array]]:
    t, following = pair
    overlaps = norms_squared(t), real_overlaps(following, t)
    return _Pair(following, 2 * apply(following) - t), overlaps


def jackson_kernel(num_moments: int) -> np.ndarray:
    r"""Return g_n of the Jackson kernel: nearly Gaussian, of a width of pi a / N.

    .. math:: g_n = \frac{(N - n + 1) \cos q n + \sin q n \cot q}{N + 1},
              \quad q = \frac{\pi}{N + 1}
    """
    n, q = np.arange(num_moments), math.pi / (num_moments + 1)
    shifted = (num_moments - n + 1) * np.cos(q * n) + np.sin(q * n) / math.tan(q)
    return shifted / (num_moments + 1)


def lorentz_kernel(num_moments: int, decay: float = 4.0) -> np.ndarray:
    r"""Return g_n of the Lorentz kernel: a broadening of decay a / N.

    .. math:: g_n = \frac{\sinh[\lambda (1 - n/N)]}{\sinh \lambda}
    """
    if not 0 < decay < math.inf:
        raise expected("a decay > 0", decay, "4 is the default")
    n = np.arange(num_moments)
    return np.sinh(decay * (1 - n / num_moments)) / math.sinh(decay)


@jax.jit
def chebyshev_density(
    moments: jax.Array,
    energies: jax.Array,
    interval: SpectralInterval,
    kernel: jax.Array | np.ndarray,
) -> jax.Array:
    """Return the density at each energy; zero outside of the interval.

    Parameters
    ----------
    moments
        Shape (..., num_moments).
    energies
        Shape (num_energies,).
    interval
        That of the moments.
    kernel
        g_n, shape (num_moments,).

    Returns
    -------
    jax.Array
        Shape (..., num_energies).
    """
    center, half_width = interval
    x = (energies - center) / half_width
    is_inside = jnp.abs(x) < 1
    angle = jnp.arccos(jnp.where(is_inside, x, 0.0))
    n = jnp.arange(moments.shape[-1], dtype=x.dtype)
    weights = jnp.asarray(kernel, x.dtype) * jnp.where(n == 0, 1.0, 2.0)
    waves = weights[:, None] * jnp.cos(n[:, None] * angle[None])
    scale = jnp.where(is_inside, jnp.pi * half_width * jnp.sin(angle), jnp.inf)
    return moments @ (waves / scale[None])
