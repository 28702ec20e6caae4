r"""A fully connected network of the coordinates, for functions on a grid.

.. math:: f(x) = \phi_{out}(W_L\, \phi(\dots \phi(W_1 u(x) + b_1) \dots) + b_L)

The input u(x) is the coordinate scaled to -8 .. 8 on a Dirichlet line, and the pair
:math:`(\cos, \sin)(2\pi x / L)` on a periodic one, so that the output is periodic. For
functions that vary fast near the lower wall, as near a nucleus, the square root of the
distance from that wall can be scaled instead.

The output layer can be left out: then the network returns its last hidden layer and 1,
the functions that an output layer would combine, and the energy is minimized over the
combinations exactly (`physml.solvers.combination`). It is the same network, and it is
trained orders of magnitude closer to the eigenvalue in the same number of steps.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
from flax import nnx

from physml.failures import expected
from physml.lattices.grid import Grid, Line
from physml.layers.softplus import softplus

Activation = Callable[[jax.Array], jax.Array]
OutputLayer = Literal["solved", "trained"]
Coordinate = Literal["linear", "square-root"]

ACTIVATIONS: dict[str, Activation] = {
    "softplus": softplus,
    "tanh": jnp.tanh,
    "silu": jax.nn.silu,
    "gelu": jax.nn.gelu,
    "identity": lambda x: x,
}

# Coordinates are scaled to -8 .. 8, oscillator lengths in the box of an oscillator, so
# that weights of order one make features that are a few percent of the box wide.
HALF_WIDTH = 8.0
CENTERS = 0.75  # the part of the box in which features start
INPUT_SCALE = 0.7


class NetworkFunction(Protocol):
    """What the solvers take: a plain function of parameters and points."""

    def __call__(self, parameters: Any, points: jax.Array, /) -> jax.Array:
        """Map points (num_points, dimension) to values.

        The values are those of one function, shape (num_points,), or of several,
        (num_points, num_functions), of which the best combination is meant.
        """
        ...


class MultilayerPerceptron(nnx.Module):
    """A network on a grid's box.

    Parameters
    ----------
    grid
        Sets the number of inputs and their scale; its points are not used.
    hidden
        The widths of the hidden layers, at least one.
    activation, output_activation
        Names in `ACTIVATIONS`.
    output_layer
        "trained": the output layer is part of the network, which returns one value for
        each point; "solved": it is left out, and all functions that it would combine
        are returned.
    coordinate
        "linear", or "square-root": inputs are those of the distance from the lower wall
        of each Dirichlet line, square root taken, so that features are dense there.
    rngs
        The random state of the initialization, as in `nnx.Rngs(0)`.
    dtype
        The dtype of the parameters; by default that of `jax.numpy.zeros`.

    Notes
    -----
    The first layer starts with one feature around each of `hidden[0]` centers spread
    evenly over the inner three quarters of the box, in random directions; all other
    layers start with normal weights of variance 1 / (number of inputs). Spread centers
    reach the same energy in about half the steps of normal biases.

    Raises
    ------
    ValueError
        If a width is not positive, an activation or coordinate is not known, or an
        output layer that is solved has an activation.

    Examples
    --------
    >>> from flax import nnx
    >>> from physml import Grid
    >>> network = MultilayerPerceptron(Grid.line(-8, 8, 99), (16,), rngs=nnx.Rngs(0))
    >>> network(jnp.zeros((5, 1))).shape
    (5,)
    """

    def __init__(
        self,
        grid: Grid,
        hidden: Sequence[int] = (32, 32),
        *,
        activation: str = "tanh",
        output_activation: str = "identity",
        output_layer: OutputLayer = "trained",
        coordinate: Coordinate = "linear",
        rngs: nnx.Rngs,
        dtype: jax.typing.DTypeLike | None = None,
    ) -> None:
        if not hidden or min(hidden) < 1:
            raise expected(
                "hidden layers of width 1 or more", tuple(hidden), "give e.g. (32, 32)"
            )
        if output_layer not in ("solved", "trained"):
            raise expected('"solved" or "trained"', repr(output_layer), "choose one")
        if output_layer == "solved" and output_activation != "identity":
            raise expected(
                "no output activation with a solved output layer",
                repr(output_activation),
                'use output_layer="trained"',
            )
        if coordinate not in ("linear", "square-root"):
            raise expected('"linear" or "square-root"', repr(coordinate), "choose one")
        self.grid = grid
        self.coordinate = coordinate
        self.output_layer = output_layer
        self.activation = _activation(activation)
        self.output_activation = _activation(output_activation)
        dtype = jnp.zeros(()).dtype if dtype is None else dtype
        keys = jax.random.split(rngs.params(), len(hidden) + 1)
        num_inputs = sum(2 if line.is_periodic else 1 for line in grid.lines)
        layers = [_input_layer(keys[0], num_inputs, hidden[0], dtype)]
        sizes = (*hidden, 1) if output_layer == "trained" else tuple(hidden)
        for key, fan_in, width in zip(keys[1:], sizes, sizes[1:], strict=False):
            layers.append(_hidden_layer(key, fan_in, width, dtype))
        self.layers = nnx.List(layers)

    def __call__(self, points: jax.Array) -> jax.Array:
        """Map points (num_points, dimension) to the value(s) at each point."""
        # Features first: loops over points vectorize, those over few features do not
        # (1-4-1 softplus: 1.2 to 5 times faster; 32 features: the same).
        hidden = _inputs(self.grid, self.coordinate, points)  # (num_inputs, num_points)
        is_solved = self.output_layer == "solved"
        for layer in self.layers if is_solved else self.layers[:-1]:
            hidden = self.activation(layer(hidden))  # (width, num_points)
        if is_solved:
            functions = jnp.concatenate([hidden, jnp.ones_like(hidden[:1])])
            return jnp.moveaxis(functions, 0, -1)
        return self.output_activation(self.layers[-1](hidden))[0]


class _Affine(nnx.Module):
    """W^T x + b, features first, with the initial values given."""

    def __init__(self, kernel: jax.Array, bias: jax.Array) -> None:
        self.kernel = nnx.Param(kernel)  # (num_inputs, width)
        self.bias = nnx.Param(bias)  # (width,)

    def __call__(self, x: jax.Array) -> jax.Array:
        linear = jnp.tensordot(self.kernel[...].T, x, axes=1)  # (width, num_points)
        return linear + jnp.broadcast_to(self.bias[...], linear.T.shape).T


@dataclass(frozen=True)
class _ModuleFunction:
    """The forward pass of an nnx module as a function that compares by structure."""

    graph: nnx.GraphDef

    def __call__(self, parameters: Any, points: jax.Array) -> jax.Array:
        return nnx.merge(self.graph, parameters)(points)


def as_function(module: nnx.Module) -> tuple[NetworkFunction, Any]:
    """Split an nnx module into a pure function and its parameters.

    Parameters
    ----------
    module
        A module whose state is all trainable (`nnx.Param`).

    Returns
    -------
    A function `apply(parameters, points)` and the parameters, a pytree. Functions of
    modules of the same structure are equal, so JAX compiles them once.
    """
    graph, parameters = nnx.split(module)
    return _ModuleFunction(graph), parameters


def network_function(
    make_module: Callable[..., nnx.Module],
) -> tuple[NetworkFunction, Callable[[jax.Array], Any]]:
    """Return the forward pass of a kind of module, and how its parameters start.

    Parameters
    ----------
    make_module
        Makes the module when called with `rngs=nnx.Rngs(...)`.

    Returns
    -------
    A function `apply(parameters, points)`, and a function `initialize(key)` that
    returns parameters.

    Examples
    --------
    >>> from functools import partial
    >>> from physml import Grid
    >>> grid = Grid.line(-8, 8, 99)
    >>> apply, initialize = network_function(partial(MultilayerPerceptron, grid, (16,)))
    >>> apply(initialize(jax.random.key(0)), jnp.zeros((5, 1))).shape
    (5,)
    """

    def initialize(key: jax.Array) -> Any:
        return as_function(make_module(rngs=nnx.Rngs(key)))[1]

    return as_function(make_module(rngs=nnx.Rngs(0)))[0], initialize


def _activation(name: str) -> Activation:
    if name not in ACTIVATIONS:
        raise expected(
            f"one of the activations {', '.join(ACTIVATIONS)}", repr(name), "choose one"
        )
    return ACTIVATIONS[name]


def _input_layer(
    key: jax.Array, num_inputs: int, width: int, dtype: jax.typing.DTypeLike
) -> _Affine:
    key_direction, key_center = jax.random.split(key)
    kernel = INPUT_SCALE * jax.random.normal(key_direction, (num_inputs, width), dtype)
    # evenly along each input, in another order for each
    places = HALF_WIDTH * jnp.linspace(-CENTERS, CENTERS, width, dtype=dtype)
    order_keys = jax.random.split(key_center, num_inputs)
    centers = jax.vmap(lambda k: jax.random.permutation(k, places))(order_keys)
    return _Affine(kernel, -jnp.sum(kernel * centers, axis=0))


def _hidden_layer(
    key: jax.Array, fan_in: int, width: int, dtype: jax.typing.DTypeLike
) -> _Affine:
    kernel = jax.random.normal(key, (fan_in, width), dtype) / math.sqrt(fan_in)
    return _Affine(kernel, jnp.zeros(width, dtype))


def _inputs(grid: Grid, coordinate: Coordinate, points: jax.Array) -> jax.Array:
    rows = [
        _line_inputs(line, coordinate, points[..., axis])
        for axis, line in enumerate(grid.lines)
    ]
    return jnp.concatenate(rows)


def _line_inputs(line: Line, coordinate: Coordinate, x: jax.Array) -> jax.Array:
    if line.is_periodic:
        angle = 2 * jnp.pi * (x - line.lower) / line.length
        return jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    part = (x - line.lower) / line.length  # 0 at the lower wall, 1 at the upper
    if coordinate == "square-root":
        part = jnp.sqrt(part)
    return HALF_WIDTH * (2 * part - 1)[None]
