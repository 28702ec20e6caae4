"""Run experiments/harmonic_oscillator.py as a user does; time it, check its errors.

python benchmarks/harmonic_oscillator.py --quick
python benchmarks/harmonic_oscillator.py --out TABLES

Each run is a fresh process with a temporary folder for its output; its time includes
the interpreter's start, imports and compilation.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from reporting import markdown_table, report, spread

SCRIPT = Path(__file__).parents[1] / "experiments" / "harmonic_oscillator.py"
PUBLISHED = (
    "--hidden 4 --activation softplus --output-activation softplus "
    "--optimizer adam --steps 50000 --stencil-order 2 --levels 1"
)


@dataclass(frozen=True)
class Options:
    """Time the harmonic oscillator end to end and check its errors."""

    quick: bool = False
    """One run with --quick, and one import."""
    out: Path | None = None
    """Folder for harmonic_oscillator.md and harmonic_oscillator.json."""
    repeats: int = 5
    """Runs of the default experiment with the same seed."""
    seeds: int = 5
    """Seeds 0, 1, ... of the default experiment and of the published set-up."""


def run_experiment(arguments: str) -> dict[str, Any]:
    """Run the experiment; return its result with two times in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(SCRIPT), *arguments.split(), "--out", folder]
        start = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            first_line = time.perf_counter() - start
            process.stdout.read()
        seconds = time.perf_counter() - start
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} left with {process.returncode}")
        result = json.loads((Path(folder) / "result.json").read_text())
    return result | {"wall_seconds": seconds, "first_line": first_line}


def import_seconds(statement: str) -> float:
    """Time a statement in a fresh interpreter, its start included."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def worst(result: dict[str, Any], reference: str) -> float:
    """Return the largest error of all levels."""
    return max(abs(row["energy"] - row[reference]) for row in result["levels"])


def row_of(name: str, result: dict[str, Any]) -> tuple[object, ...]:
    """Return a row of the table of runs."""
    levels = result["levels"]
    widths = [row["upper_bound"] - row["lower_bound"] for row in levels]
    return (
        name,
        f"{worst(result, 'grid_energy'):.1e}",
        f"{worst(result, 'exact_energy'):.1e}",
        f"{max(widths):.1e}",
        " ".join(str(row["iterations"]) for row in levels),
        f"{result['wall_seconds']:.1f}",
        f"{result['first_line']:.1f}",
    )


def runs_of(options: Options) -> dict[str, str]:
    """Return the runs: a name and the options of each."""
    if options.quick:
        return {"--quick": "--quick"}
    repeats = {f"default, run {i}": "" for i in range(options.repeats)}
    seeds = {f"--seed {i}": f"--seed {i}" for i in range(1, options.seeds)}
    published = {
        f"published, --seed {i}": f"{PUBLISHED} --seed {i}"
        for i in range(options.seeds)
    }
    single = {"--precision float32": "--precision float32"}
    return repeats | seeds | published | single


def summary(results: dict[str, dict[str, Any]], imports: dict[str, list[float]]) -> str:
    """Return what the runs say together."""
    default = [r for name, r in results.items() if name.startswith("default")]
    lines = []
    if default:
        times = spread([r["wall_seconds"] for r in default])
        first = spread([r["first_line"] for r in default])
        lines.append(f"* default run: {times} s in all, first line after {first} s")
    groups = {
        "default, all seeds": lambda name: name.startswith(("default", "--seed")),
        "published set-up, all seeds": lambda name: name.startswith("published"),
    }
    for title, is_member in groups.items():
        members = [r for name, r in results.items() if is_member(name)]
        if members:
            grid = max(worst(r, "grid_energy") for r in members)
            exact = max(worst(r, "exact_energy") for r in members)
            lines.append(
                f"* {title}: largest error {grid:.1e} (grid operator), "
                f"{exact:.1e} (n + 1/2)"
            )
    lines += [f"* `{what}`: {spread(times)} s" for what, times in imports.items()]
    return "\n".join(lines) + "\n"


def main(options: Options) -> None:
    """Run, print, write."""
    results = {}
    for name, arguments in runs_of(options).items():
        results[name] = run_experiment(arguments)
        print(*row_of(name, results[name]), flush=True)
    count = 1 if options.quick else options.repeats
    statements = ("pass", "import jax", "import physml")
    imports: dict[str, list[float]] = {statement: [] for statement in statements}
    for _ in range(count):
        for statement, times in imports.items():
            times.append(import_seconds(statement))
    headings = ("run", "- grid operator", "- (n + 1/2)", "widest interval", "steps")
    headings += ("seconds", "first line, s")
    rows = [row_of(name, result) for name, result in results.items()]
    sections = {
        "Runs": markdown_table(headings, rows),
        "Together": summary(results, imports),
    }
    numbers = {"runs": results, "imports": imports}
    report(options.out, "harmonic_oscillator", sections, numbers)


if __name__ == "__main__":
    main(tyro.cli(Options, config=(tyro.conf.FlagCreatePairsOff,)))
