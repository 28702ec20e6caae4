"""Derivatives of resolvent elements: all routes against dense formulas and each other.

With R = (z - H)^-1: dR_ij / dH_kl = R_ik R_lj, dR_ij / dz = -(R^2)_ij.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.hamiltonians import impurity_potential, tight_binding
from physml.lattices import chain, square
from physml.operators import as_operator
from physml.operators.floating_leaves import floating_leaves
from physml.pullbacks import WrongPullback, check_pullback, with_pullback
from physml.solvers.chebyshev_adjoint import pull_by_series, resolvent_series
from physml.solvers.lanczos import lanczos_chunk, lanczos_start
from physml.solvers.resolvent_elements import KRYLOV, resolvent_elements
from physml.solvers.resolvent_pullback import PullbackProblem
from physml.solvers.shifted_recurrence import shifted_chunk, shifted_start
from physml.solvers.spectral_interval import spectral_interval

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

        found, pull = jax.vjp(value, *arguments)
        return found, pull(jnp.asarray(self.cotangent))


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
    [("chebyshev", -1.0 + 0.5j), ("resolvent", -1.0), ("lanczos", -1.0 + 0.5j)],
)
def test_check_pullback_of_a_lattice(route, hopping):
    potential = jnp.linspace(-1.0, 1.0, SIZE)

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
            operator, jnp.asarray(SHIFTS), column, max_iterations=100
        ).value

    def backward(kept, cotangent):
        (pulled,) = jax.vjp(element, *kept)[1](cotangent)
        return (2 * pulled,)

    wrong = with_pullback(element, backward)
    matrix = jnp.asarray(hermitian(np.random.default_rng(1), is_complex=False))
    with pytest.raises(WrongPullback, match="finite differences"):
        check_pullback(wrong, matrix, relative_tolerance=1e-8, directions=1)


@pytest.mark.slow
def test_the_lanczos_route_is_autodiff_of_the_recurrence_as_computed():
    """With so few steps that nothing has converged."""
    num_steps, size = 6, 40
    random = np.random.default_rng(2)
    potential = jnp.asarray(random.normal(size=size))
    column = jnp.zeros(size).at[17].set(1.0)
    rows, shifts = jnp.array([16, 20]), jnp.asarray(SHIFTS)
    weight = jnp.asarray(draw(random, len(shifts), 2, is_complex=True))
    hopping = tight_binding(chain(size), potential=potential)

    def by_route(potential):
        return resolvent_elements(
            replace(hopping, potential=potential),
            shifts,
            column,
            rows,
            max_iterations=num_steps,
            derivative="lanczos",
        ).value

    def by_autodiff(potential):
        operator = replace(hopping, potential=potential)
        state, _ = lanczos_start(column)
        _, steps = lanczos_chunk(operator, state, rows, num_steps=num_steps)
        state = shifted_chunk(shifted_start(shifts, (), 2), shifts, steps, 1e-10)
        return state.value.T

    np.testing.assert_allclose(by_route(potential), by_autodiff(potential), atol=1e-13)
    got, want = (
        jax.grad(lambda p, f=f: jnp.sum(weight * f(p)).real)(potential)
        for f in (by_route, by_autodiff)
    )
    np.testing.assert_allclose(got, want, atol=1e-12)


def gradient_and_exact(operator, site, row, route, tolerance=1e-10):
    """Return the gradient with respect to all potentials, and that of eigenvectors."""
    shifts = np.linspace(-2.5, 3.0, 12) + 0.05j
    weight = draw(np.random.default_rng(3), len(shifts), is_complex=True)
    column = jnp.zeros(operator.size).at[site].set(1.0)
    rows = None if row == site else jnp.array([row])

    def loss(potential):
        found = resolvent_elements(
            replace(operator, potential=potential),
            jnp.asarray(shifts),
            column,
            rows,
            tolerance=tolerance,
            max_iterations=10 * operator.size,
            derivative=route,
        )
        return jnp.sum(weight * found.value[:, 0]).real

    levels, states = np.linalg.eigh(operator.to_sparse().toarray())
    x, y = (
        (states * states[i]) @ (1 / (shifts - levels[:, None])) for i in (site, row)
    )
    exact = (x * y @ weight).real
    return jax.jit(jax.grad(loss))(operator.potential), exact


def hard_square():
    """Ritz values of ten bound states converge long before the band does."""
    lattice = square(14, 14)
    random = np.random.default_rng(4)
    sites = random.choice(lattice.num_sites, 10, replace=False)
    potential = impurity_potential(lattice, sites, random.uniform(-6, 6, 10))
    return tight_binding(lattice, potential=potential)


@pytest.mark.parametrize("route", ["chebyshev", "resolvent"])
@pytest.mark.parametrize("row", [100, 105], ids=["diagonal", "off-diagonal"])
def test_lost_orthogonality_does_not_matter(route, row):
    operator = hard_square()
    state, _ = lanczos_start(jnp.zeros(operator.size).at[100].set(1.0))
    _, steps = lanczos_chunk(operator, state, jnp.array([100]), num_steps=200)
    assert np.abs(steps.elements[1:]).max() > 1e-2  # <v_0|v_k>, which should vanish
    gradient, exact = gradient_and_exact(operator, 100, row, route)
    np.testing.assert_allclose(gradient, exact, atol=2e-9 * np.abs(exact).max())


def test_the_lanczos_route_is_lost_where_orthogonality_is():
    """What its documentation warns of: a hundred times what the others promise."""
    gradient, exact = gradient_and_exact(hard_square(), 100, 105, "lanczos")
    assert np.abs(gradient - exact).max() > 2e-7 * np.abs(exact).max()


def test_the_lanczos_route_on_a_chain_of_one_bound_state():
    """Orthogonality is lost here, too, but to one vector that decays in space."""
    potential = jnp.full(200, 0.5).at[99].add(3.0)
    operator = tight_binding(chain(200), potential=potential, boundary="open")
    gradient, exact = gradient_and_exact(operator, 99, 99, "lanczos")
    np.testing.assert_allclose(gradient, exact, atol=1e-8 * np.abs(exact).max())


@pytest.mark.slow
def test_vmap_over_columns_and_over_potentials():
    potentials = jnp.asarray(np.random.default_rng(5).normal(size=(3, SIZE)))
    shifts, columns = jnp.asarray(SHIFTS[:2]), jnp.eye(SIZE)

    def loss(potential, column):
        operator = tight_binding(chain(SIZE), potential=potential)
        found = resolvent_elements(operator, shifts, column, max_iterations=100)
        return jnp.sum(found.value.imag)

    gradient = jax.grad(loss)
    batched = jax.jit(jax.vmap(gradient))(potentials, columns[:3])
    for i in range(3):
        np.testing.assert_allclose(
            batched[i], gradient(potentials[i], columns[i]), atol=1e-9
        )
    together = jax.grad(loss)(potentials[0], columns)  # one call for all columns
    each = sum(gradient(potentials[0], column) for column in columns)
    np.testing.assert_allclose(together, each, atol=1e-9)


def test_a_function_whose_parameters_are_differentiated():
    def apply(parameters, vector):
        return parameters * vector - jnp.roll(vector, 1) - jnp.roll(vector, -1)

    potential = jnp.linspace(0.0, 1.0, SIZE)
    ring = tight_binding(chain(SIZE))

    def loss(make, potential):
        column = jnp.zeros(SIZE).at[0].set(1.0)
        found = resolvent_elements(
            make(potential), jnp.asarray(SHIFTS), column, max_iterations=100
        )
        return jnp.sum(found.value.real)

    def function(potential):
        return as_operator(apply, potential, size=SIZE, dtype=float)

    got = jax.grad(loss, argnums=1)(function, potential)
    want = jax.grad(loss, argnums=1)(
        lambda potential: replace(ring, potential=potential), potential
    )
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_a_sparse_operator_keeps_its_integer_leaves():
    operator = as_operator(tight_binding(chain(SIZE), boundary="open").to_sparse())

    def loss(values):
        found = resolvent_elements(
            replace(operator, values=values),
            jnp.asarray(SHIFTS),
            jnp.zeros(SIZE).at[0].set(1.0),
            max_iterations=100,
        )
        return jnp.sum(found.value.real)

    inverse = np.linalg.inv(
        SHIFTS[:, None, None] * np.eye(SIZE) - np.asarray(operator(jnp.eye(SIZE)))
    )
    want = np.einsum("zk,zl->kl", inverse[:, 0], inverse[:, :, 0]).real
    rows = np.arange(SIZE)[:, None]
    np.testing.assert_allclose(
        jax.grad(loss)(operator.values), want[rows, operator.columns], atol=1e-9
    )


def test_a_tiny_decay_needs_solutions_and_auto_takes_them():
    """1e-6 above the axis the series would need a hundred million degrees."""
    operator = tight_binding(chain(SIZE), boundary="open")
    column = jnp.zeros(SIZE).at[0].set(1.0)
    shifts = np.array([0.2 + 1e-6j])

    def loss(potential):
        found = resolvent_elements(
            replace(operator, potential=potential),
            jnp.asarray(shifts),
            column,
            max_iterations=100,
        )
        return jnp.sum(found.value.real)

    inverse = np.linalg.inv(shifts * np.eye(SIZE) - operator.to_sparse().toarray())
    potential = jnp.zeros(SIZE)
    np.testing.assert_allclose(
        jax.grad(loss)(potential), (inverse[0] * inverse[:, 0]).real, atol=1e-8
    )


def test_a_wrong_interval_gives_nan_instead_of_a_wrong_derivative():
    operator = tight_binding(chain(64), boundary="open")
    columns = jnp.zeros((1, 64)).at[0, 30].set(1.0)
    shifts = jnp.array([0.3 + 0.1j])
    cotangent = jnp.ones((1, 1, 1), complex)
    interval = spectral_interval(operator)
    narrow = interval._replace(half_width=interval.half_width / 2)
    tolerance = jnp.array(1e-10)
    problem = PullbackProblem(
        operator, shifts, columns, None, cotangent, tolerance, 99, KRYLOV
    )
    for span, is_finite in ((interval, True), (narrow, False)):
        series = resolvent_series(shifts, cotangent, span)
        leaves = pull_by_series(problem, series, span).leaves
        assert all(np.isfinite(leaf).all() == is_finite for leaf in leaves)


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
