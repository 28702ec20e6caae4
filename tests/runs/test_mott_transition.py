"""The Mott transition from its command line: both phases, files, bad input."""

import json

import pytest
from command_lines import result_of, run

SMALL = ("--sites", 3, "--interactions", 2.8, 1.0, "--frequencies", 64)


@pytest.mark.slow
def test_both_branches_and_resuming(tmp_path):
    assert run("mott_transition", *SMALL, "--out", tmp_path) == 0
    result = result_of(tmp_path)
    metal, insulator = result["metal"], result["insulator"]
    assert [entry["interaction"] for entry in metal] == [1.0, 2.8]
    assert all(entry["converged"] for entry in metal + insulator)
    assert metal[1]["is_metallic"]
    assert not insulator[1]["is_metallic"]
    assert metal[1]["quasiparticle_weight"] > 20 * insulator[1]["quasiparticle_weight"]
    assert metal[1]["double_occupancy"] > insulator[1]["double_occupancy"]
    assert result["insulator_ends_between"] == [1.0, 2.8]
    assert result["metal_ends_between"] is None
    for name in ("transition.png", "spectra.png", "self_energy.png", "checkpoint"):
        assert (tmp_path / name).exists()
    rows = (tmp_path / "records.jsonl").read_text().splitlines()
    assert set(json.loads(rows[0])) >= {"task", "step", "change", "Z"}
    assert run("mott_transition", *SMALL, "--out", tmp_path, "--resume") == 0
    assert {**result_of(tmp_path), "seconds": 0} == {**result, "seconds": 0}


@pytest.mark.slow
def test_a_loop_that_does_not_converge_is_written(tmp_path, capsys):
    options = (*SMALL, "--max-iterations", 2, "--out", tmp_path)
    assert run("mott_transition", *options) == 1
    assert "metal at U = 1" in capsys.readouterr().err
    result = result_of(tmp_path)
    assert not any(entry["converged"] for entry in result["metal"])
    assert [entry["iterations"] for entry in result["metal"]] == [2, 2]


@pytest.mark.slow
def test_a_bath_that_could_not_follow_is_told(tmp_path, capsys):
    # from U = 100 the insulator's levels are too far to be pulled down to zero
    options = ("--sites", 3, "--frequencies", 64, "--interactions", 1e-6, 100)
    assert run("mott_transition", *options, "--out", tmp_path) == 1
    assert "insulator at U = 1e-06 did not" in capsys.readouterr().err
    assert result_of(tmp_path)["insulator"][1]["converged"]


@pytest.mark.slow
def test_there_may_be_no_insulator_at_all(tmp_path):
    options = ("--sites", 3, "--frequencies", 64, "--interactions", 0)
    assert run("mott_transition", *options, "--out", tmp_path) == 0
    result = result_of(tmp_path)
    assert result["insulator"] == []
    assert abs(result["metal"][0]["quasiparticle_weight"] - 1) < 1e-8


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--interactions", -1), "U >= 0"),
        (("--interactions", "nan"), "U >= 0"),
        (("--interactions", 1, 1), "different --interactions"),
        (("--sites", 4), "an odd number of --sites"),
        (("--sites", 11), "from 3 to 9"),
        (("--half-bandwidth", 0), "--half-bandwidth > 0"),
        (("--beta", -1), "--beta > 0"),
        (("--beta", 3), "--beta above pi / D"),
        (("--frequencies", 7), "more than 7 --frequencies"),
        (("--mixing", 1.5), "--mixing above 0"),
        (("--tolerance", 0), "--tolerance > 0"),
        (("--broadening", "inf"), "--broadening > 0"),
        (("--max-iterations", 0), "--max-iterations of 1"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(options, words, tmp_path, capsys):
    assert run("mott_transition", *options, "--out", tmp_path / "no") == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "no").exists()
