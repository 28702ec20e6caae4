"""Fit a function with parameters to samples, all at once or in batches. No physics."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

from physml.failures import expected
from physml.parallel import SERIAL, Communicator, Divided, Division
from physml.pytrees import register_dataclass
from physml.training.sum_of_squares import (
    add_rows,
    no_rows,
    over_chunks,
    residual_rows,
    sum_triangles,
)


@dataclass(frozen=True)
class Regression:
    """Samples, and the function whose parameters shall reproduce them.

    Parameters
    ----------
    function
        Maps parameters and inputs (samples, ...) to outputs (samples, ...).
    inputs
        A pytree of arrays, each with a first axis of samples.
    targets
        Shape (samples, ...), in the unit of the outputs. The error of a sample is the
        mean over its further axes.
    communicator
        The ranks over which the samples of a loss are divided.
    chunk_size
        Of how many samples a rank holds intermediate results at once; None: of all.
        In chunks the gradient of the loss takes a third more time.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> line = Regression(lambda slope, x: slope * x, jnp.arange(4.0), jnp.arange(4.0))
    >>> line.loss()(2.0).item()  # (0 + 1 + 4 + 9) / 4
    3.5
    """

    function: Callable[[Any, Any], jax.Array]
    inputs: Any
    targets: jax.Array
    communicator: Communicator = SERIAL
    chunk_size: int | None = None

    def __post_init__(self) -> None:
        """Refuse chunks of nothing."""
        if self.chunk_size is not None and self.chunk_size < 1:
            raise expected(
                "chunks of 1 sample or more", self.chunk_size, "None for all at once"
            )

    def loss(self) -> "MeanSquaredError":
        """Return the mean squared error of all samples, a function of parameters."""
        return MeanSquaredError(
            self.communicator.divide((self.inputs, self.targets)),
            self.function,
            self.communicator,
            self.targets.shape[0],
            self.chunk_size,
        )

    def batch_loss(self, batch_size: int, key: jax.Array) -> Partial:
        """Return the mean squared error of the batch of a step.

        Parameters
        ----------
        batch_size
            Samples in a batch.
        key
            A JAX random key, of the order of the samples.

        Returns
        -------
        A function of parameters and step, for `physml.training.Stage`. Every rank holds
        all samples and takes its part of each batch, so that batches do not depend on
        the number of ranks.

        Raises
        ------
        ValueError
            If there are fewer samples than a batch takes.
        """
        num_samples = self.targets.shape[0]
        if not 1 <= batch_size <= num_samples:
            raise expected(
                f"a batch of 1 to {num_samples} samples, as many as there are",
                batch_size,
                "take smaller batches or more samples",
            )
        function = partial(_batch_error, self.function, self.communicator, batch_size)
        samples = self.communicator.share((self.inputs, self.targets, key))
        return Partial(function, *samples)


@partial(
    register_dataclass, static=("function", "communicator", "num_samples", "chunk_size")
)
@dataclass(frozen=True)
class MeanSquaredError:
    """The mean squared error of samples, made by `Regression.loss`.

    It is for the programs of the ranks that hold the samples, and a `SquaredLoss`:
    Levenberg-Marquardt takes it. The Jacobian is made of the gradients of the samples,
    one by one, at the cost of about one gradient of the loss for each output of a
    sample.
    """

    samples: Divided
    function: Callable
    communicator: Communicator
    num_samples: int
    chunk_size: int | None

    def __call__(self, parameters: Any) -> jax.Array:
        """Return the loss, the same on all ranks."""
        shared = self.communicator.replicate(parameters)
        error: Callable = partial(_squared_error, self.function)
        if self.chunk_size is not None:  # only the parameters are kept for the gradient
            error = jax.checkpoint(error)

        def add(total: jax.Array, chunk: Divided) -> jax.Array:
            return total + error(shared, chunk)

        zero = jnp.zeros((), self.samples.values[1].dtype)
        total = over_chunks(add, zero, self.samples, self.chunk_size)
        return self.communicator.sum(total) / self.num_samples

    def triangle(self, parameters: Any) -> jax.Array:
        """Return the triangular factor of (J r), the same on all ranks."""
        vector, unravel = ravel_pytree(parameters)

        def residuals(vector: jax.Array, sample: Any) -> jax.Array:
            inputs, target = sample
            one = jax.tree.map(lambda x: x[None], inputs)
            errors = (self.function(unravel(vector), one)[0] - target).ravel()
            return errors / math.sqrt(self.num_samples * errors.size)

        def add(triangle: jax.Array, chunk: Divided) -> jax.Array:
            def rows(sample: Any, is_own: jax.Array) -> jax.Array:
                of_sample = partial(residuals, sample=sample)
                return jnp.where(
                    is_own, residual_rows(of_sample, vector, "reverse"), 0.0
                )

            new = jax.vmap(rows)(chunk.values, chunk.mask)
            return add_rows(triangle, new.reshape(-1, vector.size + 1))

        own = over_chunks(add, no_rows(vector), self.samples, self.chunk_size)
        return sum_triangles(own, self.communicator)


def batch_indices(
    key: jax.Array, step: jax.Array | int, num_samples: int, batch_size: int
) -> jax.Array:
    """Return which samples make up the batch of a step.

    Each round over the samples has its own random order, of which the batches are the
    slices; what is left over when the size does not divide the number of samples is
    left out in this round. The batch is a function of key and step, of nothing else: a
    resumed run, and a run that divides the samples of a batch over several processes,
    see the same one.

    Parameters
    ----------
    key
        A JAX random key, the same in all steps.
    step
        0, 1, ...
    num_samples
        How many there are.
    batch_size
        How many the batch takes, at most `num_samples`.
    """
    batches_in_round = num_samples // batch_size
    round_key = jax.random.fold_in(key, step // batches_in_round)
    order = jax.random.permutation(round_key, num_samples)
    start = step % batches_in_round * batch_size
    return jax.lax.dynamic_slice_in_dim(order, start, batch_size)


def best_of_random_starts(
    loss: Callable[[Any], jax.Array],
    initialize: Callable[[jax.Array], Any],
    key: jax.Array,
    num_starts: int,
) -> Any:
    """Return the random parameters with the lowest loss: a start in a good valley.

    Parameters
    ----------
    loss
        Maps parameters to a real scalar.
    initialize
        Maps a JAX random key to parameters.
    key
        A JAX random key.
    num_starts
        How many are drawn.

    Raises
    ------
    ValueError
        If none is drawn.
    """
    if num_starts < 1:
        raise expected("1 random start or more", num_starts, "raise the number")

    def draw(key: jax.Array) -> tuple[jax.Array, Any]:
        parameters = initialize(key)
        return loss(parameters), parameters

    @jax.jit
    def search(keys: jax.Array) -> Any:
        losses, starts = jax.lax.map(draw, keys)
        lowest = jnp.argmin(jnp.where(jnp.isnan(losses), jnp.inf, losses))
        return jax.tree.map(lambda leaf: leaf[lowest], starts)

    return search(jax.random.split(key, num_starts))


def _squared_error(function: Callable, parameters: Any, samples: Divided) -> jax.Array:
    """Return the sum over the samples of the mean squared error of their outputs."""
    inputs, targets = samples.values
    squares = (function(parameters, inputs) - targets) ** 2
    squares = jnp.mean(squares, axis=tuple(range(1, squares.ndim)))
    return jnp.sum(jnp.where(samples.mask, squares, jnp.zeros_like(squares)))


def _batch_error(
    function: Callable,
    communicator: Communicator,
    batch_size: int,
    inputs: Any,
    targets: jax.Array,
    key: jax.Array,
    parameters: Any,
    step: jax.Array,
) -> jax.Array:
    chosen = batch_indices(key, step, targets.shape[0], batch_size)
    division = Division(batch_size, communicator.size)
    if communicator.size > 1:
        chosen = chosen[division.indices(communicator.rank)]
    samples = jax.tree.map(lambda leaf: leaf[chosen], (inputs, targets))
    own = Divided(samples, division.mask(communicator.rank))
    return MeanSquaredError(own, function, communicator, batch_size, None)(parameters)
