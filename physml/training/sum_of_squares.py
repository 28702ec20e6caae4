r"""Losses that are sums of squares, and all that a least-squares step asks of them.

With residuals r, their Jacobian J and a step d, the Gauss-Newton model of the loss is

.. math:: L(\theta + d) \approx |J d + r|^2 = |R\, (d, 1)|^2 , \qquad (J \; r) = Q R .

The triangle R has one row and one column more than there are parameters, however many
residuals there are, and it is exact: unlike the normal equations it does not square the
condition number. The triangle of several blocks of rows is that of their triangles, one
above the other, so that samples go through memory in chunks and are divided over ranks.

Source: J. Demmel, L. Grigori, M. Hoemmen, J. Langou, SIAM J. Sci. Comput. 34, A206
(2012), https://doi.org/10.1137/080731992.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

from physml.parallel import Communicator, Divided
from physml.pytrees import register_dataclass

Derivative = Literal["forward", "reverse"]
Carry = TypeVar("Carry")


@runtime_checkable
class SquaredLoss(Protocol):
    """A loss that least-squares optimizers take, as well as all others."""

    def __call__(self, parameters: Any) -> jax.Array:
        """Return the loss, a real scalar."""
        ...

    def triangle(self, parameters: Any) -> jax.Array:
        """Return R of (J r) = Q R, shape (num_parameters + 1, num_parameters + 1).

        The square of the norm of r is the loss. Columns are in the order of
        `jax.flatten_util.ravel_pytree`.
        """
        ...


@partial(register_dataclass, static=("derivative",))
@dataclass(frozen=True)
class SumOfSquares:
    """The loss sum_i |r_i|^2 of residuals that are computed all at once.

    Parameters
    ----------
    residuals
        Maps real parameters to residuals, real or complex, of any shape. A
        `jax.tree_util.Partial` may carry arrays.
    derivative
        How the Jacobian is computed: "forward" costs a pass for each parameter,
        "reverse" one for each residual, but knows hand-written pullbacks.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> loss = SumOfSquares(lambda x: jnp.stack([x[0] - 1, 3 * x[1]]))
    >>> float(loss(jnp.array([3.0, 1.0])))
    13.0
    """

    residuals: Callable[[Any], jax.Array]
    derivative: Derivative = "forward"

    def __post_init__(self) -> None:
        """Let a plain function go through jit."""
        if jax.tree_util.all_leaves([self.residuals]):
            object.__setattr__(self, "residuals", Partial(self.residuals))

    def __call__(self, parameters: Any) -> jax.Array:
        """Return the loss."""
        return jnp.sum(self.real_residuals(parameters) ** 2)

    def real_residuals(self, parameters: Any) -> jax.Array:
        """Return real and imaginary parts of all residuals in one axis."""
        residuals = self.residuals(parameters)
        if jnp.iscomplexobj(residuals):
            residuals = jnp.stack([residuals.real, residuals.imag])
        return residuals.ravel()

    def triangle(self, parameters: Any) -> jax.Array:
        """Return the triangular factor of (J r)."""
        vector, unravel = ravel_pytree(parameters)

        def residuals(vector: jax.Array) -> jax.Array:
            return self.real_residuals(unravel(vector))

        rows = residual_rows(residuals, vector, self.derivative)
        return add_rows(no_rows(vector), rows)


def residual_rows(
    residuals: Callable[[jax.Array], jax.Array],
    vector: jax.Array,
    derivative: Derivative,
) -> jax.Array:
    """Return (J r), shape (num_residuals, num_parameters + 1)."""
    jacobian_of = jax.jacfwd if derivative == "forward" else jax.jacrev

    def twice(vector: jax.Array) -> tuple[jax.Array, jax.Array]:
        r = residuals(vector)
        return r, r

    jacobian, r = jacobian_of(twice, has_aux=True)(vector)
    return jnp.concatenate([jacobian, r[:, None]], axis=1)


def no_rows(vector: jax.Array) -> jax.Array:
    """Return the triangle of no rows, for parameters in a vector."""
    return jnp.zeros((vector.size + 1, vector.size + 1), vector.dtype)


def add_rows(triangle: jax.Array, rows: jax.Array) -> jax.Array:
    """Return the triangle of the rows of a triangle and others."""
    return jnp.linalg.qr(jnp.concatenate([triangle, rows]), mode="r")


def sum_triangles(triangle: jax.Array, communicator: Communicator) -> jax.Array:
    """Return the triangle of the rows of all ranks, bitwise the same on each."""
    if communicator.size == 1:
        return triangle
    triangles = communicator.gather(triangle[None], communicator.size)
    return jnp.linalg.qr(triangles.reshape(-1, triangle.shape[1]), mode="r")


def over_chunks(
    step: Callable[[Carry, Divided], Carry],
    start: Carry,
    samples: Divided,
    chunk_size: int | None,
) -> Carry:
    """Go through the samples of a rank in chunks of one size.

    Parameters
    ----------
    step
        Maps what was found so far and a chunk to what is found with it. Where the
        chunk's mask is False, the sample is not one of this chunk.
    start
        What is found before the first.
    samples
        The block of this rank.
    chunk_size
        At most so many samples at a time; None for all.

    Notes
    -----
    The last chunk reaches back over samples of the one before, which its mask leaves
    out, so that nothing is padded or copied.
    """
    length = samples.mask.size
    if chunk_size is None or chunk_size >= length:
        return step(start, samples)
    number = -(-length // chunk_size)
    size = -(-length // number)  # all of about the same size

    def body(carry: Carry, chunk: jax.Array) -> tuple[Carry, None]:
        begin = jnp.minimum(chunk * size, length - size)
        cut = partial(jax.lax.dynamic_slice_in_dim, start_index=begin, slice_size=size)
        own = jax.tree.map(cut, samples)
        is_new = begin + jnp.arange(size) >= chunk * size
        return step(carry, Divided(own.values, own.mask & is_new)), None

    return jax.lax.scan(body, start, jnp.arange(number))[0]
