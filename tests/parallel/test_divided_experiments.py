"""The experiments on several ranks end where one process ends."""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from command_lines import result_of, run

from physml.training import read_manifest

pytestmark = pytest.mark.slow

# Converged, so that the way there does not matter: two trajectories that differ in the
# last bit part soon.
LEVELS = ("experiments/harmonic_oscillator.py", "--quick", "--steps", "1000")
FIT = ("experiments/smearing_fit.py", "--quick")
MAP = ("experiments/local_density_of_states.py", "--quick")
MAP_BY_SITES = (*MAP, "--method", "krylov", "--batch", "4")
GAP = ("experiments/bogoliubov_de_gennes.py", "--quick", "--defect", "vortex")
NUM_SITES = 125  # of so many that there is time to kill a rank
LONG_MAP = (*MAP_BY_SITES, "--broadening", "0.001", "--size", "2000", "--sites")
LONG_MAP += tuple(str(16 * n) for n in range(NUM_SITES))
SEARCH = ("experiments/ldos_inverse_design.py", "--quick", "--size", "6")
ALL = {"levels": LEVELS, "fit": FIT, "map": MAP, "sites": MAP_BY_SITES, "gap": GAP}
ALL["search"] = SEARCH
SPINS = (
    *("experiments/self_learning_monte_carlo.py", "--size", "2", "--chains", "3"),
    *("--layers", "1", "--kind", "convolution", "--shells", "2", "--layer-shells", "2"),
    *("--training-samples", "30", "--test-samples", "10", "--own-samples", "6"),
    *("--training-steps", "3", "--starts", "2", "--interval", "2", "--burn-in", "4"),
    *("--sweeps", "32", "--proposals", "16", "--trajectories", "2"),
)
ALL["spins"] = SPINS
# More ranks than starts; its optimizer does not run over devices.
BATH = ("experiments/bath_fit.py", "--quick", "--starts", "2")
MOTT = ("experiments/mott_transition.py", "--sites", "3", "--frequencies", "32")
MOTT += ("--interactions", "2")
ON_RANKS = ALL | {"bath": BATH, "mott": MOTT}


def numbers_of(folder):
    """Return what a run found: energies, couplings, potentials, a map, or means."""
    result = result_of(folder)
    if "starts_at_best" in result:
        return [*result["levels"], *result["couplings"], *result["distances"]]
    if "insulator" in result:
        names = ("quasiparticle_weight", "double_occupancy")
        rows = result["metal"] + result["insulator"]
        return [row[name] for row in rows for name in names]
    if "metropolis" in result:
        return [
            value
            for row in (result["metropolis"], *result["models"])
            for name, value in row.items()
            if isinstance(value, int | float)
            and not ("second" in name or "effective" in name)  # of time, N / (2 tau)
        ]
    if (folder / "ldos.npz").exists():
        with np.load(folder / "ldos.npz", allow_pickle=False) as file:
            return file["ldos"].ravel()
    if "levels" in result:
        return [row["energy"] for row in result["levels"]]
    names = ("learned_couplings", "found_potentials")
    return next(result[name] for name in names if name in result)


def close_to(alone, options):
    """Compare with one process: to 1e-10, where a training amplifies rounding 1e-9."""
    tolerance = 1e-9 if options is SPINS else 1e-10
    return pytest.approx(alone(options), rel=1e-11, abs=tolerance)


# Runs one command line after the other, each as if it were alone in its process.
ONE_BY_ONE = """
import json, runpy, sys
for sys.argv in json.loads(sys.argv[1]):
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


def one_by_one(commands, folders, *first):
    """Return arguments of Python that run experiments, the first with more options."""
    runs = [
        [*command, "--out", str(folder)]
        for command, folder in zip(commands, folders, strict=True)
    ]
    runs[0] += first
    return "-c", ONE_BY_ONE, json.dumps(runs)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Return a function that runs an experiment on one process, once."""
    folders = {}

    def numbers(options):
        if options not in folders:
            folders[options] = tmp_path_factory.mktemp("alone")
            with jax.numpy_dtype_promotion("standard"):  # Optax mixes dtypes
                name = Path(options[0]).stem
                assert run(name, *options[1:], "--out", folders[options]) == 0
        return numbers_of(folders[options])

    return numbers


@pytest.mark.timeout(800)
@pytest.mark.parametrize(
    ("num_ranks", "names"),
    [
        (1, ["levels"]),
        (2, [*ALL]),
        (3, ["levels", "map", "spins", "bath", "mott"]),
    ],
)
def test_ranks_find_what_one_process_finds(
    run_ranks, alone, tmp_path, num_ranks, names
):
    folders = [tmp_path / name for name in names]
    command = one_by_one([ON_RANKS[n] for n in names], folders, "--threads", "1")
    done = run_ranks(num_ranks, *command, timeout=380)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Results and pictures are in") == len(names)
    assert done.stdout.count("Writing to") == len(names)
    for name, folder in zip(names, folders, strict=True):
        assert numbers_of(folder) == close_to(alone, ON_RANKS[name])
        ranks = result_of(folder)["ranks"]
        assert (ranks["number"], ranks["threads"]) == (num_ranks, 1)


