"""Time a training step of a network wave function: physml against PyTorch.

python benchmarks/training_step.py --quick
python benchmarks/training_step.py --out TABLES --figure benchmarks/images

The step: energy of the network on the grid (harmonic oscillator, 3-point stencil,
float64), its gradient, one update by Adam. physml's step is the compiled loop of
`physml.training.minimize` as a search for levels runs it, with a record of energy and
residual every tenth step. PyTorch's is written twice: as one writes it (`backward`,
`torch.optim.Adam`), and as one function of all tensors, so that `torch.compile` sees
the whole step. Each burst starts at the same initial parameters, bursts of all
contenders follow one another, and ratios are taken within a round of bursts.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import torch
import tyro
from matplotlib.figure import Figure
from reporting import markdown_table, report, spread

from physml.hamiltonians.potentials import Harmonic, default_grid
from physml.precision import enable_x64
from physml.runs.levels import LevelsConfiguration, LevelsExperiment, levels_problem
from physml.training import Stage, StopRules, minimize, optimizer_stages
from physml.variational.levels import LevelsProblem

LEARNING_RATE = 1e-2
ADAM = optax.flatten(optax.adam(LEARNING_RATE))
LBFGS = optimizer_stages("lbfgs")[-1].optimizer
ALWAYS = StopRules(patience=10**9)  # every step is run
AGREEMENT = 1e-9
THREADS = torch.get_num_threads()

Run = Callable[[int], float]  # number of steps -> energy after them
Layers = list[tuple[torch.Tensor, torch.Tensor]]
Times = dict[str, np.ndarray]  # seconds of a step, one for each round


@dataclass(frozen=True)
class Options:
    """Time a training step of physml, eager PyTorch and torch.compile."""

    quick: bool = False
    """A few seconds: no sweep, short bursts."""
    out: Path | None = None
    """Folder for training_step.md and training_step.json."""
    figure: Path | None = None
    """Folder for training_step.png."""
    rounds: int = 7
    """Rounds of bursts for the published network; the sweep has three."""
    burst: float = 0.5
    """Seconds of a burst, at least one step."""


@dataclass(frozen=True)
class Case:
    """A network on a grid."""

    points: int = 1023
    hidden: tuple[int, ...] = (4,)
    activation: str = "softplus"
    output_activation: str = "softplus"

    @property
    def network(self) -> str:
        """The network in words, as in 1-4-1 softplus."""
        sizes = "-".join(map(str, (1, *self.hidden, 1)))
        return f"{sizes} {self.activation}"

    @property
    def rounding(self) -> float:
        """The rounding level of an energy, which grows like 1/h^2."""
        norm = self.problem().hamiltonian.kinetic_norm_bound()
        return float(np.finfo(float).eps) * norm

    def problem(self, output_layer: str = "trained") -> LevelsProblem:
        """Return physml's problem: one level of the harmonic oscillator."""
        configuration = LevelsConfiguration(
            points=self.points,
            stencil_order=2,
            levels=1,
            hidden=self.hidden,
            activation=self.activation,
            output_activation=self.output_activation,
            output_layer=output_layer,
        )
        potential = Harmonic()
        grid = default_grid(potential, self.points)
        experiment = LevelsExperiment("step", "step", potential, grid, "gaussian")
        return levels_problem(configuration, experiment)


PUBLISHED = Case()
TANH = Case(hidden=(32, 32), activation="tanh", output_activation="identity")
POINTS = (1_000, 10_000, 100_000, 1_000_000)
WIDTHS = (4, 16, 64, 256)


def physml_run(problem: LevelsProblem, optimizer: optax.GradientTransformation) -> Run:
    """Return physml's training loop as a run."""
    energy, residual = problem.objectives(problem.no_lower_levels())
    parameters = problem.initial_parameters(0)

    def run(num_steps: int) -> float:
        stages = (Stage("timed", optimizer, num_steps),)
        result = minimize(
            energy, parameters, stages, measure=residual, stop_rules=ALWAYS
        )
        return float(result.records.value[-1])

    return run


