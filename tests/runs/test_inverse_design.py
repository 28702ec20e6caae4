"""The inverse design of a map as a user meets it."""

import pytest
from command_lines import result_of, run


@pytest.mark.slow
@pytest.mark.parametrize(("lattice", "size"), [("chain", 10), ("square", 4)])
def test_hidden_impurities_are_found_from_their_map(tmp_path, lattice, size):
    out = tmp_path / "run"
    options = ["--quick", "--lattice", lattice, "--size", size, "--out", out]
    assert run("ldos_inverse_design", *options) == 0
    result = result_of(out)
    assert result["max_error"] < 1e-8
    assert result["outcome"] == "converged"
    for picture in ("maps", "potentials", "convergence"):
        assert (out / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_potentials_that_are_not_found_are_a_failure_with_their_result(
    tmp_path, capsys
):
    out = tmp_path / "run"
    options = ["--quick", "--size", 4, "--impurities", 1, "--steps", 4, "--out", out]
    assert run("ldos_inverse_design", *options) == 1
    result = result_of(out)
    assert result["max_error"] > 1e-6
    assert result["outcome"] == "step_limit"
    assert "The potentials are not found" in capsys.readouterr().err
    assert (out / "potentials.png").exists()


BAD_OPTIONS = [
    (["--size", 1], "a size of 2 or more"),
    (["--impurities", 0], "1 to 10 impurities"),
    (["--impurities", 17, "--lattice", "square", "--size", 4], "1 to 16 impurities"),
    (["--strength", "nan"], "a strength > 0"),
    (["--strength", 1e300], "a strength > 0 and at most 1e+06"),
    (["--start-width", "inf"], "a start width > 0 and at most 1e+06"),
    (["--broadening", 0], "a broadening > 0"),
    (["--first-broadening", 0.05], "a first broadening of 0.4 or more"),
    (["--energies", 1], "2 energies or more"),
    (["--steps", 0], "4 steps or more"),
    (["--steps", 1], "4 steps or more"),
    (["--target-gradient", "nan"], "target >= 0"),
    (["--time-limit", 0], "time limit > 0"),
    (["--lattice", "ring"], "lattice"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS, ids=lambda x: str(x)[:30])
def test_bad_options_are_one_sentence_and_write_nothing(
    tmp_path, capsys, options, message
):
    out = tmp_path / "never"
    assert run("ldos_inverse_design", "--quick", *options, "--out", out) == 2
    printed = capsys.readouterr()
    assert message in printed.err + printed.out
    assert "Traceback" not in printed.err
    assert not out.exists()
