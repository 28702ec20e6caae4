"""How far rounding moves a computation, and the arrays to find it out."""

import jax.numpy as jnp
import numpy as np

Arrays = list[np.ndarray]

SAFETY = 8.0  # a margin above one standard deviation of rounding


def random_like(array: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return normal random numbers of the array's shape and dtype."""
    noise = random.normal(size=array.shape)
    if np.iscomplexobj(array):
        noise = noise + 1j * random.normal(size=array.shape)
    return np.asarray(noise).astype(array.dtype)


def shaken(array: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Change every entry by one unit of rounding, up or down."""
    signs = random.choice([-1.0, 1.0], size=array.shape)
    return (array * (1 + signs * unit_of_rounding([array]))).astype(array.dtype)


def scale_of(array: np.ndarray) -> np.ndarray:
    """Return the root mean square, or 1 for an array of zeros."""
    size = np.sqrt(np.mean(np.abs(array) ** 2)) if array.size else 0.0
    return np.asarray(size or 1.0).astype(np.abs(array).dtype)


def growth(point: Arrays, values: Arrays) -> float:
    """Return how far rounding may grow in sums over all these entries."""
    return SAFETY * float(np.sqrt(1 + sum(a.size for a in [*point, *values])))


def unit_of_rounding(arrays: Arrays) -> float:
    """Return the unit of rounding of the coarsest dtype."""
    return max(float(jnp.finfo(a.dtype).eps) for a in arrays)


def largest(array: np.ndarray) -> float:
    """Return the largest finite magnitude, 0 if there is none."""
    finite = np.abs(array)[np.isfinite(array)]
    return float(finite.max(initial=0.0))


def wide(array: np.ndarray) -> np.ndarray:
    """Return the array in double precision."""
    kind = np.complex128 if np.iscomplexobj(array) else np.float64
    return np.asarray(array).astype(kind)
