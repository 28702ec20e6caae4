"""Derivatives through every communicator, compared with those of the whole problem.

Run as it stands this tests the serial one; tests/parallel/test_ranks.py runs it under
mpirun and over devices.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rank_programs import assert_trees_close, on_each_rank


def rayleigh_parts(parameters, x, weights):
    """Return three sums over x, which a loss combines."""
    width, amplitude = parameters["width"], parameters["amplitude"]
    cast = amplitude.dtype
    psi = jnp.exp(-width * x**2).astype(cast)
    psi += amplitude[0] * jnp.cos(amplitude[1] * x.astype(cast))
    density = weights * jnp.abs(psi) ** 2
    return jnp.sum(density * x**2), jnp.sum(density), jnp.sum(weights * psi.real * x)


def rayleigh_loss(parts):
    energy, norm, mean = parts
    return energy / norm + jnp.sin(mean / norm) ** 2


def rayleigh_problem(dtype):
    x = np.linspace(-2, 3, 23)
    real = np.dtype(dtype).type(0).real.dtype
    amplitude = np.array([0.3, 0.7]) + (0.2j if "complex" in dtype else 0)
    parameters = {
        "width": jnp.asarray(0.4, dtype=real),
        "amplitude": jnp.asarray(amplitude, dtype=dtype),
    }
    return x.astype(real), parameters


def parallel_loss(communicator):
    def loss(parameters, block):
        parameters = communicator.replicate(parameters)
        weights = block.mask.astype(block.values.dtype)
        parts = rayleigh_parts(parameters, block.values, weights)
        return rayleigh_loss(communicator.sum(parts))

    return loss


def dense_loss(x):
    return lambda p: rayleigh_loss(rayleigh_parts(p, jnp.asarray(x), jnp.ones_like(x)))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_gradient_is_that_of_the_whole_loss_on_every_rank(communicator, dtype):
    x, parameters = rayleigh_problem(dtype)
    block = communicator.divide(x)
    program = jax.value_and_grad(parallel_loss(communicator))
    values, gradients = on_each_rank(communicator, program, parameters, block)
    value, gradient = jax.jit(jax.value_and_grad(dense_loss(x)))(parameters)
    tolerance = 200 * float(np.finfo(dtype).eps)
    for rank in range(communicator.size):
        assert_trees_close(values[rank], value, tolerance)
        mine = jax.tree.map(lambda g, rank=rank: g[rank], gradients)
        assert_trees_close(mine, gradient, tolerance)


def test_gradient_without_replicate_is_a_piece(communicator):
    def loss(slope):
        return communicator.sum((1 + jnp.asarray(communicator.rank, float)) * slope)

    pieces = on_each_rank(communicator, jax.grad(loss), 2.0)
    np.testing.assert_array_equal(pieces, 1 + np.arange(communicator.size))


def test_other_derivatives_and_vmap(communicator):
    x = np.linspace(0.5, 2, 9)

    def derivatives(loss):
        parameters = jnp.array([0.3, 0.7])
        return (
            jax.jvp(loss, (parameters,), (parameters,)),
            jax.hessian(loss)(parameters),
            jax.vmap(jax.grad(loss))(jnp.stack([parameters, 2 * parameters])),
        )

    def program(block):
        def loss(parameters):
            p = communicator.replicate(parameters)
            psi = jnp.where(block.mask, p[0] * block.values + p[1] ** 2, 0)
            parts = jnp.sum(block.values * psi**2), jnp.sum(psi**2)
            energy, norm = communicator.sum(parts)
            return energy / norm

        return derivatives(loss)

    def dense(p):
        psi = p[0] * x + p[1] ** 2
        return jnp.sum(x * psi**2) / jnp.sum(psi**2)

    exact = jax.jit(lambda: derivatives(dense))()
    found = communicator.spmd(program)(communicator.divide(x))
    assert_trees_close(found, exact, 1e-12)


def test_gradient_through_the_compiled_program(communicator):
    x, parameters = rayleigh_problem("float64")
    block = communicator.divide(x)
    program = communicator.spmd(parallel_loss(communicator))
    gradient = jax.jit(jax.grad(program))(parameters, block)
    assert_trees_close(gradient, jax.jit(jax.grad(dense_loss(x)))(parameters), 1e-12)


def test_custom_derivative_with_a_sum_in_it(communicator):
    @jax.custom_jvp
    def norm_squared(psi):
        return communicator.sum(jnp.sum(psi**2))

    @norm_squared.defjvp
    def _(primals, tangents):
        slope = communicator.sum(jnp.sum(2 * primals[0] * tangents[0]))
        return norm_squared(*primals), slope

    def loss(scale, block):
        psi = jnp.where(block.mask, communicator.replicate(scale) * block.values, 0)
        return norm_squared(psi) ** 2

    x = np.arange(1.0, 8)
    gradient = communicator.spmd(jax.grad(loss))(3.0, communicator.divide(x))
    np.testing.assert_allclose(gradient, 4 * 3.0**3 * np.sum(x**2) ** 2, rtol=1e-14)


def test_replicate_passes_on_what_has_no_derivative(communicator):
    def loss(parameters):
        parameters = communicator.replicate(parameters)
        assert parameters["name"] is None
        return communicator.sum(parameters["slope"] * parameters["count"].astype(float))

    tree = {"slope": jnp.ones(()), "count": jnp.asarray(3), "name": None}
    gradient = communicator.spmd(jax.grad(loss, allow_int=True))(tree)
    assert gradient["slope"] == 3 * communicator.size


def test_gradient_of_many_arrays_is_one_reduction(communicator):
    def loss(parameters):
        shared = communicator.replicate(parameters)
        total = sum(jnp.sum(leaf**2) for leaf in shared)
        return communicator.sum(total)

    parameters = [jnp.ones(3), jnp.ones((2, 2)), jnp.ones(())]
    program = communicator.spmd(jax.value_and_grad(loss))
    text = jax.jit(program).lower(parameters).as_text()
    count = text.count("@mpi_allreduce_ffi") + text.count('"stablehlo.all_reduce"')
    travels = communicator.size > 1 or communicator.name == "mpi"
    assert count == (2 if travels else 0)  # one for the value, one for the gradient


def test_derivatives_of_a_shift(communicator):
    x = np.linspace(0.5, 2, communicator.size)

    def derivatives(loss):
        slope = jnp.array(0.3)
        return (
            jax.value_and_grad(loss)(slope),
            jax.jvp(loss, (slope,), (slope,)),
            jax.hessian(loss)(slope),
            jax.vmap(jax.grad(loss))(jnp.array([0.3, 0.7])),
        )

    def program(block):
        def loss(slope):
            psi = jnp.exp(communicator.replicate(slope) * block.values)
            before = jax.jit(lambda p: communicator.shift(p, 1))(psi)
            return communicator.sum(jnp.sum(block.values * psi * before**2))

        return derivatives(loss)

    def dense(slope):
        psi = jnp.exp(slope * x)
        return jnp.sum(x * psi * jnp.roll(psi, 1) ** 2)

    exact = jax.jit(lambda: derivatives(dense))()
    found = communicator.spmd(program)(communicator.divide(x))
    assert_trees_close(found, exact, 1e-14)
