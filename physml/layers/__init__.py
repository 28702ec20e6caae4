"""Layers: pure functions with hand-written pullbacks, and Flax modules around them."""

from physml.layers.dense import Dense, Frozen, dense
from physml.layers.smearing import Smearing, smear
from physml.layers.softplus import softplus
from physml.layers.spin_attention import (
    SpinLayer,
    SpinLayerKind,
    SpinLayerWeights,
    attention,
    attention_scores,
    block_spins,
    normalized,
    random_spin_layer,
    spin_layer,
)

__all__ = [
    "Dense",
    "Frozen",
    "Smearing",
    "SpinLayer",
    "SpinLayerKind",
    "SpinLayerWeights",
    "attention",
    "attention_scores",
    "block_spins",
    "dense",
    "normalized",
    "random_spin_layer",
    "smear",
    "softplus",
    "spin_layer",
]
