"""The folder tree is the architecture: who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "physml"
NUMERICS = ("lattices", "operators", "solvers", "estimators", "layers", "pullbacks")
PHYSICS = ("hamiltonians", "wavefunctions", "greens_functions")


def imported_modules(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = {
        a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names
    }
    return names | {
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
    }


def imports_of(folder: str) -> set[str]:
    paths = [*(PACKAGE / folder).rglob("*.py"), PACKAGE / f"{folder}.py"]
    return set().union(*(imported_modules(p) for p in paths if p.exists()))


def assert_never_imports(folder: str, *forbidden: str) -> None:
    bad = [name for name in imports_of(folder) if name.startswith(forbidden)]
    assert not bad, f"physml/{folder} imports {bad}"


@pytest.mark.parametrize("folder", NUMERICS)
def test_numerics_know_no_physics(folder):
    assert_never_imports(
        folder, *(f"physml.{name}" for name in PHYSICS), "physml.training"
    )


@pytest.mark.parametrize("folder", PHYSICS)
def test_physics_knows_no_training(folder):
    assert_never_imports(
        folder,
        "physml.training",
        "physml.variational",
        "physml.dynamical_mean_field",
        "physml.runs",
        "optax",
    )


def test_training_knows_no_physics():
    others = (*NUMERICS, *PHYSICS, "variational", "dynamical_mean_field", "runs")
    assert_never_imports("training", *(f"physml.{name}" for name in others))


def test_samplers_know_log_densities_alone():
    allowed = ("samplers", "parallel", "estimators")
    allowed += ("failures", "precision", "pytrees")
    for name in imports_of("samplers"):
        folder = name.split(".")[1] if name.startswith("physml.") else "parallel"
        assert folder in allowed, f"physml/samplers imports {name}"


def test_libraries_of_experiments_stay_in_runs():
    faces = ("samplers", "training", "variational", "dynamical_mean_field")
    for folder in (*NUMERICS, *PHYSICS, *faces):
        assert_never_imports(folder, "matplotlib", "rich", "tyro", "physml.runs")


def test_only_parallel_imports_mpi():
    for path in PACKAGE.rglob("*.py"):
        if "parallel" not in path.parts:
            bad = [
                n for n in imported_modules(path) if n.startswith(("mpi4", "mpi4jax"))
            ]
            assert not bad, f"{path} imports {bad}"


def test_import_changes_nothing_and_starts_no_mpi():
    code = (
        "import jax; before = dict(jax.config.values); import physml, sys;"
        "assert dict(jax.config.values) == before;"
        "late = {'mpi4py', 'mpi4jax', 'matplotlib', 'tyro', 'optimistix',"
        "'scipy.optimize'};"
        "assert not late & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""
