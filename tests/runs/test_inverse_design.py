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