@dataclass(frozen=True)
class TorchEnergy:
    """The same energy in PyTorch, from physml's grid, potential and factor."""

    points: torch.Tensor
    potential: torch.Tensor
    factor: torch.Tensor
    spacing: float
    activations: tuple[Callable, Callable]

    def __call__(self, layers: Layers) -> torch.Tensor:
        """Return the Rayleigh quotient."""
        hidden = self.points  # the box is -8 .. 8, so inputs need no scale
        for kernel, bias in layers[:-1]:
            hidden = self.activations[0](hidden @ kernel + bias)
        kernel, bias = layers[-1]
        psi = self.activations[1](hidden @ kernel + bias)[:, 0] * self.factor
        beyond = torch.nn.functional.pad(psi, (1, 1))
        second = (beyond[2:] - 2 * psi + beyond[:-2]) / self.spacing**2
        return psi @ (self.potential * psi - 0.5 * second) / (psi @ psi)


def torch_energy(case: Case) -> tuple[TorchEnergy, Layers]:
    """Return the energy and the initial parameters of physml's problem."""
    problem = case.problem()
    activations = {
        # PyTorch's own threshold, 20, cuts softplus off at an error of 2e-9
        "softplus": lambda x: torch.nn.functional.softplus(x, threshold=40.0),
        "tanh": torch.tanh,
        "identity": lambda x: x,
    }
    energy = TorchEnergy(
        as_tensor(problem.wave_function.points),
        as_tensor(problem.hamiltonian.potential),
        as_tensor(problem.wave_function.factor),
        problem.hamiltonian.grid.lines[0].spacing,
        (activations[case.activation], activations[case.output_activation]),
    )
    layers = problem.initial_parameters(0)["layers"]
    return energy, [
        (as_tensor(layers[i]["kernel"][...]), as_tensor(layers[i]["bias"][...]))
        for i in range(len(case.hidden) + 1)
    ]


def as_tensor(array: jax.Array) -> torch.Tensor:
    """Copy to PyTorch."""
    return torch.tensor(np.asarray(array))


def torch_run(case: Case, *, is_compiled: bool = False, is_fused: bool = False) -> Run:
    """Return the usual loop: loss (compiled or not), backward, torch.optim.Adam."""
    energy, initial = torch_energy(case)
    loss = torch.compile(energy, dynamic=False) if is_compiled else energy

    def run(num_steps: int) -> float:
        layers = [tuple(t.clone().requires_grad_() for t in pair) for pair in initial]
        flat = [tensor for pair in layers for tensor in pair]
        optimizer = torch.optim.Adam(flat, lr=LEARNING_RATE, fused=is_fused or None)
        for _ in range(num_steps):
            optimizer.zero_grad()
            loss(layers).backward()
            optimizer.step()
        return energy(layers).item()

    return run


def torch_whole_step_run(case: Case) -> Run:
    """Return a loop whose whole step, Adam included, is one compiled function."""
    energy, initial = torch_energy(case)

    def loss(flat: list[torch.Tensor]) -> torch.Tensor:
        return energy(list(zip(flat[::2], flat[1::2], strict=True)))

    @torch.compile(dynamic=False)
    def step(flat: list, first: list, second: list, count: torch.Tensor) -> tuple:
        slopes = torch.func.grad(loss)(flat)
        count = count + 1
        first = [0.9 * m + 0.1 * g for m, g in zip(first, slopes, strict=True)]
        second = [
            0.999 * v + 0.001 * g * g for v, g in zip(second, slopes, strict=True)
        ]
        scale, root = 1 - 0.9**count, torch.sqrt(1 - 0.999**count)
        moves = [
            LEARNING_RATE * (m / scale) / (torch.sqrt(v) / root + 1e-8)
            for m, v in zip(first, second, strict=True)
        ]
        flat = [p - move for p, move in zip(flat, moves, strict=True)]
        return flat, first, second, count

    def run(num_steps: int) -> float:
        flat = [tensor for pair in initial for tensor in pair]
        zeros = [torch.zeros_like(tensor) for tensor in flat]
        state = (flat, zeros, zeros, torch.zeros((), dtype=torch.float64))
        for _ in range(num_steps):
            state = step(*state)
        return loss(state[0]).item()

    return run


def with_threads(run: Run, num_threads: int) -> Run:
    """Run PyTorch with so many threads: more are slower for small tensors."""

    def threaded(num_steps: int) -> float:
        torch.set_num_threads(num_threads)
        return run(num_steps)

    return threaded


