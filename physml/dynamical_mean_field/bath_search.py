"""The search for a bath from many starts, in two minimizations of the same driver."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from physml.dynamical_mean_field.bath import Bath
from physml.dynamical_mean_field.bath_form import BathParameters
from physml.dynamical_mean_field.bath_problem import BathProblem
from physml.dynamical_mean_field.bath_starts import (
    coupled_starts,
    given_starts,
    random_levels,
    relocated_levels,
    sites_of_levels,
)
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
    given: BathParameters | None  # starts in place of random ones
    level_stages: tuple[Stage, ...]
    coupling_stages: tuple[Stage, ...]
    communicator: Communicator

    @property
    def num_steps(self) -> int:
        """The most steps of each of the two minimizations."""
        return sum(stage.num_steps for stage in self.coupling_stages)

    def level_starts(self) -> jax.Array:
        """Return free levels, shape (num_starts, num_levels), for one orbital."""
        if self.given is None:
            levels = random_levels(self.problem, self.key, self.num_starts)
        else:
            levels = np.asarray(self.given.levels, float)
        levels = relocated_levels(self.problem, levels, self.num_relocations)
        return jnp.asarray(levels, self.problem.weights.dtype)

    def coupled_starts(self) -> BathParameters:
        """Return whole baths, for several orbitals."""
        if self.given is None:
            return coupled_starts(
                self.problem,
                self.key,
                self.num_starts,
                num_relocations=self.num_relocations,
            )
        return sites_of_levels(self.problem, np.asarray(self.level_starts()))

    def fit_levels(self, **options: Any) -> BathParameters:
        """Return starts for `fit_couplings`, of one orbital with the levels fitted.

        Parameters
        ----------
        **options
            `observer` and `snapshot` of `minimize_starts`.
        """
        problem = self.problem
        if self.given and not (problem.is_linear or self.num_relocations):
            return self.given
        if problem.form.num_orbitals > 1:
            return self.coupled_starts()
        levels = self.level_starts()
        if problem.form.num_levels:
            loss = problem.projected_loss()
            levels = self._minimized(loss, levels, self.level_stages, options)
        return _with_couplings(problem, levels)

    def needs_couplings(self, starts: BathParameters) -> bool:
        """Tell whether the fit of levels is not all that there is to do."""
        if not self.problem.is_linear:
            return True
        return bool(_has_negative_weights(self.problem, starts.levels))

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
    starts: Bath | None = None,
    num_starts: int = 20,
    num_relocations: int | None = None,
    key: jax.Array | None = None,
    optimizer: FitterName | None = None,
    num_steps: int = 500,
    communicator: Communicator = SERIAL,
) -> BathSearch:
    """Check how a bath shall be looked for; parameters and errors as in `fit_bath`."""
    given = None if starts is None else given_starts(problem, starts)
    if given is not None:
        num_starts = len(given.levels)
    if num_relocations is None:
        num_relocations = 10 if given is None else 0
    if num_starts < 1 or num_relocations < 0:
        raise expected(
            "1 start or more, and 0 relocations or more",
            (num_starts, num_relocations),
            "take 20 starts and 10 relocations",
        )
    of_levels, of_couplings = _fitters(problem.power, optimizer, communicator)
    return BathSearch(
        problem,
        num_starts,
        num_relocations,
        jax.random.key(0) if key is None else key,
        given,
        _stages(of_levels, num_steps),
        _stages(of_couplings, num_steps),
        communicator,
    )


def _fitters(
    power: float, optimizer: FitterName | None, communicator: Communicator
) -> tuple[FitterName, FitterName]:
    """Return the optimizer of levels, by least squares, and that of couplings."""
    if optimizer not in (None, *get_args(FitterName)):
        raise expected(
            f"an optimizer among {get_args(FitterName)}", repr(optimizer), "choose one"
        )
    if power != 2 and optimizer not in (None, "lbfgs"):
        raise expected(
            "a power of 2 for least squares",
            f"{power:g} and {optimizer}",
            "take lbfgs for other powers",
        )
    of_levels = optimizer or "dogleg"
    if of_levels == "dogleg" and isinstance(communicator, ShardedCommunicator):
        raise expected(
            "an optimizer that runs over devices",
            "dogleg, whose solvers of Lineax do not",
            "take levenberg_marquardt or lbfgs, or run under mpirun without --devices",
        )
    return of_levels, optimizer or ("dogleg" if power == 2 else "lbfgs")


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
