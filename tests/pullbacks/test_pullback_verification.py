"""`check_pullback` must find every wrong rule and pass every right one."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.hamiltonians import random_smeared_heisenberg, random_spins
from physml.layers import smear
from physml.pullbacks import WrongPullback, check_pullback, with_pullback
from physml.pullbacks.rewriting import count_rules, without_rules


def _forward(spins: jax.Array, coefficients: jax.Array) -> jax.Array:
    """S_i + sum_l a_l (S_i+l + S_i-l), by `roll`."""
    total = spins
    for step, a in enumerate(coefficients, start=1):
        total = total + a * (jnp.roll(spins, step, 0) + jnp.roll(spins, -step, 0))
    return total


def _right(residuals: tuple, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    spins, coefficients = residuals
    pulled = [
        jnp.sum(g * (jnp.roll(spins, step, 0) + jnp.roll(spins, -step, 0)))
        for step in range(1, len(coefficients) + 1)
    ]
    return _forward(g, coefficients), jnp.stack(pulled)


def _wrong_factor(residuals: tuple, g: jax.Array) -> tuple:
    spins_bar, coefficients_bar = _right(residuals, g)
    return spins_bar, 2 * coefficients_bar


def _missing_term(residuals: tuple, g: jax.Array) -> tuple:
    spins, coefficients = residuals
    one_sided = [
        jnp.sum(g * jnp.roll(spins, -step, 0))
        for step in range(1, len(coefficients) + 1)
    ]
    return _right(residuals, g)[0], jnp.stack(one_sided)


def _wrong_conjugate(residuals: tuple, g: jax.Array) -> tuple:
    spins, coefficients = residuals
    return _right((spins, coefficients.conj()), g)[0], _right(residuals, g)[1]


def _index_shift(residuals: tuple, g: jax.Array) -> tuple:
    spins_bar, coefficients_bar = _right(residuals, g)
    return jnp.roll(spins_bar, 1, 0), coefficients_bar


def _forgotten_identity(residuals: tuple, g: jax.Array) -> tuple:
    spins_bar, coefficients_bar = _right(residuals, g)
    return spins_bar - g, coefficients_bar


WRONG = {
    "factor": (_wrong_factor, "coefficients"),
    "missing term": (_missing_term, "coefficients"),
    "conjugate": (_wrong_conjugate, "spins"),
    "index shift": (_index_shift, "spins"),
    "identity": (_forgotten_identity, "spins"),
}


def _custom(backward: Callable) -> Callable:
    """Write the rule as users do, without this package."""
    smeared = jax.custom_vjp(_forward)
    smeared.defvjp(lambda *kept: (_forward(*kept), kept), backward)
    return smeared


def _arguments(dtype: type, sites: int = 6) -> tuple[jax.Array, jax.Array]:
    random = np.random.default_rng(0)
    spins = random.normal(size=(sites, 2)) + 1j * random.normal(size=(sites, 2))
    coefficients = np.array([0.3 + 0.2j, -0.2 + 0.1j])
    pair = (
        (spins, coefficients)
        if dtype is np.complex128
        else (spins.real, coefficients.real)
    )
    return jnp.asarray(pair[0]), jnp.asarray(pair[1])


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_a_right_rule_passes(dtype: type) -> None:
    report = check_pullback(_custom(_right), *_arguments(dtype))
    assert report.is_passed
    assert {row.argument for row in report.comparisons} == {
        "spins",
        "coefficients",
        "output",
    }


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_found_and_named(name: str) -> None:
    backward, argument = WRONG[name]
    dtype = np.complex128 if name == "conjugate" else np.float64
    with pytest.raises(WrongPullback, match=f"'{argument}' at entry") as caught:
        check_pullback(_custom(backward), *_arguments(dtype))
    wrong = {r.argument for r in caught.value.report.comparisons if not r.is_passed}
    assert wrong == {argument}


@pytest.mark.parametrize("name", WRONG)
def test_finite_differences_alone_find_a_wrong_rule(name: str) -> None:
    """The forward hides behind a `while_loop`, which autodiff refuses."""
    backward, argument = WRONG[name]
    dtype = np.complex128 if name == "conjugate" else np.float64

    def once(*arguments: jax.Array) -> jax.Array:
        start = (jnp.array(0), jnp.zeros_like(arguments[0]))
        loop = (lambda s: s[0] < 1, lambda s: (s[0] + 1, _forward(*arguments)))
        return jax.lax.while_loop(*loop, start)[1]

    function = jax.custom_vjp(once)
    function.defvjp(lambda *kept: (once(*kept), kept), backward)
    report = check_pullback(function, *_arguments(dtype), throw=False)
    assert "Not compared with autodiff" in str(report)
    wrong = [row for row in report.comparisons if not row.is_passed]
    assert {row.argument.removeprefix("argument ") for row in wrong} <= {"0", "1"}
    assert [row.argument for row in wrong] == [
        "argument 0" if argument == "spins" else "argument 1"
    ]
    assert wrong[0].entry is not None


def test_a_rule_right_for_symmetric_input_only_is_found() -> None:
    def backward(residuals: tuple, g: jax.Array) -> tuple:
        matrix, vector = residuals
        return jnp.outer(g, vector), matrix @ g  # forgot the transpose

    apply = jax.custom_vjp(lambda matrix, vector: matrix @ vector)
    apply.defvjp(lambda *kept: (kept[0] @ kept[1], kept), backward)
    symmetric = jnp.array([[2.0, 1.0], [1.0, 3.0]])
    # Its own point cannot tell; the random one nearby can.
    assert check_pullback(apply, symmetric, jnp.ones(2), perturbation=0).is_passed
    with pytest.raises(WrongPullback, match="'vector'"):
        check_pullback(apply, symmetric, jnp.ones(2))


def test_a_rule_right_for_symmetric_cotangents_only_is_found() -> None:
    def backward(_: tuple, g: jax.Array) -> tuple:
        return (g[::-1],)

    same = jax.custom_vjp(lambda x: 1.0 * x)
    same.defvjp(lambda x: (1.0 * x, ()), backward)
    np.testing.assert_array_equal(jax.grad(lambda x: same(x).sum())(jnp.ones(3)), 1)
    with pytest.raises(WrongPullback):
        check_pullback(same, jnp.ones(3))


def test_vanishing_coefficients_do_not_hide_a_wrong_rule() -> None:
    def backward(residuals: tuple, g: jax.Array) -> tuple:
        return g, _right(residuals, g)[1]  # spins_bar for a = 0

    spins, coefficients = _arguments(np.float64)
    with pytest.raises(WrongPullback, match="'spins'"):
        check_pullback(_custom(backward), spins, 0 * coefficients)


def test_a_forward_that_differs_from_the_function_is_found() -> None:
    square = jax.custom_vjp(lambda x: x**2)
    square.defvjp(lambda x: (x**2 + 1e-6, x), lambda x, g: (2 * x * g,))
    with pytest.raises(WrongPullback, match="agree with the value"):
        check_pullback(square, jnp.arange(3.0))


def test_the_error_says_by_how_much_and_where() -> None:
    def backward(residuals: tuple, g: jax.Array) -> tuple:
        spins_bar, coefficients_bar = _right(residuals, g)
        return spins_bar.at[4, 1].add(0.25), coefficients_bar

    with pytest.raises(WrongPullback) as caught:
        check_pullback(_custom(backward), *_arguments(np.float64))
    worst = caught.value.report.worst
    assert worst.entry == (4, 1)
    # The tolerance of the check bounds how far the error is from 1/4.
    assert abs(worst.error - 0.25) <= worst.tolerance
    assert "'spins' at entry [4, 1]" in str(caught.value)
    assert "WRONG" in str(caught.value.report)


def test_a_factor_and_a_conjugate_are_recognized() -> None:
    report = check_pullback(
        _custom(_wrong_factor), *_arguments(np.float64), throw=False
    )
    assert "wrong by a factor 2" in str(report)
    exponential = jax.custom_vjp(jnp.exp)
    exponential.defvjp(
        lambda x: (jnp.exp(x), jnp.exp(x)), lambda y, g: ((y * g).conj(),)
    )
    report = check_pullback(exponential, jnp.array([0.3 + 0.7j, 1.0j]), throw=False)
    assert "the complex conjugate" in str(report)


def _scan(function: Callable) -> Callable:
    def scanned(spins: jax.Array, a: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda s, _: (function(s, a), None), spins, None, length=2)[
            0
        ]

    return scanned


def _cond(function: Callable) -> Callable:
    def either(spins: jax.Array, a: jax.Array) -> jax.Array:
        return jax.lax.cond(spins[0, 0] > -9.0, function, lambda s, _: s, spins, a)

    return either


PLACES = {
    "jit": jax.jit,
    "checkpoint": jax.checkpoint,
    "scan": _scan,
    "cond": _cond,
    "vmap": lambda f: lambda s, a: jax.vmap(f, (0, None))(jnp.stack([s, 2 * s]), a),
    "nested": lambda f: jax.jit(_scan(jax.checkpoint(_cond(f)))),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_rule_is_found_inside_other_transforms(place: str) -> None:
    arguments = _arguments(np.float64)
    wrong = PLACES[place](_custom(_wrong_factor))
    assert count_rules(wrong, *arguments)["custom_vjp"] == 1
    assert count_rules(without_rules(wrong), *arguments)["custom_vjp"] == 0
    report = check_pullback(wrong, *arguments, directions=1, throw=False)
    bad = {row.argument for row in report.comparisons if not row.is_passed}
    assert any(name.endswith(("coefficients", "a", "1")) for name in bad)


def test_a_right_rule_deep_inside_other_transforms_passes() -> None:
    nested = PLACES["nested"](_custom(_right))
    report = check_pullback(nested, *_arguments(np.float64), directions=1)
    assert not report.notes


def test_pytrees_in_and_out_with_names() -> None:
    def function(parameters: dict, index: jax.Array) -> tuple:
        return parameters["bath"]["weight"][index] ** 2, {"energy": parameters["mu"]}

    def backward(kept: tuple, g: tuple) -> tuple:
        parameters, index = kept
        weight = parameters["bath"]["weight"]
        pulled = jnp.zeros_like(weight).at[index].set(2 * weight[index] * g[0])
        return {"bath": {"weight": 3 * pulled}, "mu": g[1]["energy"]}, None

    attached = with_pullback(function, backward)
    parameters = {"bath": {"weight": jnp.arange(1.0, 4.0)}, "mu": jnp.array(0.5)}
    with pytest.raises(WrongPullback, match=r"parameters\['bath'\]\['weight'\]"):
        check_pullback(attached, parameters, jnp.array(1))


def test_forward_mode_is_checked_in_both_modes() -> None:
    """A map with a constant is not linear: its tangent would get the constant too."""
    affine = with_pullback(lambda x: 2 * x + 1.0, lambda _, g: (2 * g,))
    assert check_pullback(affine, jnp.ones(3)).is_passed
    with pytest.raises(WrongPullback, match="forward mode"):
        check_pullback(lambda x: affine(x, derivative="both_modes"), jnp.ones(3))


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_single_precision(dtype: type) -> None:
    spins, a = (
        x.astype(dtype)
        for x in _arguments(np.complex128 if dtype is np.complex64 else np.float64)
    )
    assert check_pullback(_custom(_right), spins, a).is_passed
    for name in ("factor", "identity"):
        report = check_pullback(_custom(WRONG[name][0]), spins, a, throw=False)
        assert not report.is_passed


@pytest.mark.parametrize("seed", [27, 35])
def test_a_sum_that_cancels_raises_no_false_alarm(seed: int) -> None:
    """An energy near zero, of large terms, is rounded by far more than eps times it."""
    key = jax.random.key(seed)
    model = random_smeared_heisenberg(key, (2, 3, 2))
    spins = jax.vmap(lambda k: random_spins(k, 8))(jax.random.split(key, 2))
    energy = lambda model, spins: model(spins)  # noqa: E731
    assert check_pullback(energy, model, spins, seed=seed).is_passed


def test_an_iterated_forward_needs_its_own_tolerance() -> None:
    def backward(kept: tuple, g: jax.Array) -> tuple:
        return (g / (2 * jnp.sqrt(kept[0])) * (1 + 1e-9),)

    root = with_pullback(jnp.sqrt, backward)
    with pytest.raises(WrongPullback):
        check_pullback(root, jnp.arange(1.0, 3.0))
    assert check_pullback(root, jnp.arange(1.0, 3.0), relative_tolerance=1e-8).is_passed


def test_where_autodiff_is_not_finite_it_has_no_vote() -> None:
    """|x| at 0: autodiff of sqrt(x.x) is NaN, the rule gives the subgradient 0."""

    def backward(kept: tuple, g: jax.Array) -> tuple:
        (x,) = kept
        norm = jnp.sqrt(jnp.sum(x**2))
        return (jnp.where(norm > 0, g * x / jnp.where(norm > 0, norm, 1.0), 0.0),)

    norm = with_pullback(lambda x: jnp.sqrt(jnp.sum(x**2)), backward)
    assert check_pullback(norm, jnp.zeros(3)).is_passed


def test_a_function_without_a_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="carries a hand-written pullback"):
        check_pullback(jnp.sin, jnp.ones(2))
    spins, a = _arguments(np.float64)
    with pytest.raises(ValueError, match="derivative='autodiff'"):
        check_pullback(lambda s: smear(s, a, derivative="autodiff"), spins)
    integers = with_pullback(lambda n: 2 * n, lambda _, g: (2 * g,))
    with pytest.raises(ValueError, match="floating-point or complex argument"):
        check_pullback(integers, jnp.arange(3))


def test_a_function_that_is_nowhere_finite_nearby_is_refused() -> None:
    never = with_pullback(lambda x: x * jnp.nan, lambda _, g: (g,))
    with pytest.raises(ValueError, match="inside the domain"):
        check_pullback(never, jnp.ones(2))


def test_a_check_without_directions_is_refused() -> None:
    wrong = with_pullback(lambda x: x**2, lambda kept, g: (3 * kept[0] * g,))
    with pytest.raises(ValueError, match="1 direction or more, got 0"):
        check_pullback(wrong, jnp.arange(3.0), directions=0)
