"""What a pullback of resolvent elements is given, and what it returns."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from physml.operators.floating_leaves import FloatingLeaves, Leaves, floating_leaves
from physml.operators.linear_operator import LinearOperator
from physml.solvers.shifted_elements import ShiftedElements


class PullbackProblem(NamedTuple):
    """Elements <u_m|(z - H)^-1|b> and the cotangents g of them.

    The derivatives are those of Re sum g <u|(z - H)^-1|b>, as JAX has them.
    """

    operator: LinearOperator  # H
    shifts: jax.Array  # z, (num_z,)
    columns: jax.Array  # b, (num_columns, n)
    rows: jax.Array | None  # sites (m,), vectors u (m, n); None: u = b, one row
    cotangent: jax.Array  # g, (num_columns, num_z, m)
    tolerance: jax.Array
    max_iterations: int
    method: jax.tree_util.Partial  # of the forward
    wanted: tuple[bool, ...] | None = None  # which leaves of H are differentiated

    @property
    def floating_leaves(self) -> FloatingLeaves:
        """The leaves of H that are differentiated."""
        return floating_leaves(self.operator, self.wanted)

    def elements(
        self, shifts: jax.Array, columns: jax.Array, rows: jax.Array | None
    ) -> ShiftedElements:
        """Return other elements of the same operator, by the method of the forward."""
        return self.method(
            self.operator,
            shifts,
            columns,
            rows,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )

    @property
    def has_sites(self) -> bool:
        """Whether rows are numbers of sites."""
        return self.rows is not None and jnp.issubdtype(self.rows.dtype, jnp.integer)

    @property
    def is_real(self) -> bool:
        """Whether H, and with it all vectors, are real."""
        return not jnp.iscomplexobj(self.columns)

    def row_vectors(self, coefficients: jax.Array) -> jax.Array:
        """Return sum_m c_m u_m for each column; c (num_columns, m)."""
        if self.rows is None:
            return coefficients * self.columns
        if self.has_sites:
            zero = jnp.zeros(self.columns.shape, coefficients.dtype)
            return zero.at[:, self.rows].add(coefficients)
        dtype = self.columns.dtype
        return coefficients.astype(dtype) @ self.rows.astype(dtype)

    def no_rows(self) -> jax.Array:
        """Return a cotangent of zero of the rows; a number for sites."""
        if self.has_sites:
            return jnp.zeros((), self.columns.dtype)
        return jnp.zeros_like(self.columns if self.rows is None else self.rows)

    def row_cotangent(self, weights: jax.Array, vectors: jax.Array) -> jax.Array:
        r"""Return the cotangent of u in Re sum c <u|v>: that of its conjugate, turned.

        Parameters
        ----------
        weights
            c, shape (num_columns, m).
        vectors
            v, shape (num_columns, n).
        """
        if self.has_sites:
            return jnp.zeros((), self.columns.dtype)
        vectors = vectors.astype(weights.dtype)
        if self.rows is None:
            return cast((weights * vectors).conj(), self.columns.dtype)
        return cast((weights.T @ vectors).conj(), self.rows.dtype)

    def cotangents(
        self, leaves: Leaves, columns: jax.Array, rows: jax.Array
    ) -> "Cotangents":
        """Return all of them; if u = b, the rows' share goes to the columns."""
        if self.rows is None:
            return Cotangents(leaves, columns + rows, jnp.zeros((), columns.dtype))
        return Cotangents(leaves, columns, rows)


class Cotangents(NamedTuple):
    """Of the leaves of the operator, of the columns, and of rows that are vectors."""

    leaves: Leaves
    columns: jax.Array
    rows: jax.Array


def cast(values: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Change the dtype; the real part where it is real."""
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return values.astype(dtype)
    return values.real.astype(dtype)
