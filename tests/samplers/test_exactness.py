"""Every kernel alone samples the exact averages, within its own error bars.

Pairs of spins in a field, by quadrature, and a ring of four, by its transfer matrix. A
pull is (mean - exact) / error; 4 would be an accident of 1 in 16 000.
"""

from dataclasses import dataclass

import jax
import numpy as np
import pytest
from spin_densities import exact_pair, exact_ring, observe, pairs, ring

from physml.estimators import chain_estimate
from physml.pytrees import register_dataclass
from physml.samplers import (
    Cycle,
    GlobalMetropolis,
    Hamiltonian,
    LocalMetropolis,
    Overrelaxation,
    SelfLearning,
    WholeDensity,
    random_configurations,
    sample,
)

PULL = 4.0


@register_dataclass
@dataclass(frozen=True)
class WithoutEffectiveTerm(SelfLearning):
    """A wrong acceptance: by the exact density alone."""

    def log_ratio(self, new, old):
        return new.log_density - old.log_density


KERNELS = {
    "local": lambda exact, _: LocalMetropolis(exact),
    "local, three sweeps": lambda exact, _: LocalMetropolis(exact, num_sweeps=3),
    "without shortcut": lambda exact, _: LocalMetropolis(
        WholeDensity(exact.function())
    ),
    "global rotation": lambda exact, _: Cycle(
        (GlobalMetropolis(exact.function()), LocalMetropolis(exact))
    ),
    "overrelaxation": lambda exact, _: Cycle(
        (Overrelaxation(exact), LocalMetropolis(exact))
    ),
    "hamiltonian": lambda exact, _: Hamiltonian(exact.function(), num_steps=4),
    "self-learning, local": lambda exact, poor: SelfLearning(
        exact.function(), LocalMetropolis(poor), num_inner=2
    ),
    "self-learning, hamiltonian": lambda exact, poor: SelfLearning(
        exact.function(), Hamiltonian(poor.function(), num_steps=3), num_inner=2
    ),
}


def pulls(kernel, exact):
    result = sample(
        kernel,
        random_configurations(jax.random.key(0), 32, (4,)),
        key=jax.random.key(1),
        num_sweeps=800,
        num_burn_in=100,
        observables=observe,
    )
    estimates = {k: chain_estimate(result.measured.values[k]) for k in exact}
    assert all(estimate.split_r_hat < 1.02 for estimate in estimates.values())
    assert all(estimate.error < 0.02 for estimate in estimates.values())
    return [abs(estimates[k].mean - exact[k]) / estimates[k].error for k in exact]


@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_samples_the_exact_averages(name):
    make = KERNELS[name]
    in_pairs = make(pairs(1.5, 0.7), pairs(0.4, 0.2))
    assert max(pulls(in_pairs, exact_pair(1.5, 0.7))) < PULL
    on_a_ring = make(ring(4, 1.2), ring(4, 0.6))  # compiles nothing
    assert max(pulls(on_a_ring, exact_ring(4, 1.2))) < PULL


def test_a_wrong_acceptance_is_caught():
    exact, poor = pairs(1.5, 0.7), pairs(0.4, 0.2)
    kernel = WithoutEffectiveTerm(exact.function(), LocalMetropolis(poor), num_inner=2)
    assert max(pulls(kernel, exact_pair(1.5, 0.7))) > 2 * PULL


def test_exact_averages_agree_with_closed_forms():
    coupling = 1.3
    langevin = 1 / np.tanh(coupling) - 1 / coupling
    assert exact_pair(coupling)["bond"] == pytest.approx(langevin, abs=1e-12)
    assert exact_pair(coupling)["bond_squared"] == pytest.approx(
        1 - 2 * langevin / coupling, abs=1e-12
    )
    assert exact_pair(0.0, coupling)["z"] == pytest.approx(langevin, abs=1e-12)
    # a long ring is an open chain, whose bonds are independent
    assert exact_ring(200, coupling)["bond"] == pytest.approx(langevin, abs=1e-12)
