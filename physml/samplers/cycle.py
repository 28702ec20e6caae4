"""Kernels one after the other.

Each leaves the density as it is, so their sequence does; it is not reversible, since
its reverse has the other order.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from physml.failures import expected
from physml.pytrees import register_dataclass
from physml.samplers.kernel import Kernel, SpinState, StepSize, Tally


@register_dataclass
@dataclass(frozen=True)
class Cycle:
    """A step of each kernel in turn, all for one density.

    Parameters
    ----------
    kernels
        Of different kinds, as local moves and overrelaxation: each name of a move may
        appear once.
    """

    kernels: tuple[Kernel, ...]

    is_reversible: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse a cycle that does nothing."""
        if not self.kernels:
            raise expected("one kernel or more", "none", "pass a tuple of kernels")

    def step_sizes(self) -> dict[str, StepSize]:
        """Return those of all kernels."""
        rules = [kernel.step_sizes() for kernel in self.kernels]
        joined = {name: rule for each in rules for name, rule in each.items()}
        if len(joined) < sum(map(len, rules)):
            raise expected(
                "kernels with different names of moves",
                ", ".join(name for each in rules for name in each),
                "cycle over one kernel of each kind",
            )
        return joined

    def start(self, spins: jax.Array) -> SpinState:
        """Return the state at a configuration."""
        return _bare(self.kernels[-1].start(spins))

    def step(
        self, key: jax.Array, state: SpinState, step_sizes: dict[str, jax.Array]
    ) -> tuple[SpinState, Tally]:
        """Step each kernel once."""
        acceptance: dict[str, jax.Array] = {}
        count = jnp.zeros((), int)
        keys = jax.random.split(key, len(self.kernels))
        for kernel, kernel_key in zip(self.kernels, keys, strict=True):
            full = kernel.start(state.spins)
            moved, tally = kernel.step(kernel_key, full, step_sizes)
            state = _bare(moved)
            acceptance |= tally.acceptance
            count += tally.num_not_finite
        return state, Tally(acceptance, count)


def _bare(state: Any) -> SpinState:
    return SpinState(state.spins, state.log_density)