def contenders(case: Case, *, with_variants: bool) -> dict[str, Run]:
    """Return physml and PyTorch, each of PyTorch's with one thread and with all."""
    torch.compiler.reset()
    in_torch = {"eager": torch_run(case)}
    if with_variants:
        in_torch["eager, fused Adam"] = torch_run(case, is_fused=True)
        in_torch["torch.compile, loss"] = torch_run(
            case, is_compiled=True, is_fused=True
        )
    in_torch["torch.compile, whole step"] = torch_whole_step_run(case)
    runs = {"physml": physml_run(case.problem(), ADAM)}
    for name, run in in_torch.items():
        for count in sorted({1, THREADS}):
            runs[f"{name}, {count} thread(s)"] = with_threads(run, count)
    return runs


def check_energies(
    runs: dict[str, Run], num_steps: int, rounding: float
) -> dict[str, float]:
    """Return the energies after a few steps; refuse contenders that differ."""
    energies = {name: run(num_steps) for name, run in runs.items()}
    reference = energies["physml"]
    for name, energy in energies.items():
        if not abs(energy - reference) <= AGREEMENT * abs(reference) + rounding:
            raise RuntimeError(
                f"{name} has the energy {energy!r} after {num_steps} steps, "
                f"physml {reference!r}"
            )
    return energies


def seconds_per_step(run: Run, num_steps: int) -> float:
    """Time one burst."""
    start = time.perf_counter()
    run(num_steps)
    return (time.perf_counter() - start) / num_steps


def steps_of_burst(run: Run, least: int, burst: float) -> int:
    """Return how many steps last as long as a burst, what a call costs included."""
    num_steps = least
    run(num_steps)  # compiles, if that is not done yet
    while (seconds := num_steps * seconds_per_step(run, num_steps)) < 0.5 * burst:
        num_steps *= int(np.clip(burst / seconds, 2, 10))
    return num_steps


def time_in_rounds(runs: dict[str, Run], rounds: int, burst: float) -> Times:
    """Time bursts of all contenders, one after the other, several rounds."""
    counts = {}
    for name, run in runs.items():
        least = 2 if "thread" in name else 10  # physml's records come every ten steps
        counts[name] = steps_of_burst(run, least, burst)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(seconds_per_step(run, counts[name]))
    return {name: np.array(values) for name, values in times.items()}


def fastest(times: Times, start: str) -> np.ndarray:
    """Return the times of the fastest contender whose name starts so."""
    return min(
        (values for name, values in times.items() if name.startswith(start)),
        key=np.median,
    )


def compare(options: Options) -> tuple[str, dict[str, Any]]:
    """Time the published network: a row for each contender."""
    runs = contenders(PUBLISHED, with_variants=not options.quick)
    energies = check_energies(runs, 200, PUBLISHED.rounding)
    rounds, burst = (3, 0.1) if options.quick else (options.rounds, options.burst)
    times = time_in_rounds(runs, rounds, burst)
    rows = [
        (
            name,
            spread(1e6 * values),
            spread(values / times["physml"]),
            f"{energies[name]:.13f}",
        )
        for name, values in times.items()
    ]
    headings = ("contender", "microseconds a step", "times physml", "energy, 200 steps")
    data = {name: values.tolist() for name, values in times.items()}
    table = markdown_table(headings, rows)
    print(table, flush=True)
    return table, data


def memory(problem: LevelsProblem) -> int:
    """Return the bytes of one compiled energy and gradient of physml, all buffers."""
    energy, _ = problem.objectives(problem.no_lower_levels())
    function = jax.jit(lambda loss, parameters: jax.value_and_grad(loss)(parameters))
    lowered = function.lower(energy, problem.initial_parameters(0))
    sizes = lowered.compile().memory_analysis()
    return (
        sizes.temp_size_in_bytes
        + sizes.argument_size_in_bytes
        + sizes.output_size_in_bytes
    )


