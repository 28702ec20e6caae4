"""Bath fits from their command line: the hidden bath, files, resuming, bad input."""

import numpy as np
import pytest
from command_lines import result_of, run

from physml.dynamical_mean_field import matsubara_frequencies
from physml.training.checkpoint import read_manifest

QUICK = ("--sites", 2, "--starts", 2, "--frequencies", 12)


@pytest.mark.slow
def test_finds_the_hidden_bath_and_draws_it(tmp_path):
    options = ("--target", "discrete", "--hidden-sites", 3, "--quick")
    assert run("bath_fit", *options, "--out", tmp_path) == 0
    result = result_of(tmp_path)
    np.testing.assert_allclose(result["levels"], result["hidden_levels"], atol=1e-11)
    np.testing.assert_allclose(
        result["couplings"], result["hidden_couplings"], atol=1e-11
    )
    assert result["max_error"] < 1e-12
    assert result["starts_at_best"] == len(result["distances"]) == 4
    assert result["seconds"] > 0
    for name in ("hybridization.png", "spectrum.png", "records.jsonl", "checkpoint"):
        assert (tmp_path / name).exists()


@pytest.mark.slow
def test_resumes_from_the_checkpoint_with_the_same_result(tmp_path):
    options = (*QUICK, "--fitted", "weiss_field", "--out", tmp_path)
    assert run("bath_fit", *options) == 0
    result, manifest = result_of(tmp_path), read_manifest(tmp_path / "checkpoint")
    assert manifest["finished"] == ["levels", "couplings"]
    records = (tmp_path / "records.jsonl").read_text()
    assert run("bath_fit", *options, "--resume") == 0
    assert result_of(tmp_path)["levels"] == result["levels"]
    assert (tmp_path / "records.jsonl").read_text() == records


def test_time_limit_leaves_a_checkpoint_to_go_on_from(tmp_path, capsys):
    options = (*QUICK, "--out", tmp_path)
    assert run("bath_fit", *options, "--time-limit", 1e-9) == 1
    assert "go on with the same options" in capsys.readouterr().err
    assert run("bath_fit", *options, "--resume") == 0
    assert run("bath_fit", *QUICK, "--out", tmp_path / "whole") == 0
    whole, resumed = result_of(tmp_path / "whole"), result_of(tmp_path)
    assert whole["levels"] == resumed["levels"]
    assert whole["distances"] == resumed["distances"]


def test_reads_a_file_and_a_single_site_at_zero(tmp_path):
    frequencies = matsubara_frequencies(10.0, 8)
    path = tmp_path / "delta.npz"
    np.savez(path, frequencies=frequencies, hybridization=0.25 / (1j * frequencies))
    options = ("--target", path, "--beta", 10, "--sites", 1, "--symmetric")
    assert run("bath_fit", *options, "--out", tmp_path / "out") == 0
    result = result_of(tmp_path / "out")
    assert result["levels"] == [0]
    np.testing.assert_allclose(result["couplings"], [0.5], rtol=1e-14)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--beta", 0), "an inverse temperature > 0"),
        (("--beta", "nan"), "an inverse temperature > 0"),
        (("--frequencies", 0), "1 Matsubara frequency"),
        (("--sites", 0), "bath sites"),
        (("--sites", 57), "from 1 to 56 bath sites"),
        (("--starts", 0), "1 start or more"),
        (("--steps", 0), "1 step or more"),
        (("--power", 0.5), "a power of 1 or more"),
        (("--power", 3, "--optimizer", "dogleg"), "a power of 2"),
        (("--sum-rule", -1), "a positive sum rule"),
        (("--target", "discrete", "--hidden-sites", 0), "1 hidden site or more"),
        (("--target", "nothing.npz"), "an npz file that exists"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(options, words, tmp_path, capsys):
    assert run("bath_fit", *options, "--out", tmp_path / "no") == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "no").exists()


FREQUENCIES = matsubara_frequencies(20.0, 6)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"frequencies": FREQUENCIES}, "arrays `frequencies` and `hybridization`"),
        (
            {"frequencies": 1.1 * FREQUENCIES, "hybridization": 1 / FREQUENCIES},
            "positive Matsubara frequencies",
        ),
        (
            {"frequencies": FREQUENCIES[::-1] * np.nan, "hybridization": FREQUENCIES},
            "positive Matsubara frequencies",
        ),
        (
            {"frequencies": FREQUENCIES, "hybridization": np.nan * FREQUENCIES},
            "with NaN or infinity",
        ),
        (
            {"frequencies": FREQUENCIES, "hybridization": FREQUENCIES[1:]},
            "as many values of one orbital",
        ),
    ],
)
def test_bad_files_are_one_sentence(arrays, words, tmp_path, capsys):
    path = tmp_path / "delta.npz"
    np.savez(path, **arrays)
    options = ("--target", path, "--sites", 2, "--out", tmp_path / "no")
    assert run("bath_fit", *options) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "no").exists()
