"""Levenberg-Marquardt against L-BFGS, Adam and SciPy on a small network.

    python benchmarks/least_squares.py --out TABLES      # about two minutes

A network 3-8-1 with 40 parameters and tanh is fitted to samples of a smooth function,
from the same random starts with every method. Loss: mean squared error. Seconds are
those of a second call, without compilation; SciPy calls the same residuals and
gradients of samples, compiled.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
import tyro
from jax.flatten_util import ravel_pytree
from reporting import markdown_table, report, spread
from scipy.optimize import least_squares

import physml
from physml.training import (
    Regression,
    Stage,
    StopRules,
    minimize,
    minimize_starts,
    optimizer_stages,
)
from physml.training.levenberg_marquardt import least_squares_optimizer

HIDDEN = 8
RULES = StopRules(patience=10**9)


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    samples: int = 2000
    """Samples that are fitted."""
    starts: int = 5
    """Random starts of each method."""
    steps: int = 100
    """Steps of Levenberg-Marquardt; L-BFGS has 10 times, Adam 50 times as many."""
    target: float = 1e-4
    """The loss for which steps and seconds are counted."""
    out: Path | None = None
    """Folder for the tables."""


@dataclass(frozen=True)
class Way:
    """What one method did from one start."""

    loss: float
    steps: int | None  # until the target was reached
    seconds: float | None
    all_seconds: float


Method = Callable[[Any], Way]


def network(parameters: Any, inputs: jax.Array) -> jax.Array:
    """Return the output of each sample."""
    hidden = jnp.tanh(inputs @ parameters["weights"] + parameters["shifts"])
    return hidden @ parameters["output"]


def initialize(key: jax.Array) -> Any:
    """Draw parameters."""
    keys = jax.random.split(key, 3)
    return {
        "weights": jax.random.normal(keys[0], (3, HIDDEN)) / 3**0.5,
        "shifts": jax.random.normal(keys[1], (HIDDEN,)),
        "output": jax.random.normal(keys[2], (HIDDEN,)) / HIDDEN**0.5,
    }


def samples_of_the_function(num_samples: int) -> Regression:
    """Return samples of sin(x + y/2 - z) exp(-x^2 / 4)."""
    points = jax.random.normal(jax.random.key(0), (num_samples, 3))
    phase = points @ jnp.array([1.0, 0.5, -1.0])
    values = jnp.sin(phase) * jnp.exp(-(points[:, 0] ** 2) / 4)
    return Regression(network, points, values)


def physml_method(
    regression: Regression, stages: tuple[Stage, ...], every: int, target: float
) -> Method:
    """Return a method that trains twice and times the second."""

    def method(start: Any) -> Way:
        run = partial(
            minimize,
            regression.loss(),
            start,
            stages,
            stop_rules=RULES,
            record_every=every,
        )
        run()
        began = time.perf_counter()
        records = run().records
        return way(records.step, records.value, target, time.perf_counter() - began)

    return method


def scipy_method(
    regression: Regression, name: Literal["lm", "trf"], num_steps: int, target: float
) -> Method:
    """Return a method of SciPy with the compiled residuals and Jacobian."""
    _, unravel = ravel_pytree(initialize(jax.random.key(0)))
    scale = len(regression.targets) ** -0.5

    @jax.jit
    def residuals(vector: jax.Array) -> jax.Array:
        return scale * (
            network(unravel(vector), regression.inputs) - regression.targets
        )

    @jax.jit
    def jacobian(vector: jax.Array) -> jax.Array:
        def output(vector: jax.Array, point: jax.Array) -> jax.Array:
            return scale * network(unravel(vector), point[None])[0]

        return jax.vmap(jax.grad(output), (None, 0))(vector, regression.inputs)

    def method(start: Any) -> Way:
        losses: list[float] = []

        def recorded(x: np.ndarray) -> np.ndarray:
            found = np.asarray(residuals(x))
            losses.append(float(found @ found))
            return found

        x = np.asarray(ravel_pytree(start)[0])
        np.asarray(jacobian(x)), np.asarray(residuals(x))  # compiled
        began = time.perf_counter()
        least_squares(
            recorded, x, lambda x: np.asarray(jacobian(x)), method=name,
            max_nfev=num_steps, ftol=1e-15, xtol=1e-15, gtol=1e-15,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        return way(np.arange(1, len(losses) + 1), np.array(losses), target, seconds)

    return method


def way(steps: np.ndarray, losses: np.ndarray, target: float, seconds: float) -> Way:
    """Find where the target was reached."""
    there = np.flatnonzero(losses <= target)
    if not there.size:
        return Way(float(losses.min()), None, None, seconds)
    first = int(steps[there[0]])
    return Way(float(losses.min()), first, seconds * first / int(steps[-1]), seconds)


def methods(options: Options, regression: Regression) -> dict[str, Method]:
    """Return all methods by name."""
    steps, target = options.steps, options.target
    ours = optimizer_stages("levenberg_marquardt", num_steps=steps)
    solver = optimistix.LevenbergMarquardt(rtol=0.0, atol=0.0)
    bold = optimistix.ClassicalTrustRegion(high_cutoff=0.75, high_constant=10.0)
    solver = eqx.tree_at(lambda s: s.search, solver, bold)
    bolder = (Stage("bolder", least_squares_optimizer(solver), steps),)
    lbfgs = optimizer_stages("lbfgs", num_steps=10 * steps)
    adam = optimizer_stages("adam", num_steps=50 * steps)
    return {
        "Levenberg-Marquardt": physml_method(regression, ours, 1, target),
        "the same, damping falls tenfold": physml_method(regression, bolder, 1, target),
        "L-BFGS after 100 steps of Adam": physml_method(regression, lbfgs, 10, target),
        "Adam": physml_method(regression, adam, 10, target),
        "SciPy, MINPACK": scipy_method(regression, "lm", steps, target),
        "SciPy, trust region": scipy_method(regression, "trf", steps, target),
    }


def row_of(name: str, ways: list[Way]) -> tuple[str, ...]:
    """Return medians, with the least and the largest in brackets."""
    there = [w for w in ways if w.steps is not None and w.seconds is not None]
    none = "-"
    return (
        name,
        spread([w.loss for w in ways], 2),
        f"{len(there)} of {len(ways)}",
        spread([w.steps or 0 for w in there]) if there else none,
        spread([w.seconds or 0 for w in there], 2) if there else none,
        spread([w.all_seconds for w in ways], 2),
    )


def together(regression: Regression, options: Options, starts: Any) -> str:
    """Time all starts one after another, and by vmap."""
    stages = optimizer_stages("levenberg_marquardt", num_steps=options.steps)
    seconds = {}
    for at_once in (1, options.starts):
        run = partial(
            minimize_starts,
            regression.loss(),
            starts,
            stages,
            at_once=at_once,
            stop_rules=RULES,
        )
        run()
        began = time.perf_counter()
        run()
        seconds[at_once] = time.perf_counter() - began
    rows = [(f"{n} at once", f"{s:.2f}") for n, s in seconds.items()]
    title = f"{options.starts} starts, {options.steps} steps each"
    return markdown_table((title, "seconds"), rows)


def main(options: Options) -> None:
    """Compare all methods."""
    physml.enable_x64()
    regression = samples_of_the_function(options.samples)
    starts = jax.vmap(initialize)(jax.random.split(jax.random.key(1), options.starts))
    ways = {
        name: [
            method(jax.tree.map(lambda x, i=i: x[i], starts))
            for i in range(options.starts)
        ]
        for name, method in methods(options, regression).items()
    }
    headings = (
        "method", "final loss", f"reach {options.target:g}", "steps to it",
        "seconds to it", "seconds in all",
    )  # fmt: skip
    table = markdown_table(headings, [row_of(*item) for item in ways.items()])
    sections = {
        "Training": table,
        "Starts": together(regression, options, starts),
    }
    data = {name: [vars(w) for w in ways[name]] for name in ways}
    report(options.out, "least_squares", sections, data)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
