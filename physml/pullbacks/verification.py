r"""Check a hand-written pullback against autodiff, finite differences and itself.

For a function y = f(x) and a random cotangent w the rule returns g. Three tests:

* autodiff: g is compared, entry by entry, with the pullback of the same forward after
  every hand-written rule has been taken out of it (`physml.pullbacks.rewriting`);
* finite differences: :math:`\langle g, v \rangle` is compared with
  :math:`\langle w, f(x + hv) - f(x - hv) \rangle / 2h` for random directions v, with
  :math:`\langle a, b \rangle = \mathrm{Re} \sum_j a_j b_j`, JAX's convention;
* value: what the rule's own forward returns is compared with f(x).

A function with rules in both modes is also compared in forward mode. Everything is
done at the arguments given and at a random point near them, since a rule can be right
at a symmetric point or for vanishing coefficients only.

Tolerances: two correct programs differ by rounding. It is measured by changing each
input by one unit of rounding; a sum of N terms may lose sqrt(N) times more. For finite
differences with step h, the truncation error is the change from step h to the
extrapolation of h and 2h, and the rounding error is that of <w, f>, measured in the
same way and at least eps sum |w f|, divided by h; h = eps^(1/5) balances rounding
against the h^4 of the extrapolation.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected
from physml.pullbacks.differences import Difference, Problem
from physml.pullbacks.report import Comparison, PullbackReport, WrongPullback
from physml.pullbacks.rewriting import count_rules, without_rules
from physml.pullbacks.rounding import (
    Arrays,
    growth,
    largest,
    random_like,
    scale_of,
    shaken,
    unit_of_rounding,
    wide,
)


def check_pullback(
    function: Callable[..., Any],
    *arguments: Any,
    directions: int = 3,
    perturbation: float = 0.1,
    relative_tolerance: float = 0.0,
    seed: int = 0,
    throw: bool = True,
) -> PullbackReport:
    """Check the hand-written rules of a function at its arguments and near them.

    Parameters
    ----------
    function
        A function that carries a `jax.custom_vjp` somewhere, or one made by
        `with_pullback`; its output is an array or a pytree. Give options by a lambda.
    *arguments
        Arrays or pytrees; floating-point and complex leaves are differentiated.
    directions
        Number of random cotangents, and of directions for finite differences.
    perturbation
        Relative size of the random step to a second point; 0 stays at the arguments.
    relative_tolerance
        Error, relative to the largest entry of each derivative, that is allowed on top
        of rounding: for forwards that are iterated to a tolerance.
    seed
        Seed of the random numbers.
    throw
        False returns a failed report instead of raising.

    Returns
    -------
    PullbackReport
        Prints as a table; `is_passed`, `comparisons`, `worst`.

    Raises
    ------
    WrongPullback
        If the rule is wrong: names the argument, the error and the worst entry.
    ValueError
        If the function carries no hand-written rule, or nothing to differentiate, or
        there is no direction.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from physml.pullbacks import with_pullback
    >>> square = with_pullback(lambda x: x**2, lambda kept, g: (2 * kept[0] * g,))
    >>> check_pullback(square, jnp.arange(3.0)).is_passed
    True
    """
    if directions < 1:
        raise expected("1 direction or more", directions, "3 is the default")
    rules = count_rules(function, *arguments)
    if not any(rules.values()):
        raise expected(
            "a function that carries a hand-written pullback",
            f"{_name(function)} without any",
            "attach one with with_pullback or jax.custom_vjp, and leave out "
            "derivative='autodiff'",
        )
    problem = _problem(function, arguments)
    random = np.random.default_rng(seed)
    points = [problem.leaves]
    if perturbation > 0:
        points.append(_nearby(problem, perturbation, random))
    rows: list[Comparison] = []
    for point in points:
        for _ in range(directions):
            rows.extend(_compare(problem, point, random, relative_tolerance))
            if not rules["custom_vjp"]:
                rows.extend(
                    _compare_forward_mode(problem, point, random, relative_tolerance)
                )
    report = PullbackReport(_name(function), _worst_rows(rows), problem.notes)
    if throw and not report.is_passed:
        raise WrongPullback(report)
    return report


def _problem(function: Callable[..., Any], arguments: tuple) -> Problem:
    """Flatten the function to its differentiable leaves."""
    named, structure = jax.tree.flatten_with_path(arguments)
    marked = [i for i, (_, leaf) in enumerate(named) if _is_inexact(leaf)]
    if not marked:
        raise expected(
            "a floating-point or complex argument",
            "none",
            "pass the arguments to be differentiated as float or complex arrays",
        )

    def flat(leaves: list) -> list:
        full = [leaf for _, leaf in named]
        for i, leaf in zip(marked, leaves, strict=True):
            full[i] = leaf
        outputs = function(*jax.tree.unflatten(structure, full))
        return [y for y in jax.tree.leaves(outputs) if _is_inexact(y)]

    # By way of JAX, whose dtype is narrower than NumPy's without float64.
    leaves = [np.asarray(jnp.asarray(named[i][1])) for i in marked]
    plain = without_rules(flat)
    pull_plain, notes = _autodiff(plain, leaves)
    return Problem(
        names=tuple(_leaf_name(function, named[i][0]) for i in marked),
        leaves=leaves,
        value=jax.jit(flat),
        pull=jax.jit(_pullback(flat)),
        pull_plain=pull_plain,
        push=jax.jit(_pushforward(flat)),
        push_plain=jax.jit(_pushforward(plain)),
        notes=notes,
    )


def _pullback(flat: Callable) -> Callable[[Arrays, Arrays], tuple[list, list]]:
    def pull(leaves: Arrays, cotangents: Arrays) -> tuple[list, list]:
        outputs, transposed = jax.vjp(flat, leaves)
        return outputs, transposed(cotangents)[0]

    return pull


def _pushforward(flat: Callable) -> Callable[[Arrays, Arrays], list]:
    def push(leaves: Arrays, tangents: Arrays) -> list:
        return jax.jvp(flat, (leaves,), (tangents,))[1]

    return push


def _autodiff(plain: Callable, leaves: Arrays) -> tuple[Callable | None, tuple]:
    """Return the pullback of the forward without rules, or None and the reason."""
    if any(count_rules(plain, leaves).values()):
        reason = "a rule sits inside a transform that cannot be taken apart"
        return None, (f"Not compared with autodiff: {reason}.",)
    pull = jax.jit(_pullback(plain))
    try:
        pull.lower(leaves, jax.eval_shape(plain, leaves))
    except Exception as reason:  # whatever JAX says of a forward without a derivative
        first = str(reason).splitlines()[0]
        return None, (
            f"Not compared with autodiff, which the forward refuses: {first}",
        )
    return pull, ()


def _compare(
    problem: Problem,
    point: Arrays,
    random: np.random.Generator,
    relative_tolerance: float,
) -> Iterator[Comparison]:
    """Yield the rows of one point and one random cotangent."""
    values = list(map(np.asarray, problem.value(point)))
    cotangents = [random_like(y, random) for y in values]
    outputs, pulled = problem.pull(point, cotangents)
    pulled = list(map(np.asarray, pulled))
    eps = unit_of_rounding([*point, *values])
    moved = problem.value([shaken(x, random) for x in point])
    for i, (got, value) in enumerate(zip(outputs, values, strict=True)):
        spread = largest(np.asarray(moved[i]) - value) + eps * largest(value)
        allowed = growth(point, values) * spread + relative_tolerance * largest(value)
        name = "output" if len(values) == 1 else f"output {i}"
        yield _entrywise(name, "the value", np.asarray(got), value, allowed)
    if problem.pull_plain is not None:
        reference, spreads = _reference(problem, point, cotangents, random)
        for name, got, want, spread in zip(
            problem.names, pulled, reference, spreads, strict=True
        ):
            rounding = growth(point, values) * (spread + eps * largest(want))
            allowed = rounding + relative_tolerance * largest(want)
            yield _entrywise(name, "autodiff", got, want, allowed)
    noise = _value_noise(problem, point, values, cotangents, random)
    for i in range(len(point)):
        difference = Difference(problem, point, cotangents, i, noise)
        direction = random_like(point[i], random) * scale_of(point[i])
        yield difference.compare(direction, pulled[i], relative_tolerance)


def _value_noise(
    problem: Problem,
    point: Arrays,
    values: Arrays,
    cotangents: Arrays,
    random: np.random.Generator,
) -> float:
    """Return how far one unit of rounding in the arguments moves <w, f>.

    A sum of terms that cancel is rounded by far more than its own unit of rounding.
    """
    noise = 0.0
    for _ in range(3):
        moved = problem.value([shaken(x, random) for x in point])
        changes = [
            wide(np.asarray(y)) - wide(v) for y, v in zip(moved, values, strict=True)
        ]
        sizes = [
            largest(w) * np.abs(c).sum()
            for w, c in zip(cotangents, changes, strict=True)
        ]
        noise = max(noise, float(sum(sizes)))
    return noise


def _compare_forward_mode(
    problem: Problem,
    point: Arrays,
    random: np.random.Generator,
    relative_tolerance: float,
) -> Iterator[Comparison]:
    """Compare the pushforward with autodiff's, argument by argument."""
    for i, name in enumerate(problem.names):
        tangents = [np.zeros_like(x) for x in point]
        tangents[i] = random_like(point[i], random)
        got = [np.asarray(y) for y in problem.push(point, tangents)]
        want = [np.asarray(y) for y in problem.push_plain(point, tangents)]
        eps = unit_of_rounding([*point, *want])
        for left, right in zip(got, want, strict=True):
            relative = growth(point, want) * eps + relative_tolerance
            allowed = relative * largest(right)
            yield _entrywise(name, "autodiff, forward mode", left, right, allowed)


