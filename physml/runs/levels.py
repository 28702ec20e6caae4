"""Run the search for levels of a one-dimensional potential, end to end.

Common to all experiments that look for levels: the options, the problem made of them,
what goes into its records and checkpoints, and what a run leaves behind.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Self

import jax

from physml.failures import expected
from physml.hamiltonians.potentials import Potential
from physml.hamiltonians.schrodinger import schrodinger_hamiltonian
from physml.lattices.grid import Grid
from physml.parallel import SERIAL, Communicator
from physml.precision import enable_x64
from physml.runs.ranks import say_on_root
from physml.runs.run import Run, RunConfiguration, Standing, open_run
from physml.runs.tables import print_levels
from physml.training.compiled_loop import state_template
from physml.training.driver import TrainingSnapshot
from physml.training.records import Records
from physml.training.stages import GradientOptimizerName, optimizer_stages
from physml.training.stopping import Outcome, StopRules
from physml.variational.levels import (
    FinishedLevel,
    Level,
    LevelsProblem,
    LevelsSnapshot,
    find_levels,
)
from physml.wavefunctions.boundary import BoundaryFactor
from physml.wavefunctions.grid_wave_function import grid_wave_function
from physml.wavefunctions.multilayer_perceptron import (
    Coordinate,
    MultilayerPerceptron,
    OutputLayer,
    network_function,
)


@dataclass(frozen=True)
class LevelsConfiguration(RunConfiguration):
    """Options of every experiment that looks for levels."""

    points: int = 511
    """Grid points inside the box."""
    stencil_order: int = 8
    """Order of the central differences: 2, 4, 6 or 8."""
    levels: int = 4
    """How many levels, from the lowest up."""
    hidden: tuple[int, ...] = (32, 32)
    """Widths of the hidden layers."""
    activation: str = "tanh"
    """softplus, tanh, silu, gelu or identity."""
    output_activation: str = "identity"
    """The same choice, after the output layer."""
    output_layer: Literal["auto"] | OutputLayer = "auto"
    """solved: exactly at each step; trained: with the others; auto: solved, trained if
    there is an output activation."""
    coordinate: Literal["auto"] | Coordinate = "auto"
    """What the network sees: linear, or square-root of the distance from the left wall;
    auto: what suits the potential."""
    boundary: Literal["auto"] | BoundaryFactor = "auto"
    """Factor that makes the wave function vanish at the walls: gaussian, dirichlet,
    none; auto: what suits the potential."""
    optimizer: GradientOptimizerName = "lbfgs"
    """lbfgs: a short start with Adam, then L-BFGS; adam, adamw: this alone."""
    steps: int = 1000
    """Optimizer steps for each level, at most."""
    learning_rate: float = 1e-2
    """First learning rate of Adam and AdamW."""
    target_residual: float | None = None
    """A level is done at this residual norm |H psi - E psi| / |psi|, in units of
    energy. By default 1e-5 or the rounding level, whichever is larger."""
    time_limit: float | None = None
    """End a level after so many seconds. By default no limit."""
    precision: Literal["float64", "float32"] = "float64"
    """float32 loses the last eight of sixteen digits."""
    quick: bool = False
    """Other defaults, for a short run: 2 levels, 255 points, one layer of 16, 150
    steps."""

    @classmethod
    def quick_defaults(cls) -> Self:
        """Return the defaults that --quick stands for."""
        return cls(points=255, levels=2, hidden=(16,), steps=150, quick=True)


@dataclass(frozen=True)
class LevelsExperiment:
    """A potential on a grid, under a name.

    Parameters
    ----------
    name
        Of the experiment, for result.json and the folder.
    title
        A line of text that says what is computed.
    potential
        V(x) and its closed-form levels.
    grid
        One Dirichlet line.
    boundary
        What `boundary="auto"` means here.
    coordinate
        What `coordinate="auto"` means here.
    """

    name: str
    title: str
    potential: Potential
    grid: Grid
    boundary: BoundaryFactor
    coordinate: Coordinate = "linear"


def run_levels(
    configuration: LevelsConfiguration,
    make_experiment: Callable[[Any], LevelsExperiment],
    communicator: Communicator = SERIAL,
) -> list[Level]:
    """Find the levels and write result, records, pictures and checkpoint.

    Parameters
    ----------
    configuration
        The options.
    make_experiment
        Builds the experiment from the options.
    communicator
        The ranks over which the grid is divided; the root alone writes.

    Raises
    ------
    ValueError
        If an option is out of its range; nothing is written then.
    RunFailure
        If the run could not be finished.
    """
    start = time.monotonic()
    enable_x64(configuration.precision == "float64")
    experiment = make_experiment(configuration)
    say = partial(say_on_root, communicator)
    say(f"{experiment.title}: {configuration.levels} levels")
    problem = levels_problem(configuration, experiment, communicator)
    # what can be wrong shows before anything is written
    jax.eval_shape(problem.wave_function, problem.initial_parameters(0))
    computation = _LevelsComputation(problem)
    run = open_run(
        experiment.name,
        configuration,
        computation,
        started=start,
        communicator=communicator,
    )
    if configuration.precision == "float32":
        floor = problem.stop_rules.target
        say(f"In float32 residuals below {floor:.0e} are rounding.")
    levels = run.perform(partial(find_levels, problem))
    if communicator.is_root:
        _report(run, experiment, levels)
    return levels


def levels_problem(
    configuration: LevelsConfiguration,
    experiment: LevelsExperiment,
    communicator: Communicator = SERIAL,
) -> LevelsProblem:
    """Build the problem that the options describe."""
    hamiltonian = schrodinger_hamiltonian(
        experiment.grid, experiment.potential, stencil_order=configuration.stencil_order
    )
    output_layer = configuration.output_layer
    if output_layer == "auto":
        is_linear = configuration.output_activation == "identity"
        output_layer = "solved" if is_linear else "trained"
    boundary = configuration.boundary
    if boundary == "auto":
        boundary = experiment.boundary
    coordinate = configuration.coordinate
    if coordinate == "auto":
        coordinate = experiment.coordinate
    apply, initialize = network_function(
        partial(
            MultilayerPerceptron,
            experiment.grid,
            configuration.hidden,
            activation=configuration.activation,
            output_activation=configuration.output_activation,
            output_layer=output_layer,
            coordinate=coordinate,
        )
    )
    return LevelsProblem(
        hamiltonian,
        grid_wave_function(apply, experiment.grid, boundary=boundary),
        initialize,
        configuration.levels,
        optimizer_stages(
            configuration.optimizer,
            num_steps=configuration.steps,
            learning_rate=configuration.learning_rate,
        ),
        target_residual=configuration.target_residual,
        stop_rules=StopRules(time_limit=configuration.time_limit),
        seed=configuration.seed,
        communicator=communicator,
    )


@dataclass(frozen=True)
class _LevelsComputation:
    """How the search for levels is written to records and checkpoints."""

    problem: LevelsProblem

    @property
    def num_steps(self) -> int:
        """The most steps that the run may take."""
        return self.problem.num_levels * self.problem.steps_per_level

    def rows(self, snapshot: LevelsSnapshot, records: Records) -> list[dict[str, Any]]:
        """Return a line for each record of the level under way."""
        level = len(snapshot.finished)
        return [
            {"level": level, "step": int(s), "energy": float(e), "residual": float(r)}
            for s, e, r in zip(*records, strict=True)
        ]

    def standing(self, row: dict[str, Any]) -> Standing:
        """Say which level, at which step, and how good."""
        return Standing(
            f"in level {row['level']}",
            row["level"] * self.problem.steps_per_level + row["step"],
            f"level {row['level']}  step {row['step']:5d}  "
            f"energy {row['energy']:.12f}  residual {row['residual']:.1e}",
        )

    def pack(self, snapshot: LevelsSnapshot) -> tuple[Any, dict[str, Any]]:
        """Take the parameters of the finished levels and the state of training."""
        training = snapshot.training
        information = {
            "iterations": [level.iterations for level in snapshot.finished],
            "outcomes": [level.outcome.name for level in snapshot.finished],
            "stage": None if training is None else training.stage,
        }
        parameters = [level.parameters for level in snapshot.finished]
        return (parameters, None if training is None else training.state), information

    def template(self, information: dict[str, Any]) -> Any:
        """Return the shapes of what `pack` took."""
        parameters = jax.eval_shape(self.problem.initialize, jax.random.key(0))
        stage, dtype = information["stage"], self.problem.wave_function.factor.dtype
        state = None
        if stage is not None:
            state = state_template(parameters, dtype, self.problem.stages[stage])
        return [parameters for _ in information["iterations"]], state

    def unpack(self, tree: Any, information: dict[str, Any]) -> LevelsSnapshot:
        """Return the snapshot again."""
        parameters, state = tree
        iterations, outcomes = information["iterations"], information["outcomes"]
        levels = tuple(
            FinishedLevel(p, count, Outcome[outcome])
            for p, count, outcome in zip(parameters, iterations, outcomes, strict=True)
        )
        stage = information["stage"]
        if stage is None:
            return LevelsSnapshot(levels)
        training = TrainingSnapshot(stage, state)
        return LevelsSnapshot(levels, training)


def _report(run: Run, experiment: LevelsExperiment, levels: list[Level]) -> None:
    """Write the result and the pictures, print the table."""
    # half a second of import time that the first line need not wait for
    from physml.runs.pictures import draw_convergence, draw_levels

    exact = experiment.potential.exact_levels(len(levels))
    exact_levels = [
        float(exact[n]) if exact is not None and n < len(exact) else None
        for n in range(len(levels))
    ]
    draw_levels(run.folder.path / "levels.png", experiment, levels)
    draw_convergence(run.folder.path / "convergence.png", run.rows, levels)
    print_levels(levels, exact_levels)
    rows = [_level_row(*pair) for pair in zip(levels, exact_levels, strict=True)]
    run.finish({"levels": rows})


def _level_row(level: Level, exact_energy: float | None) -> dict[str, Any]:
    return {
        "level": level.level,
        "energy": level.energy,
        "grid_energy": level.grid_energy,
        "exact_energy": exact_energy,
        "residual_norm": level.residual_norm,
        "lower_bound": level.interval.lower,
        "upper_bound": level.interval.upper,
        "iterations": level.iterations,
        "outcome": level.outcome.name.lower(),
    }


def require_half_width(box: float | None, default: float) -> float:
    """Return half the width of the box, checked."""
    if box is None:
        return default
    if not 0 < box < float("inf"):
        raise expected("box > 0", box, "give half the width of the box")
    return box