def sweep(cases: Sequence[Case], options: Options) -> tuple[str, list[dict[str, Any]]]:
    """Time each case: a row of physml, eager PyTorch and torch.compile."""
    rows, data = [], []
    for case in cases:
        runs = contenders(case, with_variants=False)
        check_energies(runs, 3, case.rounding)
        times = time_in_rounds(runs, 3, options.burst)
        physml, eager, compiled = (
            fastest(times, name) for name in ("physml", "eager", "torch.compile")
        )
        mebibytes = memory(case.problem()) / 2**20
        rows.append(
            (
                case.network,
                case.points,
                *(f"{1e3 * np.median(t):.3g}" for t in (physml, eager, compiled)),
                spread(eager / physml),
                spread(compiled / physml),
                f"{mebibytes:.3g}",
            )
        )
        print(*rows[-1], flush=True)
        medians = {name: float(np.median(values)) for name, values in times.items()}
        data.append(
            {
                "network": case.network,
                "points": case.points,
                "width": case.hidden[0],
                "physml": float(np.median(physml)),
                "eager": float(np.median(eager)),
                "torch.compile": float(np.median(compiled)),
                "mebibytes": mebibytes,
                "all": medians,
            }
        )
    headings = ("network", "points", "physml, ms", "eager, ms", "torch.compile, ms")
    headings += ("eager / physml", "torch.compile / physml", "physml, MiB")
    return markdown_table(headings, rows), data


def optimizer_table(options: Options) -> tuple[str, list[dict[str, Any]]]:
    """Time physml's other steps: L-BFGS, and a solved output layer."""
    kinds = [
        (f"{optimizer_name}, output layer {layer}", optimizer, layer)
        for layer in ("trained", "solved")
        for optimizer_name, optimizer in (("Adam", ADAM), ("L-BFGS", LBFGS))
    ]
    points = (1023,) if options.quick else (1023, 10_000, 100_000)
    rows, data = [], []
    for count in points:
        case = replace(TANH, points=count)
        runs = {
            name: physml_run(case.problem(layer), optimizer)
            for name, optimizer, layer in kinds
        }
        times = time_in_rounds(runs, 3, options.burst)
        rows += [
            (name, case.network, count, spread(1e3 * t)) for name, t in times.items()
        ]
        data.append({"points": count} | {k: v.tolist() for k, v in times.items()})
    headings = ("physml's step", "network", "points", "milliseconds a step")
    return markdown_table(headings, rows), data


def growth(rows: Sequence[dict[str, Any]], variable: str) -> str:
    """Fit time = constant * variable^exponent to the three largest sizes."""
    size = np.log([row[variable] for row in rows[-3:]])
    exponents = {
        name: np.polyfit(size, np.log([row[name] for row in rows[-3:]]), 1)[0]
        for name in ("physml", "eager", "torch.compile")
    }
    return ", ".join(f"{name} {value:.2f}" for name, value in exponents.items())


def draw(path: Path, panels: dict[str, tuple[str, list[dict[str, Any]]]]) -> None:
    """Draw time against size, a panel for each sweep."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True)
    markers = {"eager": "s-", "torch.compile": "^-", "physml": "o-"}
    for axes, (title, (variable, rows)) in zip(all_axes, panels.items(), strict=True):
        for name, marker in markers.items():
            size = [row[variable] for row in rows]
            label = name if name == "physml" else f"PyTorch, {name}"
            axes.loglog(size, [1e3 * row[name] for row in rows], marker, label=label)
        axes.set(title=title, xlabel=variable)
        axes.grid(which="major", alpha=0.3)
    all_axes[0].set_ylabel("milliseconds a step")
    all_axes[0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def main(options: Options) -> None:
    """Compare, sweep, report."""
    enable_x64()
    table, data = compare(options)
    sections = {"The published network, 1023 points": table}
    numbers: dict[str, Any] = {"published": data}
    table, numbers["optimizers"] = optimizer_table(options)
    sections["Other optimizers, physml alone"] = table
    if not options.quick:
        sweeps = {
            "1-4-1 softplus": (
                [replace(PUBLISHED, points=n) for n in POINTS],
                "points",
            ),
            "1-32-32-1 tanh": ([replace(TANH, points=n) for n in POINTS], "points"),
            "1-w-w-1 tanh, 10 000 points": (
                [replace(TANH, points=10_000, hidden=(w, w)) for w in WIDTHS],
                "width",
            ),
        }
        panels = {}
        for title, (cases, variable) in sweeps.items():
            table, rows = sweep(cases, options)
            exponents = growth(rows, variable)
            sections[title] = f"{table}\nExponents over the last three: {exponents}\n"
            panels[title] = (variable, rows)
        numbers["sweeps"] = panels
        if options.figure is not None:
            draw(options.figure / "training_step.png", panels)
    report(options.out, "training_step", sections, numbers)


if __name__ == "__main__":
    main(tyro.cli(Options, config=(tyro.conf.FlagCreatePairsOff,)))
