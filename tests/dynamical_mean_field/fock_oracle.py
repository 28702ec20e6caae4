"""The whole Fock space of an impurity, dense, by Jordan-Wigner products of 2 x 2."""

from functools import reduce

import numpy as np


def annihilators(num_modes):
    lower, parity = np.array([[0.0, 1.0], [0.0, 0.0]]), np.diag([1.0, -1.0])
    return [
        reduce(np.kron, [parity] * p + [lower] + [np.eye(2)] * (num_modes - p - 1))
        for p in range(num_modes)
    ]


class DenseImpurity:
    """All levels and states; ground states are averaged."""

    def __init__(self, interaction, level, levels, couplings):
        sites = 1 + len(levels)
        c = annihilators(2 * sites)
        up, down = c[:sites], c[sites:]
        self.d = up[0], down[0]
        self.numbers = [d.T @ d for d in self.d]
        h = interaction * self.numbers[0] @ self.numbers[1]
        for spin in (up, down):
            h = h + level * spin[0].T @ spin[0]
            for e, v, site in zip(levels, couplings, spin[1:], strict=True):
                h = h + e * site.T @ site + v * (spin[0].T @ site + site.T @ spin[0])
        self.energies, self.states = np.linalg.eigh(h)
        self.ground = self.states[:, self.energies < self.energies[0] + 1e-9]

    def mean(self, operator):
        return np.trace(self.ground.T @ operator @ self.ground) / self.ground.shape[1]

    def greens_function(self, z):
        value = 0
        gaps = self.energies - self.energies[0]
        for d in self.d:
            added = (self.states.T @ d.T @ self.ground) ** 2
            removed = (self.states.T @ d @ self.ground) ** 2
            value = value + (1 / (z[:, None] - gaps)) @ added.sum(axis=1)
            value = value + (1 / (z[:, None] + gaps)) @ removed.sum(axis=1)
        return value / (2 * self.ground.shape[1])
