"""Run the search for levels of a one-dimensional potential, end to end.

Common to all experiments that look for levels: the options, the problem made of them,
the run with its progress, checkpoints and interruption, and what it leaves behind.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import jax

from physml.failures import expected
from physml.hamiltonians.potentials import Potential
from physml.hamiltonians.schrodinger import schrodinger_hamiltonian
from physml.lattices.grid import Grid
from physml.precision import enable_x64
from physml.runs.folder import RunFolder, open_folder, versions
from physml.runs.interruption import Interrupted, InterruptionWatch
from physml.runs.progress import ProgressLine, progress_line
from physml.runs.tables import print_levels
from physml.training.checkpoint import (
    CheckpointError,
    load_checkpoint,
    read_manifest,
    save_checkpoint,
)
from physml.training.compiled_loop import state_template
from physml.training.minimization import TrainingSnapshot
from physml.training.records import Records
from physml.training.stages import OptimizerName, optimizer_stages
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

NOT_COMPARED = ("out", "resume", "quick", "time_limit")


@dataclass(frozen=True)
class LevelsConfiguration:
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
    optimizer: OptimizerName = "lbfgs"
    """lbfgs: a short start with Adam, then L-BFGS; adam: Adam alone."""
    steps: int = 1000
    """Optimizer steps for each level, at most."""
    learning_rate: float = 1e-2
    """First learning rate of Adam."""
    target_residual: float | None = None
    """A level is done at this residual norm |H psi - E psi| / |psi|, in units of
    energy. By default 1e-5 or the rounding level, whichever is larger."""
    time_limit: float | None = None
    """End a level after so many seconds. By default no limit."""
    seed: int = 0
    """Of the random initial parameters."""
    precision: Literal["float64", "float32"] = "float64"
    """float32 loses the last eight of sixteen digits."""
    out: Path | None = None
    """Folder for all that the run writes. By default runs/NAME-DATE-TIME."""
    resume: bool = False
    """Go on from the checkpoint in --out, with the same options."""
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
) -> list[Level]:
    """Find the levels and write result, records, pictures and checkpoint.

    Parameters
    ----------
    configuration
        The options.
    make_experiment
        Builds the experiment from the options.

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
    print(f"{experiment.title}: {configuration.levels} levels", flush=True)
    problem = levels_problem(configuration, experiment)
    # what can be wrong shows before anything is written
    jax.eval_shape(problem.wave_function, problem.initial_parameters(0))
    folder = open_folder(
        configuration.out, experiment.name, resume=configuration.resume
    )
    print(f"Writing to {folder.path}; compiling takes a few seconds", flush=True)
    if configuration.precision == "float32":
        floor = problem.stop_rules.target
        print(f"In float32 residuals below {floor:.0e} are rounding.", flush=True)
    run = _LevelsRun(configuration, problem, folder)
    snapshot = run.restore() if configuration.resume else None
    with InterruptionWatch() as watch, progress_line(run.total_steps) as line:
        run.attach(watch, line, start)
        levels = find_levels(problem, observer=run.observe, snapshot=snapshot)
    _report(run, experiment, levels)
    return levels


def levels_problem(
    configuration: LevelsConfiguration, experiment: LevelsExperiment
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
    )


