"""Eigenvalues of dense Hermitian matrices, without eigenvectors.

`jnp.linalg.eigvalsh` finds all eigenvectors and drops them. On a processor the same
routine of LAPACK, ?heevd or ?syevd, is called here in its mode without them, which
takes about half the time.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxlib.lapack import prepare_lapack_call


@jax.custom_jvp
def eigenvalues(matrix: jax.Array) -> jax.Array:
    r"""Return the eigenvalues, ascending.

    Parameters
    ----------
    matrix
        Real symmetric or complex Hermitian, shape (..., n, n); the Hermitian part is
        taken of another one.

    Returns
    -------
    jax.Array
        Real, shape (..., n); NaN where the matrix is not finite.

    Notes
    -----
    Differentiable in both modes, :math:`d\lambda_m = \langle q_m | dH | q_m \rangle`;
    the derivative finds the eigenvectors, and takes no difference of levels.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> eigenvalues(jnp.array([[0.0, 1.0], [1.0, 0.0]])).tolist()
    [-1.0, 1.0]
    """
    return jax.lax.platform_dependent(
        _hermitian_part(matrix), cpu=_by_lapack, default=jnp.linalg.eigvalsh
    )


@eigenvalues.defjvp
def _eigenvalues_jvp(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (matrix,), (change,) = primals, tangents
    levels, vectors = jnp.linalg.eigh(matrix)
    moved = _hermitian_part(change) @ vectors
    return levels, jnp.sum((vectors.conj() * moved).real, axis=-2)


def _by_lapack(matrix: jax.Array) -> jax.Array:
    is_complex = jnp.iscomplexobj(matrix)
    routine = "heevd_ffi" if is_complex else "syevd_ffi"
    real = jnp.finfo(matrix.dtype).dtype
    shapes = (
        jax.ShapeDtypeStruct(matrix.shape, matrix.dtype),
        jax.ShapeDtypeStruct(matrix.shape[:-1], real),
        jax.ShapeDtypeStruct(matrix.shape[:-2], np.int32),
    )
    # Rows are columns to LAPACK: it sees the complex conjugate, of the same spectrum.
    call = jax.ffi.ffi_call(
        prepare_lapack_call(routine, matrix.dtype), shapes, vmap_method="broadcast_all"
    )
    _, levels, info = call(matrix, mode=np.uint8(ord("N")), uplo=np.uint8(ord("L")))
    return jnp.where((info == 0)[..., None], levels, jnp.asarray(jnp.nan, real))


def _hermitian_part(matrix: jax.Array) -> jax.Array:
    return (matrix + jnp.swapaxes(matrix, -1, -2).conj()) / 2
