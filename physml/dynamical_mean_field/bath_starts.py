r"""Where the fit of a bath starts: levels by rational approximation, and couplings.

Random levels, and the poles of an AAA approximation, are moved by vector fitting, which
finds the levels to a few per cent or better from anywhere. With several orbitals a few
levels with matrices of any rank are found first; they fall into sites, one for each
eigenvector, of which the largest stay.

With particle-hole symmetry Delta(z) / 2z is a sum over poles at e^2 in z^2, and half a
pole at zero if the number of sites is odd.

Source of AAA: Y. Nakatsukasa, O. Sete, L. N. Trefethen, SIAM J. Sci. Comput. 40, A1494
(2018), https://doi.org/10.1137/16M1106122.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import AAA

from physml.dynamical_mean_field.bath import Bath
from physml.dynamical_mean_field.bath_form import BathForm, BathParameters
from physml.dynamical_mean_field.bath_problem import BathProblem
from physml.failures import expected
from physml.solvers.vector_fitting import real_rows, relocate_poles

NEARLY = 1e-4  # relative: how far from symmetric a start may be


def random_levels(
    problem: BathProblem,
    key: jax.Array,
    num_starts: int,
    *,
    num_levels: int | None = None,
) -> np.ndarray:
    """Return free levels, shape (num_starts, num_levels), some from an AAA fit.

    Parameters
    ----------
    problem
        What is fitted.
    key
        A JAX random key.
    num_starts
        How many. The first has the poles of an AAA approximation.
    num_levels
        Other than the problem's.
    """
    number = problem.form.num_levels if num_levels is None else num_levels
    levels = _spread_levels(problem, key, (num_starts, number))
    aaa = _aaa_levels(problem, number)
    levels[0, : aaa.size] = aaa
    return levels


def relocated_levels(
    problem: BathProblem, levels: np.ndarray, num_relocations: int
) -> np.ndarray:
    """Move free levels, (num_starts, num_levels), by so many steps of vector fitting.

    Those that leave all bounds stay.
    """
    if not levels.size:
        return levels
    x, f, weights = _as_poles(problem)
    values = np.concatenate([weights[:, None] * f, weights[:, None]], axis=1)
    is_symmetric = problem.form.is_symmetric
    poles = levels**2 if is_symmetric else levels
    fixed = (0.0,) * problem.form.num_zeros
    for _ in range(num_relocations):
        new = relocate_poles(x, values, poles, fixed_poles=fixed)
        new = np.abs(new) if is_symmetric else new
        poles = np.where(np.isfinite(new).all(axis=1, keepdims=True), new, poles)
    return np.sqrt(poles) if is_symmetric else poles


def coupled_starts(
    problem: BathProblem, key: jax.Array, num_starts: int, *, num_relocations: int
) -> BathParameters:
    """Return whole baths to start from, for several orbitals.

    Starts go through all numbers of levels from that of the sites down to the fewest
    whose matrices have as many eigenvectors as there are sites.
    """
    form = problem.form
    fewest = -(-form.num_levels // form.num_orbitals)
    numbers = range(form.num_levels, max(fewest, 1) - 1, -1)
    numbers = numbers[:num_starts]
    found: list[BathParameters] = []
    for i, number in enumerate(numbers):
        share = len(range(i, num_starts, len(numbers)))
        number_key = jax.random.fold_in(key, number)
        levels = random_levels(problem, number_key, share, num_levels=number)
        found.append(
            sites_of_levels(problem, relocated_levels(problem, levels, num_relocations))
        )
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *found)


def sites_of_levels(problem: BathProblem, levels: np.ndarray) -> BathParameters:
    """Return baths of several orbitals whose levels come from those of a free rank.

    Parameters
    ----------
    problem
        What is fitted.
    levels
        Free levels, as many as are wanted for each bath, shape (num_starts, any).
    """
    baths = [_split(problem, row) for row in levels]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *baths)


def given_starts(problem: BathProblem, baths: Bath) -> BathParameters:
    """Return the free numbers of a bath, or of several stacked along a first axis.

    Raises
    ------
    ValueError
        If they are not baths of the form that is fitted.
    """
    form = problem.form
    levels, couplings = np.asarray(baths.levels), np.asarray(baths.couplings)
    if levels.ndim == 1:
        levels, couplings = levels[None], couplings[None]
    if couplings.ndim == levels.ndim:
        couplings = couplings[..., None]
    if form.num_orbitals == 1:
        couplings = np.abs(couplings)  # their phases mean nothing
    _require_sites(form, levels, couplings)
    real, full = problem.weights.dtype, problem.z.dtype
    dtype = full if form.is_complex else real
    stacked = Bath(jnp.asarray(levels, real), jnp.asarray(couplings, dtype))
    if form.is_symmetric:
        _require_symmetry(problem, stacked)
    return jax.vmap(form.parameters_of)(stacked)


def _require_sites(form: BathForm, levels: np.ndarray, couplings: np.ndarray) -> None:
    """Refuse shapes and numbers that are no baths of this form."""
    n, shape = form.num_sites, (len(levels), form.num_sites, form.num_orbitals)
    is_sound = levels.size > 0 and levels.shape == shape[:2]
    if not (is_sound and couplings.shape == shape):
        raise expected(
            f"starts with levels (num_starts, {n}) and couplings (num_starts, {n}) or "
            f"(num_starts, {n}, {form.num_orbitals})",
            f"shapes {levels.shape} and {couplings.shape}",
            "give baths of as many sites and orbitals as are fitted",
        )
    if not (np.isfinite(levels).all() and np.isfinite(couplings).all()):
        raise expected("starts that are finite", "NaN or infinity", "leave them out")
    if np.iscomplexobj(levels) or (not form.is_complex and np.any(couplings.imag)):
        raise expected(
            "real levels, and real couplings for a symmetric hybridization",
            "complex ones",
            "rotate the phases of the orbitals away",
        )


def _require_symmetry(problem: BathProblem, baths: Bath) -> None:
    """Refuse baths with Delta(-z) far from -Delta(z)."""

    def asymmetry(bath: Bath) -> jax.Array:
        delta, mirrored = (bath.hybridization(z) for z in (problem.z, -problem.z))
        return jnp.max(jnp.abs(delta + mirrored)) / jnp.max(jnp.abs(delta))

    largest = float(jnp.max(jax.vmap(asymmetry)(baths)))
    if largest > NEARLY:
        raise expected(
            "starts with levels in pairs +-e of equal couplings",
            f"a hybridization that is not odd by {largest:.1e} of it",
            "mirror the levels, or fit without particle-hole symmetry",
        )


def _spread_levels(
    problem: BathProblem, key: jax.Array, shape: tuple[int, int]
) -> np.ndarray:
    """Return levels of either sign, their logarithms spread over those of |z|."""
    sizes = np.log(np.abs(np.asarray(problem.z)))
    size_key, sign_key = jax.random.split(key)
    logarithms = jax.random.uniform(
        size_key, shape, minval=sizes.min(), maxval=sizes.max() + 0.1
    )
    return np.array(jnp.exp(logarithms) * jax.random.rademacher(sign_key, shape, float))


def _as_poles(problem: BathProblem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points x, functions f (num_points, num_functions), weights of points."""
    z, rows = np.asarray(problem.z, complex), np.asarray(problem.row_weights(), float)
    basis = hermitian_basis(problem.form.num_orbitals)
    f = np.einsum("mab,kab->km", basis.conj(), np.asarray(problem.hybridization))
    if problem.form.is_symmetric:
        return z**2, f / (2 * z[:, None]), rows * 2 * z
    return z, f, rows.astype(complex)


