import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from physml.lattices import Grid, Line
from physml.wavefunctions import (
    ACTIVATIONS,
    MultilayerPerceptron,
    as_function,
    boundary_factor,
    exchange_symmetric,
    grid_wave_function,
)

GRID = Grid.line(-4, 4, 31)


def network(grid=GRID, hidden=(5, 4), seed=0, **options):
    return MultilayerPerceptron(grid, hidden, rngs=nnx.Rngs(seed), **options)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_pass_is_the_formula(activation):
    module = network(activation=activation, output_activation="softplus")
    x = GRID.points()
    hidden = 8.0 * x / 4.0
    phi = ACTIVATIONS[activation]
    *inner, last = module.layers
    for layer in inner:
        weights, bias = np.asarray(layer.kernel[...]), np.asarray(layer.bias[...])
        hidden = np.asarray(phi(jnp.asarray(hidden @ weights + bias)))
    output = hidden @ np.asarray(last.kernel[...]) + np.asarray(last.bias[...])
    expected = np.logaddexp(output[:, 0], 0.0)
    np.testing.assert_allclose(module(jnp.asarray(x)), expected, rtol=1e-13)


def test_solved_output_layer_returns_what_it_would_combine():
    trained, solved = network(), network(output_layer="solved")
    points = jnp.asarray(GRID.points())
    functions = solved(points)  # (num_points, width + 1)
    assert functions.shape == (31, 5)
    last = trained.layers[-1]
    combination = jnp.concatenate([last.kernel[...][:, 0], last.bias[...]])
    np.testing.assert_allclose(functions @ combination, trained(points), atol=1e-13)


def test_square_root_coordinate_is_a_change_of_variable():
    """The network of sqrt(x - a) is that of x at a + sqrt((x - a) L)."""
    linear, root = network(), network(coordinate="square-root")
    line, x = GRID.lines[0], jnp.asarray(GRID.points())
    moved = line.lower + jnp.sqrt((x - line.lower) * line.length)
    np.testing.assert_allclose(root(x), linear(moved), rtol=0, atol=1e-13)


def test_same_key_same_parameters_other_key_others():
    leaves = [jax.tree.leaves(as_function(network(seed=s))[1]) for s in (0, 0, 1)]
    assert all(np.array_equal(a, b) for a, b in zip(leaves[0], leaves[1], strict=True))
    assert any(
        not np.array_equal(a, b) for a, b in zip(leaves[0], leaves[2], strict=True)
    )


def test_functions_of_equal_modules_are_equal():
    """So that a second network of the same structure compiles nothing."""
    first, second, other = (
        as_function(module)[0]
        for module in (network(), network(seed=1), network(activation="gelu"))
    )
    assert first == second
    assert hash(first) == hash(second)
    assert first != other


def test_periodic_network_is_periodic():
    grid = Grid((Line(0.0, 3.0, 8, "periodic"), Line(-1.0, 1.0, 8)))
    module = network(grid)
    point = jnp.array([[0.4, 0.2]])
    shifted = point + jnp.array([[3.0, 0.0]])
    np.testing.assert_allclose(module(point), module(shifted), rtol=1e-12)


def test_dtype_follows_the_argument():
    module = network(dtype=np.float32)
    assert all(x.dtype == np.float32 for x in jax.tree.leaves(nnx.state(module)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": ()}, "width 1 or more"),
        ({"hidden": (4, 0)}, "width 1 or more"),
        ({"activation": "relux"}, "one of the activations"),
        ({"coordinate": "cubic"}, "linear"),
        ({"output_layer": "none"}, "solved"),
        ({"coordinate": "cubic"}, "square-root"),
        (
            {"output_layer": "solved", "output_activation": "softplus"},
            "no output activation",
        ),
    ],
)
def test_bad_networks_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        network(**options)


@pytest.mark.parametrize("name", ["gaussian", "dirichlet", "none"])
def test_boundary_factors(name):
    grid = Grid((Line(-2.0, 6.0, 3), Line(0.0, 1.0, 4, "periodic")))
    u = np.array([-0.5, 0.0, 0.5])
    expected = {
        "gaussian": np.exp(-8 * u**2),
        "dirichlet": 1 - u**2,
        "none": np.ones(3),
    }[name]
    factor = boundary_factor(grid, name)
    np.testing.assert_allclose(factor, np.tile(expected[:, None], 4), rtol=1e-14)


def test_unknown_boundary_factor_is_refused():
    with pytest.raises(ValueError, match="one of the boundary factors"):
        boundary_factor(GRID, "absorbing")


class LinenNetwork(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(1, param_dtype=np.float64)(
            jnp.tanh(linen.Dense(6, param_dtype=np.float64)(x))
        )


def test_any_network_gives_a_wave_function():
    """An nnx module, a linen module and a plain function."""
    points = jnp.asarray(GRID.points())
    apply, parameters = as_function(network())
    module = LinenNetwork()
    linen_parameters = module.init(jax.random.key(0), points)
    plain = lambda p, x: jnp.exp(-p * x[:, 0] ** 2)  # noqa: E731
    for function, p in (
        (apply, parameters),
        (module.apply, linen_parameters),
        (plain, jnp.asarray(0.5)),
    ):
        psi = grid_wave_function(function, GRID, boundary="dirichlet")(p)
        factor = boundary_factor(GRID, "dirichlet")
        expected = np.asarray(function(p, points)).reshape(31) * factor
        np.testing.assert_allclose(psi, expected, rtol=1e-13)


def test_network_of_the_wrong_shape_is_refused():
    wave_function = grid_wave_function(lambda p, x: p * x.T, GRID)
    with pytest.raises(ValueError, match=r"values of shape \(31,\)"):
        wave_function(1.0)


@pytest.mark.parametrize("output_layer", ["trained", "solved"])
@pytest.mark.parametrize(("statistics", "sign"), [("bosons", 1), ("fermions", -1)])
@pytest.mark.parametrize("num_particles", [2, 3])
def test_exchange_symmetry(num_particles, statistics, sign, output_layer):
    grid = Grid.line(-2, 2, 7, dimension=num_particles)
    apply, parameters = as_function(network(grid, output_layer=output_layer))
    symmetric = exchange_symmetric(apply, grid, statistics)
    psi = np.asarray(grid_wave_function(symmetric, grid)(parameters))
    axes = np.arange(psi.ndim)
    first = psi.ndim - num_particles
    axes[[first, first + 1]] = axes[[first + 1, first]]
    np.testing.assert_allclose(psi.transpose(axes), sign * psi, atol=1e-14)
    assert np.abs(psi).max() > 1e-3


def test_exchange_needs_the_same_line_for_each_particle():
    apply, _ = as_function(network())
    lines = Grid((Line(0, 1, 5), Line(0, 2, 5)))
    with pytest.raises(ValueError, match="the same line"):
        exchange_symmetric(apply, lines, "bosons")
    with pytest.raises(ValueError, match="bosons"):
        exchange_symmetric(apply, GRID, "anyons")
