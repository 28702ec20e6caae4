import jax
import numpy as np
import pytest

import physml
from physml.precision import default_float_dtype, require_resolvable


def test_enable_x64_switches_both_ways():
    assert default_float_dtype() == np.float64
    physml.enable_x64(False)
    try:
        assert default_float_dtype() == np.float32
        assert jax.numpy.zeros(1).dtype == np.float32
    finally:
        physml.enable_x64()
    assert jax.numpy.zeros(1).dtype == np.float64


def test_tolerance_below_rounding_is_refused_with_the_cure():
    with pytest.raises(ValueError, match="use float64"):
        require_resolvable(1e-6, 100.0, np.dtype(np.float32), "a target")
    with pytest.raises(ValueError, match=r"ask for at least 2\.2e-12"):
        require_resolvable(1e-13, 1e4, np.dtype(np.float64), "a target")


@pytest.mark.parametrize("tolerance", [0.0, 1e-4])
def test_reachable_tolerance_passes(tolerance):
    require_resolvable(tolerance, 100.0, np.dtype(np.float32), "a target")