@pytest.mark.timeout(800)
def test_devices_find_what_one_process_finds(run_python, alone, tmp_path):
    folders = [tmp_path / name for name in ALL]
    commands = [(*options, "--devices", "3") for options in ALL.values()]
    done = run_python(*one_by_one(commands, folders), timeout=380)
    assert done.returncode == 0, done.stdout
    for options, folder in zip(ALL.values(), folders, strict=True):
        assert numbers_of(folder) == close_to(alone, options)
        ranks = result_of(folder)["ranks"]
        assert (ranks["communicator"], ranks["number"]) == ("sharded", 3)


def test_a_bath_over_devices_is_refused(run_python, tmp_path):
    out = tmp_path / "never"
    done = run_python(*BATH, "--devices", "2", "--out", str(out))
    assert done.returncode == 2, done.stdout
    assert "run under mpirun" in done.stdout
    assert done.stdout.count("\n") == 1
    assert not out.exists()


def wait_for(condition, seconds=100):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def ranks_in(folder):
    """Return the process numbers of the ranks that write to a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # ended meanwhile
            program, *arguments = path.read_text().split("\0")
            if program == sys.executable and str(folder) in arguments:
                found.append(int(path.parent.name))
    return found


def kill_a_rank(process, folder):
    """Kill the second of the ranks once there is a checkpoint; all shall end."""
    wait_for((folder / "checkpoint" / "manifest.json").exists)
    os.kill(ranks_in(folder)[1], signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode != 0
    return read_manifest(folder / "checkpoint")


@pytest.mark.timeout(800)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the ranks in /proc")
def test_killed_rank_and_fewer_ranks_afterwards_lose_nothing(
    run_ranks, start_ranks, alone, tmp_path
):
    commands, folders = (LEVELS, LONG_MAP), (tmp_path / "levels", tmp_path / "map")
    manifests = []
    for command, folder in zip(commands, folders, strict=True):
        process = start_ranks(3, *command, "--threads", "1", "--out", str(folder))
        manifests.append(kill_a_rank(process, folder))
    num_saved = manifests[0]["num_records"]
    saved = (folders[0] / "records.jsonl").read_text().splitlines()[:num_saved]
    assert saved
    assert 0 < manifests[1]["rows"] < NUM_SITES
    resumed = [(*command, "--resume") for command in commands]
    done = run_ranks(2, *one_by_one(resumed, folders, "--threads", "1"), timeout=380)
    assert done.returncode == 0, done.stdout
    for command, folder in zip(commands, folders, strict=True):
        assert numbers_of(folder) == close_to(alone, command)
    lines = (folders[0] / "records.jsonl").read_text().splitlines()
    assert lines[:num_saved] == saved


ENDLESS = (LEVELS[0], "--quick", "--optimizer", "adam", "--steps", "1000000")


def checkpoint_has_all_records(folder):
    manifest = read_manifest(folder / "checkpoint")
    lines = (folder / "records.jsonl").read_text().splitlines()
    return manifest["num_records"] == len(lines)


@pytest.mark.timeout(200)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the ranks in /proc")
def test_signal_to_one_rank_ends_all_with_a_checkpoint(start_ranks, tmp_path):
    process = start_ranks(2, *ENDLESS, "--threads", "1", "--out", str(tmp_path))
    wait_for((tmp_path / "records.jsonl").exists)
    os.kill(ranks_in(tmp_path)[1], signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, output
    assert output.count("--resume") == 1, output
    assert "Traceback" not in output
    assert checkpoint_has_all_records(tmp_path)


@pytest.mark.timeout(200)
def test_usr1_to_mpirun_ends_all_with_a_checkpoint(start_ranks, tmp_path):
    process = start_ranks(2, *ENDLESS, "--threads", "1", "--out", str(tmp_path))
    wait_for((tmp_path / "records.jsonl").exists)
    process.send_signal(signal.SIGUSR1)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGUSR1, output
    assert output.count("--resume") == 1, output
    assert checkpoint_has_all_records(tmp_path)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_killed_mpirun_leaves_the_last_checkpoint(start_ranks, tmp_path, number):
    """Open MPI's mpirun sends SIGTERM to its ranks and kills them 0.2 s later."""
    process = start_ranks(2, *ENDLESS, "--threads", "1", "--out", str(tmp_path))
    wait_for((tmp_path / "checkpoint" / "manifest.json").exists)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in output
    assert read_manifest(tmp_path / "checkpoint")["num_records"] > 0


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--omega", "0"), "Expected omega > 0"),
        (("--no-such-option",), "no-such-option"),
    ],
)
def test_bad_options_are_refused_once(run_ranks, tmp_path, options, sentence):
    out = tmp_path / "never"
    done = run_ranks(2, *LEVELS, *options, "--out", str(out))
    assert done.returncode == 2, done.stdout
    assert done.stdout.count(sentence) == 1, done.stdout
    assert "Traceback" not in done.stdout
    assert not out.exists()
