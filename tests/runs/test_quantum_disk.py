"""The disc from its command line: exact levels, files, bad input."""

import numpy as np
import pytest
from command_lines import result_of, run


@pytest.mark.slow
def test_writes_the_exact_levels_and_pictures(tmp_path):
    out = tmp_path / "disk"
    assert run("quantum_disk", "--quick", "--flux", 0.5, "--out", out) == 0
    result = result_of(out)
    assert len(result["levels"]) == 6
    for entry in result["levels"]:
        np.testing.assert_allclose(entry["energy"], entry["exact_energy"], atol=1e-7)
    assert [e["radial_number"] for e in result["levels"][:2]] == [0, 1]
    assert result["max_error"] < result["change_from_half_the_basis"]
    assert result["quadrature_error"] < 1e-11
    for name in ("densities.png", "levels.png", "records.jsonl", "checkpoint"):
        assert (out / name).exists()


def test_resumes_and_a_ring_has_no_closed_form(tmp_path):
    options = ("--potential", "ring", "--angular-momenta", -1, "--basis", 6)
    options = (*options, "--levels", 1, "--out", tmp_path)
    assert run("quantum_disk", *options) == 0
    result = result_of(tmp_path)
    assert [e["exact_energy"] for e in result["levels"]] == [None]
    assert result["max_error"] is None
    assert run("quantum_disk", *options, "--resume") == 0
    assert result_of(tmp_path)["levels"] == result["levels"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--radius", 0), "a radius > 0"),
        (("--omega", "nan"), "omega > 0"),
        (("--omega", 1e200), "finite inside the disc"),
        (("--flux", "inf"), "a finite flux"),
        (("--basis", 0), "--basis from 1"),
        (("--levels", 81), "--levels from 1 to 80"),
        (("--angular-momenta", 1, 1), "different integers"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(options, words, tmp_path, capsys):
    assert run("quantum_disk", *options, "--out", tmp_path / "no") == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "no").exists()
