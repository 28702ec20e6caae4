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
