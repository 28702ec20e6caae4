"""The adjoint of the Lanczos recurrence: exact, and where orthogonality is lost."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.hamiltonians import impurity_potential, tight_binding
from physml.lattices import chain, square
from physml.solvers.lanczos import lanczos_chunk, lanczos_start
from physml.solvers.resolvent_elements import resolvent_elements
from physml.solvers.shifted_recurrence import shifted_chunk, shifted_start

SHIFTS = jnp.array([0.3 + 0.5j, -1.0 + 0.5j, 0.7 - 0.6j, 9.0, -8.0 + 0j])


def draw(random, *shape):
    return random.normal(size=shape) + 1j * random.normal(size=shape)


@pytest.mark.slow
def test_it_is_autodiff_of_the_recurrence_as_computed():
    """With so few steps that nothing has converged."""
    num_steps, size = 6, 40
    random = np.random.default_rng(2)
    potential = jnp.asarray(random.normal(size=size))
    column = jnp.zeros(size).at[17].set(1.0)
    rows, shifts = jnp.array([16, 20]), SHIFTS
    weight = jnp.asarray(draw(random, len(shifts), 2))
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

    @jax.jit
    def values_and_gradients(potential):
        def loss(potential, f):
            value = f(potential)
            return jnp.sum(weight * value).real, value

        both = jax.value_and_grad(loss, has_aux=True)
        return both(potential, by_route), both(potential, by_autodiff)

    got, want = values_and_gradients(potential)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-12), got, want)


def gradient_and_exact(operator, site, row, route, tolerance=1e-10):
    """Return the gradient with respect to all potentials, and that of eigenvectors."""
    shifts = np.linspace(-2.5, 3.0, 12) + 0.05j
    weight = draw(np.random.default_rng(3), len(shifts))
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
def test_lost_orthogonality_does_not_matter_to_the_other_routes(route, row):
    operator = hard_square()
    state, _ = lanczos_start(jnp.zeros(operator.size).at[100].set(1.0))
    _, steps = lanczos_chunk(operator, state, jnp.array([100]), num_steps=200)
    assert np.abs(steps.elements[1:]).max() > 1e-2  # <v_0|v_k>, which should vanish
    gradient, exact = gradient_and_exact(operator, 100, row, route)
    np.testing.assert_allclose(gradient, exact, atol=2e-9 * np.abs(exact).max())


def test_it_is_lost_where_orthogonality_is():
    """What its documentation warns of: a hundred times what the others promise."""
    gradient, exact = gradient_and_exact(hard_square(), 100, 105, "lanczos")
    assert np.abs(gradient - exact).max() > 2e-7 * np.abs(exact).max()


def test_a_chain_of_one_bound_state():
    """Orthogonality is lost here, too, but to one vector that decays in space."""
    potential = jnp.full(200, 0.5).at[99].add(3.0)
    operator = tight_binding(chain(200), potential=potential, boundary="open")
    gradient, exact = gradient_and_exact(operator, 99, 99, "lanczos")
    np.testing.assert_allclose(gradient, exact, atol=1e-8 * np.abs(exact).max())
