"""Bath fits beside SciPy's general minimizers, from the same random starts.

python benchmarks/bath_fit.py --sites 4 6 8

The semicircular bath of half bandwidth 1, beta = 20, 56 frequencies, unit weight. SciPy
changes levels and couplings together, with derivatives in closed form; BFGS and
conjugate gradients go down the logarithm of the squared distance. Times are of all
starts, those of physml with and without compilation. Ratios of one run count.
"""

import argparse
import time
from collections.abc import Callable

import jax
import numpy as np
import scipy.optimize

import physml
from physml.dynamical_mean_field import (
    fit_bath,
    matsubara_frequencies,
    semicircular_greens_function,
)

W = matsubara_frequencies(20.0, 56)


def deviations(x: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return real residuals and their Jacobian; x holds levels, then couplings."""
    levels, couplings = np.split(x, 2)
    terms = 1 / (1j * W[:, None] - levels)
    r = terms @ couplings**2 - target
    jacobian = np.concatenate([terms**2 * couplings**2, 2 * terms * couplings], axis=1)
    return np.append(r.real, r.imag), np.concatenate([jacobian.real, jacobian.imag])


def log_distance(x: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the logarithm of the squared distance and its gradient."""
    r, jacobian = deviations(x, target)
    return np.log(r @ r), 2 * (r @ jacobian) / (r @ r)


def by_scipy(method: str, x: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return levels and couplings from one start."""
    if method == "lm":
        return scipy.optimize.least_squares(
            lambda x: deviations(x, target)[0],
            x,
            lambda x: deviations(x, target)[1],
            method="lm",
            xtol=1e-15,
            ftol=1e-15,
            gtol=1e-15,
            max_nfev=5000,
        ).x
    options = {"gtol": 1e-12, "maxiter": 5000}
    return scipy.optimize.minimize(
        log_distance, x, target, method=method, jac=True, options=options
    ).x


def report(name: str, num_sites: int, best: float, errors: np.ndarray, s: str) -> None:
    """Print a line of the table."""
    num_best = int((errors < 1.02 * best).sum())
    print(
        f"| {num_sites} | {name} | {errors.min():.3e} | {np.median(errors):.1e} "
        f"| {num_best} of {errors.size} | {s} |",
        flush=True,
    )


def timed(function: Callable[[], object]) -> tuple[object, float]:
    """Return a result and the seconds it took."""
    started = time.perf_counter()
    return function(), time.perf_counter() - started


def compare(num_sites: int, num_starts: int) -> None:
    """Print the lines of one number of sites."""
    target = np.asarray(semicircular_greens_function(1j * W))
    fit, first = timed(lambda: fit_bath(W, target, num_sites, num_starts=num_starts))
    fit, again = timed(lambda: fit_bath(W, target, num_sites, num_starts=num_starts))
    line = f"{again:.2f} ({first:.2f})"
    print(
        f"| {num_sites} | physml | {fit.max_error:.3e} | "
        f"| {fit.starts_at_best} of {num_starts} | {line} |"
    )
    random = np.random.default_rng(0)
    starts = [
        np.append(random.uniform(-1, 1, num_sites), random.uniform(0.2, 0.6, num_sites))
        for _ in range(num_starts)
    ]
    for name, method in (("BFGS", "BFGS"), ("conjugate gradients", "CG"), ("LM", "lm")):
        ends, seconds = timed(lambda m=method: [by_scipy(m, x, target) for x in starts])
        errors = []
        for end in ends:
            r = deviations(end, target)[0]
            errors.append(np.hypot(*np.split(r, 2)).max())
        label = f"SciPy {name}"
        report(label, num_sites, fit.max_error, np.array(errors), f"{seconds:.2f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, nargs="+", default=[4, 6, 8])
    parser.add_argument("--starts", type=int, default=20)
    options = parser.parse_args()
    physml.enable_x64()
    print(f"jax {jax.__version__}, scipy {scipy.__version__}\n")
    print("| sites | method | smallest error | median | starts at best | seconds |")
    print("|---|---|---|---|---|---|")
    for num_sites in options.sites:
        compare(num_sites, options.starts)


if __name__ == "__main__":
    main()
