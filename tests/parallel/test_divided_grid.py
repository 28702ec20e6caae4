"""Operator, QR and energy of a divided grid, compared with those of the whole."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml import Grid
from physml.hamiltonians.schrodinger import schrodinger_hamiltonian
from physml.lattices.grid import Line
from physml.operators.laplacian import Laplacian
from physml.parallel import SERIAL
from physml.solvers.subspace import orthogonal_triangular
from physml.training import StopRules, minimize, optimizer_stages
from physml.training.compiled_loop import run_piece
from physml.variational.levels import LevelsProblem
from physml.wavefunctions.grid_wave_function import grid_wave_function
from physml.wavefunctions.multilayer_perceptron import (
    MultilayerPerceptron,
    network_function,
)


def lines(*kinds):
    return Grid(tuple(Line(-1.0, 2.0, n, boundary) for n, boundary in kinds))


GRIDS = {
    "walls": lines((47, "dirichlet")),
    "ring": lines((46, "periodic")),
    "shorter blocks than the stencil": lines((9, "dirichlet")),
    "short ring": lines((10, "periodic")),
    "plane": lines((13, "dirichlet"), (11, "periodic")),
    "space": lines((9, "periodic"), (10, "dirichlet"), (11, "dirichlet")),
}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("dtype", [float, complex])
def test_laplacian(communicator, name, dtype):
    grid = GRIDS[name]
    field = jax.random.normal(jax.random.key(1), (*grid.shape, 2), dtype)
    laplacian = Laplacian(grid, 8, communicator)

    def program(blocks):
        rows = jnp.moveaxis(blocks.values, -1, 0)  # two fields: (2, length, ...)
        images = laplacian(rows)
        padding = jnp.where(blocks.mask, 0, 1) @ jnp.abs(images).reshape(
            2, rows.shape[1], -1
        ).sum((0, 2))
        rows = jnp.moveaxis(images, 0, -1)
        return communicator.gather(rows, grid.shape[0]), communicator.sum(padding)

    found, padding = communicator.spmd(program)(communicator.divide(field))
    exact = Laplacian(grid, 8).to_sparse() @ np.asarray(field).reshape(-1, 2)
    np.testing.assert_allclose(found, exact.reshape(field.shape), rtol=1e-12, atol=1e-9)
    assert padding == 0


@pytest.mark.parametrize("name", GRIDS)
def test_gradient_through_the_laplacian(communicator, name):
    grid = GRIDS[name]
    field = jax.random.normal(jax.random.key(1), grid.shape)
    laplacian = Laplacian(grid, 8, communicator)

    def program(blocks):
        def loss(rows):
            return communicator.sum(jnp.sum(laplacian(rows) ** 2))

        mask = jnp.expand_dims(blocks.mask, tuple(range(1, field.ndim)))
        gradient = jax.grad(loss)(jnp.where(mask, blocks.values, 0))
        return communicator.gather(gradient, grid.shape[0])

    found = communicator.spmd(program)(communicator.divide(field))
    matrix = Laplacian(grid, 8).to_sparse()
    exact = 2 * matrix.T @ (matrix @ np.asarray(field).ravel())
    np.testing.assert_allclose(found.ravel(), exact, rtol=1e-11, atol=1e-8)


@pytest.mark.parametrize("num_rows", [7, 40])
def test_qr_of_divided_rows(communicator, num_rows):
    matrix = jax.random.normal(jax.random.key(2), (num_rows, 5), complex)

    def program(blocks):
        rows = jnp.where(blocks.mask[:, None], blocks.values, 0)
        q, r = orthogonal_triangular(rows, communicator=communicator)
        return communicator.gather(q, num_rows), r

    q, r = communicator.spmd(program)(communicator.divide(matrix))
    np.testing.assert_allclose(q @ r, matrix, atol=1e-13)
    np.testing.assert_allclose(q.conj().T @ q, np.eye(5), atol=1e-13)
    np.testing.assert_array_equal(r, np.triu(r))


def levels_problem(communicator, output_layer, num_points=63):
    grid = Grid.line(-8, 8, num_points)
    apply, initialize = network_function(
        partial(MultilayerPerceptron, grid, (6,), output_layer=output_layer)
    )
    return LevelsProblem(
        schrodinger_hamiltonian(grid, lambda x: x**2 / 2),
        grid_wave_function(apply, grid, boundary="gaussian"),
        initialize,
        num_levels=3,
        communicator=communicator,
    )


@pytest.mark.parametrize("output_layer", ["trained", "solved"])
@pytest.mark.parametrize("num_points", [63, 9])
def test_energy_gradient_residual_and_state(communicator, output_layer, num_points):
    problem = levels_problem(communicator, output_layer, num_points)
    whole = levels_problem(SERIAL, output_layer, num_points)
    lower = whole.no_lower_levels()
    lower = lower.at[0].set(whole.state(lower, whole.initial_parameters(5)))
    parameters = whole.initial_parameters(0)
    results = []
    for one in (problem, whole):
        energy, residual = one.objectives(lower)
        program = one.communicator.spmd(
            lambda energy, residual, p: (
                jax.value_and_grad(energy)(p),
                residual(p),
            )
        )
        state = one.state(lower, parameters)
        results.append((program(energy, residual, parameters), jnp.abs(state)))
    for found, exact in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-8, atol=1e-10)


def test_minimization_compiles_once_and_ends_at_the_same_energy(communicator):
    energies, sizes = [], []
    for one in (SERIAL, communicator, communicator):
        problem = levels_problem(one, "trained")
        energy, residual = problem.objectives(problem.no_lower_levels())
        with jax.numpy_dtype_promotion("standard"):  # Optax mixes dtypes
            result = minimize(
                energy,
                problem.initial_parameters(0),
                optimizer_stages("adam", num_steps=40),
                measure=residual,
                stop_rules=StopRules(patience=1000),
                communicator=one,
            )
        assert result.steps == 40
        energies.append(result.value)
        sizes.append(run_piece._cache_size())
    np.testing.assert_allclose(energies, energies[0], rtol=1e-11)
    assert sizes[1] == sizes[2]


def test_all_ranks_compile_one_program(communicator):
    """Another program rounds differently: ranks would part in what they decide."""
    problem = levels_problem(communicator, "solved")
    energy, _ = problem.objectives(problem.no_lower_levels())
    program = communicator.spmd(lambda f, p: jax.value_and_grad(f)(p))
    lowered = jax.jit(program).lower(energy, problem.initial_parameters(0))
    first, *others = communicator.gather_objects(steps_of(lowered.compile().as_text()))
    assert "dot" in first
    assert all(other == first for other in others)


def steps_of(text):
    """Return a compiled program without the numbers of its lines and its addresses."""
    text = re.sub(r"(, metadata=|, backend_config=|constant\().*", "", text)
    return re.sub(r"\.\d+", "", text)
