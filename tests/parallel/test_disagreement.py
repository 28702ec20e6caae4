"""Ranks that were started differently are told so, once, and all end."""

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

# The oscillator, with more options on rank 1 than on the others.
OTHER_OPTIONS = """
import sys
from functools import partial
sys.path.insert(0, "experiments")
import harmonic_oscillator as experiment
from physml.parallel.launcher import launched_rank
from physml.runs.command_line import run_experiment
from physml.runs.levels import run_levels
common, others = sys.argv[1].split(), sys.argv[2].split()
run_experiment(
    partial(run_levels, make_experiment=experiment.make_experiment),
    experiment.HarmonicOscillatorConfiguration,
    ["--quick", "--threads", "1", *common, *(others if launched_rank() == 1 else [])],
)
"""


def assert_refused(done, sentence):
    assert done.returncode == 2, done.stdout
    words = " ".join(done.stdout.split())
    assert words.count(sentence) == 1, done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        ("--omega 2", "omega = 1.0 on rank 0 and 2.0 on rank 1: start all"),
        ("--resume", "resume = False on rank 0 and True on rank 1: start all"),
        ("--omega 0", "Rank 1: Expected omega > 0"),
        ("--threads 0", "Rank 1: Expected num_threads >= 1"),
        ("--no-such-option", "--no-such-option"),
    ],
)
def test_other_options_on_one_rank_are_told(run_ranks, tmp_path, others, sentence):
    common = f"--out {tmp_path / 'never'}"
    assert_refused(run_ranks(2, "-c", OTHER_OPTIONS, common, others), sentence)
    assert not (tmp_path / "never" / "result.json").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--communicator serial", "Expected one process for --communicator serial"),
        ("--devices 2", "Expected one process for --devices"),
        ("--threads 0", "Expected num_threads >= 1"),
    ],
)
def test_ranks_never_run_alone_in_one_folder(run_ranks, tmp_path, options, sentence):
    common = f"--out {tmp_path / 'never'} {options}"
    assert_refused(run_ranks(2, "-c", OTHER_OPTIONS, common, ""), sentence)
    assert not (tmp_path / "never").exists()
