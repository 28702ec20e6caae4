r"""The distance of a bath from a hybridization, as a function of free numbers.

.. math:: d^p = \sum_n W_n |X(z_n) - X_\mathrm{bath}(z_n)|^p \Big/ \sum_n W_n , \qquad
          X = \Delta \ \text{or} \ \mathcal{G}_0 = (z + \mu - \Delta)^{-1} ,

|X| the Frobenius norm where there are several orbitals. For one orbital and X = Delta
the squared couplings enter linearly, and drop out by variable projection. For the Weiss
field they do so to first order, with weights :math:`W_n |\mathcal{G}_0|^4`: a start.

Units: z, Delta, mu are energies, G0 is an inverse energy.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax.tree_util import Partial

from physml.dynamical_mean_field.bath import Bath, weiss_field
from physml.dynamical_mean_field.bath_form import BathForm, BathParameters
from physml.failures import expected
from physml.precision import default_float_dtype
from physml.pytrees import register_dataclass
from physml.training.compiled_loop import Loss
from physml.training.sum_of_squares import SumOfSquares
from physml.training.variable_projection import VariableProjection

FittedName = Literal["hybridization", "weiss_field"]
WeightName = Literal["one", "inverse_number", "inverse_frequency"]


@partial(register_dataclass, static=("form", "fitted", "power", "has_orbital_axes"))
@dataclass(frozen=True)
class BathProblem:
    """What a bath shall reproduce, and how deviations count; made by `bath_problem`."""

    z: jax.Array  # (num_points,)
    hybridization: jax.Array  # (num_points, num_orbitals, num_orbitals)
    weights: jax.Array  # (num_points,), of sum 1
    chemical_potential: jax.Array
    sum_rule: jax.Array | None  # (num_orbitals, num_orbitals)
    form: BathForm
    fitted: FittedName
    power: float
    has_orbital_axes: bool  # whether Delta came with them, and couplings go so

    def bath(self, parameters: BathParameters) -> Bath:
        """Return the bath that free numbers stand for, with an axis of orbitals."""
        return self.form.bath(parameters, self.sum_rule)

    def ordered_bath(self, parameters: BathParameters) -> Bath:
        """Return that bath as users see it: levels ascending, phases fixed.

        Couplings have an axis of orbitals if Delta came with such axes.
        """
        bath = self.bath(parameters)
        order = jnp.argsort(bath.levels)
        couplings = _with_signs(bath.couplings)[order]
        couplings = couplings if self.has_orbital_axes else couplings[:, 0]
        return Bath(bath.levels[order], couplings)

    def fitted_function(self, hybridization: jax.Array) -> jax.Array:
        """Return X of a hybridization, shape (num_points, num_orbitals, ...)."""
        if self.fitted == "hybridization":
            return hybridization
        return weiss_field(self.z, hybridization, self.chemical_potential)

    def mean_power(self, x: jax.Array) -> jax.Array:
        """Return the weighted mean of |x|^p of a function at the points."""
        squares = jnp.sum((x * x.conj()).real, axis=(1, 2))
        is_zero = squares == 0  # where powers below 2 have no derivative
        powers = jnp.where(is_zero, 1, squares) ** (self.power / 2)
        return jnp.sum(self.weights * jnp.where(is_zero, 0, powers))

    @property
    def is_linear(self) -> bool:
        """Whether the distance is that of a linear problem for squared couplings."""
        is_squared = self.fitted == "hybridization" and self.power == 2
        return is_squared and self.form.num_orbitals == 1

    @property
    def scale(self) -> jax.Array:
        """The distance of no bath at all from X."""
        fitted = self.fitted_function(self.hybridization)
        return self.mean_power(fitted) ** (1 / self.power)

    def deviations(self, parameters: BathParameters) -> jax.Array:
        """Return X minus that of a bath."""
        found = self.bath(parameters).hybridization(self.z)
        return self.fitted_function(self.hybridization) - self.fitted_function(found)

    def distance(self, parameters: BathParameters) -> jax.Array:
        """Return d, in units of X."""
        deviations = self.deviations(parameters)
        size = jnp.max(jnp.abs(deviations))  # whose powers may be below all numbers
        size = jnp.where(size == 0, 1, size)
        shares = deviations / size.astype(deviations.dtype)
        return size * self.mean_power(shares) ** (1 / self.power)

    def loss(self) -> Loss:
        """Return (d / scale)^p as a function of `BathParameters`."""
        if self.power == 2:
            return SumOfSquares(Partial(_relative_residuals, self, self.scale))
        return Partial(_relative_power, self, self.scale)

    def projected_loss(self) -> VariableProjection:
        """Return the loss of levels alone, each with its best squared couplings."""
        return VariableProjection(Partial(_linear_problem, self, self.row_weights()))

    def row_weights(self) -> jax.Array:
        """Return the factors of deviations of Delta whose squares make up d^2."""
        rows = jnp.sqrt(self.weights)
        if self.fitted == "weiss_field":
            field = self.fitted_function(self.hybridization)
            size = jnp.sum((field * field.conj()).real, axis=(1, 2))
            rows = rows * size / self.form.num_orbitals
        return rows / jnp.linalg.norm(rows[:, None, None] * jnp.abs(self.hybridization))

    def weights_of_levels(self, free_levels: jax.Array) -> jax.Array:
        """Return the best squared couplings, (num_couplings,); some may be < 0."""
        coefficients = self.projected_loss().coefficients(free_levels)
        offset, directions = _sum_rule_directions(self)
        return offset + directions @ coefficients

    def with_couplings(self, free_levels: jax.Array) -> BathParameters:
        """Return the free numbers of levels and their best squared couplings.

        A level whose best one is below zero is uncoupled.
        """
        weights = jnp.maximum(self.weights_of_levels(free_levels), 0)
        return self.form.parameters(free_levels, jnp.sqrt(weights)[:, None])


def bath_problem(
    frequencies: np.ndarray | jax.Array,
    hybridization: np.ndarray | jax.Array,
    num_sites: int,
    *,
    weights: WeightName | np.ndarray | jax.Array = "one",
    fitted: FittedName = "hybridization",
    chemical_potential: float = 0.0,
    power: float = 2.0,
    particle_hole_symmetric: bool = False,
    sum_rule: float | np.ndarray | jax.Array | None = None,
) -> BathProblem:
    """Check what a bath shall reproduce; parameters and errors as in `fit_bath`."""
    points = np.asarray(frequencies)
    z = points if np.iscomplexobj(points) else 1j * points
    given = np.asarray(hybridization)
    _require_points(z, given)
    matrices = given.reshape(len(z), *(given.shape[1:] or (1, 1))).astype(complex)
    rounding = np.finfo(np.result_type(given, np.complex64)).eps
    form = _form(matrices, num_sites, particle_hole_symmetric, rounding ** (2 / 3))
    _require_options(fitted, power, chemical_potential)
    real = default_float_dtype()
    complex_dtype = np.result_type(real, np.complex64)
    values = _weights(weights, z)
    _require_sizes(
        {
            "frequencies": z,
            "a hybridization": given,
            "weights": values,
            "z + mu": z + chemical_potential,
            "a sum rule": 1.0 if sum_rule is None else sum_rule,
        }
    )
    return BathProblem(
        jnp.asarray(z, complex_dtype),
        jnp.asarray(matrices, complex_dtype),
        jnp.asarray(values / values.sum(), real),
        jnp.asarray(chemical_potential, real),
        _sum_rule(sum_rule, form, complex_dtype if form.is_complex else real),
        form,
        fitted,
        float(power),
        given.ndim == 3,
    )


def _require_options(
    fitted: FittedName, power: float, chemical_potential: float
) -> None:
    if fitted not in get_args(FittedName):
        raise expected("hybridization or weiss_field", repr(fitted), "choose one")
    if not 1 <= power < np.inf:
        raise expected("a power of 1 or more", power, "take 2")
    if not np.isfinite(chemical_potential):
        raise expected("a finite chemical potential", chemical_potential, "take 0")


def _require_sizes(arrays: dict[str, Any]) -> None:
    """Refuse what the fourth powers of the Weiss field's weights can't hold."""
    limits = np.finfo(default_float_dtype())
    smallest, largest = float(limits.tiny) ** 0.25, float(limits.max) ** 0.25
    for what, array in arrays.items():
        size = float(np.abs(array).max())
        if not smallest < size < largest:
            raise expected(
                f"{what} from {smallest:.0e} to {largest:.0e} in size",
                f"{size:.1e}",
                "choose another unit",
            )


def _require_points(z: np.ndarray, hybridization: np.ndarray) -> None:
    """Refuse shapes and numbers that are no function off the real axis."""
    if z.ndim != 1 or not np.isfinite(z).all() or not (z.imag != 0).all():
        raise expected(
            "a row of finite frequencies, none of them zero",
            f"shape {z.shape}" if z.ndim != 1 else "others",
            "give real frequencies w for z = i w, or complex z off the real axis",
        )
    shape = hybridization.shape
    is_matrix = len(shape) == 3 and shape[1] == shape[2]
    if shape[:1] != z.shape or not (len(shape) == 1 or is_matrix):
        raise expected(
            f"a hybridization of shape ({z.size},), or that and two axes of orbitals",
            shape,
            "give one value or one square matrix for each frequency",
        )
    if not np.isfinite(hybridization).all() or not np.any(hybridization):
        raise expected(
            "a hybridization that is finite and not zero",
            "one with NaN or infinity, or zero everywhere",
            "look at the data",
        )


def _form(
    matrices: np.ndarray, num_sites: int, is_symmetric: bool, tolerance: float
) -> BathForm:
    """Count what is free; matrices so close to their transposes are meant as real."""
    num_points, num_orbitals = matrices.shape[:2]
    if not 1 <= num_sites <= num_points:
        raise expected(
            f"from 1 to {num_points} bath sites, as many as there are frequencies",
            num_sites,
            "change the number of sites or give more frequencies",
        )
    difference = np.abs(matrices - matrices.mT).max()
    is_complex = bool(difference > tolerance * np.abs(matrices).max())
    if is_symmetric and is_complex:
        raise expected(
            "a symmetric matrix of orbitals for a particle-hole symmetric bath",
            f"one that differs by {difference:.1e} from its transpose",
            "fit without the symmetry",
        )
    return BathForm(num_sites, num_orbitals, is_complex, is_symmetric)


def _weights(weights: WeightName | np.ndarray | jax.Array, z: np.ndarray) -> np.ndarray:
    if isinstance(weights, str):
        named = {
            "one": np.ones(len(z)),
            "inverse_number": 1 / np.arange(1, len(z) + 1),
            "inverse_frequency": 1 / np.abs(z),
        }
        if weights not in named:
            raise expected(f"weights {', '.join(named)}", repr(weights), "choose one")
        return named[weights]
    values = np.asarray(weights, float)
    is_sound = values.shape == z.shape and np.isfinite(values).all()
    if not (is_sound and (values >= 0).all() and values.any()):
        raise expected(
            f"{len(z)} weights >= 0, not all zero", "others", "one for each frequency"
        )
    return values


def _sum_rule(
    sum_rule: float | np.ndarray | jax.Array | None, form: BathForm, dtype: np.dtype
) -> jax.Array | None:
    if sum_rule is None:
        return None
    n = form.num_orbitals
    matrix = np.asarray(sum_rule)
    matrix = matrix.reshape(1, 1) if matrix.size == n == 1 else matrix
    is_sound = matrix.shape == (n, n) and np.isfinite(matrix).all()
    is_sound = is_sound and np.allclose(matrix, matrix.conj().T)
    if not is_sound or not (form.is_complex or np.allclose(matrix, matrix.real)):
        raise expected(
            f"a sum rule of shape {(n, n)}, Hermitian, and real for real couplings",
            matrix.tolist(),
            "mend it",
        )
    if not (np.linalg.eigvalsh(matrix) > 0).all() or form.num_sites < n:
        raise expected(
            "a positive sum rule, and as many sites as orbitals or more",
            f"{matrix.tolist()} for {form.num_sites} sites",
            "it is the limit of z Delta(z) for large z",
        )
    return jnp.asarray(matrix if form.is_complex else matrix.real, dtype)


def _with_signs(couplings: jax.Array) -> jax.Array:
    """Turn the free phase of each site so that its first large coupling is positive.

    Large is half of the largest or more, so that rounding does not choose.
    """
    sizes = jnp.abs(couplings)  # (num_sites, num_orbitals)
    is_large = 2 * sizes >= jnp.max(sizes, axis=1, keepdims=True)
    first = jnp.argmax(is_large, axis=1, keepdims=True)
    chosen = jnp.take_along_axis(couplings, first, 1).conj()
    size = jnp.abs(chosen)
    phases = jnp.where(size > 0, chosen / jnp.where(size > 0, size, 1), 1)
    return couplings * phases


def _relative_residuals(
    problem: BathProblem, scale: jax.Array, parameters: BathParameters
) -> jax.Array:
    weights = (jnp.sqrt(problem.weights) / scale).astype(problem.z.dtype)
    return weights[:, None, None] * problem.deviations(parameters)


def _relative_power(
    problem: BathProblem, scale: jax.Array, parameters: BathParameters
) -> jax.Array:
    return problem.mean_power(problem.deviations(parameters)) / scale**problem.power


def _linear_problem(
    problem: BathProblem, rows: jax.Array, free_levels: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return A and y of |A c - y|^2, for one orbital."""
    form, z = problem.form, problem.z
    levels = form.levels(free_levels).astype(z.dtype)
    factors = rows.astype(z.dtype)
    terms = factors[:, None] / (z[:, None] - levels[None])
    matrix = terms @ jnp.asarray(form.fold, z.dtype)
    side = factors * problem.hybridization[:, 0, 0]
    offset, directions = _sum_rule_directions(problem)
    return matrix @ directions.astype(z.dtype), side - matrix @ offset.astype(z.dtype)


def _sum_rule_directions(problem: BathProblem) -> tuple[jax.Array, jax.Array]:
    """Return a vector and directions in which squared couplings keep the sum rule."""
    counts, dtype = problem.form.fold.sum(axis=0), problem.weights.dtype
    if problem.sum_rule is None:
        return jnp.zeros(counts.size, dtype), jnp.eye(counts.size, dtype=dtype)
    offset = problem.sum_rule[0, 0] * jnp.asarray(counts / (counts @ counts), dtype)
    return offset, jnp.asarray(scipy.linalg.null_space(counts[None]), dtype)
