r"""All diagonal elements of a resolvent at once: recursive Green's functions.

For a block tridiagonal H with blocks D, U, L, a sweep from each end adds up what the
slices on that side do to slice k,

.. math:: \Sigma^<_{k+1} &= L_k (z - D_k - \Sigma^<_k)^{-1} U_k , \\
          \Sigma^>_{k-1} &= U_{k-1} (z - D_k - \Sigma^>_k)^{-1} L_{k-1} , \\
          G_{kk}(z) &= (z - D_k - \Sigma^<_k - \Sigma^>_k)^{-1} .

For Hermitian H and Im z > 0 no imaginary part is a difference: both self-energies
have negative ones, so that the norms of all inverses stay below 1 / Im z. The usual
second sweep, G_kk = g + g U G L g, cancels near the real axis.

Time: three inversions of w x w for each slice and z; w = 1 is a continued fraction from
each end. Memory: n w numbers for each z of a batch.

The derivative is written by hand; it inverts nothing. With the cotangents c of G_ii,
:math:`F_k = G_{kk}^T \mathrm{diag}(c_k) G_{kk}^T` is that of D_k and of both
self-energies. For a sweep :math:`\Sigma' = A g B`, from g of slice k to the next one,
the cotangent R of Sigma' adds :math:`P_k = (A g)^T R \, (g B)^T` to those of D_k and
of the sweep's own Sigma_k, and :math:`R (g B)^T`, :math:`(A g)^T R` to those of A
and B: again a sweep each, in the other direction, of products alone. Batches of z are
computed again. Complex numbers follow JAX, :math:`dL = \mathrm{Re} \sum \bar x dx`.

D. J. Thouless and S. Kirkpatrick, J. Phys. C 14, 235 (1981); A. MacKinnon, Z. Phys. B
59, 385 (1985); L. Lin et al., Commun. Math. Sci. 7, 755 (2009).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from physml.solvers.block_tridiagonal import (
    BlockTridiagonal,
    Slice,
    inverted,
    padded_slices,
    product,
    to_the_left,
)
from physml.solvers.diagonal_resolvent import DiagonalResolvent

BATCH_BYTES = 2**26  # of the self-energies of one batch of z


@partial(jax.jit, static_argnames="batch_bytes")
def recursive_diagonal_resolvent(
    blocks: BlockTridiagonal, z: jax.Array, *, batch_bytes: int = BATCH_BYTES
) -> DiagonalResolvent:
    r"""Return G_ii(z) for all sites i.

    Parameters
    ----------
    blocks
        Of the operator, from `block_tridiagonal`.
    z
        Off the real axis, or outside the spectrum, shape (num_z,).
    batch_bytes
        Memory for the self-energies; bounds how many z are done together.

    Returns
    -------
    DiagonalResolvent
        The residual is that of the two sweeps where they meet: with a fixed vector u,
        :math:`(z - D_k - \Sigma^<_k) G_{kk} \Sigma^>_k u` against
        :math:`U_k G_{k+1,k+1} L_k u`, relative to the larger; one for each slice.
    """
    dtype = np.result_type(blocks.diagonal.dtype, z.dtype, np.complex64)
    num_slices, width, _ = blocks.diagonal.shape
    batch = max(1, batch_bytes // (num_slices * width**2 * dtype.itemsize))
    slices = padded_slices(blocks, dtype)
    values, residual = in_batches(partial(_sweeps, slices), z.astype(dtype), batch)
    place = jnp.argsort(jnp.asarray(blocks.order.sites))
    values = values.swapaxes(0, 1).reshape(z.shape[0], -1)[:, place]
    return DiagonalResolvent(values, residual.T[:, place // width])


Arrays = tuple[jax.Array, jax.Array]


def in_batches(
    sweeps: Callable[[jax.Array], Arrays], z: jax.Array, batch: int
) -> Arrays:
    """Give at most `batch` values of z to each run of the sweeps.

    The results have the axis of z behind another one.
    """
    num_z = z.shape[0]
    if batch >= num_z:
        return sweeps(z)
    num_batches = -(-num_z // batch)
    batch = -(-num_z // num_batches)
    filled = jnp.pad(z, (0, num_batches * batch - num_z), mode="edge")
    # checkpoint: a derivative computes each batch again rather than keep all of them
    found = jax.lax.map(jax.checkpoint(sweeps), filled.reshape(num_batches, batch))
    joined = (jnp.moveaxis(x, 0, 1) for x in found)
    values, residual = (
        x.reshape(x.shape[0], -1, *x.shape[3:])[:, :num_z] for x in joined
    )
    return values, residual


class _Right(NamedTuple):
    """What the slices to the right of a slice hand on to it."""

    sigma: jax.Array  # (num_z, w, w)
    coupled: jax.Array  # U_k G_k+1,k+1 L_k u, (num_z, w)


class _Inverses(NamedTuple):
    """Of all slices, each of shape (num_slices, num_z, w, w)."""

    resolvent: jax.Array  # G_kk
    left: jax.Array  # (z - D_k - Sigma^<_k)^-1
    right: jax.Array  # (z - D_k - Sigma^>_k)^-1


@jax.custom_vjp
def _sweeps(slices: Slice, z: jax.Array) -> Arrays:
    """Return G_ii, (num_slices, num_z, w), and residuals, (num_slices, num_z)."""
    return _there_and_back(slices, z, keep=False)[0]


def _sweeps_forward(
    slices: Slice, z: jax.Array
) -> tuple[Arrays, tuple[Slice, _Inverses]]:
    found, inverses = _there_and_back(slices, z, keep=True)
    assert inverses is not None
    return found, (slices, inverses)


def _there_and_back(
    slices: Slice, z: jax.Array, *, keep: bool
) -> tuple[Arrays, _Inverses | None]:
    z = z[:, None, None]
    width = slices.unit.shape[-1]
    zero = jnp.zeros((z.shape[0], width, width), z.dtype)

    def there(sigma: jax.Array, here: Slice) -> tuple[jax.Array, Any]:
        inverse = inverted(z * here.unit - here.diagonal - sigma)
        following = product(here.lower, product(inverse, here.upper))
        return following, (sigma, inverse if keep else None)

    _, (sigmas, left) = jax.lax.scan(there, zero, slices)
    back = partial(_backward, z, keep)
    start = _Right(zero, zero[..., 0])
    ends = jax.lax.scan(back, start, (to_the_left(slices), sigmas), reverse=True)[1]
    values, residual, kept = ends
    return (values, residual), _Inverses(kept[0], left, kept[1]) if keep else None


def _backward(
    z: jax.Array, keep: bool, right: _Right, x: tuple[Slice, jax.Array]
) -> tuple[_Right, tuple[jax.Array, jax.Array, Any]]:
    """Finish a slice and go one to the left."""
    here, sigma_left = x
    alone = z * here.unit - here.diagonal
    left = alone - sigma_left
    resolvent = inverted(left - right.sigma)  # (num_z, w, w)
    inverse = inverted(alone - right.sigma)
    sigma = product(here.upper, product(inverse, here.lower))
    values = jnp.diagonal(resolvent, axis1=-2, axis2=-1)

    u = jnp.cos(jnp.arange(1.0, values.shape[-1] + 1)).astype(values.dtype)[None]
    met = _apply(left, _apply(resolvent, _apply(right.sigma, u)))
    difference = jnp.linalg.norm(met - right.coupled, axis=-1)
    scale = jnp.maximum(*(jnp.linalg.norm(x, axis=-1) for x in (met, right.coupled)))
    residual = difference / jnp.where(scale > 0, scale, 1)
    coupled = _apply(here.upper, _apply(resolvent, _apply(here.lower, u)))
    kept = (resolvent, inverse) if keep else None
    return _Right(sigma, coupled), (values, residual, kept)


def _sweeps_backward(
    saved: tuple[Slice, _Inverses], cotangents: Arrays
) -> tuple[Slice, jax.Array]:
    slices, inverses = saved
    transposed = inverses.resolvent.mT
    weighted = transposed * cotangents[0][:, :, None, :]
    of_slices = product(weighted, transposed)  # F, (num_slices, num_z, w, w)
    left = _pull_sweep(of_slices, inverses.left, slices.lower, slices.upper, True)
    back = to_the_left(slices)
    right = _pull_sweep(of_slices, inverses.right, back.upper, back.lower, False)
    of_diagonal = of_slices + left.through + right.through
    trace = jnp.sum(jnp.diagonal(of_diagonal * slices.unit, axis1=-2, axis2=-1), -1)
    return Slice(
        unit=jnp.zeros_like(slices.unit),
        diagonal=jnp.sum(of_diagonal, axis=1, keepdims=True),
        upper=left.second + jnp.roll(right.first, -1, 0),
        lower=left.first + jnp.roll(right.second, -1, 0),
    ), -jnp.sum(trace, axis=0)


class _Pulled(NamedTuple):
    """Cotangents that one sweep, Sigma' = A g B, hands on."""

    through: jax.Array  # P, (num_slices, num_z, w, w)
    first: jax.Array  # of A, (num_slices, 1, w, w)
    second: jax.Array  # of B


def _pull_sweep(
    of_slices: jax.Array,
    inverse: jax.Array,
    first: jax.Array,
    second: jax.Array,
    is_reverse: bool,
) -> _Pulled:
    before = product(first, inverse).mT
    after = product(inverse, second).mT

    def step(
        of_sigma: jax.Array, x: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[jax.Array, Arrays]:
        here, before, after = x
        through = product(before, product(of_sigma, after))
        return here + through, (of_sigma, through)

    start = jnp.zeros_like(of_slices[0])
    xs = (of_slices, before, after)
    _, (of_sigma, through) = jax.lax.scan(step, start, xs, reverse=is_reverse)
    summed = partial(jnp.sum, axis=1, keepdims=True)
    return _Pulled(
        through, summed(product(of_sigma, after)), summed(product(before, of_sigma))
    )


_sweeps.defvjp(_sweeps_forward, _sweeps_backward)


def _apply(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """Return the product of each matrix, (..., w, w), with its vector, (..., w)."""
    return jnp.sum(matrix * jnp.expand_dims(vector, -2), axis=-1)
