"""What a bath is fitted to: a semicircle, a hidden bath, or arrays of a file."""

import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from physml.dynamical_mean_field.bath import (
    Bath,
    matsubara_frequencies,
    semicircular_greens_function,
)
from physml.failures import expected

ODD = 1e-6  # how far from odd beta w / pi may be, relative to itself
KINDS = {  # of NumPy's dtypes: floating, integer, unsigned, complex
    "frequencies": "fiu",
    "hybridization": "fiuc",
    "weights": "fiu",
    "sum_rule": "fiuc",
}


@dataclass(frozen=True)
class BathTarget:
    """A hybridization at Matsubara frequencies, and what else is known of it."""

    frequencies: np.ndarray  # (num_points,), real
    hybridization: np.ndarray  # (num_points,) or (num_points, orbitals, orbitals)
    function: Callable[[jax.Array], jax.Array] | None = None  # Delta(z)
    hidden: Bath | None = None
    weights: np.ndarray | None = None  # of the file
    sum_rule: np.ndarray | None = None  # of the file
    sha256: str | None = None  # of the file

    @property
    def num_orbitals(self) -> int:
        """Of the impurity."""
        return 1 if self.hybridization.ndim == 1 else self.hybridization.shape[1]


def semicircle_target(frequencies: np.ndarray) -> BathTarget:
    """Return the semicircle of half bandwidth 1 and weight 1."""
    function = semicircular_greens_function
    hybridization = np.asarray(function(1j * jnp.asarray(frequencies)))
    return BathTarget(frequencies, hybridization, function)


def discrete_target(
    frequencies: np.ndarray, num_sites: int, num_orbitals: int, key: jax.Array
) -> BathTarget:
    """Return a random bath, one level in each part of [-1, 1], and what it gives.

    Parameters
    ----------
    frequencies
        At which it is fitted.
    num_sites, num_orbitals
        Of the bath.
    key
        A JAX random key.
    """
    if num_sites < 1:
        raise expected("1 hidden site or more", num_sites, "raise --hidden-sites")
    if num_orbitals < 1:
        raise expected("1 orbital or more", num_orbitals, "raise --orbitals")
    level_key, coupling_key = jax.random.split(key)
    within = jax.random.uniform(level_key, (num_sites,), minval=0.2, maxval=0.8)
    levels = 2 * (jnp.arange(num_sites) + within) / num_sites - 1
    shape = (num_sites, num_orbitals) if num_orbitals > 1 else (num_sites,)
    couplings = jax.random.uniform(coupling_key, shape, minval=0.2, maxval=0.6)
    hidden = Bath(levels, couplings)
    hybridization = np.asarray(hidden.hybridization(1j * jnp.asarray(frequencies)))
    return BathTarget(frequencies, hybridization, hidden.hybridization, hidden)


def read_target(path: Path, inverse_temperature: float) -> BathTarget:
    """Read `frequencies`, `hybridization`, `weights` and `sum_rule` of an npz file.

    Parameters
    ----------
    path
        The file; the last two arrays may be missing.
    inverse_temperature
        beta, which the frequencies must belong to.

    Raises
    ------
    ValueError
        If there is no such file, or it holds no hybridization of a bath.
    """
    content = _content(path)
    arrays = _arrays(content, path)
    w, hybridization = arrays["frequencies"], arrays["hybridization"]
    _require_shapes(w, hybridization)
    _require_matsubara(w, inverse_temperature)
    _require_sign(hybridization)
    order = np.argsort(w)
    is_single = np.result_type(hybridization, np.complex64) == np.complex64
    weights = arrays.get("weights")
    if weights is not None and weights.shape == w.shape:
        weights = weights[order]
    return BathTarget(
        w[order].astype(float),
        hybridization[order].astype(np.complex64 if is_single else complex),
        weights=weights,
        sum_rule=arrays.get("sum_rule"),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise expected(
            "--target semicircle, discrete or an npz file that can be read",
            f"{path}: {error.strerror}",
            "choose one of them",
        ) from None


def _arrays(content: bytes, path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file; its own error messages speak of pickle."""
    arrays: dict[str, np.ndarray] = {}
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in KINDS if name in file.files}
        got = ", ".join(f"{name} of {x.dtype}" for name, x in arrays.items())
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile):
        got = "another kind of file, or a damaged one"
    is_sound = arrays.keys() >= {"frequencies", "hybridization"}
    if not is_sound or any(x.dtype.kind not in KINDS[n] for n, x in arrays.items()):
        raise expected(
            f"arrays `frequencies` (real) and `hybridization` of numbers in {path}",
            got or "none of them",
            "write them with numpy.savez",
        )
    return arrays


def _require_shapes(w: np.ndarray, hybridization: np.ndarray) -> None:
    shape = hybridization.shape
    is_row = w.ndim == 1 and w.size > 0 and shape[:1] == w.shape
    is_matrix = len(shape) == 3 and shape[1] == shape[2] > 0
    if not is_row or not (len(shape) == 1 or is_matrix):
        raise expected(
            "a row of frequencies, and a number or a square matrix for each",
            f"shapes {w.shape} and {shape}",
            "mend the file",
        )


def _require_matsubara(w: np.ndarray, inverse_temperature: float) -> None:
    matsubara_frequencies(inverse_temperature, 1)  # refuses a beta that is none
    numbers = w * inverse_temperature / np.pi
    odd = 2 * np.round((numbers - 1) / 2) + 1
    is_sound = (np.abs(numbers - odd) <= ODD * np.abs(odd)) & (w > 0)  # not for NaN
    if not is_sound.all():
        raise expected(
            "positive Matsubara frequencies (2n + 1) pi / beta for --beta "
            f"{inverse_temperature:g}",
            w[~is_sound][0],
            "give the beta of the file",
        )


def _require_sign(hybridization: np.ndarray) -> None:
    """Refuse the other half plane; noise may turn a sign here and there."""
    imaginary = hybridization.imag
    if imaginary.ndim == 3:
        imaginary = np.trace(imaginary, axis1=1, axis2=2)
    if np.all(imaginary > 0):
        raise expected(
            "a hybridization whose imaginary part is below zero at positive "
            "frequencies",
            "one that is above zero at all of them",
            "give its complex conjugate",
        )
