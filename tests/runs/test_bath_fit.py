"""Bath fits from their command line: the hidden bath, files, resuming, bad input."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from command_lines import result_of, run

from physml.dynamical_mean_field import matsubara_frequencies
from physml.runs.bath_fit_target import discrete_target, semicircle_target
from physml.training.checkpoint import read_manifest

FREQUENCIES = matsubara_frequencies(20.0, 6)
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


def test_spectrum_that_was_fitted_is_known_on_the_real_axis():
    energies = jnp.linspace(-0.9, 0.9, 7)
    semicircle = semicircle_target(FREQUENCIES)
    density = -semicircle.function(energies + 1e-12j).imag / np.pi
    np.testing.assert_allclose(density, 2 / np.pi * np.sqrt(1 - energies**2), 1e-10)
    two = discrete_target(FREQUENCIES, 3, 2, jax.random.key(0))
    assert two.hybridization.shape == (6, 2, 2)
    for target in (semicircle, two):
        known = target.function(1j * jnp.asarray(FREQUENCIES))
        np.testing.assert_array_equal(known, target.hybridization)


ORBITALS = ("--target", "discrete", "--hidden-sites", 3, "--orbitals", 2)
ORBITALS += ("--sites", 3, "--starts", 2, "--frequencies", 12)


@pytest.mark.slow
def test_finds_the_hidden_bath_of_two_orbitals(tmp_path, capsys):
    assert run("bath_fit", *ORBITALS, "--out", tmp_path) == 0
    result = result_of(tmp_path)
    for name in ("levels", "couplings"):
        np.testing.assert_allclose(result[name], result[f"hidden_{name}"], atol=1e-11)
    couplings = np.array(result["couplings"])
    assert couplings.shape == (3, 2)
    np.testing.assert_allclose(result["sum_rule"], couplings.T @ couplings, rtol=1e-14)
    said = capsys.readouterr().out
    assert "to orbital 1" in said
    assert f"sum of |V|^2 {np.sum(couplings**2):.10g}" in said


def two_complex_orbitals(path, **more):
    """Write a file with a hidden bath of 3 sites; return its levels and residues."""
    generator = np.random.default_rng(5)
    levels = np.array([-0.7, 0.1, 0.6])
    v = generator.normal(size=(3, 2)) + 1j * generator.normal(size=(3, 2))
    residues = v.conj()[:, :, None] * v[:, None, :]
    w = matsubara_frequencies(10.0, 12)
    hybridization = np.tensordot(1 / (1j * w[:, None] - levels), residues, axes=1)
    arrays = {"frequencies": w, "hybridization": hybridization, "weights": 1 / w}
    np.savez(path, **(arrays | {"sum_rule": residues.sum(axis=0)} | more))
    return levels, residues


@pytest.mark.slow
def test_complex_couplings_weights_and_sum_rule_of_a_file(tmp_path, capsys):
    path, out = tmp_path / "delta.npz", tmp_path / "out"
    levels, residues = two_complex_orbitals(path)
    options = ("--target", path, "--beta", 10, "--sites", 3, "--starts", 2)
    options += ("--weight", "file", "--sum-rule", "file", "--out", out)
    assert run("bath_fit", *options, "--time-limit", 1e-9) == 1
    assert run("bath_fit", *options, "--resume") == 0
    result = result_of(out)
    parts = result["couplings"]
    v = np.array(parts["real"]) + 1j * np.array(parts["imaginary"])
    found = v.conj()[:, :, None] * v[:, None, :]
    np.testing.assert_allclose(result["levels"], levels, atol=1e-11)
    np.testing.assert_allclose(found, residues, atol=1e-11)
    assert np.all(np.abs(v.imag).min(axis=1) < 1e-15)  # the phase of each site is free
    total = np.array(result["sum_rule"]["real"])
    np.testing.assert_allclose(total, residues.sum(axis=0).real, atol=1e-13)
    two_complex_orbitals(path, weights=np.ones(12))
    capsys.readouterr()
    assert run("bath_fit", *options, "--resume") == 2
    assert "target_sha256" in capsys.readouterr().err


def test_time_limit_leaves_a_checkpoint_to_go_on_from(tmp_path, capsys):
    options = (*QUICK, "--out", tmp_path)
    assert run("bath_fit", *options, "--time-limit", 1e-9) == 1
    assert "go on with the same options" in capsys.readouterr().err
    assert run("bath_fit", *options, "--resume") == 0
    assert run("bath_fit", *QUICK, "--out", tmp_path / "whole") == 0
    whole, resumed = result_of(tmp_path / "whole"), result_of(tmp_path)
    assert whole["levels"] == resumed["levels"]
    assert whole["distances"] == resumed["distances"]
    records = (tmp_path / "records.jsonl").read_text()
    assert records == (tmp_path / "whole" / "records.jsonl").read_text()
    rows = [json.loads(line) for line in records.splitlines()]
    places = [(row["task"] == "couplings", row["step"], row["start"]) for row in rows]
    assert places == sorted(places)  # however the steps are cut into pieces


def test_reads_a_file_and_a_single_site_at_zero(tmp_path):
    frequencies = matsubara_frequencies(10.0, 8)
    path = tmp_path / "delta.npz"
    w = frequencies[::-1]  # in any order
    np.savez(path, frequencies=w, hybridization=0.25 / (1j * w))
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
        (("--target", "nothing.npz"), "an npz file that can be read"),
        (("--target", "discrete", "--orbitals", 0), "1 orbital or more"),
        (("--orbitals", 2), "--orbitals with --target discrete"),
        (("--target", "discrete", "--orbitals", 2, "--sum-rule", 1), "a matrix as"),
        (("--weight", "file"), "an array `weights` in an npz file, got none in"),
        (("--sum-rule", "file"), "an array `sum_rule` in an npz file, got none in"),
        (("--beta", 1e100), "choose another unit"),
        (("--sum-rule", 1e300), "choose another unit"),
        (("--chemical-potential", 1e300), "choose another unit"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(options, words, tmp_path, capsys):
    require_one_sentence(options, words, tmp_path, capsys)


DELTA = 1 / (1j * FREQUENCIES - 0.3)
MATRICES = {"hybridization": DELTA[:, None, None] * np.eye(2)}
SOUND = {"frequencies": FREQUENCIES, "hybridization": DELTA}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"frequencies": 1.1 * FREQUENCIES}, "positive Matsubara frequencies"),
        ({"frequencies": FREQUENCIES[::-1] * np.nan}, "positive Matsubara"),
        ({"frequencies": -FREQUENCIES}, "positive Matsubara frequencies"),
        ({"frequencies": np.arange(1, 7)}, "positive Matsubara frequencies"),
        ({"frequencies": 1j * FREQUENCIES}, "`frequencies` (real)"),
        ({"frequencies": FREQUENCIES[0]}, "a row of frequencies"),
        ({"frequencies": FREQUENCIES[:0], "hybridization": DELTA[:0]}, "got shapes"),
        ({"hybridization": np.nan * DELTA}, "with NaN or infinity"),
        ({"hybridization": DELTA[1:]}, "a number or a square matrix for each"),
        ({"hybridization": np.ones((6, 2, 3))}, "a square matrix for each"),
        ({"hybridization": DELTA.conj()}, "give its complex conjugate"),
        ({"hybridization": 1e200 * DELTA}, "choose another unit"),
        ({"hybridization": 1e-200 * DELTA}, "choose another unit"),
        ({"hybridization": np.ones(6, bool)}, "hybridization of bool"),
        ({"hybridization": DELTA.astype(str)}, "hybridization of <U"),
        ({"hybridization": np.array([{}] * 6)}, "another kind of file"),
        ({"weights": np.ones(5)}, "6 weights >= 0"),
        ({"weights": np.full(6, 1e308)}, "choose another unit"),
        ({"weights": 1j * np.ones(6)}, "weights of complex128"),
        ({"sum_rule": np.array([1.0, 2.0])}, "a sum rule of shape (1, 1)"),
        ({**MATRICES, "sum_rule": np.array([[1, 1], [2, 1]])}, "Hermitian"),
        ({**MATRICES, "sum_rule": np.array([[2, 1j], [-1j, 2]])}, "and real"),
        ({**MATRICES, "sum_rule": np.ones((2, 2))}, "a positive sum rule"),
    ],
)
def test_bad_arrays_are_one_sentence(changes, words, tmp_path, capsys):
    path = tmp_path / "delta.npz"
    np.savez(path, **(SOUND | changes))
    options = ("--target", path, "--sites", 2)
    options += ("--weight", "file") if "weights" in changes else ()
    options += ("--sum-rule", "file") if "sum_rule" in changes else ()
    require_one_sentence(options, words, tmp_path, capsys)


@pytest.mark.parametrize("kind", ["missing array", "text", "empty", "cut", "npy"])
def test_bad_files_are_one_sentence(kind, tmp_path, capsys):
    path, whole = tmp_path / "delta.npz", tmp_path / "whole.npz"
    np.savez(whole, **SOUND)
    np.save(tmp_path / "frequencies.npy", FREQUENCIES)
    content = {
        "text": b"omega delta\n",
        "empty": b"",
        "cut": whole.read_bytes()[:300],
        "npy": (tmp_path / "frequencies.npy").read_bytes(),
    }
    if kind in content:
        path.write_bytes(content[kind])
    else:
        np.savez(path, frequencies=FREQUENCIES)
    words = "Expected arrays `frequencies` (real) and `hybridization` of numbers in"
    require_one_sentence(("--target", path), words, tmp_path, capsys)


def require_one_sentence(options, words, tmp_path, capsys):
    assert run("bath_fit", *options, "--out", tmp_path / "no") == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "no").exists()
