"""The choice of a method where one of them is far cheaper than the others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.greens_functions import local_density_of_states
from physml.greens_functions.map_problem import map_problem
from physml.greens_functions.method_choice import (
    COSTS,
    MOST_PRODUCTS,
    choose_method,
    operations,
)
from physml.hamiltonians import tight_binding
from physml.lattices import chain, square
from physml.operators import as_operator

ENERGIES = np.linspace(-3, 3, 100)


def chosen(operator, sites=None):
    problem = map_problem(as_operator(operator), ENERGIES, 0.1, sites, 1e-8)
    return choose_method("auto", problem).name


def test_long_chains_are_swept():
    assert chosen(tight_binding(chain(2000), boundary="open")) == "recursive"
    assert chosen(tight_binding(chain(2000))) == "recursive"


def test_full_matrices_are_diagonalized():
    matrix = np.random.default_rng(0).normal(size=(60, 60))
    assert chosen(matrix + matrix.T) == "dense"


def test_a_few_sites_of_a_large_lattice_get_spaces_of_their_own():
    large = tight_binding(square(100, 100), boundary="open")
    assert chosen(large, [0]) in ("krylov", "kernel_polynomial")


def test_where_the_operator_is_traced_the_method_has_a_derivative():
    names = []

    def value(hopping):
        operator = tight_binding(square(40, 40), hopping=hopping, boundary="open")
        names.append(chosen(operator, [0]))
        return hopping

    jax.grad(value)(jnp.asarray(-1.0))
    assert names[0] in ("recursive", "dense")


def test_a_traced_function_of_many_sites_has_one_method():
    size, names = MOST_PRODUCTS + 1, []

    @jax.jit
    def density(potential):
        operator = as_operator(jnp.multiply, potential, size=size, dtype=float)
        found = local_density_of_states(operator, ENERGIES, 0.1, sites=[7])
        names.append(found.method)
        return found.values[:, 0]

    potential = jnp.linspace(-1.0, 1.0, size)
    exact = 0.1 / np.pi / ((ENERGIES - potential[7]) ** 2 + 0.01)
    np.testing.assert_allclose(density(potential), exact, rtol=1e-12)
    assert names == ["krylov"]


@pytest.mark.parametrize("name", ["recursive", "dense", "krylov", "kernel_polynomial"])
def test_every_operation_has_a_cost(name):
    for operator in (np.eye(4), np.eye(4, k=1) + np.eye(4, k=-1)):
        problem = map_problem(as_operator(operator), ENERGIES, 0.1, None, 1e-8)
        counts = operations(choose_method(name, problem), problem)
        assert counts
        assert set(counts) <= set(COSTS)


def test_a_limit_on_iterations_is_checked():
    problem = map_problem(as_operator(np.eye(2)), ENERGIES, 0.1, None, 1e-8)
    with pytest.raises(ValueError, match="max_iterations >= 1"):
        choose_method("krylov", problem, max_iterations=0)
