"""Levels by networks against the diagonalized grid operator and closed forms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from physml.failures import RunFailure
from physml.hamiltonians import (
    POTENTIALS,
    Harmonic,
    PairForce,
    default_grid,
    make_potential,
    schrodinger_hamiltonian,
)
from physml.lattices import Grid
from physml.training import Outcome, optimizer_stages
from physml.training.compiled_loop import run_piece
from physml.variational import LevelsProblem, find_levels
from physml.wavefunctions import (
    MultilayerPerceptron,
    exchange_symmetric,
    grid_wave_function,
    network_function,
)

GRID = Grid.line(-6, 6, 95)


def network_problem(
    potential,
    grid=GRID,
    *,
    hidden=(16,),
    num_levels=2,
    boundary="gaussian",
    optimizer="lbfgs",
    num_steps=80,
    output_layer="solved",
    statistics=None,
    **options,
):
    make = partial(MultilayerPerceptron, grid, hidden, output_layer=output_layer)
    apply, initialize = network_function(make)
    if statistics is not None:
        apply = exchange_symmetric(apply, grid, statistics)
    return LevelsProblem(
        schrodinger_hamiltonian(grid, potential),
        grid_wave_function(apply, grid, boundary=boundary),
        initialize,
        num_levels,
        optimizer_stages(optimizer, num_steps=num_steps, warmup_steps=0),
        **options,
    )


@pytest.mark.slow
def test_harmonic_oscillator_to_nine_digits():
    """The default network; below 1e-12 is usual, see benchmarks/README.md."""
    grid = Grid.line(-8, 8, 255)
    problem = network_problem(
        Harmonic(), grid, hidden=(32, 32), num_levels=4, num_steps=200
    )
    for n, level in enumerate(find_levels(problem)):
        assert level.energy == pytest.approx(n + 0.5, abs=1e-9)
        assert level.energy == pytest.approx(level.grid_energy, abs=1e-9)
        assert level.energy >= level.grid_energy - 1e-14


@pytest.mark.parametrize("name", POTENTIALS)
def test_intervals_hold_the_exact_eigenvalue(name):
    potential = make_potential(name)
    boundary = "gaussian" if name in ("harmonic", "double-well") else "dirichlet"
    grid = default_grid(potential, 95)
    problem = network_problem(
        potential, grid, boundary=boundary, num_levels=3, optimizer="adam", num_steps=40
    )
    for level in find_levels(problem):
        assert level.interval.lower <= level.grid_energy <= level.interval.upper
        assert level.interval.lower <= level.energy <= level.interval.upper


def test_levels_are_orthogonal_to_rounding_and_normalized():
    problem = network_problem(Harmonic(), num_levels=4, optimizer="adam", num_steps=40)
    levels = find_levels(problem)
    psi = np.stack([level.psi for level in levels])
    gram = psi @ psi.T * GRID.volume_element
    np.testing.assert_allclose(gram, np.eye(4), atol=1e-14)


def test_degenerate_levels_in_two_dimensions():
    grid = Grid.line(-5, 5, 23, dimension=2)
    problem = network_problem(
        lambda x, y: 0.5 * (x**2 + y**2), grid, num_levels=3, hidden=(24,), num_steps=40
    )
    levels = find_levels(problem)
    assert levels[1].grid_energy == pytest.approx(levels[2].grid_energy, abs=1e-10)
    for level in levels:
        assert level.energy == pytest.approx(level.grid_energy, abs=1e-3)
        assert level.interval.lower <= level.grid_energy <= level.interval.upper


@pytest.mark.parametrize("statistics", ["bosons", "fermions"])
def test_two_particles_with_a_pair_force(statistics):
    """Against the diagonalized two-particle grid operator, by exchange parity."""
    grid = Grid.line(-5, 5, 23, dimension=2)
    force = PairForce(amplitude=1.0, width=np.sqrt(0.5))
    problem = network_problem(
        force, grid, num_levels=1, num_steps=40, statistics=statistics
    )
    (level,) = find_levels(problem)
    values, vectors = np.linalg.eigh(problem.hamiltonian.to_sparse().toarray())
    states = vectors.T.reshape(-1, 23, 23)
    parity = np.einsum("nij,nji->n", states, states)
    sign = 1 if statistics == "bosons" else -1
    expected = values[np.abs(parity - sign) < 1e-6][0]
    assert level.energy == pytest.approx(expected, abs=3e-5)
    assert level.energy >= expected - 1e-12
    assert level.grid_energy is None  # the operator's own lowest level is bosonic


class LinenNetwork(linen.Module):
    @linen.compact
    def __call__(self, x):
        hidden = jnp.tanh(linen.Dense(12, param_dtype=np.float64)(x))
        return linen.Dense(1, param_dtype=np.float64)(hidden)


def test_linen_module_and_plain_function():
    module = LinenNetwork()
    points = jnp.asarray(GRID.points())

    def gaussian(width, x):
        return jnp.exp(-0.5 * (x[:, 0] * width) ** 2)

    for apply, initialize, tolerance in (
        (module.apply, lambda key: module.init(key, points), 1e-2),
        (gaussian, lambda key: jax.random.uniform(key) + 0.5, 1e-6),
    ):
        problem = LevelsProblem(
            schrodinger_hamiltonian(GRID, Harmonic()),
            grid_wave_function(apply, GRID, boundary="none"),
            initialize,
            stages=optimizer_stages("adam", num_steps=400, learning_rate=0.02),
        )
        (level,) = find_levels(problem)
        assert level.energy == pytest.approx(0.5, abs=tolerance)


def test_second_search_does_not_recompile():
    options = {"optimizer": "adam", "num_steps": 20}
    find_levels(network_problem(Harmonic(), **options))
    compiled = run_piece._cache_size()
    find_levels(network_problem(Harmonic(omega=1.3), seed=5, **options))
    assert run_piece._cache_size() == compiled


def test_converged_level_stops_early():
    problem = network_problem(
        Harmonic(), num_levels=1, num_steps=300, target_residual=1e-3
    )
    (level,) = find_levels(problem)
    assert level.outcome is Outcome.CONVERGED
    assert level.residual_norm < 1e-3
    assert level.iterations < 300


def test_non_finite_wave_function_fails_in_words():
    def breaks(parameters, x):
        return jnp.where(parameters < 0.9, jnp.exp(-parameters * x[:, 0] ** 2), jnp.nan)

    problem = LevelsProblem(
        schrodinger_hamiltonian(GRID, lambda x: 50 * x**2),
        grid_wave_function(breaks, GRID, boundary="none"),
        lambda _: jnp.asarray(0.5),
        stages=optimizer_stages("adam", num_steps=300, learning_rate=0.01),
    )
    with pytest.raises(RunFailure, match="not finite"):
        find_levels(problem)


def test_interruption_fails_in_words():
    with pytest.raises(RunFailure, match="interrupted"):
        find_levels(
            network_problem(Harmonic(), optimizer="adam"), observer=lambda *_: True
        )


def test_large_grids_get_weinstein_intervals(monkeypatch):
    monkeypatch.setattr("physml.variational.levels.REFERENCE_LIMITS", {1: 10})
    problem = network_problem(Harmonic(), num_levels=1, optimizer="adam", num_steps=20)
    (level,) = find_levels(problem)
    assert level.grid_energy is None
    width = level.interval.upper - level.interval.lower
    assert width == pytest.approx(2 * level.residual_norm, rel=1e-3)
    assert level.interval.lower <= 0.5 <= level.interval.upper


@pytest.mark.parametrize("num_levels", [0, 95])
def test_more_levels_than_points_are_refused(num_levels):
    with pytest.raises(ValueError, match="between 1 and 94 levels on 95 grid points"):
        network_problem(Harmonic(), num_levels=num_levels)


def test_target_below_rounding_is_refused():
    with pytest.raises(ValueError, match="above the rounding level"):
        network_problem(Harmonic(), target_residual=1e-14)
