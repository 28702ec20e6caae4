"""What a Markov chain needs of one kernel, whatever the kernel does inside.

A kernel is a frozen pytree: densities and numbers are leaves, functions and rules are
static. It says how to start from a configuration and how to step; `sample` does the
rest for all kernels: many chains, ranks, burn-in, records, snapshots.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp

from physml.failures import expected

Tree = TypeVar("Tree")


class ChainState(Protocol):
    """Where one chain stands: a pytree of arrays."""

    @property
    def spins(self) -> jax.Array:
        """The configuration, shape (n_1, ..., n_d, 3)."""
        ...

    @property
    def log_density(self) -> jax.Array:
        """Its log density, a scalar."""
        ...


class SpinState(NamedTuple):
    """The state of kernels that keep nothing else."""

    spins: jax.Array
    log_density: jax.Array


class Tally(NamedTuple):
    """What happened in one step of a kernel."""

    acceptance: dict[str, jax.Array]  # mean probability, for each kind of move
    num_not_finite: jax.Array  # proposals refused since their density is not finite


@dataclass(frozen=True)
class StepSize:
    """A step size, and how it adapts during burn-in.

    Parameters
    ----------
    initial
        The first value; the only one without burn-in.
    target
        The acceptance that burn-in aims at; None keeps the step size.
    largest
        Larger steps mean nothing, as a rotation by more than pi.
    """

    initial: float
    target: float | None = None
    largest: float = float("inf")

    def __post_init__(self) -> None:
        """Refuse numbers out of their range."""
        if not 0 < self.initial <= self.largest:
            raise expected(
                f"a step size above 0 and at most {self.largest:.4g}",
                self.initial,
                "choose one between",
            )
        if self.target is not None and not 0 < self.target < 1:
            raise expected(
                "a target acceptance between 0 and 1",
                self.target,
                "0.4 suits single spins, 0.8 Hamiltonian trajectories",
            )


class Kernel(Protocol):
    """One step of a Markov chain that leaves a density as it is.

    `is_reversible` says whether it obeys detailed balance,
    pi(x) P(x -> y) = pi(y) P(y -> x), and not only pi P = pi; a chain of steps can
    propose for another density only then.
    """

    is_reversible: ClassVar[bool]

    def step_sizes(self) -> dict[str, StepSize]:
        """Return its step sizes, by the names that `Tally.acceptance` uses."""
        ...

    def start(self, spins: jax.Array) -> Any:
        """Return the state at a configuration, a `ChainState`."""
        ...

    def step(
        self, key: jax.Array, state: Any, step_sizes: dict[str, jax.Array]
    ) -> tuple[Any, Tally]:
        """Return the next state, and what happened."""
        ...


def choose(condition: jax.Array, first: Tree, second: Tree) -> Tree:
    """Select one of two pytrees of the same structure."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), first, second)