def _reference(
    problem: Problem,
    point: Arrays,
    cotangents: Arrays,
    random: np.random.Generator,
) -> tuple[Arrays, list[float]]:
    """Return autodiff's cotangents and how far one unit of rounding moves each."""
    assert problem.pull_plain is not None
    reference = [np.asarray(g) for g in problem.pull_plain(point, cotangents)[1]]
    noise = [0.0] * len(reference)
    for _ in range(2):
        near = [shaken(x, random) for x in point]
        moved = problem.pull_plain(near, [shaken(w, random) for w in cotangents])[1]
        for i, (new, old) in enumerate(zip(moved, reference, strict=True)):
            noise[i] = max(noise[i], largest(np.asarray(new) - old))
    return reference, noise


def _entrywise(
    name: str, test: str, got: np.ndarray, want: np.ndarray, allowed: float
) -> Comparison:
    """Compare two arrays; where only the reference is not finite it has no vote."""
    with np.errstate(invalid="ignore"):
        error = np.abs(wide(got) - wide(want))
    error = np.where(np.isfinite(want), error, 0.0)
    error = np.where(np.isnan(error), np.inf, error)
    if not error.size:
        return Comparison(name, test, 0.0, allowed)
    entry = np.unravel_index(int(np.argmax(error)), error.shape)
    row = Comparison(
        argument=name,
        test=test,
        error=float(error[entry]),
        tolerance=allowed,
        entry=tuple(map(int, entry)),
        hand_written=complex(got[entry]),
        reference=complex(want[entry]),
    )
    return row if row.is_passed else replace(row, remark=_remark(got, want, allowed))


