"""Means at 6 x 6, T = 0.05: exact local Metropolis against self-learning.

python benchmarks/self_learning_means.py --runs RUNS --sweeps 600000
python benchmarks/self_learning_means.py --runs RUNS --sweeps 0

RUNS holds what `self_learning_monte_carlo.py means` has made by self-learning. Exact
chains run here, by Green's functions, in blocks that stay in RUNS/exact_chains: what
was interrupted goes on behind its last whole block. New spins are drawn from the whole
sphere, so nothing adapts; the chains start at random and the first block is left out.
F/T is that of a diagonalization at each record, which also says what the Green's
functions have made of it.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import numpy as np
import tyro
from jax.tree_util import Partial
from reporting import markdown_table, report
from self_learning_monte_carlo import with_error

from physml.estimators import (
    blocking_levels,
    chain_estimate,
    magnetization,
    staggered_magnetization,
)
from physml.hamiltonians import DoubleExchange, double_exchange_density
from physml.lattices import square
from physml.parallel import limit_threads
from physml.precision import enable_x64
from physml.samplers import (
    LocalMetropolis,
    SampleResult,
    StepSize,
    random_configurations,
    sample,
)

TEMPERATURE, CHAINS = 0.05, 8
SWEEPS_PER_RECORD, RECORDS_PER_BLOCK = 4, 256
SWEEPS_PER_BLOCK = CHAINS * RECORDS_PER_BLOCK * SWEEPS_PER_RECORD
QUANTITIES = (
    "free_energy_over_temperature",
    "magnetization",
    "staggered_magnetization",
)
Series = dict[str, np.ndarray]  # (chains, records)


@dataclass(frozen=True)
class Options:
    """Run exact chains, and compare their means with those of self-learning."""

    runs: Path = Path("runs/self_learning_monte_carlo")
    """Folder of the runs of self_learning_monte_carlo.py."""
    sweeps: int = 600_000
    """Of all exact chains together; what is there already counts."""
    out: Path | None = None
    """Folder for the tables."""


def observed(model: DoubleExchange, spins: jax.Array) -> dict[str, jax.Array]:
    """Return what a record holds, F/T by a diagonalization."""
    values = (
        model.free_energy(spins, TEMPERATURE) / TEMPERATURE,
        magnetization(spins, model.lattice),
        staggered_magnetization(spins, model.lattice),
    )
    return dict(zip(QUANTITIES, values, strict=True))


def blocks_of(runs: Path) -> list[Path]:
    """Return the blocks that are there."""
    return sorted((runs / "exact_chains").glob("block_*.npz"))


def run_blocks(runs: Path, num_blocks: int) -> None:
    """Run exact chains until there are so many blocks."""
    model = DoubleExchange(square(6, 6))
    kernel = LocalMetropolis(
        double_exchange_density(model, TEMPERATURE),
        step_size=StepSize(np.pi, None, np.pi),
        num_sweeps=SWEEPS_PER_RECORD,
    )
    run = partial(
        sample, kernel, num_sweeps=RECORDS_PER_BLOCK, batching="map",
        observables=Partial(partial(observed, model)),
    )  # fmt: skip
    done = blocks_of(runs)
    spins = random_configurations(jax.random.key(0), CHAINS, model.lattice.shape)
    spins = np.load(done[-1])["spins"] if done else spins
    for number in range(len(done), num_blocks):
        result = run(spins, key=jax.random.fold_in(jax.random.key(1), number))
        spins = result.spins
        write_block(runs / "exact_chains" / f"block_{number:04d}.npz", result)
        print(f"block {number} of {num_blocks}, {result.seconds:.0f} s", flush=True)


def write_block(path: Path, result: SampleResult) -> None:
    """Write records, the last spins, and the largest error of the kept F/T."""
    values = result.measured.values
    kept = -values["log_density"]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(
            file,
            spins=result.spins,
            seconds=result.seconds,
            acceptance=result.measured.acceptance["local"],
            error=np.abs(kept - values[QUANTITIES[0]]).max(),
            **{name: values[name] for name in QUANTITIES},
        )
    part.replace(path)


def exact_series(runs: Path) -> Series:
    """Return all exact chains behind the first block."""
    blocks = [np.load(path) for path in blocks_of(runs)[1:]]
    return {
        name: np.concatenate([block[name] for block in blocks], axis=1)
        for name in QUANTITIES
    }


def model_series(runs: Path) -> Series:
    """Return the long chains of self-learning, as many steps of each seed."""
    files = [np.load(runs / run / "series.npz") for run in ("model", "model_again")]
    found = {}
    for name in QUANTITIES:
        chains = [file[f"1 layer/{name}"] for file in files]
        length = min(part.shape[1] for part in chains)
        found[name] = np.concatenate([part[:, :length] for part in chains])
    return found


def table_of_means(methods: dict[str, Series]) -> str:
    """Return means; errors by autocorrelation, by blocking and from the chains."""
    rows = []
    for quantity in QUANTITIES:
        for name, series in methods.items():
            chains = series[quantity]
            found = chain_estimate(chains)
            of_chains = np.std(chains.mean(axis=1), ddof=1) / np.sqrt(len(chains))
            errors = (found.error, blocking_levels(chains).best_error, of_chains)
            rows.append(
                (
                    quantity.replace("_", " "),
                    name,
                    chains.size,
                    with_error(found.mean, found.error),
                    *(f"{error:.2g}" for error in errors),
                    f"{found.autocorrelation_time:.2f}",
                    f"{found.split_r_hat:.4f}",
                )
            )
    headings = ["", "method", "records", "mean", "error", "by blocking"]
    headings += ["from chains", "tau, records", "split R-hat"]
    return markdown_table(headings, rows)


def table_of_differences(methods: dict[str, Series]) -> str:
    """Return differences of the means, also in units of their errors."""
    rows = []
    for quantity in QUANTITIES:
        exact, model = (chain_estimate(series[quantity]) for series in methods.values())
        error = float(np.hypot(exact.error, model.error))
        difference = exact.mean - model.mean
        words = (with_error(difference, error), f"{difference / error:+.1f}")
        rows.append((quantity.replace("_", " "), *words))
    return markdown_table(["", "exact - self-learning", "in errors"], rows)


def words_of_chains(runs: Path) -> str:
    """Return what the exact chains cost, and how exact their Green's functions are."""
    blocks = [np.load(path) for path in blocks_of(runs)[1:]]
    seconds = sum(float(block["seconds"]) for block in blocks)
    sweeps = len(blocks) * SWEEPS_PER_BLOCK
    acceptance = np.mean([block["acceptance"].mean() for block in blocks])
    return (
        f"{sweeps} sweeps, {1e3 * seconds / sweeps:.2f} ms each, {acceptance:.3f} "
        "accepted; largest error of F/T as kept by Green's functions for "
        f"{SWEEPS_PER_RECORD} sweeps {max(block['error'] for block in blocks):.1e}.\n"
    )


def main(options: Options) -> None:
    """Run what is missing, and make the tables."""
    limit_threads(1)
    enable_x64()
    run_blocks(options.runs, 1 + -(-options.sweeps // SWEEPS_PER_BLOCK))
    methods = {
        "exact Metropolis": exact_series(options.runs),
        "self-learning": model_series(options.runs),
    }
    tables = {
        "Means": table_of_means(methods),
        "Differences": table_of_differences(methods),
        "Exact chains": words_of_chains(options.runs),
    }
    report(options.out, "means_exact", tables, {})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
