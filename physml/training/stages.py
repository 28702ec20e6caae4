"""Optimizers from Optax and Optimistix, and the order in which they run."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import jax
import optax

from physml.failures import expected

GradientOptimizerName = Literal["lbfgs", "adam", "adamw"]  # for any loss
OptimizerName = Literal[GradientOptimizerName, "levenberg_marquardt"]
OPTIMIZERS: tuple[OptimizerName, ...] = get_args(OptimizerName)

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
        From Optax, or `physml.training.levenberg_marquardt`, with the same face.
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
def _adamw(
    learning_rate: float, num_steps: int, weight_decay: float
) -> optax.GradientTransformation:
    schedule = optax.cosine_decay_schedule(learning_rate, num_steps, alpha=1e-2)
    return optax.flatten(optax.adamw(schedule, weight_decay=weight_decay))


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
    weight_decay: float = 1e-4,
    batch_loss: BatchLoss | None = None,
) -> tuple[Stage, ...]:
    """Return the stages of a minimization.

    Parameters
    ----------
    name
        "lbfgs": a short start with Adam, then L-BFGS with a line search; "adam" or
        "adamw": this alone; "levenberg_marquardt": for sums of squares
        (`physml.training.SumOfSquares`, `Regression`) of up to some hundred
        parameters. The learning rate of Adam and AdamW falls on a cosine to a
        hundredth.
    num_steps
        Steps in all.
    learning_rate
        The first learning rate of Adam and AdamW.
    warmup_steps
        Steps of Adam before L-BFGS.
    memory_size
        Pairs of steps and gradients that L-BFGS keeps.
    weight_decay
        The rate at which AdamW's parameters decay, in units of the learning rate.
    batch_loss
        The batches that Adam and AdamW see, see `Stage`. L-BFGS, whose line search
        wants one and the same loss in every step, and Levenberg-Marquardt go down the
        loss itself.

    Raises
    ------
    ValueError
        If the name is not known or a number is out of its range.
    """
    if num_steps < 1:
        raise expected("1 step or more", num_steps, "raise the number of steps")
    if not 0 < learning_rate < float("inf"):
        raise expected("a learning rate > 0", learning_rate, "try 1e-3")
    if not 0 <= weight_decay < float("inf"):
        raise expected("a weight decay >= 0", weight_decay, "try 1e-4")
    if warmup_steps < 0:
        raise expected("warmup_steps >= 0", warmup_steps, "0 for none")
    if memory_size < 1:
        raise expected("memory_size >= 1", memory_size, "50 is the default")
    if name == "adam":
        adam = _adam(learning_rate, num_steps)
        return (Stage("Adam", adam, num_steps, batch_loss),)
    if name == "adamw":
        adamw = _adamw(learning_rate, num_steps, weight_decay)
        return (Stage("AdamW", adamw, num_steps, batch_loss),)
    if name == "levenberg_marquardt":
        # Optimistix takes a tenth of the import time of physml: who does not use it
        # need not wait for it.
        from physml.training.levenberg_marquardt import levenberg_marquardt

        return (Stage("Levenberg-Marquardt", levenberg_marquardt(), num_steps),)
    if name == "lbfgs":
        return _lbfgs_stages(
            num_steps, learning_rate, warmup_steps, memory_size, batch_loss
        )
    raise expected(
        f"one of the optimizers {', '.join(OPTIMIZERS)}", repr(name), "choose one"
    )


def _lbfgs_stages(
    num_steps: int,
    learning_rate: float,
    warmup_steps: int,
    memory_size: int,
    batch_loss: BatchLoss | None,
) -> tuple[Stage, ...]:
    warmup = min(warmup_steps, num_steps // 2)
    finish = Stage("L-BFGS", _lbfgs(memory_size), num_steps - warmup)
    if warmup < 1:
        return (finish,)
    return (Stage("Adam", _adam(learning_rate, warmup), warmup, batch_loss), finish)
