"""Optimizers from Optax, and the order in which they run."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import jax
import optax

from physml.failures import expected

OptimizerName = Literal["lbfgs", "adam"]
OPTIMIZERS: tuple[OptimizerName, ...] = ("lbfgs", "adam")

BatchLoss = Callable[[Any, jax.Array], jax.Array]


@dataclass(frozen=True)
class Stage:
    """One optimizer and how many steps it may take.

    Two stages with the same optimizer object share compiled code, so make an optimizer
    once and keep it.

    Parameters
    ----------
    name
        Of the optimizer, for people.
    optimizer
        From Optax.
    num_steps
        The most steps that it takes.
    batch_loss
        What the steps go down instead of the loss that is minimized: maps parameters
        and the number of the step in this stage, 0, 1, ..., to a real scalar, and draws
        its batch from that number alone, so that a resumed run sees the same batches
        (`physml.training.batch_indices`). Records and stop rules look at the loss.
    """

    name: str
    optimizer: optax.GradientTransformation
    num_steps: int
    batch_loss: BatchLoss | None = None

    def __post_init__(self) -> None:
        """Refuse a stage that does nothing."""
        if self.num_steps < 1:
            raise expected(
                "a stage of 1 step or more", self.num_steps, "drop the stage"
            )


@lru_cache
def _adam(learning_rate: float, num_steps: int) -> optax.GradientTransformation:
    schedule = optax.cosine_decay_schedule(learning_rate, num_steps, alpha=1e-2)
    return optax.flatten(optax.adam(schedule))  # one loop over all parameters


@lru_cache
def _lbfgs(memory_size: int) -> optax.GradientTransformation:
    return optax.lbfgs(memory_size=memory_size)


def optimizer_stages(
    name: OptimizerName = "lbfgs",
    *,
    num_steps: int = 1000,
    learning_rate: float = 1e-2,
    warmup_steps: int = 100,
    memory_size: int = 50,
    batch_loss: BatchLoss | None = None,
) -> tuple[Stage, ...]:
    """Return the stages of a minimization.

    Parameters
    ----------
    name
        "lbfgs": a short start with Adam, then L-BFGS with a line search; "adam": Adam
        alone. Adam's learning rate falls on a cosine to a hundredth.
    num_steps
        Steps in all.
    learning_rate
        Adam's first learning rate.
    warmup_steps
        Steps of Adam before L-BFGS.
    memory_size
        Pairs of steps and gradients that L-BFGS keeps.
    batch_loss
        The batches that Adam sees, see `Stage`. L-BFGS, whose line search wants one and
        the same loss in every step, goes down the loss itself.

    Raises
    ------
    ValueError
        If the name is not known or a number is out of its range.
    """
    if num_steps < 1:
        raise expected("1 step or more", num_steps, "raise the number of steps")
    if not 0 < learning_rate < float("inf"):
        raise expected("a learning rate > 0", learning_rate, "try 1e-3")
    if name == "adam":
        adam = _adam(learning_rate, num_steps)
        return (Stage("Adam", adam, num_steps, batch_loss),)
    if name != "lbfgs":
        raise expected(
            f"one of the optimizers {', '.join(OPTIMIZERS)}", repr(name), "choose one"
        )
    warmup = min(warmup_steps, num_steps // 2)
    finish = Stage("L-BFGS", _lbfgs(memory_size), num_steps - warmup)
    if warmup < 1:
        return (finish,)
    return (Stage("Adam", _adam(learning_rate, warmup), warmup, batch_loss), finish)
