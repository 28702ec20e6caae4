r"""The lowest levels of a Hamiltonian, one network for each.

Level n minimizes the Rayleigh quotient of :math:`(1 - P_n) \psi_\theta`, where
:math:`P_n` projects on the levels below: exact orthogonalization, no penalty. In the
end the Hamiltonian is diagonalized in the span of all levels (Rayleigh-Ritz), which
makes each energy an upper bound of its own eigenvalue of the grid operator, and an
interval is given for each (`physml.estimators.intervals`).

After: H. Saito, J. Phys. Soc. Jpn. 87, 074002 (2018); arXiv:2302.08965.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.tree_util import Partial

from physml.estimators.intervals import Interval, kato_temple_interval
from physml.failures import RunFailure, expected
from physml.hamiltonians.schrodinger import SchrodingerHamiltonian
from physml.parallel import SERIAL, Communicator
from physml.precision import require_resolvable
from physml.solvers.diagonalize import lowest_levels
from physml.solvers.rayleigh_ritz import RitzLevels, extended_rounding, rayleigh_ritz
from physml.training.driver import MinimizeResult, TrainingSnapshot
from physml.training.minimization import initial_snapshot, minimize
from physml.training.records import Records
from physml.training.stages import Stage, optimizer_stages
from physml.training.stopping import Outcome, StopRules
from physml.variational.system import System, objectives, state
from physml.wavefunctions.exchange import ExchangeSymmetric
from physml.wavefunctions.grid_wave_function import GridWaveFunction

# Largest grids that are diagonalized for comparison, by dimension: seconds of time.
REFERENCE_LIMITS = {1: 2_000_000, 2: 40_000, 3: 8_000}
DEFAULT_TARGET = 1e-5  # residual; the energy is better by about its square
EXTRA_LEVELS = 4  # levels above those wanted, so that the highest has a neighbor


@dataclass(frozen=True)
class Level:
    """One level of the grid operator, as found."""

    level: int
    energy: float
    grid_energy: float | None  # the grid operator's eigenvalue, by diagonalization
    residual_norm: float
    interval: Interval  # holds an eigenvalue of the grid operator
    iterations: int
    outcome: Outcome
    psi: np.ndarray  # shape grid.shape; the integral of psi^2 is 1


@dataclass(frozen=True)
class LevelsProblem:
    """What to minimize and how.

    Parameters
    ----------
    hamiltonian
        The operator on the grid.
    wave_function
        Maps parameters to psi, shape `grid.shape`, see `grid_wave_function`.
    initialize
        Maps a JAX random key to parameters.
    num_levels
        How many levels, from the lowest up.
    stages
        Optimizers and steps for each level; by default 100 steps of Adam, then L-BFGS.
    target_residual
        A level has converged at this norm of its residual. By default 1e-5 or the
        rounding level of the dtype, whichever is larger.
    stop_rules
        The other rules; its own target is not used.
    seed
        Of the initial parameters.
    communicator
        The ranks over which the grid is divided along its first axis. Each process
        makes the same problem and gets the same levels.

    Raises
    ------
    ValueError
        If there are not fewer levels than points, or the target lies below the rounding
        level of the dtype.
    """

    hamiltonian: SchrodingerHamiltonian
    wave_function: GridWaveFunction
    initialize: Callable[[jax.Array], Any]
    num_levels: int = 1
    stages: Sequence[Stage] = ()
    target_residual: float | None = None
    stop_rules: StopRules = field(default_factory=StopRules)
    seed: int = 0
    communicator: Communicator = SERIAL

    def __post_init__(self) -> None:
        """Refuse what cannot be reached; fill in the defaults."""
        num_points = self.hamiltonian.grid.num_points
        if not 0 < self.num_levels < num_points:
            raise expected(
                f"between 1 and {num_points - 1} levels on {num_points} grid points",
                self.num_levels,
                "ask for fewer levels or take more points",
            )
        scale = self.hamiltonian.kinetic_norm_bound()
        dtype = np.dtype(self.hamiltonian.potential.dtype)
        target = self.target_residual
        if target is None:
            target = max(DEFAULT_TARGET, float(np.finfo(dtype).eps) * scale)
        require_resolvable(target, scale, dtype, "a target residual")
        rules = replace(self.stop_rules, target=target)
        object.__setattr__(self, "stop_rules", rules)
        if not self.stages:
            object.__setattr__(self, "stages", optimizer_stages())

    @property
    def steps_per_level(self) -> int:
        """The most steps that a level may take."""
        return sum(stage.num_steps for stage in self.stages)

    def objectives(self, lower: jax.Array) -> tuple[Partial, Partial]:
        """Return energy and residual norm as functions of the parameters.

        With several ranks they are for their programs, see `Communicator.spmd`.

        Parameters
        ----------
        lower
            The orthonormal levels below, padded with zeros to num_levels - 1 rows, so
            that all levels run the same compiled program.
        """
        return objectives(self._system(lower))

    def no_lower_levels(self) -> jax.Array:
        """Return zeros where the lower levels go."""
        factor = self.wave_function.factor
        shape = (self.num_levels - 1, *factor.shape)
        return jnp.zeros(shape, factor.dtype)

    def state(self, lower: jax.Array, parameters: Any) -> jax.Array:
        """Return the normalized wave function of parameters, orthogonal to `lower`."""
        return state(self._system(lower), parameters)

    def _system(self, lower: jax.Array) -> System:
        return System(self.hamiltonian, self.wave_function, lower, self.communicator)

    def initial_parameters(self, level: int) -> Any:
        """Return the parameters from which a level starts."""
        return self.initialize(jax.random.fold_in(jax.random.key(self.seed), level))

    def initial_training(self, level: int, lower: jax.Array) -> TrainingSnapshot:
        """Return a level's minimization before its first step."""
        energy, residual = self.objectives(lower)
        parameters = self.initial_parameters(level)
        return initial_snapshot(
            energy, residual, parameters, self.stages, communicator=self.communicator
        )


