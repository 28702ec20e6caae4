"""Strict settings for every test: float64, strict promotion, no silent rank growth."""

import gc
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

# The tests compile much and compute little: a third of the time without LLVM's
# optimizer and XLA's newer emitters of fused loops, half where these can't be left out
# any more; small programs are not worth a copy for each thread of the compiler.
# XLA_FLAGS= tests with its defaults.
FLAGS = "--xla_backend_optimization_level=0"
if version("jaxlib").startswith("0.10."):  # others may end at a flag they do not know
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
    FLAGS += " --xla_cpu_parallel_codegen_split_count=1"
os.environ.setdefault("XLA_FLAGS", FLAGS)

# jaxlib 0.10.1 warns in vain of each program that it takes from the cache.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import pytest

import physml

physml.enable_x64()
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let every worker begin with its share of the slow tests.

    Those that end last would be slow ones else, one of a minute alone at the end.
    """
    num_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    slow = [item for item in items if item.get_closest_marker("slow")]
    quick = [item for item in items if not item.get_closest_marker("slow")]
    items[:] = [
        item
        for worker in range(num_workers)
        for tests in (slow, quick)
        for item in share_of(tests, worker, num_workers)
    ]


def share_of(tests: list[pytest.Item], worker: int, num_workers: int):
    """Return one of the pieces in a row into which tests are divided."""
    start, stop = (len(tests) * n // num_workers for n in (worker, worker + 1))
    return tests[start:stop]


def pytest_collection_finish() -> None:
    """Look for garbage less often: Python does so whenever JAX traces, for 10 %.

    What the imports have made is none and stays out of the search.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let a session's tests and their processes share what XLA has compiled.

    And what Python has, where the environment keeps it from writing that beside the
    sources: some 200 processes would each compile all modules of JAX and Flax.
    """
    folder = tmp_path_factory.getbasetemp().parent / "compiled"
    if sys.dont_write_bytecode:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ.setdefault("PYTHONPYCACHEPREFIX", str(folder / "bytecode"))
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.01")
    jax.config.update(
        "jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"]
    )
    jax.config.update(
        "jax_persistent_cache_min_compile_time_secs",
        float(os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"]),
    )


@pytest.fixture(scope="module", autouse=True)
def compiled_programs_are_freed() -> Iterator[None]:
    """Free what was compiled before it fills half of the memory map.

    Some 700 tests need more than the 65 530 pieces of memory that Linux lets a process
    map, and XLA crashes then.
    """
    yield
    pieces = Path("/proc/self/maps")
    if not pieces.exists() or pieces.read_bytes().count(b"\n") > 32_000:
        jax.clear_caches()


@pytest.fixture(autouse=True)
def promotion_where_optax_runs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Optax and Optimistix mix dtypes: tests that run them cannot be strict."""
    folders = {"training", "variational", "runs", "dynamical_mean_field"}
    runs_optax = folders & set(request.path.parts)
    with jax.numpy_dtype_promotion("standard" if runs_optax else "strict"):
        yield
