r"""The bath of a few levels that reproduces a hybridization best.

A non-linear least-squares problem with many minima. Levels start from vector fitting,
which almost solves it; then, for one orbital, the distance is minimized over the levels
alone, the squared couplings dropping out by variable projection. Couplings are fitted
beside the levels where they do not enter linearly (the Weiss field, powers other than
2, several orbitals), or where the best squared ones are negative. Nothing forms normal
equations, which would end at the root of the rounding.

Units: all are energies. Method: `physml.solvers.vector_fitting`,
`physml.training.variable_projection`; M. J. D. Powell's dogleg steps from Optimistix.
"""

import jax
import numpy as np

from physml.dynamical_mean_field.bath import Bath
from physml.dynamical_mean_field.bath_assessment import BathFit, assess_fit
from physml.dynamical_mean_field.bath_problem import (
    FittedName,
    WeightName,
    bath_problem,
)
from physml.dynamical_mean_field.bath_search import FitterName, bath_search
from physml.parallel import SERIAL, Communicator


def fit_bath(
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
    starts: Bath | None = None,
    num_starts: int = 20,
    num_relocations: int | None = None,
    key: jax.Array | None = None,
    optimizer: FitterName | None = None,
    num_steps: int = 500,
    communicator: Communicator = SERIAL,
) -> BathFit:
    r"""Fit levels and couplings of a bath.

    .. math:: \Delta_{ab}(z) \approx
              \sum_l \frac{V_{la}^* V_{lb}^{}}{z - \epsilon_l} , \qquad
              d^p = \sum_n W_n |X(z_n) - X_\mathrm{bath}(z_n)|^p \Big/ \sum_n W_n

    Parameters
    ----------
    frequencies
        Real w with z = i w, such as `matsubara_frequencies`, or complex z off the real
        axis; shape (num_points,).
    hybridization
        Delta(z): shape (num_points,), or (num_points, num_orbitals, num_orbitals), with
        the symmetry Delta(z*) = Delta(z)^+.
    num_sites
        Of the bath, at most num_points.
    weights
        W: "one"; "inverse_number", 1, 1/2, 1/3, ...; "inverse_frequency", 1 / |z|; or
        an array.
    fitted
        X: the hybridization Delta or the Weiss field 1 / (z + mu - Delta).
    chemical_potential
        mu of the Weiss field.
    power
        p, 1 or more. Other powers than 2 are minimized by L-BFGS.
    particle_hole_symmetric
        Whether levels shall come in pairs +-e with equal couplings.
    sum_rule
        What the sum of the residues shall be, lim z Delta(z): a number, or a matrix for
        several orbitals. None: as it comes.
    starts
        A bath to start from, such as that of the iteration before, or several, their
        arrays stacked along a first axis. Squared couplings that are linear (one
        orbital, Delta, power 2) are found for the levels; others start as given. None:
        random ones.
    num_starts
        Random starts, the first of them by AAA.
    num_relocations
        Steps of vector fitting that move the levels of each start first. By default 10
        from random starts, and none from given ones.
    key
        A JAX random key of the starts; by default always the same.
    optimizer
        "dogleg" or "levenberg_marquardt" for power 2, "lbfgs" for any. By default the
        first that suits. Over devices choose one: dogleg does not run there.
    num_steps
        Its steps at most.
    communicator
        Ranks or devices, each with its share of the starts.

    Returns
    -------
    BathFit
        The best bath of all starts. Its couplings are real unless Delta is not
        symmetric, and have an axis of orbitals if Delta has; of each site the first
        that is half the largest or more is positive, as its phase is free. The search
        is not differentiable; `BathFit.follow` is.

    Raises
    ------
    ValueError
        If frequencies, hybridization, starts or options mean nothing.
    RunFailure
        If no start led to a bath.

    Examples
    --------
    >>> import jax.numpy as jnp, physml
    >>> from physml.dynamical_mean_field import Bath, fit_bath, matsubara_frequencies
    >>> physml.enable_x64()
    >>> frequencies = matsubara_frequencies(20.0, 40)
    >>> hidden = Bath(jnp.array([-0.5, 0.1, 0.7]), jnp.array([0.4, 0.3, 0.5]))
    >>> fit = fit_bath(frequencies, hidden.hybridization(1j * frequencies), 3)
    >>> [round(float(level), 10) for level in fit.bath.levels]
    [-0.5, 0.1, 0.7]
    >>> [round(float(coupling), 10) for coupling in fit.bath.couplings]
    [0.4, 0.3, 0.5]
    >>> fit.max_error < 1e-12
    True
    """
    problem = bath_problem(
        frequencies,
        hybridization,
        num_sites,
        weights=weights,
        fitted=fitted,
        chemical_potential=chemical_potential,
        power=power,
        particle_hole_symmetric=particle_hole_symmetric,
        sum_rule=sum_rule,
    )
    search = bath_search(
        problem,
        starts=starts,
        num_starts=num_starts,
        num_relocations=num_relocations,
        key=key,
        optimizer=optimizer,
        num_steps=num_steps,
        communicator=communicator,
    )
    return assess_fit(problem, search.fit_couplings(search.fit_levels()))
