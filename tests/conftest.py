"""Strict settings for every test: float64, strict promotion, no silent rank growth."""

import jax
import pytest

import physml

physml.enable_x64()
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let the tests of one session share what XLA has compiled."""
    folder = tmp_path_factory.getbasetemp().parent / "compiled"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
