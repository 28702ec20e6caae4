"""The Laplacian against plane waves, its own spectrum, and its matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.lattices import Grid, Line
from physml.operators import STENCILS, Laplacian

BOUNDARIES = ["dirichlet", "periodic"]


def smooth_function(line: Line) -> tuple[np.ndarray, np.ndarray]:
    """Return a function that continues smoothly beyond the ends, and its curvature."""
    x = line.coordinates - line.lower
    if line.is_periodic:
        k = 2 * np.pi / line.length
        return (
            np.sin(k * x) + 0.3 * np.cos(2 * k * x),
            -(k**2) * (np.sin(k * x) + 1.2 * np.cos(2 * k * x)),
        )
    k = np.pi / line.length
    return (
        np.sin(k * x) + 0.3 * np.sin(3 * k * x),
        -(k**2) * (np.sin(k * x) + 2.7 * np.sin(3 * k * x)),
    )


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("order", STENCILS)
def test_measured_order_of_convergence(order, boundary):
    errors, spacings = [], []
    for num_points in (24, 48):
        line = Line(-1.0, 2.0, num_points, boundary)
        f, curvature = smooth_function(line)
        result = Laplacian(Grid((line,)), order)(jnp.asarray(f))
        errors.append(np.abs(result - curvature).max())
        spacings.append(line.spacing)
    measured = np.log(errors[0] / errors[1]) / np.log(spacings[0] / spacings[1])
    assert measured == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize("order", STENCILS)
def test_dirichlet_spectrum_in_closed_form(order):
    n = 30
    laplacian = Laplacian(Grid.line(0.0, 1.0, n), order)
    c = laplacian.weights(laplacian.grid.lines[0])
    angle = np.pi * np.arange(1, n + 1) / (n + 1)
    exact = c[0] + 2 * sum(c[k] * np.cos(k * angle) for k in range(1, len(c)))
    levels = np.linalg.eigvalsh(laplacian.to_sparse().toarray())
    tolerance = 10 * n * np.finfo(float).eps * laplacian.norm_bound()
    np.testing.assert_allclose(levels, np.sort(exact), atol=tolerance)


@pytest.mark.parametrize("order", STENCILS)
def test_plane_waves_are_eigenvectors(order):
    n, mode = 40, 3
    grid = Grid.line(0.0, 2.0, n, boundary="periodic")
    laplacian = Laplacian(grid, order)
    c = laplacian.weights(grid.lines[0])
    wave = np.exp(2j * np.pi * mode * np.arange(n) / n)
    angles = 2 * np.pi * mode * np.arange(1, len(c)) / n
    value = c[0] + 2 * np.sum(np.array(c[1:]) * np.cos(angles))
    tolerance = 10 * np.finfo(float).eps * laplacian.norm_bound()
    np.testing.assert_allclose(
        laplacian(jnp.asarray(wave)), value * wave, atol=tolerance
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("order", STENCILS)
def test_matrix_free_equals_the_matrix_in_three_dimensions(order, boundary, dtype):
    lines = (Line(0, 1, 9, boundary), Line(-1, 2, 10), Line(0, 3, 11, "periodic"))
    grid = Grid(lines)
    laplacian = Laplacian(grid, order)
    rng = np.random.default_rng(order)
    field = rng.normal(size=grid.shape).astype(dtype)
    if np.iscomplexobj(field):
        field = field + 1j * rng.normal(size=grid.shape)
    expected = (laplacian.to_sparse() @ field.ravel()).reshape(grid.shape)
    result = jax.jit(laplacian)(jnp.asarray(field))
    assert result.dtype == dtype
    tolerance = 50 * np.finfo(dtype).eps * laplacian.norm_bound()
    np.testing.assert_allclose(result, expected, atol=tolerance)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("order", STENCILS)
def test_matrix_is_symmetric_and_negative(order, boundary):
    laplacian = Laplacian(Grid.line(0, 1, 12, boundary=boundary), order)
    matrix = laplacian.to_sparse().toarray()
    np.testing.assert_array_equal(matrix, matrix.T)
    levels = np.linalg.eigvalsh(matrix)
    assert levels.max() < 1e-10 * laplacian.norm_bound()
    assert -levels.min() <= laplacian.norm_bound()


def test_constants_have_no_curvature_to_the_last_bit():
    laplacian = Laplacian(Grid.line(0, 0.3, 50, boundary="periodic"), 8)
    np.testing.assert_allclose(laplacian(jnp.ones(50)), 0.0, atol=1e-12)
    assert (
        sum(laplacian.weights(laplacian.grid.lines[0])[1:]) * 2
        == -laplacian.weights(laplacian.grid.lines[0])[0]
    )


def test_leading_axes_are_a_batch():
    laplacian = Laplacian(Grid.line(0, 1, 20, dimension=2), 4)
    fields = jnp.asarray(np.random.default_rng(0).normal(size=(3, 20, 20)))
    np.testing.assert_array_equal(laplacian(fields), jax.vmap(laplacian)(fields))


def test_linear_and_its_own_transpose():
    laplacian = Laplacian(Grid.line(0, 1, 20), 8)
    f, g = jnp.asarray(np.random.default_rng(1).normal(size=(2, 20)))
    (transposed,) = jax.linear_transpose(laplacian, f)(g)
    tolerance = 10 * np.finfo(float).eps * laplacian.norm_bound()
    np.testing.assert_allclose(transposed, laplacian(g), atol=tolerance)


@pytest.mark.parametrize(
    ("num_points", "order", "message"),
    [(20, 3, "2, 4, 6 or 8"), (8, 8, "more than 8 points"), (4, 4, "more than 4")],
)
def test_bad_stencils_are_refused(num_points, order, message):
    with pytest.raises(ValueError, match=message):
        Laplacian(Grid.line(0, 1, num_points), order)
