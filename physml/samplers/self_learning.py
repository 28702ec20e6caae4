r"""Self-learning Monte Carlo: a chain in an effective model proposes, the exact judges.

With the log densities :math:`\log\pi = -F/T` and
:math:`\log\pi_{eff} = -F_{eff}/T`, a chain of steps from S to S' that obeys detailed
balance for :math:`\pi_{eff}` is accepted with probability

.. math::
    \min\left(1, e^{-[(F' - F) - (F_{eff}' - F_{eff})]/T}\right) .

Its proposal density obeys q(S'|S) / q(S|S') = pi_eff(S') / pi_eff(S), so the chain of S
obeys detailed balance for :math:`\pi` exactly, however poor the effective model is; a
poor one is accepted less. The inner kernel must be reversible: a fixed order of
different moves leaves pi_eff as it is, and still has another ratio of q.

Reference: J. Liu, Y. Qi, Z. Y. Meng, L. Fu, Phys. Rev. B 95, 041101 (2017).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from physml.failures import expected
from physml.pytrees import register_dataclass
from physml.samplers.acceptance import judge, log_uniform
from physml.samplers.kernel import Kernel, StepSize, Tally, choose


class SelfLearningState(NamedTuple):
    """A configuration with both log densities."""

    log_density: jax.Array  # exact
    inner: Any  # the state in the effective model, with its log density

    @property
    def spins(self) -> jax.Array:
        """The configuration."""
        return self.inner.spins


@register_dataclass
@dataclass(frozen=True)
class SelfLearning:
    """One chain of inner steps, then one exact acceptance.

    Parameters
    ----------
    log_density
        The exact one: maps spins, shape (n_1, ..., n_d, 3), to a real scalar. It is
        evaluated once in each step.
    inner
        A reversible kernel for the effective model, as `LocalMetropolis` or
        `Hamiltonian`; its step size adapts to its own acceptance.
    num_inner
        Inner steps before each acceptance; see `choose_inner_length`.

    Raises
    ------
    ValueError
        If the inner kernel is not reversible, or there is no inner step.
    """

    log_density: Partial
    inner: Kernel
    num_inner: int | jax.Array = 1

    is_reversible: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse an inner kernel for which the acceptance would be wrong."""
        is_kernel = hasattr(self.inner, "step")  # and no leaf that stands for one
        if is_kernel and not getattr(self.inner, "is_reversible", False):
            raise expected(
                "an inner kernel that obeys detailed balance",
                f"{type(self.inner).__name__}, which does not say so",
                "propose with one kernel of a cycle alone, or set is_reversible = True "
                "where it holds",
            )
        if isinstance(self.num_inner, int) and self.num_inner < 1:
            raise expected("1 inner step or more", self.num_inner, "raise num_inner")

    def step_sizes(self) -> dict[str, StepSize]:
        """Return those of the inner kernel."""
        return self.inner.step_sizes()

    def start(self, spins: jax.Array) -> SelfLearningState:
        """Return the state at a configuration."""
        return SelfLearningState(self.log_density(spins), self.inner.start(spins))

    def step(
        self,
        key: jax.Array,
        state: SelfLearningState,
        step_sizes: dict[str, jax.Array],
    ) -> tuple[SelfLearningState, Tally]:
        """Propose by the effective model, judge by the exact one."""
        inner_key, accept_key = jax.random.split(key)
        moved, tally = self._inner_chain(inner_key, state.inner, step_sizes)
        new = SelfLearningState(self.log_density(moved.spins), moved)
        log_ratio = self.log_ratio(new, state)
        verdict = judge(log_uniform(accept_key, (), log_ratio.dtype), log_ratio)
        acceptance = {"self_learning": verdict.probability, **tally.acceptance}
        count = tally.num_not_finite + verdict.is_not_finite.astype(int)
        return choose(verdict.is_accepted, new, state), Tally(acceptance, count)

    def log_ratio(self, new: SelfLearningState, old: SelfLearningState) -> jax.Array:
        """Return -[(F' - F) - (F_eff' - F_eff)]/T."""
        exact = new.log_density - old.log_density
        return exact - (new.inner.log_density - old.inner.log_density)

    def _inner_chain(
        self, key: jax.Array, state: Any, step_sizes: dict[str, jax.Array]
    ) -> tuple[Any, Tally]:
        """Take the inner steps; return the mean acceptances."""

        def one_step(index: jax.Array, carry: tuple[Any, Tally]) -> tuple[Any, Tally]:
            state, total = carry
            step_key = jax.random.fold_in(key, index)
            state, tally = self.inner.step(step_key, state, step_sizes)
            return state, jax.tree.map(jnp.add, total, tally)

        shapes = jax.eval_shape(self.inner.step, key, state, step_sizes)[1]
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        state, total = jax.lax.fori_loop(0, self.num_inner, one_step, (state, zeros))
        means = {
            name: value / jnp.asarray(self.num_inner, value.dtype)
            for name, value in total.acceptance.items()
        }
        return state, Tally(means, total.num_not_finite)
