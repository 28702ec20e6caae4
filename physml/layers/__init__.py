"""Layers: pure functions with hand-written pullbacks, and Flax modules around them."""

from physml.layers.dense import Dense, Frozen, dense
from physml.layers.smearing import Smearing, smear
from physml.layers.softplus import softplus

__all__ = ["Dense", "Frozen", "Smearing", "dense", "smear", "softplus"]
