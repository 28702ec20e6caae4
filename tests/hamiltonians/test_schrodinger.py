import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.hamiltonians import schrodinger_hamiltonian
from physml.lattices import Grid


def test_operator_equals_its_matrix():
    grid = Grid.line(-3, 3, 15, dimension=2)
    hamiltonian = schrodinger_hamiltonian(grid, lambda x, y: x**2 * y + y**4)
    psi = np.random.default_rng(0).normal(size=(2, 15, 15))
    expected = (hamiltonian.to_sparse() @ psi.reshape(2, -1).T).T.reshape(psi.shape)
    result = jax.jit(lambda h, p: h(p))(hamiltonian, jnp.asarray(psi))
    np.testing.assert_allclose(result, expected, atol=1e-11)


def test_three_dimensional_oscillator_is_a_sum():
    grid = Grid.line(-5, 5, 15, dimension=3)
    one = schrodinger_hamiltonian(Grid.line(-5, 5, 15), lambda x: 0.5 * x**2)
    three = schrodinger_hamiltonian(grid, lambda *x: 0.5 * sum(a**2 for a in x))
    single = np.linalg.eigvalsh(one.to_sparse().toarray())
    ground = np.linalg.eigh(one.to_sparse().toarray())[1][:, 0]
    psi = jnp.asarray(np.einsum("i,j,k->ijk", ground, ground, ground))
    np.testing.assert_allclose(three(psi), 3 * single[0] * psi, atol=1e-13)


def test_potential_is_a_differentiable_leaf():
    hamiltonian = schrodinger_hamiltonian(Grid.line(-3, 3, 20), lambda x: x**2)
    psi = jnp.arange(20.0)
    slope = jax.grad(lambda h: jnp.vdot(psi, h(psi)))(hamiltonian)
    np.testing.assert_allclose(slope.potential, psi**2)


@pytest.mark.parametrize(
    ("potential", "message"),
    [
        (lambda x: 1 / np.where(np.abs(x) < 0.1, np.nan, x), "finite at every"),
        (lambda x: x[:-1], "one value for each grid point"),
        (lambda x: 1j * x, "a real potential"),
        (lambda x: np.inf, "finite at every"),  # noqa: ARG005
    ],
)
def test_bad_potentials_are_refused(potential, message):
    with pytest.raises(ValueError, match=message):
        schrodinger_hamiltonian(Grid.line(-1, 1, 19), potential)


def test_dtype_can_be_chosen():
    grid = Grid.line(-1, 1, 19)
    hamiltonian = schrodinger_hamiltonian(grid, np.abs, dtype=np.float32)
    assert hamiltonian(jnp.ones(19, np.float32)).dtype == np.float32
