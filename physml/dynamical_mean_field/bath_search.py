"""The search for a bath from many starts, in two minimizations of the same driver."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from physml.dynamical_mean_field.bath_form import BathParameters
from physml.dynamical_mean_field.bath_problem import BathProblem
from physml.dynamical_mean_field.bath_starts import coupled_starts, level_starts
from physml.failures import expected
from physml.parallel import SERIAL, Communicator, ShardedCommunicator
from physml.training.compiled_loop import Loss
from physml.training.stages import Stage, optimizer_stages
from physml.training.starts import minimize_starts
from physml.training.stopping import StopRules

FitterName = Literal["dogleg", "levenberg_marquardt", "lbfgs"]
STOP_RULES = StopRules(patience=20)
RECORD_EVERY = 5


@dataclass(frozen=True)
class BathSearch:
    """How a bath is looked for; made by `bath_search`."""

    problem: BathProblem
    num_starts: int
    num_relocations: int
    key: jax.Array
    level_stages: tuple[Stage, ...]
    coupling_stages: tuple[Stage, ...]
    communicator: Communicator

    @property
    def num_steps(self) -> int:
        """The most steps of each of the two minimizations."""
        return sum(stage.num_steps for stage in self.coupling_stages)

    def level_starts(self) -> jax.Array:
        """Return free levels, shape (num_starts, num_levels), for one orbital."""
        levels = level_starts(
            self.problem,
            self.key,
            self.num_starts,
            num_relocations=self.num_relocations,
        )
        return jnp.asarray(levels, self.problem.weights.dtype)

    def fit_levels(self, **options: Any) -> BathParameters:
        """Return starts for `fit_couplings`, of one orbital with the levels fitted.

        Parameters
        ----------
        **options
            `observer` and `snapshot` of `minimize_starts`.
        """
        if self.problem.form.num_orbitals > 1:
            return coupled_starts(
                self.problem,
                self.key,
                self.num_starts,
                num_relocations=self.num_relocations,
            )
        levels = self.level_starts()
        if self.problem.form.num_levels:
            loss = self.problem.projected_loss()
            levels = self._minimized(loss, levels, self.level_stages, options)
        return _with_couplings(self.problem, levels)

    def needs_couplings(self, starts: BathParameters) -> bool:
        """Tell whether the fit of levels is not all that there is to do."""
        problem = self.problem
        is_linear = problem.form.num_orbitals == 1 and problem.power == 2
        if not is_linear or problem.fitted != "hybridization":
            return True
        return bool(_has_negative_weights(problem, starts.levels))

    def fit_couplings(self, starts: BathParameters, **options: Any) -> BathParameters:
        """Return the baths that all starts lead to; `options` as above."""
        if not self.needs_couplings(starts):
            return starts
        loss = self.problem.loss()
        return self._minimized(loss, starts, self.coupling_stages, options)

    def _minimized(
        self, loss: Loss, starts: Any, stages: tuple[Stage, ...], options: dict
    ) -> Any:
        ends = minimize_starts(
            loss,
            starts,
            stages,
            at_once=self.num_starts,
            stop_rules=STOP_RULES,
            record_every=RECORD_EVERY,
            communicator=self.communicator,
            divide_starts=True,
            **options,
        )
        found = [end.parameters for end in ends.results]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)


def bath_search(
    problem: BathProblem,
    *,
    num_starts: int = 20,
    num_relocations: int = 10,
    key: jax.Array | None = None,
    optimizer: FitterName | None = None,
    num_steps: int = 500,
    communicator: Communicator = SERIAL,
) -> BathSearch:
    """Check how a bath shall be looked for; parameters and errors as in `fit_bath`."""
    if num_starts < 1 or num_relocations < 0:
        raise expected(
            "1 start or more, and 0 relocations or more",
            (num_starts, num_relocations),
            "take 20 starts and 10 relocations",
        )
    if optimizer not in (None, *get_args(FitterName)):
        raise expected(
            f"an optimizer among {get_args(FitterName)}", repr(optimizer), "choose one"
        )
    if problem.power != 2 and optimizer not in (None, "lbfgs"):
        raise expected(
            "a power of 2 for least squares",
            f"{problem.power:g} and {optimizer}",
            "take lbfgs for other powers",
        )
    if optimizer != "lbfgs" and isinstance(communicator, ShardedCommunicator):
        raise expected(
            "starts divided over processes",
            "devices, over which Lineax can't map its solvers",
            "leave --devices out, run under mpirun, or take lbfgs",
        )
    default: FitterName = "dogleg" if problem.power == 2 else "lbfgs"
    return BathSearch(
        problem,
        num_starts,
        num_relocations,
        jax.random.key(0) if key is None else key,
        _stages(optimizer or "dogleg", num_steps),
        _stages(optimizer or default, num_steps),
        communicator,
    )


def _stages(name: FitterName, num_steps: int) -> tuple[Stage, ...]:
    if name == "dogleg":
        return (Stage("Dogleg", _dogleg(), num_steps),)
    # Starts are good: steps of Adam would only lead away from them.
    return optimizer_stages(name, num_steps=num_steps, warmup_steps=0)


@lru_cache
def _dogleg() -> Any:
    """Return Powell's steps: within a radius, that of Gauss and Newton if it is inside.

    The radius is a length of the levels, whatever the size of the residuals; singular
    values solve where sites are redundant.
    """
    import lineax
    import optimistix  # which takes a tenth of the import time of physml

    from physml.training.levenberg_marquardt import least_squares_optimizer

    solver: Any = optimistix.Dogleg(rtol=0.0, atol=0.0, linear_solver=lineax.SVD())
    return least_squares_optimizer(solver)


@jax.jit
def _with_couplings(problem: BathProblem, levels: jax.Array) -> BathParameters:
    return jax.vmap(problem.with_couplings)(levels)


@jax.jit
def _has_negative_weights(problem: BathProblem, levels: jax.Array) -> jax.Array:
    return jnp.any(jax.vmap(problem.weights_of_levels)(levels) < 0)