def _aaa_levels(problem: BathProblem, number: int) -> np.ndarray:
    """Return up to so many levels from the AAA approximation of the trace."""
    x, f, _ = _as_poles(problem)
    trace = f @ np.trace(hermitian_basis(problem.form.num_orbitals), axis1=1, axis2=2)
    if problem.form.is_symmetric:
        x, trace = x.real, trace.real
    else:  # Delta(z*) is the conjugate of Delta(z)
        x, trace = np.append(x, x.conj()), np.append(trace, trace.conj())
    x, first = np.unique(x, return_index=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that it stops at max_terms
        approximation = AAA(
            x, trace[first], rtol=0.0, max_terms=number + 1, clean_up=False
        )
        poles = approximation.poles()
    real = poles.real + poles.imag  # of complex pairs two real ones
    real = real[np.isfinite(real)][:number]
    return np.sqrt(np.abs(real)) if problem.form.is_symmetric else real


def _split(problem: BathProblem, free_levels: np.ndarray) -> BathParameters:
    """Return the sites that come from levels with matrices of any rank."""
    form = problem.form
    matrices = _matrices(problem, free_levels)
    matrices = matrices if form.is_complex else matrices.real
    sizes, vectors = np.linalg.eigh(matrices)  # ascending; [level, orbital, vector]
    rows = np.sqrt(np.maximum(sizes, 0))[:, None] * vectors.conj()
    rows = rows.transpose(0, 2, 1)  # [level, vector, orbital]
    count, n = free_levels.size, form.num_orbitals
    kept = np.argsort(sizes[:count].ravel(), stable=True)[::-1][: form.num_levels]
    levels = np.repeat(free_levels, n)[kept]
    couplings = rows[:count].reshape(-1, n)[kept]
    couplings = np.concatenate([couplings, rows[count:, -1]])  # of a site at zero
    parameters = form.parameters(levels, couplings)
    real = problem.weights.dtype
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, real), parameters)


def _matrices(problem: BathProblem, free_levels: np.ndarray) -> np.ndarray:
    """Return the best Hermitian residues of levels, and of a site at zero."""
    x, f, weights = _as_poles(problem)
    is_symmetric, zeros = problem.form.is_symmetric, (0.0,) * problem.form.num_zeros
    poles = np.append(free_levels**2 if is_symmetric else free_levels, zeros)
    terms = weights[:, None] / (x[:, None] - poles)
    terms[:, free_levels.size :] /= 2
    sides = weights[:, None] * f
    coefficients = np.linalg.lstsq(real_rows(terms), real_rows(sides), rcond=None)[0]
    basis = hermitian_basis(problem.form.num_orbitals)
    return np.einsum("lm,mab->lab", coefficients, basis)


def hermitian_basis(n: int) -> np.ndarray:
    """Return an orthonormal basis of Hermitian matrices, shape (n^2, n, n)."""
    basis = np.zeros((n, n, n, n), complex)
    for a, b in np.ndindex(n, n):
        if a == b:
            basis[a, a, a, a] = 1
        elif a < b:
            basis[a, b, a, b] = basis[a, b, b, a] = np.sqrt(0.5)
        else:
            basis[a, b, a, b], basis[a, b, b, a] = 1j * np.sqrt(0.5), -1j * np.sqrt(0.5)
    return basis.reshape(n * n, n, n)