@dataclass(frozen=True)
class FinishedLevel:
    """A level whose minimization has ended."""

    parameters: Any
    iterations: int
    outcome: Outcome


@dataclass(frozen=True)
class LevelsSnapshot:
    """Where the search stands: levels done, and the minimization under way."""

    finished: tuple[FinishedLevel, ...]
    training: TrainingSnapshot | None = None


LevelsObserver = Callable[[LevelsSnapshot, Records], bool]


def find_levels(
    problem: LevelsProblem,
    *,
    observer: LevelsObserver | None = None,
    snapshot: LevelsSnapshot | None = None,
) -> list[Level]:
    """Find the lowest levels.

    Parameters
    ----------
    problem
        The Hamiltonian, the wave function and the optimizers.
    observer
        Called now and then with a snapshot and the new records; if it returns True the
        search is interrupted. With several processes: on each of them, and it must
        return the same.
    snapshot
        Go on from here.

    Returns
    -------
    The levels, ascending, with energies, intervals and normalized wave functions.

    Raises
    ------
    RunFailure
        If a value was not finite, or the observer interrupted.
    """
    snapshot = LevelsSnapshot(()) if snapshot is None else snapshot
    finished = _find_each(problem, observer, snapshot)
    if observer is not None:
        observer(LevelsSnapshot(finished), Records.empty())
    rows = _states(problem, finished)
    return problem.communicator.on_root(partial(_assess, problem, finished, rows))


def _find_each(
    problem: LevelsProblem, observer: LevelsObserver | None, snapshot: LevelsSnapshot
) -> tuple[FinishedLevel, ...]:
    """Minimize one level after the other, from where the snapshot stands."""
    finished, training = snapshot.finished, snapshot.training
    for level in range(len(finished), problem.num_levels):
        lower = _lower_levels(problem, finished)
        if training is None:
            training = problem.initial_training(level, lower)
        result = _minimize_level(problem, lower, training, finished, observer)
        done = FinishedLevel(result.parameters, result.steps, result.outcome)
        finished, training = (*finished, done), None
        if result.outcome.is_failure:
            raise RunFailure(f"Level {level} {result.outcome.sentence}.")
    return finished


