"""Bath fits beside SciPy's general minimizers and adapol, from the same random starts.

python benchmarks/bath_fit.py --sites 4 6 8 9 12

The semicircular bath of half bandwidth 1, beta = 20, 56 frequencies, unit weight. SciPy
changes levels and couplings together, with derivatives in closed form; BFGS and
conjugate gradients go down the logarithm of the squared distance. All start at the same
levels and couplings, physml with and without relocations by vector fitting. adapol
needs no starts, makes an odd number of poles and may make weights negative: its line
tells how many and the smallest. Times are of all starts; ratios of one round count.
"""

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from reporting import markdown_table, spread

import physml
from physml.dynamical_mean_field import (
    Bath,
    fit_bath,
    matsubara_frequencies,
    semicircular_greens_function,
)

W = matsubara_frequencies(20.0, 56)
ROUNDING = 100 * np.finfo(float).eps  # within it two errors are the same


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


def max_errors(ends: list[np.ndarray], target: np.ndarray) -> np.ndarray:
    """Return the largest error of the hybridization of each end."""
    return np.array(
        [np.hypot(*np.split(deviations(x, target)[0], 2)).max() for x in ends]
    )


def by_physml(starts: np.ndarray, target: np.ndarray, moves: int) -> np.ndarray:
    """Return the largest error of the best end, then the distance of each."""
    levels, couplings = np.split(starts, 2, axis=1)
    bath = Bath(jnp.asarray(levels), jnp.asarray(couplings))
    fit = fit_bath(W, target, levels.shape[1], starts=bath, num_relocations=moves)
    return np.append(fit.max_error, fit.distances)


def by_adapol(num_sites: int, target: np.ndarray) -> tuple[int, float, float]:
    """Return poles, largest error and smallest weight, from both half axes."""
    try:
        from adapol import approx_freq_aaa
    except ImportError:
        raise SystemExit("Comparing needs adapol: pip install adapol==0.2.0.") from None
    z = 1j * np.append(-W[::-1], W)
    both = np.append(target[::-1].conj(), target)
    poles, weights, error = approx_freq_aaa(both, z, max_n_poles=num_sites)
    return len(poles), float(error), float(weights.real.min())


def timed(function: Callable[[], object]) -> tuple[object, float]:
    """Return a result and the seconds it took."""
    started = time.perf_counter()
    return function(), time.perf_counter() - started


def compare(num_sites: int, num_starts: int, rounds: int) -> list[list[object]]:
    """Return the rows of one number of sites; all methods take turns."""
    target = np.asarray(semicircular_greens_function(1j * W))
    random = np.random.default_rng(0)
    levels = random.uniform(-1, 1, (num_starts, num_sites))
    couplings = random.uniform(0.2, 0.6, (num_starts, num_sites))
    starts = np.concatenate([levels, couplings], axis=1)
    methods: dict[str, Callable[[], object]] = {
        "physml": lambda: by_physml(starts, target, 10),
        "physml, no relocations": lambda: by_physml(starts, target, 0),
    }
    for method in ("BFGS", "CG", "lm"):
        methods[f"SciPy {method}"] = lambda m=method: [
            by_scipy(m, x, target) for x in starts
        ]
    methods["adapol"] = lambda: by_adapol(num_sites, target)
    first = {name: timed(call) for name, call in methods.items()}
    seconds = {
        name: [timed(call)[1] for _ in range(rounds)] for name, call in methods.items()
    }
    ratios = {k: np.divide(v, seconds["physml"]) for k, v in seconds.items()}
    best = first["physml"][0]
    rows = []
    for name, (found, once) in first.items():
        quality = ["-", "-", "-"]
        if name == "adapol":
            number, error, least = found
            label = f"adapol: {number} poles, smallest weight {least:.2g}"
            quality = [f"{error:.3e}", "-", "-"]
        elif name.startswith("physml"):
            label, distances = name, found[1:]
            close = int((distances <= 1.01 * best[1:].min() + ROUNDING).sum())
            quality = [f"{found[0]:.3e}", "-", f"{close} of {num_starts}"]
        else:
            label, errors = name, max_errors(found, target)
            close = int((errors <= 1.02 * best[0] + ROUNDING).sum())
            middle = f"{np.median(errors):.1e}"
            quality = [f"{errors.min():.3e}", middle, f"{close} of {num_starts}"]
        times = [f"{np.median(seconds[name]):.3g} ({once:.3g})", spread(ratios[name])]
        rows.append([f"{num_sites}, {label}", *quality, *times])
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, nargs="+", default=[4, 6, 8, 9, 12])
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    physml.enable_x64()
    print(f"jax {jax.__version__}, scipy {scipy.__version__}\n", flush=True)
    headings = ["sites, method", "smallest error", "median", "starts at best"]
    headings += ["seconds (first)", "times physml"]
    for num_sites in options.sites:
        rows = compare(num_sites, options.starts, options.rounds)
        print(markdown_table(headings, rows), flush=True)


if __name__ == "__main__":
    main()
