"""What the benchmarks share: the machine in words, Markdown tables, output files."""

import json
import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from physml.runs.folder import versions


def machine() -> str:
    """Return processor, cores, memory, system and versions in one line."""
    packages = versions()
    try:
        packages["torch"] = version("torch")
    except PackageNotFoundError:
        packages["torch"] = "not installed"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    names = ", ".join(f"{name} {number}" for name, number in packages.items())
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB; "
        f"{platform.system()} {platform.release()} {platform.machine()}; {names}"
    )


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers."""
    rule = [":---"] + ["---:"] * (len(headings) - 1)
    lines = [headings, rule, *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def spread(values: Sequence[float] | np.ndarray, digits: int = 3) -> str:
    """Return the median with the least and the largest value, "5.1 (4.9 to 5.6)"."""
    low, middle, high = np.min(values), np.median(values), np.max(values)
    return f"{middle:.{digits}g} ({low:.{digits}g} to {high:.{digits}g})"


def report(out: Path | None, name: str, sections: dict[str, str], data: Any) -> None:
    """Print the tables; write them and the numbers to a folder, if there is one."""
    text = f"Machine: {machine()}\n\n"
    text += "\n".join(f"## {title}\n\n{body}" for title, body in sections.items())
    print(text, flush=True)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{name}.md").write_text(text)
        (out / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
