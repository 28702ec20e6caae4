"""Maps of local densities of states as a user meets them."""

import json
import signal

import numpy as np
import pytest
from command_lines import load, result_of, run, start, wait_for_checkpoint

from physml.hamiltonians import impurity_chain
from physml.operators import to_sparse
from physml.training import read_manifest

LATTICE, BDG = "local_density_of_states", "bogoliubov_de_gennes"
COARSE = ["--energies", -2.5, 3, 24, "--broadening", 0.3]
SMALL = [*COARSE, "--size", 12]


def map_of(folder):
    with np.load(folder / "ldos.npz", allow_pickle=False) as file:
        return file["energies"], file["sites"], file["ldos"]


def summed_over_levels(operator, energies, broadening):
    levels, vectors = np.linalg.eigh(to_sparse(operator).toarray())
    lorentz = broadening / np.pi / ((energies[:, None] - levels) ** 2 + broadening**2)
    return lorentz @ np.abs(vectors.T) ** 2


def operator_of(name, **options):
    module = load(name)
    configuration = {
        LATTICE: "LocalDensityOfStatesConfiguration",
        BDG: "BogoliubovDeGennesConfiguration",
    }[name]
    options = getattr(module, configuration)(**options)
    return module.make_experiment(options).operator


def test_everything_that_a_run_leaves_behind(tmp_path, capsys):
    assert run(LATTICE, *SMALL, "--out", tmp_path) == 0
    energies, sites, density = map_of(tmp_path)
    np.testing.assert_array_equal(energies, np.linspace(-2.5, 3, 24))
    np.testing.assert_array_equal(sites, np.arange(12))
    exact = summed_over_levels(impurity_chain(12, impurity_site=5), energies, 0.3)
    np.testing.assert_allclose(density, exact, rtol=0, atol=1e-12)
    result = result_of(tmp_path)
    assert result["experiment"] == LATTICE
    assert result["config"]["size"] == [12]
    assert (result["num_sites"], result["num_energies"]) == (12, 24)
    assert result["max_relative_residual"] < 1e-10
    assert result["num_not_converged"] == 0
    assert result["sum_rule_error"] < result["resolution_error"] + 1e-3  # two ends
    # the state that the impurity binds above all energies of the map
    assert 0.5 < result["largest_tail"] < 1
    assert {"method", "max_iterations", "seconds", "versions"} <= set(result)
    (row,) = map(json.loads, (tmp_path / "records.jsonl").read_text().splitlines())
    assert set(row) == {"rows", "residual", "iterations"}
    assert (tmp_path / "ldos.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.rglob("*.tmp*"))
    assert "Sum rule" in capsys.readouterr().out


def test_default_is_the_reference_problem():
    difference = to_sparse(operator_of(LATTICE)) - to_sparse(impurity_chain())
    assert abs(difference).max() == 0
    configuration = load(LATTICE).LocalDensityOfStatesConfiguration()
    assert configuration.energies == (-2.5, 3.0, 100)
    assert configuration.broadening == 0.05
    assert configuration.sites is None


@pytest.mark.parametrize(
    "method", ["recursive", "dense", "krylov", "kernel_polynomial"]
)
def test_every_method_makes_the_same_map(tmp_path, method):
    assert run(LATTICE, *SMALL, "--method", method, "--out", tmp_path) == 0
    energies, _, density = map_of(tmp_path)
    exact = summed_over_levels(impurity_chain(12, impurity_site=5), energies, 0.3)
    np.testing.assert_allclose(density, exact, rtol=1e-9)
    result = result_of(tmp_path)
    assert result["method"] == method
    assert (result["max_iterations"] > 0) == (method in ("krylov", "kernel_polynomial"))


@pytest.mark.parametrize(
    ("lattice", "options"),
    [
        ("ring", {"size": (9,)}),
        ("square", {"size": (4, 3), "boundary": "open", "flux": 0.3}),
        ("triangular", {"size": (4,), "disorder": 2.0}),
        ("honeycomb", {"size": (3, 3)}),
        ("cubic", {"size": (3, 2, 2), "impurity_site": 4}),
    ],
)
def test_other_lattices(tmp_path, lattice, options):
    words = [
        word
        for name, value in options.items()
        for word in (f"--{name.replace('_', '-')}", *np.atleast_1d(value))
    ]
    wide = ["--energies", -8, 9, 120, "--broadening", 0.3]
    assert run(LATTICE, "--lattice", lattice, *words, *wide, "--out", tmp_path) == 0
    energies, _, density = map_of(tmp_path)
    operator = operator_of(LATTICE, lattice=lattice, **options)
    exact = summed_over_levels(operator, energies, 0.3)
    np.testing.assert_allclose(density, exact, rtol=1e-9)
    assert result_of(tmp_path)["sum_rule_error"] < 1e-4
    assert (tmp_path / "ldos.png").exists()


def test_chosen_sites_in_their_order(tmp_path):
    arguments = ["--sites", 7, 2, "--method", "krylov", "--out", tmp_path]
    assert run(LATTICE, *SMALL, *arguments) == 0
    energies, sites, density = map_of(tmp_path)
    assert sites.tolist() == [7, 2]
    exact = summed_over_levels(impurity_chain(12, impurity_site=5), energies, 0.3)
    np.testing.assert_allclose(density, exact[:, [7, 2]], rtol=1e-9)


def test_a_tolerance_that_cannot_be_reached_is_a_failure_with_its_map(tmp_path, capsys):
    arguments = ["--method", "dense", "--tolerance", 1e-30, "--out", tmp_path]
    assert run(LATTICE, *SMALL, *arguments) == 1
    number = result_of(tmp_path)["num_not_converged"]
    assert number > 0
    sentence = f"{number} elements of the map are above the tolerance of 1e-30"
    assert sentence in capsys.readouterr().err
    assert map_of(tmp_path)[2].shape == (24, 12)
    assert (tmp_path / "ldos.png").exists()


BAD_OPTIONS = [
    (["--energies", "3", "-2", "10"], "a lowest, a higher energy"),
    (["--energies", "nan", "3", "10"], "a lowest, a higher energy"),
    (["--energies", "-2", "3", "5"], "6 energies or more"),
    (["--broadening", "0"], "broadening > 0"),
    (["--broadening", "nan"], "broadening > 0"),
    (["--broadening", "1e-12"], "a broadening from 6.6e-08 to 6.6e+03"),
    (["--broadening", "1e300"], "a broadening from"),
    (
        ["--broadening", "1e-6", "--method", "kernel_polynomial"],
        "at most 10000 products with H for a site",
    ),
    (["--energies", "-1e300", "1e300", "10"], "a broadening from"),
    (["--impurity-strength", "1e300"], "a broadening from 1.0e+292"),
    (["--hopping", "1e308"], "finite elements"),
    (["--tolerance", "inf"], "tolerance > 0"),
    (["--shown-energies", "nan"], "one finite energy or more to show"),
    (["--shown-energies"], "one finite energy or more to show"),
    (["--sites"], "sites from 0 to 11"),
    (["--lattice", "square", "--size", "4", "--flux", "nan"], "a finite flux"),
    (["--seed", "-1"], "a seed from 0"),
    (["--seed", "99999999999999999999"], "a seed from 0"),
    (["--tolerance", "0"], "tolerance > 0"),
    (["--batch", "0"], "batch of 1 or more"),
    (["--time-limit", "-1"], "time limit > 0"),
    (["--sites", "0", "12"], "sites from 0 to 11"),
    (["--sites", "-1"], "sites from 0 to 11"),
    (["--impurity-site", "12"], "sites from 0 to 11"),
    (["--impurity-strength", "nan"], "finite"),
    (["--disorder", "inf"], "finite"),
    (["--hopping", "nan"], "finite"),
    (["--size", "3", "3"], "--size of one positive number,"),
    (["--size", "0"], "--size of one positive number,"),
    (["--lattice", "ring", "--boundary", "open"], "a periodic ring"),
    (["--lattice", "square", "--flux", "0.3"], "flux"),
    (["--flux", "0.1"], "plaquettes"),
    (["--lattice", "kagome"], "lattice"),
    (["--method", "magic"], "method"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS, ids=lambda x: str(x)[:30])
def test_bad_options_are_one_sentence_and_write_nothing(
    tmp_path, capsys, options, message
):
    out = tmp_path / "never"
    assert run(LATTICE, *SMALL, *options, "--out", out) == 2
    printed = capsys.readouterr()
    assert message in printed.err + printed.out
    assert "Traceback" not in printed.err
    assert not out.exists()


@pytest.mark.parametrize("method", ["recursive", "krylov"])
def test_a_map_is_finished_where_its_time_ended(tmp_path, capsys, method):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    options = [*SMALL, "--method", method, "--batch", 5]
    assert run(LATTICE, *options, "--out", whole) == 0
    assert run(LATTICE, *options, "--out", cut, "--time-limit", 1e-9) == 1
    assert "The time limit of 1e-09 s came after" in capsys.readouterr().err
    assert 0 < read_manifest(cut / "checkpoint")["rows"] < 12
    assert not (cut / "ldos.npz").exists()
    assert run(LATTICE, *options, "--out", cut, "--resume") == 0
    for one, other in zip(map_of(whole), map_of(cut), strict=True):
        np.testing.assert_array_equal(one, other)
    lines = [(folder / "records.jsonl").read_text() for folder in (whole, cut)]
    assert lines[0] == lines[1]


def test_a_map_is_resumed_with_its_own_options_only(tmp_path, capsys):
    assert run(LATTICE, *SMALL, "--out", tmp_path) == 0
    before = result_of(tmp_path)
    assert run(LATTICE, *SMALL, "--out", tmp_path) == 2
    again = [*SMALL, "--out", tmp_path, "--resume"]
    assert run(LATTICE, *again, "--broadening", 0.2) == 2
    assert "broadening = 0.3" in capsys.readouterr().err
    assert run(LATTICE, *again) == 0
    assert {**result_of(tmp_path), "seconds": 0} == {**before, "seconds": 0}


# Superconductors

SMALL_GAP = ["--size", 8, 7, "--energies", -1.5, 1.5, 31, "--broadening", 0.1]


@pytest.mark.parametrize("defect", ["impurity", "vortex"])
@pytest.mark.parametrize("pairing", ["d-wave", "s-wave"])
def test_superconductor_is_the_sum_over_its_levels(tmp_path, defect, pairing):
    options = ["--defect", defect, "--pairing", pairing, "--chemical-potential", -0.6]
    assert run(BDG, *SMALL_GAP, *options, "--out", tmp_path) == 0
    energies, sites, density = map_of(tmp_path)
    assert sites.tolist() == list(range(56))  # the electrons' part
    operator = operator_of(
        BDG, size=(8, 7), defect=defect, pairing=pairing, chemical_potential=-0.6
    )
    exact = summed_over_levels(operator, energies, 0.1)
    np.testing.assert_allclose(density, exact[:, :56], rtol=1e-9)
    # what is a hole's at E is an electron's at -E
    np.testing.assert_allclose(exact[::-1, 56:], density, rtol=1e-9)
    assert result_of(tmp_path)["sum_rule_error"] < 2e-3


def test_strong_impurity_in_a_d_wave_has_a_state_at_zero_next_to_it(tmp_path):
    options = ["--size", 11, 11, "--energies", -1.5, 1.5, 31, "--broadening", 0.1]
    options += ["--impurity-strength", 1e4]
    assert run(BDG, *options, "--out", tmp_path) == 0
    energies, _, density = map_of(tmp_path)
    zero = np.argmin(np.abs(energies))
    shaped = density.reshape(-1, 11, 11)
    on, beside, far = shaped[:, 5, 5], shaped[:, 6, 5], shaped[:, 2, 3]
    assert beside[zero] > 3 * far[zero]
    assert beside[zero] > 1.5 * beside[[zero - 4, zero + 4]].max()
    assert on[zero] < 1e-4 * beside[zero]
    # at half filling such an impurity nearly leaves the spectrum symmetric
    np.testing.assert_allclose(beside, beside[::-1], rtol=3e-3)


def test_vortex_of_an_s_wave_binds_states_in_the_gap(tmp_path):
    options = ["--defect", "vortex", "--pairing", "s-wave", "--gap", 0.8]
    options += ["--size", 10, 10, "--chemical-potential", -1]
    options += ["--energies", -0.4, 0.4, 21, "--sites", 44, 14]  # core and edge
    assert run(BDG, *options, "--out", tmp_path) == 0
    core, edge = map_of(tmp_path)[2].T
    assert core.max() > 5 * edge.max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "0", "4"], "at least one site"),
        (["--gap", "nan"], "finite"),
        (["--pairing", "p-wave"], "pairing"),
        (["--core-radius", "-1", "--defect", "vortex"], "core_radius >= 0"),
        (["--core-radius", "nan"], "got core_radius = nan"),
    ],
)
def test_bad_options_of_a_superconductor(tmp_path, capsys, options, message):
    out = tmp_path / "never"
    assert run(BDG, *SMALL_GAP, *options, "--out", out) == 2
    printed = capsys.readouterr()
    assert message in printed.err + printed.out
    assert not out.exists()


# Real processes from here on.

# Many rows that take a while each.
LONG = ["--size", 3000, "--method", "krylov", "--batch", 2, "--energies", -2.5, 3, 24]
LONG += ["--broadening", 0.02, "--sites", *range(0, 3000, 50)]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_killed_map_ends_bit_for_bit_where_an_uninterrupted_one_ends(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    process = start(*LONG, "--out", cut, name=LATTICE)
    wait_for_checkpoint(cut)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    num_saved = read_manifest(cut / "checkpoint")["rows"]
    assert 0 < num_saved < 60
    process = start(*LONG, "--out", cut, "--resume", name=LATTICE)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert run(LATTICE, *LONG, "--out", whole) == 0
    for one, other in zip(map_of(whole), map_of(cut), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_signal_leaves_a_checkpoint_and_says_how_to_resume(tmp_path):
    process = start(*LONG, "--out", tmp_path, name=LATTICE)
    wait_for_checkpoint(tmp_path)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in errors
    assert "Traceback" not in errors


def test_help_names_defaults_and_units(capsys):
    assert run(LATTICE, "--help") == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for option in ("--lattice", "--impurity-site", "--energies", "--flux", "--method"):
        assert option in text
    assert "flux quanta" in text
    assert "in units of energy" in text
