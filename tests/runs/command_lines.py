"""Experiments from their command lines, in this process or in one of their own."""

import importlib.util
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def load(name):
    specification = importlib.util.spec_from_file_location(
        name, EXPERIMENTS / f"{name}.py"
    )
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # tyro reads the docstrings of options from the source
    specification.loader.exec_module(module)
    return module


def run(name, *arguments):
    """Run an experiment in this process; return its exit code."""
    from physml.runs.command_line import run_experiment

    module = load(name)
    (configuration,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == name
    )
    (function,) = (
        value
        for key, value in vars(module).items()
        if key.startswith("run_") and key != "run_experiment"
    )
    if hasattr(module, "make_experiment"):
        function = partial(function, make_experiment=module.make_experiment)
    try:
        run_experiment(
            function,
            configuration,
            [str(argument) for argument in arguments],
        )
    except SystemExit as leaving:
        return leaving.code
    return 0


def start(*arguments, launcher=(), name="harmonic_oscillator"):
    """Run an experiment in a process of its own."""
    script = EXPERIMENTS / f"{name}.py"
    return subprocess.Popen(
        [str(part) for part in (*launcher, sys.executable, script, *arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result_of(folder):
    return json.loads((folder / "result.json").read_text())


def wait_for_records(folder, num_rows):
    path = folder / "records.jsonl"
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        if path.exists() and path.read_bytes().count(b"\n") >= num_rows:
            return
        time.sleep(0.02)
    raise TimeoutError(f"{num_rows} records did not come")


def wait_for_checkpoint(folder):
    deadline = time.monotonic() + 100
    while not (folder / "checkpoint" / "manifest.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
