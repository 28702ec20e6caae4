"""Self-learning Monte Carlo as a user meets it."""

import json
import signal

import numpy as np
import pytest
from command_lines import result_of, run, start, wait_for_checkpoint, wait_for_records

NAME = "self_learning_monte_carlo"
TINY = ["--size", 2, "--shells", 2, "--layer-shells", 2, "--chains", 2, "--starts", 1]
TINY += ["--training-samples", 40, "--test-samples", 20, "--interval", 1]
TINY += ["--burn-in", 4, "--sweeps", 16, "--proposals", 16, "--trajectories", 2]
LINEAR = [*TINY, "--layers", 0, "--own-samples", 0]
ONE_LAYER = [*TINY, "--layers", 1, "--own-samples", 8, "--training-steps", 6]
TIMES = {"seconds", "effective_samples_per_second"}
TIMES |= {"slowest_effective_samples_per_second"}

METHOD = {
    "measured_acceptance",
    "acceptance_error",
    "magnetization",
    "magnetization_error",
    "staggered_magnetization",
    "staggered_magnetization_error",
    "free_energy_over_temperature",
    "free_energy_over_temperature_error",
    "autocorrelation_time",
    "effective_samples_per_second",
}
MODEL = {"layers", "shells", "num_parameters", "train_mse", "test_mse"}
MODEL |= {"predicted_acceptance"} | METHOD