def _remark(got: np.ndarray, want: np.ndarray, allowed: float) -> str:
    """Say whether the wrong array is a multiple or the conjugate of the right one."""
    if not (np.isfinite(got).all() and np.isfinite(want).all()):
        return "not finite"
    if np.iscomplexobj(want) and np.abs(got - want.conj()).max() <= allowed:
        return "the complex conjugate"
    factor = np.vdot(want, got) / max(np.vdot(want, want).real, np.finfo(float).tiny)
    if want.size > 1 and np.abs(got - factor * want).max() <= 10 * allowed:
        return f"wrong by a factor {_short(factor)}"
    return ""


def _short(factor: complex) -> str:
    value = complex(factor)
    is_real = abs(value.imag) <= 1e-9 * abs(value)
    return f"{value.real:.6g}" if is_real else f"{value:.6g}"


def _nearby(
    problem: Problem, perturbation: float, random: np.random.Generator
) -> Arrays:
    """Return a random point near the arguments where the function is finite."""
    noise = [random_like(x, random) for x in problem.leaves]
    for size in perturbation * 10.0 ** -np.arange(5):
        point = [
            (x + size * (np.abs(x) + scale_of(x)) * n).astype(x.dtype)
            for x, n in zip(problem.leaves, noise, strict=True)
        ]
        if all(np.isfinite(np.asarray(y)).all() for y in problem.value(point)):
            return point
    raise expected(
        "a function that is finite near the arguments",
        "values that are not finite at every point tried",
        "pass arguments inside the domain, or perturbation=0",
    )


def _worst_rows(rows: list[Comparison]) -> tuple[Comparison, ...]:
    """Keep the worst row of each argument and test, in the order they came."""
    worst: dict[tuple[str, str], Comparison] = {}
    for row in rows:
        key = (row.argument, row.test)
        if key not in worst or row.excess > worst[key].excess:
            worst[key] = row
    return tuple(worst.values())


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _leaf_name(function: Callable[..., Any], path: tuple) -> str:
    """Name an argument as the function's signature does, with the path inside it."""
    position = path[0].idx
    try:
        names = list(inspect.signature(function).parameters.values())
        named = names[position].kind is not inspect.Parameter.VAR_POSITIONAL
        name = names[position].name if named else f"argument {position}"
    except (TypeError, ValueError, IndexError):
        name = f"argument {position}"
    return name + jax.tree_util.keystr(path[1:])


def _is_inexact(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
