import numpy as np
import pytest

from physml.lattices import Grid, Line


def test_dirichlet_line_leaves_out_the_walls():
    line = Line(-1.0, 1.0, 3)
    np.testing.assert_allclose(line.coordinates, [-0.5, 0.0, 0.5], atol=1e-15)
    assert line.spacing == 0.5


def test_periodic_line_has_its_ends_once():
    line = Line(0.0, 1.0, 4, "periodic")
    np.testing.assert_allclose(line.coordinates, [0, 0.25, 0.5, 0.75], atol=1e-15)
    assert line.spacing == 0.25


def test_points_run_along_the_last_axis_first():
    grid = Grid((Line(0, 3, 2), Line(10, 14, 3)))
    assert grid.shape == (2, 3)
    np.testing.assert_allclose(grid.points()[:4], [[1, 11], [1, 12], [1, 13], [2, 11]])
    x, y = grid.coordinates()
    np.testing.assert_array_equal(grid.points()[:, 1], y.ravel())
    assert x.shape == (2, 3)
    assert grid.volume_element == 1.0


def test_integral_over_a_cube():
    grid = Grid.line(0, 1, 200, boundary="periodic", dimension=2)
    x, y = grid.coordinates()
    integral = np.sum(np.sin(2 * np.pi * x) ** 2 * np.cos(2 * np.pi * y) ** 2)
    assert integral * grid.volume_element == pytest.approx(0.25, rel=1e-13)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 1.0, 5), "lower < upper"),
        ((0.0, float("nan"), 5), "finite ends"),
        ((0.0, 1.0, 1), "at least 2"),
        ((0.0, 1.0, 5, "open"), "dirichlet"),
    ],
)
def test_bad_lines_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Line(*arguments)


@pytest.mark.parametrize("dimension", [0, 4])
def test_bad_dimensions_are_refused(dimension):
    with pytest.raises(ValueError, match="1 to 3 lines"):
        Grid.line(0, 1, 5, dimension=dimension)


def test_a_fraction_of_a_point_is_refused():
    with pytest.raises(TypeError, match="an integer number of grid points"):
        Line(0.0, 1.0, 10.5)
