"""Local densities of states against sums over eigenvectors and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from physml.failures import RunFailure
from physml.greens_functions import local_density_of_states, rounds
from physml.hamiltonians.tight_binding import impurity_chain
from physml.operators import as_operator, to_sparse
from physml.parallel import ShardedCommunicator

DIRECT = ("recursive", "dense")
METHODS = (*DIRECT, "krylov", "kernel_polynomial")
ENERGIES = np.linspace(-2.5, 3, 12)
ETA = 0.1


def disordered_ladder(num_rungs=8, dtype=np.float64):
    rng = np.random.default_rng(0)
    chain = np.eye(num_rungs, k=1) + np.eye(num_rungs, k=-1)
    matrix = np.kron(chain, np.eye(2)) + np.kron(np.eye(num_rungs), [[0, 1], [1, 0]])
    matrix = -matrix.astype(dtype)
    if dtype is np.complex128:  # a flux through each plaquette
        phases = np.exp(1j * rng.normal(size=matrix.shape))
        matrix = matrix * np.triu(phases, 1)
        matrix = matrix + matrix.conj().T
    return matrix + np.diag(rng.normal(size=2 * num_rungs))


def summed(matrix, energies=ENERGIES, broadening=ETA):
    levels, vectors = np.linalg.eigh(matrix)
    lorentz = broadening / np.pi / ((energies[:, None] - levels) ** 2 + broadening**2)
    return lorentz @ np.abs(vectors.T) ** 2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_map_is_the_sum_over_levels(method, dtype):
    matrix = disordered_ladder(dtype=dtype)
    found = local_density_of_states(matrix, ENERGIES, ETA, method=method)
    np.testing.assert_allclose(found.values, summed(matrix), rtol=1e-9)
    assert found.method == method
    assert found.converged.all()
    assert found.values.dtype == np.float64


@pytest.mark.parametrize("method", METHODS)
def test_some_sites_in_any_order(method):
    matrix = disordered_ladder()
    found = local_density_of_states(
        matrix, ENERGIES, ETA, sites=[5, 0, 5], method=method
    )
    np.testing.assert_allclose(found.values, summed(matrix)[:, [5, 0, 5]], rtol=1e-9)


def test_the_reference_problem():
    """G at the impurity of the chain of 1000 sites, energy 51 of 100."""
    energies = np.linspace(-2.5, 3, 100)
    found = local_density_of_states(impurity_chain(), energies, 0.05)
    assert found.method == "recursive"
    value = float(found.values[50, 499])
    assert value == pytest.approx(0.1530990239 / np.pi, abs=1e-10)
    assert found.values.shape == (100, 1000)


def test_sum_rule():
    """One state a site: the sum over energies, and the tails of the Lorentzians."""
    energies = np.linspace(-200, 200, 20001)
    found = local_density_of_states(disordered_ladder(), energies, ETA).values
    total = np.trapezoid(found, energies, axis=0)
    tails = 2 * ETA / np.pi / 200
    np.testing.assert_allclose(total + tails, 1.0, atol=1e-6)


@pytest.mark.parametrize("method", DIRECT)
def test_jit_gives_the_same(method):
    matrix = jnp.asarray(disordered_ladder())

    @jax.jit
    def values(energies, eta):
        return local_density_of_states(matrix, energies, eta, method=method)

    found = values(jnp.asarray(ENERGIES), ETA)
    np.testing.assert_allclose(found.values, summed(np.asarray(matrix)), rtol=1e-9)
    assert found.converged.all()


@pytest.mark.parametrize("method", DIRECT)
def test_gradient_by_finite_differences(method):
    """With respect to potentials, energies and broadening."""
    matrix = scipy.sparse.csr_array(disordered_ladder())
    hopping = as_operator(matrix)
    target = jnp.asarray(summed(np.diag(np.arange(16.0))))

    @jax.jit
    @jax.value_and_grad
    def loss(arguments):
        potential, energies, eta = arguments
        operator = as_operator(
            lambda p, v: hopping(v) + p * v, potential, size=16, dtype=float
        )
        found = local_density_of_states(operator, energies, eta, method=method)
        return jnp.sum((found.values - target) ** 2)

    rng = np.random.default_rng(1)
    point = (jnp.asarray(rng.normal(size=16)), jnp.asarray(ENERGIES), jnp.asarray(ETA))
    step = (jnp.asarray(rng.normal(size=16)), jnp.asarray(rng.normal(size=12)), 0.3)
    gradient = loss(point)[1]
    slope = sum(float(jnp.sum(g * s)) for g, s in zip(gradient, step, strict=True))
    h = 1e-5
    ahead, behind = (
        loss(tuple(p + sign * h * s for p, s in zip(point, step, strict=True)))[0]
        for sign in (1, -1)
    )
    assert slope == pytest.approx(float(ahead - behind) / (2 * h), rel=1e-7)


def test_rounds_can_be_watched_and_resumed():
    matrix = disordered_ladder()
    seen = []

    def watch(snapshot, record):
        seen.append((snapshot, record))
        return record.num_done >= 6

    with pytest.raises(RunFailure, match="6 of 12 rows"):
        local_density_of_states(matrix, ENERGIES, ETA, batch=3, observer=watch)
    assert [record.num_done for _, record in seen] == [3, 6]
    compiled = rounds._one_round._cache_size()
    resumed = local_density_of_states(
        matrix, ENERGIES, ETA, batch=3, snapshot=seen[-1][0]
    )
    np.testing.assert_allclose(resumed.values, summed(matrix), rtol=1e-9)
    assert rounds._one_round._cache_size() == compiled  # its rounds are as long
    assert np.shares_memory(*(snapshot.rows.green for snapshot, _ in seen))
    with pytest.raises(ValueError, match="a snapshot of a map of shape"):
        local_density_of_states(matrix, ENERGIES, ETA, sites=[1], snapshot=seen[-1][0])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch", [None, 2])
def test_divided_over_ranks(method, batch):
    """Twelve energies over three ranks, in rounds that do not divide evenly."""
    communicator = ShardedCommunicator(jax.devices()[:1])
    matrix = disordered_ladder()
    found = local_density_of_states(
        matrix, ENERGIES, ETA, method=method, batch=batch, communicator=communicator
    )
    np.testing.assert_allclose(found.values, summed(matrix), rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"broadening": 0.0}, "a broadening > 0"),
        ({"broadening": float("nan")}, "a broadening > 0"),
        ({"broadening": [0.1, 0.2]}, "one broadening"),
        ({"energies": []}, "energies of shape"),
        ({"energies": [1j]}, "energies of shape"),
        ({"energies": [float("nan")]}, "finite energies"),
        ({"sites": [16]}, "sites from 0 to 15, got 16"),
        ({"sites": [-1]}, "sites from 0 to 15, got -1"),
        ({"sites": [0.5]}, "integers"),
        ({"tolerance": 0.0}, "a tolerance > 0"),
        ({"method": "lanczos"}, "a method"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"energies": ENERGIES, "broadening": ETA} | change
    with pytest.raises(ValueError, match=message):
        local_density_of_states(disordered_ladder(), **arguments)


def test_an_operator_that_is_not_hermitian_is_refused():
    with pytest.raises(ValueError, match="Hermitian"):
        local_density_of_states(np.eye(5, k=1), ENERGIES, ETA)
    with pytest.raises(ValueError, match="finite elements"):
        local_density_of_states(np.diag([0, np.nan, 1]), ENERGIES, ETA)


@pytest.mark.parametrize("method", DIRECT)
def test_nan_inside_of_jit_never_passes(method):
    @jax.jit
    def of_value(value):
        chain = as_operator(lambda v, x: x.at[3].mul(v), value, size=6, dtype=float)
        return local_density_of_states(chain, ENERGIES, ETA, method=method)

    assert of_value(2.0).converged.all()
    assert not of_value(jnp.nan).converged[:, 3].any()


@pytest.mark.parametrize("method", METHODS)
def test_what_has_not_converged_is_said(method):
    matrix = disordered_ladder()
    arguments = {"method": method, "tolerance": 1e-20, "max_iterations": 3}
    found = local_density_of_states(
        matrix, ENERGIES, ETA, **arguments, on_failure="return"
    )
    assert not found.converged.all()
    sentence = r"\d+ of 192 elements .* 1e-20 .* energy -2.5 at site \d+ \(residual"
    with pytest.raises(RunFailure, match=sentence):
        local_density_of_states(matrix, ENERGIES, ETA, **arguments)


@pytest.mark.parametrize(
    "method", ["recursive", "dense", "krylov", "kernel_polynomial"]
)
def test_single_precision_has_a_tolerance_of_its_own(method):
    chain = impurity_chain(
        60,
        hopping=np.float32(-1),
        potential=np.float32(0.5),
        impurity=np.float32(3),
        impurity_site=29,
    )
    energies = np.linspace(-2, 2, 5)
    found = local_density_of_states(
        chain, energies.astype(np.float32), np.float32(0.3), method=method
    )
    exact = summed(to_sparse(chain).toarray().astype(float), energies, 0.3)
    assert found.values.dtype == np.float32
    np.testing.assert_allclose(found.values, exact, atol=1e-3)


@pytest.mark.parametrize("method", DIRECT)
def test_integer_energies_have_the_precision_of_the_operator(method):
    with jax.enable_x64(False):  # where a warning of a lost dtype is an error
        operator = impurity_chain(6, impurity_site=2)
        found = local_density_of_states(operator, [-1, 0, 1], 1, method=method)
    assert found.values.dtype == np.float32
    assert found.tolerance == np.float32(1e-3)


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_of_nothing_is_refused(batch):
    with pytest.raises(ValueError, match="a batch of 1 row or more"):
        local_density_of_states(np.eye(2), [0.0], 0.1, batch=batch)
