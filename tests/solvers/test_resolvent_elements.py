"""Derivatives of resolvent elements: all routes against dense formulas and each other.

With R = (z - H)^-1: dR_ij / dH_kl = R_ik R_lj, dR_ij / dz = -(R^2)_ij.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.hamiltonians import tight_binding
from physml.lattices import chain
from physml.operators import as_operator
from physml.operators.floating_leaves import floating_leaves
from physml.pullbacks import WrongPullback, check_pullback, with_pullback
from physml.solvers.resolvent_elements import resolvent_elements

SIZE = 8
SHIFTS = np.array([0.3 + 0.5j, -1.0 + 0.5j, 0.7 - 0.6j, 9.0, -8.0 + 0j])
ROUTES = ("chebyshev", "resolvent", "lanczos", "auto")
TOLERANCE = 1e-12


def draw(random, *shape, is_complex):
    array = random.normal(size=shape)
    return array + 1j * random.normal(size=shape) if is_complex else array


def hermitian(random, is_complex, size=SIZE):
    matrix = draw(random, size, size, is_complex=is_complex)
    return (matrix + matrix.conj().T) / 2


def hermitian_part(matrix):
    return (matrix + matrix.conj().T) / 2


class Dense:
    """A problem of two columns with its derivatives, as sums over dense inverses."""

    def __init__(self, is_complex, rows):
        random = np.random.default_rng(0)
        self.matrix = hermitian(random, is_complex)
        self.columns = draw(random, 2, SIZE, is_complex=is_complex)
        self.rows = {
            "sites": np.array([3, 1]),
            "vectors": draw(random, 2, SIZE, is_complex=is_complex),
            "column": None,
        }[rows]
        num_rows = 1 if self.rows is None else 2
        self.cotangent = draw(random, 2, len(SHIFTS), num_rows, is_complex=True)
        self._differentiate(is_complex)

    def _differentiate(self, is_complex):
        b, g = self.columns, self.cotangent
        u = b[:, None]
        if self.rows is not None:
            u = np.eye(SIZE)[self.rows] if self.rows.ndim == 1 else self.rows
            u = np.broadcast_to(u, (2, *u.shape))
        r = np.linalg.inv(SHIFTS[:, None, None] * np.eye(SIZE) - self.matrix)
        x = np.einsum("zij,cj->czi", r, b)
        y = np.einsum("czm,cmk,zki->czi", g, u.conj(), r)
        of_rows = np.einsum("czm,czi->cmi", g, x).conj()
        self.value = np.einsum("cmk,czk->czm", u.conj(), x)
        self.of_matrix = np.einsum("czk,czl->kl", y, x)
        self.of_shifts = -np.einsum("czi,czi->z", y, x)
        self.of_columns = y.sum(1)
        if self.rows is None:
            self.of_columns = self.of_columns + of_rows[:, 0]
        self.of_rows = of_rows.sum(0)
        if not is_complex:
            self.of_matrix = self.of_matrix.real
            self.of_columns, self.of_rows = self.of_columns.real, self.of_rows.real

    def pulled(self, route):
        """Return the value and the cotangents of H, z, columns and rows."""
        arguments = [
            as_operator(self.matrix),
            *map(jnp.asarray, (SHIFTS, self.columns)),
        ]
        if self.rows is not None and self.rows.ndim == 2:
            arguments.append(jnp.asarray(self.rows))

        def value(operator, shifts, columns, rows=self.rows):
            rows = rows if rows is None else jnp.asarray(rows)
            return resolvent_elements(
                operator,
                shifts,
                columns,
                rows,
                tolerance=TOLERANCE,
                max_iterations=100,
                derivative=route,
            ).value

        @jax.jit
        def both(arguments, cotangent):
            found, pull = jax.vjp(value, *arguments)
            return found, pull(cotangent)

        return both(arguments, jnp.asarray(self.cotangent))


@pytest.mark.parametrize(
    ("route", "rows", "is_complex"),
    [
        ("auto", "sites", False),
        *((route, "vectors", True) for route in ROUTES[:3]),
        *((route, "column", False) for route in ROUTES[:3]),
        *((route, "column", True) for route in ROUTES[:3]),
    ],
)
def test_all_derivatives_are_those_of_dense_inverses(route, rows, is_complex):
    dense = Dense(is_complex, rows)
    value, (operator, shifts, columns, *of_rows) = dense.pulled(route)
    np.testing.assert_allclose(value, dense.value, rtol=1e-9, atol=1e-11)
    matrix, want = np.asarray(operator.matrix), dense.of_matrix
    if route == "lanczos":  # whose a_k and b_k know Hermitian matrices alone
        matrix, want = hermitian_part(matrix), hermitian_part(want)
    scale = np.abs(want).max()
    np.testing.assert_allclose(matrix, want, atol=1e-9 * scale)
    np.testing.assert_allclose(shifts, dense.of_shifts, rtol=1e-8)
    np.testing.assert_allclose(columns, dense.of_columns, atol=1e-9 * scale)
    if of_rows:
        np.testing.assert_allclose(of_rows[0], dense.of_rows, atol=1e-9 * scale)


def dimerized(hopping, potential):
    """Return a ring with the potential as a leaf; complex bonds have a phase."""
    return replace(
        tight_binding(chain(SIZE), hopping=hopping, potential=potential),
        potential=potential,
    )


@pytest.mark.parametrize(
    ("route", "hopping"),
    [
        pytest.param("chebyshev", -1.0 + 0.5j, marks=pytest.mark.slow),
        ("resolvent", -1.0),
        ("lanczos", -1.0 + 0.5j),
    ],
)
def test_check_pullback_of_a_lattice(route, hopping):
    potential = jnp.linspace(-1.0, 1.0, SIZE)

    @jax.jit
    def element(hopping, potential, shifts):
        operator = dimerized(hopping, potential)
        column = jnp.zeros(SIZE, operator.dtype).at[2].set(1)
        return resolvent_elements(
            operator,
            shifts,
            column,
            jnp.array([5]),
            tolerance=TOLERANCE,
            max_iterations=100,
            derivative=route,
        ).value

    check_pullback(
        element,
        jnp.asarray(hopping),
        potential,
        jnp.asarray(SHIFTS[:3]),
        directions=1,
        relative_tolerance=1e-8,
    )


def test_check_pullback_finds_a_wrong_route():
    def element(matrix):
        operator = as_operator(hermitian_part(matrix))
        column = jnp.zeros(SIZE).at[2].set(1.0)
        return resolvent_elements(
            operator,
            jnp.asarray(SHIFTS),
            column,
            max_iterations=100,
            derivative="resolvent",
        ).value

    def backward(kept, cotangent):
        (pulled,) = jax.vjp(element, *kept)[1](cotangent)
        return (2 * pulled,)

    wrong = with_pullback(element, backward)
    matrix = jnp.asarray(hermitian(np.random.default_rng(1), is_complex=False))
    with pytest.raises(WrongPullback, match="finite differences"):
        check_pullback(wrong, matrix, relative_tolerance=1e-8, directions=1)


def of_potentials(matrix, shifts, column):
    """Return the derivative of the sum of G(z) with respect to each potential."""
    inverse = np.linalg.inv(np.asarray(shifts)[:, None, None] * np.eye(SIZE) - matrix)
    return np.einsum("zk,zk->k", inverse[:, :, column], inverse[:, column])


def ring(potential):
    return tight_binding(chain(SIZE), potential=potential)


def summed(operator, columns, shifts=SHIFTS):
    """Return the sum of all elements <b|G(z)|b>."""
    found = resolvent_elements(
        operator, jnp.asarray(shifts), columns, max_iterations=100
    )
    return jnp.sum(found.value.real)


def test_vmap_over_columns_and_over_potentials():
    potentials = jnp.asarray(np.random.default_rng(5).normal(size=(3, SIZE)))
    gradient = jax.grad(lambda p, column: summed(ring(p), column, SHIFTS[:2]))
    found = jax.jit(jax.vmap(gradient))(potentials, jnp.eye(SIZE)[:3])
    for i, potential in enumerate(potentials):
        matrix = ring(potential).to_sparse().toarray()
        exact = of_potentials(matrix, SHIFTS[:2], i).real
        np.testing.assert_allclose(found[i], exact, atol=1e-9)


def test_columns_of_one_call_add_up():
    potential = jnp.linspace(0.0, 1.0, SIZE)
    found = jax.jit(jax.grad(lambda p: summed(ring(p), jnp.eye(SIZE))))(potential)
    matrix = ring(potential).to_sparse().toarray()
    exact = sum(of_potentials(matrix, SHIFTS, i).real for i in range(SIZE))
    np.testing.assert_allclose(found, exact, atol=1e-9)


def test_a_function_whose_parameters_are_differentiated():
    def apply(parameters, vector):
        return parameters * vector - jnp.roll(vector, 1) - jnp.roll(vector, -1)

    def loss(potential):
        operator = as_operator(apply, potential, size=SIZE, dtype=float)
        return summed(operator, jnp.eye(SIZE)[0])

    potential = jnp.linspace(0.0, 1.0, SIZE)
    exact = of_potentials(ring(potential).to_sparse().toarray(), SHIFTS, 0).real
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(potential), exact, atol=1e-9)


def test_a_sparse_operator_keeps_its_integer_leaves():
    operator = as_operator(tight_binding(chain(SIZE), boundary="open").to_sparse())
    inverse = np.linalg.inv(
        SHIFTS[:, None, None] * np.eye(SIZE) - np.asarray(operator(jnp.eye(SIZE)))
    )
    want = np.einsum("zk,zl->kl", inverse[:, 0], inverse[:, :, 0]).real
    gradient = jax.grad(
        lambda values: summed(replace(operator, values=values), jnp.eye(SIZE)[0])
    )
    rows = np.arange(SIZE)[:, None]
    np.testing.assert_allclose(
        jax.jit(gradient)(operator.values), want[rows, operator.columns], atol=1e-9
    )


def test_a_tiny_decay_needs_solutions_and_auto_takes_them():
    """1e-6 above the axis the series would need a hundred million degrees."""
    operator = tight_binding(chain(SIZE), boundary="open")
    shifts = np.array([0.2 + 1e-6j])

    def loss(potential):
        return summed(replace(operator, potential=potential), jnp.eye(SIZE)[0], shifts)

    exact = of_potentials(operator.to_sparse().toarray(), shifts, 0).real
    found = jax.jit(jax.grad(loss))(jnp.zeros(SIZE))
    np.testing.assert_allclose(found, exact, atol=1e-8)


def test_floating_leaves_go_and_come_back():
    operator = as_operator(tight_binding(chain(SIZE)).to_sparse())
    floating = floating_leaves(operator)
    assert len(floating.leaves) == 1  # the columns are integers
    again = floating.rebuild(floating.leaves)
    vector = jnp.arange(float(SIZE))
    np.testing.assert_array_equal(again(vector), operator(vector))


def test_another_route_is_refused():
    operator = tight_binding(chain(SIZE))
    with pytest.raises(ValueError, match="Expected a derivative among auto"):
        resolvent_elements(
            operator,
            jnp.asarray(SHIFTS),
            jnp.ones(SIZE),
            max_iterations=10,
            derivative="adjoint",
        )
    with pytest.raises(TypeError, match="forward mode"):
        jax.jvp(
            lambda z: (
                resolvent_elements(operator, z, jnp.ones(SIZE), max_iterations=10).value
            ),
            (jnp.asarray(SHIFTS),),
            (jnp.ones_like(jnp.asarray(SHIFTS)),),
        )