def _minimize_level(
    problem: LevelsProblem,
    lower: jax.Array,
    training: TrainingSnapshot,
    finished: tuple[FinishedLevel, ...],
    observer: LevelsObserver | None,
) -> MinimizeResult:
    def observe(snapshot: TrainingSnapshot, records: Records) -> bool:
        return observer is not None and observer(
            LevelsSnapshot(finished, snapshot), records
        )

    energy, residual = problem.objectives(lower)
    return minimize(
        energy,
        training.state.parameters,
        problem.stages,
        measure=residual,
        stop_rules=problem.stop_rules,
        observer=observe,
        snapshot=training,
        communicator=problem.communicator,
    )


def _lower_levels(
    problem: LevelsProblem, finished: tuple[FinishedLevel, ...]
) -> jax.Array:
    """Return the finished levels, orthonormal, padded with zeros."""
    lower = problem.no_lower_levels()
    for row, level in enumerate(finished[: lower.shape[0]]):
        lower = lower.at[row].set(problem.state(lower, level.parameters))
    return lower


def _states(problem: LevelsProblem, finished: tuple[FinishedLevel, ...]) -> np.ndarray:
    """Return the states of all levels, orthonormal rows."""
    lower = _lower_levels(problem, finished[:-1])
    top = problem.state(lower, finished[-1].parameters)
    return np.concatenate([lower, top[None]]).reshape(problem.num_levels, -1)


def _assess(
    problem: LevelsProblem, finished: tuple[FinishedLevel, ...], rows: np.ndarray
) -> list[Level]:
    """Diagonalize in the span of the levels, compare with the grid operator."""
    matrix = problem.hamiltonian.to_sparse()
    ritz = rayleigh_ritz(matrix, rows)
    reference = _grid_levels(problem, matrix)
    intervals = _intervals(ritz, reference, extended_rounding(matrix, ritz.energies))
    grid = problem.hamiltonian.grid
    return [
        Level(
            level=n,
            energy=float(ritz.energies[n]),
            grid_energy=None if reference is None else float(reference[n]),
            residual_norm=float(ritz.residual_norms[n]),
            interval=intervals[n],
            iterations=finished[n].iterations,
            outcome=finished[n].outcome,
            psi=ritz.vectors[n].reshape(grid.shape) / np.sqrt(grid.volume_element),
        )
        for n in range(problem.num_levels)
    ]


def _grid_levels(
    problem: LevelsProblem, matrix: scipy.sparse.csr_array
) -> np.ndarray | None:
    """Return the grid operator's own levels, or None.

    None where that takes too long, and where the levels sought are not the lowest of
    the operator but the lowest of one exchange symmetry.
    """
    grid = problem.hamiltonian.grid
    in_a_sector = isinstance(problem.wave_function.apply, ExchangeSymmetric)
    if in_a_sector or grid.num_points > REFERENCE_LIMITS[grid.dimension]:
        return None
    count = min(problem.num_levels + EXTRA_LEVELS, grid.num_points - 1)
    bottom = float(problem.hamiltonian.potential.min())
    return lowest_levels(matrix, count, lower_bound=bottom - 1.0).energies


def _intervals(
    ritz: RitzLevels, reference: np.ndarray | None, rounding: float
) -> list[Interval]:
    intervals = []
    for n, (energy, residual) in enumerate(
        zip(ritz.energies, ritz.residual_norms, strict=True)
    ):
        below, above = _neighbors(reference, n)
        interval = kato_temple_interval(
            float(energy),
            float(residual),
            level_below=below,
            level_above=above,
            rounding=rounding,
        )
        intervals.append(interval)
    return intervals


def _neighbors(reference: np.ndarray | None, n: int) -> tuple[float, float]:
    """Return the nearest different levels; NaN where they are not known."""
    if reference is None:
        return np.nan, np.nan
    gap = 1e-8 * (1.0 + abs(reference[n]))  # closer levels count as degenerate
    below = reference[reference < reference[n] - gap]
    above = reference[reference > reference[n] + gap]
    return (
        float(below.max()) if below.size else -np.inf,
        float(above.min()) if above.size else np.nan,
    )
