"""The experiments as a user meets them: options, files, exit codes, resuming."""

import json
import shutil
import signal

import numpy as np
import pytest
from command_lines import (
    result_of,
    run,
    start,
    wait_for_checkpoint,
    wait_for_records,
)

SMALL = ["--points", "63", "--levels", "2", "--hidden", "8", "--optimizer", "adam"]


def test_everything_that_a_run_leaves_behind(tmp_path, capsys):
    out = tmp_path / "run"
    assert run("harmonic_oscillator", *SMALL, "--steps", 200, "--out", out) == 0
    result = result_of(out)
    assert result["experiment"] == "harmonic_oscillator"
    assert result["config"]["hidden"] == [8]
    assert {"jax", "flax", "optax", "physml", "python"} <= set(result["versions"])
    assert [row["level"] for row in result["levels"]] == [0, 1]
    for n, row in enumerate(result["levels"]):
        assert row["exact_energy"] == n + 0.5
        assert row["lower_bound"] <= row["grid_energy"] <= row["upper_bound"]
        assert abs(row["energy"] - row["grid_energy"]) < 1e-3
        assert row["outcome"] == "step_limit"
        assert row["iterations"] == 200
    rows = [json.loads(x) for x in (out / "records.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * 20
    assert set(rows[0]) == {"level", "step", "energy", "residual"}
    for picture in ("levels.png", "convergence.png"):
        assert (out / picture).read_bytes().startswith(b"\x89PNG")
    assert (out / "checkpoint" / "manifest.json").exists()
    assert not list(out.rglob("*.tmp*"))
    printed = capsys.readouterr().out
    assert "closed form" in printed
    assert str(out) in printed


@pytest.mark.parametrize("name", ["double-well", "morse"])
def test_other_potentials(tmp_path, name):
    arguments = [*SMALL, "--steps", 20, "--potential", name, "--out", tmp_path]
    assert run("potential_levels", *arguments) == 0
    exact = [row["exact_energy"] for row in result_of(tmp_path)["levels"]]
    assert (exact == [None, None]) == (name == "double-well")


def test_parameters_of_a_potential(tmp_path):
    arguments = [*SMALL, "--steps", 20, "--potential", "harmonic", "--out", tmp_path]
    assert run("potential_levels", *arguments, "--parameters", "omega", 2.0) == 0
    assert result_of(tmp_path)["levels"][0]["exact_energy"] == 1.0


BAD_OPTIONS = [
    (["--omega", "0"], "Expected omega > 0"),
    (["--omega", "nan"], "Expected omega > 0"),
    (["--box", "-1"], "Expected box > 0"),
    (["--points", "8"], "more than 8 points"),
    (["--points", "1"], "at least 2 grid points"),
    (["--levels", "600"], "between 1 and 510 levels"),
    (["--levels", "0"], "between 1 and 510 levels"),
    (["--hidden", "0"], "width 1 or more"),
    (["--activation", "relux"], "one of the activations"),
    (["--boundary", "open"], "boundary"),
    (["--stencil-order", "3"], "2, 4, 6 or 8"),
    (["--steps", "0"], "1 step or more"),
    (["--learning-rate", "nan"], "learning rate > 0"),
    (["--target-residual", "1e-15"], "above the rounding level"),
    (["--precision", "float32", "--target-residual", "1e-6"], "use float64"),
    (["--time-limit", "0"], "time limit"),
    (["--output-layer", "solved", "--output-activation", "tanh"], "output activation"),
    (["--optimizer", "newton"], "optimizer"),
    (["--no-such-option"], "no-such-option"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS, ids=lambda x: str(x)[:30])
def test_bad_options_are_one_sentence_and_write_nothing(
    tmp_path, capsys, options, message
):
    out = tmp_path / "never"
    assert run("harmonic_oscillator", *options, "--out", out) == 2
    printed = capsys.readouterr()
    assert message in printed.err + printed.out
    assert "Traceback" not in printed.err
    assert not out.exists()


def test_unknown_potential(tmp_path, capsys):
    arguments = ["--potential", "coulomb", "--out", tmp_path / "never"]
    assert run("potential_levels", *arguments) == 2
    assert "one of the potentials" in capsys.readouterr().err


def test_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "run"
    assert run("harmonic_oscillator", *SMALL, "--out", out) == 2
    assert "a folder that can be written" in capsys.readouterr().err


def test_an_earlier_run_is_not_overwritten_and_can_be_resumed(tmp_path, capsys):
    arguments = [*SMALL, "--steps", 20, "--out", tmp_path]
    assert run("harmonic_oscillator", *arguments) == 0
    before = result_of(tmp_path)["levels"]
    assert run("harmonic_oscillator", *arguments) == 2
    assert "--resume" in capsys.readouterr().err
    assert run("harmonic_oscillator", *arguments, "--resume") == 0
    assert result_of(tmp_path)["levels"] == before


def test_records_of_a_run_without_a_checkpoint_are_not_continued(tmp_path):
    (tmp_path / "records.jsonl").write_text('{"level": 7}\n')
    arguments = [*SMALL, "--steps", 20, "--out", tmp_path]
    assert run("harmonic_oscillator", *arguments) == 0
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    assert [json.loads(line)["level"] for line in lines] == [0, 0, 1, 1]


def test_resuming_needs_the_same_options_and_a_checkpoint(tmp_path, capsys):
    arguments = [*SMALL, "--steps", 20, "--out", tmp_path]
    assert run("harmonic_oscillator", *arguments, "--resume") == 2
    assert run("harmonic_oscillator", *SMALL, "--resume") == 2
    assert run("harmonic_oscillator", *arguments) == 0
    capsys.readouterr()
    assert run("harmonic_oscillator", *arguments, "--seed", 3, "--resume") == 2
    assert "seed = 0" in (message := capsys.readouterr().err)
    assert "seed = 3" in message


def test_damaged_checkpoint(tmp_path, capsys):
    arguments = [*SMALL, "--steps", 20, "--out", tmp_path]
    assert run("harmonic_oscillator", *arguments) == 0
    (arrays,) = (tmp_path / "checkpoint").glob("*.npz")
    arrays.write_bytes(arrays.read_bytes()[:100])
    assert run("harmonic_oscillator", *arguments, "--resume") == 2
    assert "damaged" in capsys.readouterr().err


def test_quick_changes_only_what_the_user_left_open(tmp_path):
    chosen = ["--optimizer", "adam", "--steps", 20, "--hidden", 32, 32, "--points", 63]
    assert run("harmonic_oscillator", "--quick", *chosen, "--out", tmp_path) == 0
    config = result_of(tmp_path)["config"]
    assert config["hidden"] == [32, 32]  # the default without --quick
    assert config["levels"] == 2


def test_float32_run(tmp_path):
    import physml

    try:
        arguments = [*SMALL, "--steps", 20, "--precision", "float32", "--out", tmp_path]
        assert run("harmonic_oscillator", *arguments) == 0
    finally:
        physml.enable_x64()
    assert abs(result_of(tmp_path)["levels"][0]["energy"] - 0.5) < 1e-2


# The fit of an effective spin Hamiltonian.

SMALL_FIT = ["--neighbors", "2", "--sites", "16", "--samples", "32", "--batch", "16"]
SMALL_FIT += ["--starts", "8", "--steps", "200"]


@pytest.mark.slow
def test_fit_of_one_smearing_recovers_coefficients_and_couplings(tmp_path, capsys):
    assert run("smearing_fit", *SMALL_FIT, "--out", tmp_path) == 0
    result = result_of(tmp_path)
    assert result["experiment"] == "smearing_fit"
    assert result["config"]["neighbors"] == [2]
    assert len(result["hidden_couplings"]) == 2 * 2 + 2
    assert result["max_error"] <= 1e-8
    assert result["max_coefficient_error"] <= 1e-8
    assert result["test_error"] <= 1e-8
    assert result["outcome"] == "converged"
    assert {"loss", "seconds", "versions"} <= set(result)
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert set(rows[0]) == {"stage", "step", "loss", "gradient"}
    assert rows[-1]["step"] == result["iterations"]
    for picture in ("fit.png", "convergence.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.rglob("*.tmp*"))
    printed = capsys.readouterr().out
    assert "pullback of energy: passed" in printed
    assert "model.coefficients[0]" in printed


@pytest.mark.slow
def test_fit_of_stacked_smearings_compares_effective_couplings(tmp_path, capsys):
    arguments = ["--neighbors", 1, 2, "--steps", 2000, "--out", tmp_path]
    assert run("smearing_fit", *SMALL_FIT, *arguments) == 0
    result = result_of(tmp_path)
    assert result["max_error"] <= 1e-8
    assert result["max_coefficient_error"] is None
    assert "Stacked smearings commute" in capsys.readouterr().out


def test_fit_of_a_longer_hidden_range_says_that_it_cannot_be_exact(tmp_path, capsys):
    arguments = ["--hidden-neighbors", 3, "--out", tmp_path]
    assert run("smearing_fit", *SMALL_FIT, *arguments) == 0
    result = result_of(tmp_path)
    assert len(result["hidden_couplings"]) == len(result["learned_couplings"]) == 8
    assert result["learned_couplings"][6:] == [0.0, 0.0]
    assert result["max_error"] > 1e-3
    assert result["max_coefficient_error"] is None
    assert "best of the model" in capsys.readouterr().out


def test_an_unfinished_fit_is_a_failure_with_its_result(tmp_path, capsys):
    arguments = [*SMALL_FIT, "--optimizer", "adam", "--steps", 10, "--out", tmp_path]
    assert run("smearing_fit", *arguments) == 1
    assert result_of(tmp_path)["outcome"] == "step_limit"
    assert "above the noise" in capsys.readouterr().err
    assert (tmp_path / "fit.png").exists()


BAD_FIT_OPTIONS = [
    (["--noise", "nan"], "noise >= 0"),
    (["--neighbors", "0"], "one neighbor or more"),
    (["--hidden-neighbors", "2", "-1"], "one neighbor or more"),
    (["--neighbors", "9"], "more than 38 sites"),
    (["--samples", "5"], "more than 5 samples"),
    (["--batch", "33"], "a batch of 1 to 32 samples"),
    (["--batch", "0"], "a batch of 1 to 32 samples"),
    (["--starts", "0"], "random start"),
    (["--hidden-coupling", "0"], "hidden coupling"),
    (["--hidden-coupling", "1e200"], "finite squares"),
    (["--hidden-deviation", "inf"], "deviation of the coefficients >= 0"),
    (["--start-deviation", "nan"], "deviation of the coefficients >= 0"),
    (["--target-gradient", "nan"], "target >= 0"),
]


@pytest.mark.parametrize(
    ("options", "message"), BAD_FIT_OPTIONS, ids=lambda x: str(x)[:30]
)
def test_bad_options_of_a_fit(tmp_path, capsys, options, message):
    out = tmp_path / "never"
    assert run("smearing_fit", *SMALL_FIT, *options, "--out", out) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_fit_is_resumed_with_its_own_options_only(tmp_path, capsys):
    arguments = [*SMALL_FIT, "--out", tmp_path]
    assert run("smearing_fit", *arguments) == 0
    before = result_of(tmp_path)
    assert run("smearing_fit", *arguments, "--noise", 1, "--resume") == 2
    assert "noise = 0.0" in capsys.readouterr().err
    assert run("smearing_fit", *arguments, "--resume") == 0
    after = result_of(tmp_path)
    assert {**after, "seconds": 0} == {**before, "seconds": 0}


# Real processes from here on.

LONG = [*SMALL, "--steps", "2000"]

# A slow descent in batches, so that there is time to kill it.
LONG_FIT = [*SMALL_FIT, "--optimizer", "adam", "--learning-rate", "1e-5"]
LONG_FIT += ["--steps", "20000", "--noise", "0.1"]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("name", "options", "cuts"),
    [
        ("harmonic_oscillator", LONG, (100, 250)),
        ("smearing_fit", LONG_FIT, (300, 1000)),
    ],
)
def test_killed_run_ends_bit_for_bit_where_an_uninterrupted_one_ends(
    tmp_path, name, options, cuts
):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    process = start(*options, "--out", cut, name=name)
    wait_for_checkpoint(cut)
    for num_rows in cuts:
        wait_for_records(cut, num_rows)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        process = start(*options, "--out", cut, "--resume", name=name)
    _, errors = process.communicate(timeout=200)
    # a fit that was stopped so early falls short of the noise, and says so: exit code 1
    assert process.returncode == run(name, *options, "--out", whole) < 2, errors
    results = [{**result_of(folder), "seconds": 0} for folder in (cut, whole)]
    assert results[0] == results[1]
    records = [(folder / "records.jsonl").read_text() for folder in (cut, whole)]
    assert records[0] == records[1]
    arrays = [next((f / "checkpoint").glob("*.npz")) for f in (cut, whole)]
    with np.load(arrays[0]) as left, np.load(arrays[1]) as right:
        assert all(np.array_equal(left[name], right[name]) for name in left.files)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "number", "code"),
    [
        ("harmonic_oscillator", SMALL, signal.SIGINT, 130),
        ("smearing_fit", LONG_FIT, signal.SIGTERM, 143),
    ],
)
def test_signals_leave_a_checkpoint_and_say_how_to_resume(
    tmp_path, name, options, number, code
):
    process = start(*options, "--steps", "1000000", "--out", tmp_path, name=name)
    wait_for_records(tmp_path, 10)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert (tmp_path / "checkpoint" / "manifest.json").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash's ulimit")
def test_full_disk_is_one_sentence(tmp_path):
    limited = ["bash", "-c", 'trap "" XFSZ; ulimit -f 2; exec "$@"', "bash"]
    process = start(*LONG, "--out", tmp_path, launcher=limited)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 1, errors
    assert "Could not write" in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.rglob("*.tmp"))


def test_help_names_defaults_and_units(capsys):
    assert run("harmonic_oscillator", "--help") == 0
    text = capsys.readouterr().out
    for option in ("--omega", "--box", "--points", "--stencil-order", "--levels"):
        assert option in text
    assert "units of length" in " ".join(text.split())
    assert "default: 511" in text
