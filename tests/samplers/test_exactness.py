"""Every kernel alone samples the exact averages, within its own error bars.

Two spins in a field, by quadrature, and a ring of four, by its transfer matrix. A pull
is (mean - exact) / error; 4 of them would be an accident of 1 in 16 000.
"""

from dataclasses import dataclass

import jax
import numpy as np
import pytest
from jax.tree_util import register_dataclass
from spin_densities import exact_pair, exact_ring, observe, pair, ring

from physml.estimators import chain_estimate
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


def local(density, poor):
    return LocalMetropolis(density)


def local_without_shortcut(density, poor):
    return LocalMetropolis(WholeDensity(density.function()))


def with_global_rotations(density, poor):
    return Cycle((GlobalMetropolis(density.function()), LocalMetropolis(density)))


def with_overrelaxation(density, poor):
    return Cycle((Overrelaxation(density), LocalMetropolis(density)))


def trajectories(density, poor):
    return Hamiltonian(density.function(), num_steps=4)


def learned_with_local_moves(density, poor):
    return SelfLearning(density.function(), LocalMetropolis(poor), num_inner=2)


def learned_with_trajectories(density, poor):
    inner = Hamiltonian(poor.function(), num_steps=3)
    return SelfLearning(density.function(), inner, num_inner=2)


@register_dataclass
@dataclass(frozen=True)
class WithoutEffectiveTerm(SelfLearning):
    """A wrong acceptance: by the exact density alone."""

    def log_ratio(self, new, old):
        return new.log_density - old.log_density


def learned_wrongly(density, poor):
    return WithoutEffectiveTerm(density.function(), LocalMetropolis(poor), num_inner=2)


KERNELS = [
    local,
    local_without_shortcut,
    with_global_rotations,
    with_overrelaxation,
    trajectories,
    learned_with_local_moves,
    learned_with_trajectories,
]


def pulls(kernel, exact, num_sites, num_sweeps=800):
    start = random_configurations(jax.random.key(0), 32, (num_sites,))
    result = sample(
        kernel,
        start,
        key=jax.random.key(1),
        num_sweeps=num_sweeps,
        num_burn_in=100,
        observables=observe,
    )
    estimates = {k: chain_estimate(result.measured.values[k]) for k in exact}
    assert all(estimate.split_r_hat < 1.02 for estimate in estimates.values())
    assert all(estimate.error < 0.02 for estimate in estimates.values())
    return [abs(estimates[k].mean - exact[k]) / estimates[k].error for k in exact]


@pytest.mark.parametrize("make", KERNELS)
def test_two_spins_in_a_field(make):
    kernel = make(pair(1.5, 0.7), pair(0.4, 0.2))
    assert max(pulls(kernel, exact_pair(1.5, 0.7), 2)) < PULL


@pytest.mark.parametrize("make", KERNELS)
def test_a_ring_of_four_spins(make):
    kernel = make(ring(4, 1.2), ring(4, 0.6))
    assert max(pulls(kernel, exact_ring(4, 1.2), 4)) < PULL


def test_a_wrong_acceptance_is_caught():
    kernel = learned_wrongly(pair(1.5, 0.7), pair(0.4, 0.2))
    assert max(pulls(kernel, exact_pair(1.5, 0.7), 2)) > 2 * PULL


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