@dataclass
class _LevelsRun:
    """The observer of one run: progress, records and checkpoints."""

    configuration: LevelsConfiguration
    problem: LevelsProblem
    folder: RunFolder
    checkpoint_every: float = 2.0  # seconds
    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds_before: float = 0.0
    _saved_at: float = field(default_factory=time.monotonic)
    _num_finished: int = 0
    _watch: InterruptionWatch = field(default_factory=InterruptionWatch)
    _line: ProgressLine | None = None
    _start: float = field(default_factory=time.monotonic)

    def attach(
        self, watch: InterruptionWatch, line: ProgressLine, start: float
    ) -> None:
        """Say where to look for signals, where to show progress, when the run began."""
        self._watch, self._line, self._start = watch, line, start

    @property
    def total_steps(self) -> int:
        """The most steps that the run may take."""
        return self.problem.num_levels * self.problem.steps_per_level

    @property
    def seconds(self) -> float:
        """The time spent, earlier parts of a resumed run included."""
        return self.seconds_before + time.monotonic() - self._start

    def observe(self, snapshot: LevelsSnapshot, records: Records) -> bool:
        """Note the records, save now and then, and stop if a signal came."""
        level = len(snapshot.finished)
        new = [
            {"level": level, "step": int(s), "energy": float(e), "residual": float(r)}
            for s, e, r in zip(*records, strict=True)
        ]
        self.rows += new
        self.folder.append_records(new)
        self._show(level)
        number = self._watch.signal_number
        is_due = time.monotonic() - self._saved_at > self.checkpoint_every
        if is_due or number is not None or level > self._num_finished:
            self.save(snapshot)
        if number is not None:
            raise Interrupted(
                f"Interrupted in level {level} after {self.seconds:.0f} s; go on with "
                f"the same options and --out {self.folder.path} --resume.",
                number,
            )
        return False

    def _show(self, level: int) -> None:
        if self._line is None or not self.rows:
            return
        last = self.rows[-1]
        done = level * self.problem.steps_per_level
        done += last["step"] if last["level"] == level else 0
        self._line.update(
            done,
            f"level {last['level']}  step {last['step']:5d}  "
            f"energy {last['energy']:.12f}  residual {last['residual']:.1e}",
        )

    def save(self, snapshot: LevelsSnapshot) -> None:
        """Write a checkpoint."""
        self.folder.sync_records()
        training = snapshot.training
        information = {
            "configuration": comparable(self.configuration),
            "iterations": [level.iterations for level in snapshot.finished],
            "outcomes": [level.outcome.name for level in snapshot.finished],
            "stage": None if training is None else training.stage,
            "num_records": len(self.rows),
            "seconds": self.seconds,
        }
        tree = (
            [level.parameters for level in snapshot.finished],
            None if training is None else training.state,
        )
        save_checkpoint(self.folder.checkpoint, tree, information)
        self._saved_at, self._num_finished = time.monotonic(), len(snapshot.finished)

    def restore(self) -> LevelsSnapshot:
        """Read the checkpoint, check that it belongs to this run, cut the records."""
        information = read_manifest(self.folder.checkpoint)
        _require_same(information["configuration"], comparable(self.configuration))
        parameters = jax.eval_shape(self.problem.initialize, jax.random.key(0))
        stage = information["stage"]
        dtype = self.problem.wave_function.factor.dtype
        template = (
            [parameters for _ in information["iterations"]],
            None
            if stage is None
            else state_template(parameters, dtype, self.problem.stages[stage]),
        )
        finished, state = load_checkpoint(self.folder.checkpoint, template)
        self.rows = self.folder.cut_records(information["num_records"])
        self.seconds_before = information["seconds"]
        self._num_finished = len(finished)
        levels = tuple(
            FinishedLevel(parameters, iterations, Outcome[outcome])
            for parameters, iterations, outcome in zip(
                finished,
                information["iterations"],
                information["outcomes"],
                strict=True,
            )
        )
        training = None if state is None else TrainingSnapshot(stage, state)
        return LevelsSnapshot(levels, training)


def comparable(configuration: LevelsConfiguration) -> dict[str, Any]:
    """Return the options that a checkpoint must share with the run that resumes it."""
    options = asdict(configuration).items()
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in options}
    return {name: v for name, v in plain.items() if name not in NOT_COMPARED}


def _require_same(saved: dict[str, Any], given: dict[str, Any]) -> None:
    different = [name for name in given if saved.get(name) != given[name]]
    if different:
        was = ", ".join(f"{name} = {saved.get(name)}" for name in different)
        now = ", ".join(f"{name} = {given[name]}" for name in different)
        raise CheckpointError(
            f"Expected the options of the checkpoint ({was}), got {now}: resume with "
            "the same options, or start in a new folder."
        )


def _report(run: _LevelsRun, experiment: LevelsExperiment, levels: list[Level]) -> None:
    """Write the result and the pictures, print the table."""
    # half a second of import time that the first line need not wait for
    from physml.runs.pictures import draw_convergence, draw_levels

    exact = experiment.potential.exact_levels(len(levels))
    exact_levels = [
        float(exact[n]) if exact is not None and n < len(exact) else None
        for n in range(len(levels))
    ]
    result = {
        "experiment": experiment.name,
        "config": comparable(run.configuration),
        "levels": [
            _level_row(level, exact_energy)
            for level, exact_energy in zip(levels, exact_levels, strict=True)
        ],
        "seconds": round(run.seconds, 3),
        "versions": versions(),
    }
    draw_levels(run.folder.path / "levels.png", experiment, levels)
    draw_convergence(run.folder.path / "convergence.png", run.rows, levels)
    run.folder.write_result(result)
    print_levels(levels, exact_levels)
    print(f"{run.seconds:.1f} s. Results and pictures are in {run.folder.path}")


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
