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
each end. Memory: n w numbers for each z of a batch. Derivatives are those of the
scans with the rule :math:`dA^{-1} = -A^{-1} dA \, A^{-1}`; batches are then computed
again.

D. J. Thouless and S. Kirkpatrick, J. Phys. C 14, 235 (1981); A. MacKinnon, Z. Phys. B
59, 385 (1985); L. Lin et al., Commun. Math. Sci. 7, 755 (2009).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from physml.solvers.block_tridiagonal import BlockTridiagonal
from physml.solvers.diagonal_resolvent import DiagonalResolvent

BATCH_BYTES = 2**28  # of the self-energies of one batch of z


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
    values, residual = _in_batches(partial(_sweeps, blocks), z.astype(dtype), batch)
    place = jnp.argsort(jnp.asarray(blocks.order.sites))
    values = values.reshape(z.shape[0], -1)[:, place]
    return DiagonalResolvent(values, residual[:, place // width])


Arrays = tuple[jax.Array, jax.Array]


def _in_batches(
    sweeps: Callable[[jax.Array], Arrays], z: jax.Array, batch: int
) -> Arrays:
    """Give at most `batch` values of z to each run of the sweeps."""
    num_z = z.shape[0]
    if batch >= num_z:
        return sweeps(z)
    num_batches = -(-num_z // batch)
    batch = -(-num_z // num_batches)
    filled = jnp.pad(z, (0, num_batches * batch - num_z), mode="edge")
    # checkpoint: a derivative computes each batch again rather than keep all of them
    found = jax.lax.map(jax.checkpoint(sweeps), filled.reshape(num_batches, batch))
    values, residual = (x.reshape(-1, *x.shape[2:])[:num_z] for x in found)
    return values, residual


class _Slice(NamedTuple):
    """One slice and its way to a neighbor, blocks of shape (1, w, w)."""

    unit: jax.Array  # of the sites; zero where the slice is filled up
    diagonal: jax.Array  # D_k; -1 where the slice is filled up
    upper: jax.Array
    lower: jax.Array


class _Right(NamedTuple):
    """What the slices to the right of a slice hand on to it."""

    sigma: jax.Array  # (num_z, w, w)
    coupled: jax.Array  # U_k G_k+1,k+1 L_k u, (num_z, w)


def _sweeps(blocks: BlockTridiagonal, z: jax.Array) -> Arrays:
    """Return G_ii, (num_z, num_slices, w), and residuals, (num_z, num_slices)."""
    slices = _slices(blocks, z.dtype)
    width = slices.unit.shape[-1]
    z = z[:, None, None]
    zero = jnp.zeros((z.shape[0], width, width), z.dtype)

    def forward(sigma: jax.Array, here: _Slice) -> Arrays:
        inverse = _inverse(z * here.unit - here.diagonal - sigma)
        return _product(here.lower, _product(inverse, here.upper)), sigma

    _, sigmas = jax.lax.scan(forward, zero, slices)
    back = slices._replace(
        upper=jnp.roll(slices.upper, 1, 0), lower=jnp.roll(slices.lower, 1, 0)
    )
    end = _Right(zero, zero[..., 0])
    backward = partial(_backward, z)
    _, (values, residual) = jax.lax.scan(backward, end, (back, sigmas), reverse=True)
    return values.swapaxes(0, 1), residual.T


def _backward(
    z: jax.Array, right: _Right, x: tuple[_Slice, jax.Array]
) -> tuple[_Right, Arrays]:
    """Finish a slice and go one to the left."""
    here, sigma_left = x
    alone = z * here.unit - here.diagonal
    resolvent = _inverse(alone - sigma_left - right.sigma)  # (num_z, w, w)
    inverse = _inverse(alone - right.sigma)
    sigma = _product(here.upper, _product(inverse, here.lower))
    values = jnp.diagonal(resolvent, axis1=-2, axis2=-1)

    fixed = jax.lax.stop_gradient((alone - sigma_left, resolvent, right, here))
    left, resolvent, right, here = fixed
    u = jnp.cos(jnp.arange(1.0, values.shape[-1] + 1)).astype(values.dtype)[None]
    met = _apply(left, _apply(resolvent, _apply(right.sigma, u)))
    difference = jnp.linalg.norm(met - right.coupled, axis=-1)
    scale = jnp.maximum(*(jnp.linalg.norm(x, axis=-1) for x in (met, right.coupled)))
    residual = difference / jnp.where(scale > 0, scale, 1)
    coupled = _apply(here.upper, _apply(resolvent, _apply(here.lower, u)))
    return _Right(sigma, coupled), (values, residual)


def _slices(blocks: BlockTridiagonal, dtype: jnp.dtype) -> _Slice:
    """Prepare the blocks for scans: one axis for z, and filling that has an inverse."""
    num_slices, width, _ = blocks.diagonal.shape
    is_site = jnp.arange(num_slices * width) < blocks.order.sites.shape[0]
    is_site = is_site.reshape(num_slices, width, 1)
    eye = jnp.eye(width, dtype=dtype)[None]
    unit = jnp.where(is_site, eye, 0)
    diagonal = blocks.diagonal.astype(dtype) - (eye - unit)
    ways = (x.astype(dtype)[:, None] for x in (blocks.upper, blocks.lower))
    return _Slice(unit[:, None], diagonal[:, None], *ways)


@jax.custom_jvp
def _inverse(matrix: jax.Array) -> jax.Array:
    return 1 / matrix if matrix.shape[-1] == 1 else jnp.linalg.inv(matrix)


@_inverse.defjvp
def _inverse_derivative(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    inverse = _inverse(*primals)
    return inverse, -_product(inverse, _product(tangents[0], inverse))


def _product(left: jax.Array, right: jax.Array) -> jax.Array:
    # numbers are multiplied within a loop over z that also adds and inverts them
    return left * right if left.shape[-1] == 1 else left @ right


def _apply(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """Return the product of each matrix, (..., w, w), with its vector, (..., w)."""
    return jnp.sum(matrix * jnp.expand_dims(vector, -2), axis=-1)
