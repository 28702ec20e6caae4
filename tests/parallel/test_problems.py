"""Two problems in miniature, written once for all communicators.

A wave function on a grid: each rank has its own points and evaluates the network on
them and on the points beside them. A fit: each rank has its own samples. Run as it
stands this tests the serial communicator; test_ranks.py runs it under mpirun and over
devices.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from physml.parallel import Division, item_keys

LOWER, UPPER, NUM_POINTS, WIDTH = -6.0, 6.0, 61, 4
SPACING = (UPPER - LOWER) / (NUM_POINTS + 1)


def features(parameters, x):
    """Return functions that vanish at both walls, shape (num_points, WIDTH)."""
    slopes, shifts = parameters
    envelope = jnp.exp(-(x**2) / 2) * (x - LOWER) * (UPPER - x)
    return envelope[:, None] * jnp.tanh(jnp.outer(x, slopes) + shifts[None])


def start():
    return jnp.array([0.3, 0.6, -0.4, 0.9]), jnp.array([0.5, -0.7, 0.2, 1.1])


def oscillator(phi_left, phi, phi_right, x):
    """Apply -1/2 d^2/dx^2 + x^2/2 with the stencil of order 2."""
    laplacian = (phi_left - 2 * phi + phi_right) / SPACING**2
    return -laplacian / 2 + x[:, None] ** 2 * phi / 2


def ground_state_energy(communicator, parameters):
    """Return the lowest level in the span of the functions, by a divided QR."""
    division = Division(NUM_POINTS, communicator.size)
    mask = division.mask(communicator.rank)[:, None]
    indices = division.indices(communicator.rank).astype(float)
    x = LOWER + SPACING * (1 + indices)
    shared = communicator.replicate(parameters)
    phi = jnp.where(mask, features(shared, x), 0)
    beside = (features(shared, x - SPACING), features(shared, x + SPACING))
    h_phi = jnp.where(mask, oscillator(beside[0], phi, beside[1], x), 0)
    triangles = communicator.gather(jnp.linalg.qr(phi)[1][None], communicator.size)
    triangle = jnp.linalg.qr(triangles.reshape(-1, WIDTH))[1]
    inverse = jnp.linalg.inv(triangle)
    matrix = inverse.T @ communicator.sum(phi.T @ h_phi) @ inverse
    return jnp.linalg.eigvalsh((matrix + matrix.T) / 2)[0]


def dense_energy(parameters):
    """Return the same from the generalized eigenvalue problem on all points."""
    x = LOWER + SPACING * (1 + jnp.arange(NUM_POINTS, dtype=float))
    phi = features(parameters, x)
    walls = jnp.zeros((1, WIDTH))
    h_phi = oscillator(
        jnp.concatenate([walls, phi[:-1]]), phi, jnp.concatenate([phi[1:], walls]), x
    )
    inverse = jnp.linalg.inv(jnp.linalg.cholesky(phi.T @ phi))
    matrix = inverse @ (phi.T @ h_phi) @ inverse.T
    return jnp.linalg.eigvalsh((matrix + matrix.T) / 2)[0]


def grid_energy():
    x = LOWER + SPACING * (1 + np.arange(NUM_POINTS))
    hopping = np.full(NUM_POINTS - 1, -1 / (2 * SPACING**2))
    diagonal = np.diag(1 / SPACING**2 + x**2 / 2)
    return np.linalg.eigvalsh(diagonal + np.diag(hopping, 1) + np.diag(hopping, -1))[0]


def minimized(loss, parameters, num_steps):
    """Run L-BFGS with its line search in one compiled while loop."""
    optimizer = optax.lbfgs(memory_size=8)
    value_and_gradient = optax.value_and_grad_from_state(loss)

    def step(carry):
        parameters, state, count = carry
        value, gradient = value_and_gradient(parameters, state=state)
        updates, state = optimizer.update(
            gradient, state, parameters, value=value, grad=gradient, value_fn=loss
        )
        return optax.apply_updates(parameters, updates), state, count + 1

    def is_running(carry):
        gradient = optax.tree.get(carry[1], "grad")  # zero before the first step
        has_slope = optax.tree.norm(gradient) > 1e-6
        return (carry[2] < num_steps) & (has_slope | (carry[2] == 0))

    carry = (parameters, optimizer.init(parameters), 0)
    return jax.lax.while_loop(is_running, step, carry)[0]


def test_energy_on_a_divided_grid(communicator):
    program = communicator.spmd(
        jax.value_and_grad(lambda p: ground_state_energy(communicator, p))
    )
    energy, gradient = program(start())
    exact, exact_gradient = jax.jit(jax.value_and_grad(dense_energy))(start())
    np.testing.assert_allclose(energy, exact, rtol=1e-12)
    for leaf, exact_leaf in zip(gradient, exact_gradient, strict=True):
        np.testing.assert_allclose(leaf, exact_leaf, rtol=1e-9)


@pytest.mark.slow
def test_minimization_on_a_divided_grid_is_one_program(communicator):
    def loss(parameters):
        return ground_state_energy(communicator, parameters)

    def program(parameters):
        found = minimized(loss, parameters, num_steps=10)
        rows = jax.tree.map(lambda x: x[None], found)
        return loss(found), communicator.gather(rows, communicator.size)

    with jax.numpy_dtype_promotion("standard"):  # Optax mixes dtypes
        energy, parameters = communicator.spmd(program)(start())
        dense = jax.jit(lambda p: dense_energy(minimized(dense_energy, p, 10)))(start())
    np.testing.assert_allclose(energy, dense, rtol=1e-10)
    assert 0 < energy - grid_energy() < 1e-5  # from 0.04 at the start
    for leaf in parameters:  # bit for bit the same on all ranks
        np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[0], leaf.shape))


def test_fit_of_divided_samples(communicator):
    num_samples, num_steps, rate = 37, 40, 0.3
    key = jax.random.key(3)
    division = Division(num_samples, communicator.size)

    def loss(parameters, samples):
        slope, shift = communicator.replicate(parameters)
        errors = jnp.tanh(slope * samples.values["x"] + shift) - samples.values["y"]
        return communicator.sum(jnp.sum(errors**2, where=samples.mask)) / num_samples

    def program(parameters, samples):
        keys = item_keys(key, division.indices(communicator.rank))
        noise = 0.01 * jax.vmap(jax.random.normal)(keys)  # of the sample, not the rank
        values = samples.values | {"y": samples.values["y"] + noise}
        samples = type(samples)(values, samples.mask)

        def step(_, p):
            return p - rate * jax.grad(loss)(p, samples)

        return jax.lax.fori_loop(0, num_steps, step, parameters)

    x = np.linspace(-1, 2, num_samples)
    samples = communicator.divide({"x": x, "y": np.tanh(0.8 * x - 0.3)})
    fitted = communicator.spmd(program)(jnp.array([0.1, 0.2]), samples)

    y = np.tanh(0.8 * x - 0.3)
    for index in range(num_samples):
        y[index] += 0.01 * jax.random.normal(jax.random.fold_in(key, index))
    slope, shift = 0.1, 0.2
    for _ in range(num_steps):
        prediction = np.tanh(slope * x + shift)
        common = 2 * (prediction - y) * (1 - prediction**2) / num_samples
        slope -= rate * np.sum(common * x)
        shift -= rate * np.sum(common)
    np.testing.assert_allclose(fitted, [slope, shift], rtol=1e-12)