BAD_OPTIONS = [
    (["--temperature", "0"], "Expected a temperature T > 0, got 0"),
    (["--temperature", "-1"], "Expected a temperature T > 0"),
    (["--temperature", "nan"], "Expected a temperature T > 0, got nan"),
    (["--temperature", "inf"], "Expected a temperature T > 0, got inf"),
    (["--coupling", "nan"], "Expected a finite coupling, got nan"),
    (["--hopping", "inf"], "Expected a finite hopping"),
    (["--chemical-potential", "nan"], "Expected a finite chemical potential"),
    (["--shells", "3"], "at most 2 shells on a lattice of shape (2, 2)"),
    (["--layer-shells", "3"], "at most 2 shells"),
    (["--shells", "0"], "Expected shells >= 1"),
    (["--layers", "-1"], "Expected layers >= 0"),
    (["--chains", "0"], "Expected chains >= 1"),
    (["--sweeps", "3"], "Expected sweeps >= 16"),
    (["--training-samples", "1"], "Expected training samples >= 2"),
    (["--size", "2", "2", "2"], "--size of one positive number, or of 2"),
    (["--size", "0"], "--size of one positive number"),
    (["--lattice", "kagome"], "kagome"),
    (["--kind", "transformer"], "transformer"),
    (["--time-limit", "nan"], "Expected a time limit > 0"),
    (["--data", "nowhere.npz"], "a data set in nowhere.npz"),
    (["--model", "nowhere.npz"], "a model in nowhere.npz"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS, ids=lambda x: str(x)[:30])
def test_bad_options_are_one_sentence_and_write_nothing(
    tmp_path, capsys, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "never"
    assert run(NAME, *LINEAR, *options, "--out", out) == 2
    printed = capsys.readouterr()
    assert message in printed.err + printed.out
    assert "Traceback" not in printed.err
    assert not list(tmp_path.iterdir())


def untimed(value):
    """Return a result without what a clock has measured."""
    if isinstance(value, dict):
        return {key: untimed(x) for key, x in value.items() if key not in TIMES}
    return [untimed(x) for x in value] if isinstance(value, list) else value


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_everything_that_a_run_leaves_behind(tmp_path, capsys):
    out = tmp_path / "run"
    assert run(NAME, *ONE_LAYER, "--out", out) == 0
    result = result_of(out)
    assert result.keys() >= {"metropolis", "models", "seconds", "versions", "config"}
    assert result["metropolis"].keys() >= METHOD
    assert [row["layers"] for row in result["models"]] == [0, 1]
    for row in result["models"]:
        assert row.keys() >= MODEL
        assert row["shells"] == 2
        assert 0 <= row["measured_acceptance"] <= 1
        assert abs(row["predicted_acceptance"] - row["measured_acceptance"]) < 0.3
    # on 2 x 2 sites the linear model of both shells is good: a check of the physics
    methods = [result["metropolis"], *result["models"]]
    for name in ("free_energy_over_temperature", "magnetization"):
        means = np.array([row[name] for row in methods])
        errors = np.array([row[f"{name}_error"] for row in methods])
        assert np.all(np.abs(means - means[0]) < 5 * np.hypot(errors, errors[0]))
    for picture in ("scaling", "free_energies", "observables", "time_series"):
        assert (out / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    rows = [json.loads(x) for x in (out / "records.jsonl").read_text().splitlines()]
    assert rows[0]["task"] == "data set"
    assert rows[-1]["task"] == "measurement, 1 layer"
    assert not list(out.rglob("*.tmp*"))
    assert "staggered" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_data_and_model_of_a_run_serve_another_and_are_refused_elsewhere(
    tmp_path, capsys
):
    first, second = tmp_path / "first", tmp_path / "second"
    assert run(NAME, *LINEAR, "--out", first) == 0
    files = ["--data", first / "data.npz", "--model", first / "model_0.npz"]
    assert run(NAME, *LINEAR, *files, "--seed", 1, "--out", second) == 0
    results = [result_of(folder) for folder in (first, second)]
    errors = [result["models"][0]["test_mse"] for result in results]
    assert abs(errors[0] - errors[1]) < 1e-12
    assert not (second / "data.npz").exists()
    capsys.readouterr()
    out = tmp_path / "never"
    for options, message in (
        (["--temperature", 0.1], "temperature = 0.05"),
        (["--coupling", 2], "coupling = 1.0"),
        (["--shells", 1], "as the number of shells"),
        (["--size", 4], "size = [2, 2]"),
    ):
        assert run(NAME, *LINEAR, *files, *options, "--out", out) == 2
        assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_lattices_without_sublattices_have_no_staggered_magnetization(tmp_path, capsys):
    options = ["--lattice", "triangular", "--size", 3, "--shells", 1]
    options += ["--layer-shells", 1, "--out", tmp_path]
    assert run(NAME, *LINEAR, *options) == 0
    result = result_of(tmp_path)
    assert result["metropolis"]["staggered_magnetization"] is None
    assert result["models"][0]["staggered_magnetization_error"] is None
    assert "no two sublattices" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_length_of_a_proposal_is_tried_out_on_a_cubic_lattice(tmp_path):
    options = [*TINY, "--lattice", "cubic", "--kind", "biased_attention"]
    options += ["--layers", 1, "--own-samples", 4, "--training-steps", 3]
    assert run(NAME, *options, "--trajectories", 0, "--out", tmp_path) == 0
    result = result_of(tmp_path)
    assert [row["num_parameters"] for row in result["models"]] == [3, 15]
    assert {row["trajectories"] for row in result["models"]} <= {1, 2, 4, 8, 16}
    assert result["metropolis"]["staggered_magnetization"] > 0


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_killed_run_ends_bit_for_bit_where_an_uninterrupted_one_ends(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    process = start(*ONE_LAYER, "--out", cut, name=NAME)
    wait_for_checkpoint(cut)
    for num_rows in (10, 60, 90):
        wait_for_records(cut, num_rows)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        process = start(*ONE_LAYER, "--out", cut, "--resume", name=NAME)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert run(NAME, *ONE_LAYER, "--out", whole) == 0
    results = [untimed(result_of(folder)) for folder in (cut, whole)]
    assert results[0] == results[1]
    with np.load(cut / "series.npz") as left, np.load(whole / "series.npz") as right:
        assert left.files == right.files
        assert all(np.array_equal(left[name], right[name]) for name in left.files)
    records = [
        (folder / "records.jsonl").read_text().splitlines() for folder in (cut, whole)
    ]
    assert records[0] == records[1]
