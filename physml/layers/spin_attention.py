r"""Layers that turn with the spins: attention and convolution on periodic lattices.

Block spins are sums over shells with trainable weights,

.. math::
    \mathbf S^{w}_i = w_0 \mathbf S_i + \sum_s w_s \sum_{j \in \text{shell } s}
    \mathbf S_j , \qquad
    A_{ij} = \mathrm{relu}\Big( \frac{\mathbf S^Q_i \cdot \mathbf S^K_j}{\sqrt 3}
    + b_{s(i,j)} \Big) ,

and with N sites a layer is

.. math::
    \mathbf S_i \leftarrow \frac{\mathbf X_i}{|\mathbf X_i|} , \qquad
    \mathbf X_i = \mathbf S_i + \sum_s c_s \sum_{j \in \text{shell } s} \mathbf S_j
    + \frac 1 N \sum_j A_{ij} \mathbf S^V_j .

Each part may be left out. Scores A are scalar products, and weights depend on distances
alone: rotations and reflections of the spins, translations and the point group of the
lattice go through a layer unchanged. The number of weights does not depend on N, and
the layer does to a periodic pattern the same on every size (without bias: with one, as
far as scores of far pairs do not matter).

After Nagai and Tomiya, J. Phys. Soc. Jpn. 93, 114007 (2024), arXiv:2306.11527. What is
different here: the factor 1/N, so that the attention of a larger lattice is an average
over more sites, not a larger number; the bias b of the shell of a pair, and the
convolution c, are ours.

Inside, spins are (..., components, sites): every sum over sites is then a product of
matrices from the right. JAX differentiates it in both modes; a pullback by hand was not
faster (benchmarks/self_learning_monte_carlo.md).
"""

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from physml.failures import expected
from physml.lattices.bravais import BravaisLattice
from physml.lattices.neighbors import matched, require_field
from physml.lattices.pair_shells import (
    PairShells,
    pair_matrix,
    pair_shells,
    pair_values,
)
from physml.precision import default_float_dtype
from physml.pytrees import register_dataclass

SpinLayerKind = Literal[
    "attention", "biased_attention", "convolution", "convolution_and_attention"
]


@register_dataclass
@dataclass(frozen=True)
class SpinLayerWeights:
    """The weights of a layer; None for a part that it does not have.

    A site that is as near by another way around the lattice counts once for each way,
    see `physml.lattices.pair_matrix`.

    Parameters
    ----------
    query, key, value
        Of a site and of the nearest shells, shapes (1 + shells,), all three or none.
    bias
        b of a site with itself and of the nearest shells, shape (1 + shells,); 0 for
        pairs farther apart.
    convolution
        c of the nearest shells, shape (shells,).
    """

    query: jax.Array | None = None
    key: jax.Array | None = None
    value: jax.Array | None = None
    bias: jax.Array | None = None
    convolution: jax.Array | None = None

    @property
    def kind(self) -> SpinLayerKind:
        """What the parts make of the layer."""
        own = {name for name, part in _parts(self).items() if part is not None}
        kinds: tuple[SpinLayerKind, ...] = get_args(SpinLayerKind)
        return next(kind for kind in kinds if own == set(_PARTS[kind]))

    @property
    def num_shells(self) -> int:
        """How many shells the block spins, or the convolution, reach."""
        if self.query is not None:
            return self.query.size - 1
        assert self.convolution is not None
        return self.convolution.size


def spin_layer(
    spins: jax.Array, weights: SpinLayerWeights, pairs: PairShells
) -> jax.Array:
    """Return the spins after one layer.

    Parameters
    ----------
    spins
        Real, shape (..., n_1, ..., n_d, components).
    weights
        Of the dtype of the spins.
    pairs
        The lattice, and the distances of the shells that the weights belong to.

    Returns
    -------
    jax.Array
        Unit vectors, shape and dtype of `spins`; zero where X is zero.

    Raises
    ------
    ValueError
        If the spins do not fit the lattice, or there are more weights than shells.
    TypeError
        For integer spins, or weights of another dtype.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from physml.lattices import pair_shells, square
    >>> up = jnp.zeros((4, 4, 3)).at[..., 2].set(1.0)
    >>> layer = SpinLayerWeights(convolution=jnp.array([0.5]))
    >>> spin_layer(up, layer, pair_shells(square(4, 4), 1))[0, 0].tolist()
    [0.0, 0.0, 1.0]
    """
    total = spins
    if weights.convolution is not None:
        one = jnp.ones((1,), weights.convolution.dtype)
        total = block_spins(spins, jnp.append(one, weights.convolution), pairs)
    if weights.query is not None:
        total = total + attention(spins, weights, pairs)
    return normalized(total)


def block_spins(spins: jax.Array, weights: jax.Array, pairs: PairShells) -> jax.Array:
    """Return w_0 S_i + sum_s w_s (sum of the spins in shell s of i).

    Parameters
    ----------
    spins
        Shape (..., n_1, ..., n_d, components).
    weights
        Shape (1 + shells,), of the dtype of the spins.
    pairs
        The shells.
    """
    return _as_field(_block(_columns(spins, pairs), weights, pairs), pairs)


def attention(
    spins: jax.Array, weights: SpinLayerWeights, pairs: PairShells
) -> jax.Array:
    """Return the mean over all sites j of A_ij S^V_j, shape of the spins."""
    columns = _columns(spins, pairs)
    assert weights.value is not None
    scores = _scores(columns, weights, pairs)  # (..., j, i)
    summed = _block(columns, weights.value, pairs) @ scores
    return _as_field(summed / pairs.lattice.num_sites, pairs)


def attention_scores(
    spins: jax.Array, weights: SpinLayerWeights, pairs: PairShells
) -> jax.Array:
    """Return A_ij, shape (..., sites i, sites j); sites in the order of the array."""
    return jnp.swapaxes(_scores(_columns(spins, pairs), weights, pairs), -1, -2)


def normalized(vectors: jax.Array) -> jax.Array:
    """Return unit vectors, shape (..., components); a zero vector stays zero.

    At zero, where the direction has no derivative, JAX gets that of the identity.
    """
    squared = jnp.sum(vectors * vectors, axis=-1, keepdims=True)
    safe = jnp.where(squared > 0, squared, jnp.ones_like(squared))
    return vectors * lax.rsqrt(safe)


def random_spin_layer(
    key: jax.Array,
    kind: SpinLayerKind,
    *,
    num_shells: int,
    bias_shells: int | None = None,
    update: float = 0.1,
) -> SpinLayerWeights:
    """Return random weights of a layer that changes the spins little.

    Parameters
    ----------
    key
        A JAX random key.
    kind
        Which parts the layer has.
    num_shells
        Of the block spins and of the convolution.
    bias_shells
        Of the bias; None takes `num_shells`.
    update
        Standard deviation of the weights of S^V; a tenth of it for the convolution,
        which no scores make smaller. 0 leaves unit spins as they are. Weights of S^Q
        and S^K have deviation 0.3, the bias has 0.1.

    Raises
    ------
    ValueError
        For an unknown kind, a number of shells below 1, or a negative `update`.
    """
    _require_kind(kind)
    bias_shells = num_shells if bias_shells is None else bias_shells
    if min(num_shells, bias_shells) < 1:
        raise expected("1 shell or more", min(num_shells, bias_shells), "pass 1")
    if not 0 <= update < float("inf"):
        raise expected("a deviation of the update >= 0", update, "try 0.1")
    block, dtype = num_shells + 1, default_float_dtype()
    sizes = {
        "query": (block, 0.3),
        "key": (block, 0.3),
        "value": (block, update),
        "bias": (bias_shells + 1, 0.1),
        "convolution": (num_shells, update / 10),
    }
    parts = {
        name: deviation * jax.random.normal(k, (size,), dtype)
        for k, (name, (size, deviation)) in zip(
            jax.random.split(key, len(sizes)), sizes.items(), strict=True
        )
        if name in _PARTS[kind]
    }
    return SpinLayerWeights(**parts)


class SpinLayer(nnx.Module):
    """The layer of `spin_layer`, with trainable weights.

    Parameters
    ----------
    num_shells
        Of the block spins, of the bias and of the convolution.
    lattice
        Where the spins are.
    kind, update
        As in `random_spin_layer`.
    rngs
        Source of the random numbers.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from physml.lattices import square
    >>> layer = SpinLayer(2, square(4, 4), rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((4, 4, 3))).shape
    (4, 4, 3)
    """

    def __init__(
        self,
        num_shells: int,
        lattice: BravaisLattice,
        *,
        kind: SpinLayerKind = "attention",
        update: float = 0.1,
        rngs: nnx.Rngs,
    ) -> None:
        self.pairs = pair_shells(lattice, num_shells)
        weights = random_spin_layer(
            rngs.params(), kind, num_shells=num_shells, update=update
        )
        for name, array in _parts(weights).items():
            setattr(self, name, None if array is None else nnx.Param(array))

    def __call__(self, spins: jax.Array) -> jax.Array:
        """Return spins of shape (..., n_1, ..., n_d, components) after the layer."""
        names = [field.name for field in fields(SpinLayerWeights)]
        own = {name: getattr(self, name) for name in names}
        arrays = {name: None if x is None else x[...] for name, x in own.items()}
        return spin_layer(spins, SpinLayerWeights(**arrays), self.pairs)


_ATTENTION = ("query", "key", "value")
_PARTS: dict[str, tuple[str, ...]] = {
    "attention": _ATTENTION,
    "biased_attention": (*_ATTENTION, "bias"),
    "convolution": ("convolution",),
    "convolution_and_attention": (*_ATTENTION, "convolution"),
}


def _require_kind(kind: str) -> None:
    if kind not in get_args(SpinLayerKind):
        raise expected(
            "a layer " + ", ".join(map(repr, get_args(SpinLayerKind))),
            repr(kind),
            "choose one of them",
        )


def _parts(weights: SpinLayerWeights) -> dict[str, Any]:
    return {field.name: getattr(weights, field.name) for field in fields(weights)}


def _columns(spins: jax.Array, pairs: PairShells) -> jax.Array:
    """Return spins as (..., components, sites)."""
    spins = jnp.asarray(spins)
    require_field(spins, pairs.lattice)
    batch = spins.shape[: -1 - pairs.lattice.dimension]
    return jnp.swapaxes(jnp.reshape(spins, (*batch, -1, spins.shape[-1])), -1, -2)


def _as_field(columns: jax.Array, pairs: PairShells) -> jax.Array:
    """Return (..., components, sites) as (..., n_1, ..., n_d, components)."""
    *batch, components, _ = columns.shape
    shape = (*batch, *pairs.lattice.shape, components)
    return jnp.reshape(jnp.swapaxes(columns, -1, -2), shape)


def _block(columns: jax.Array, weights: jax.Array, pairs: PairShells) -> jax.Array:
    return columns @ pair_matrix(matched(weights, columns, "weights"), pairs)


def _scores(
    columns: jax.Array, weights: SpinLayerWeights, pairs: PairShells
) -> jax.Array:
    """Return A_ij with the axes (..., j, i), as the product with S^V wants it."""
    assert weights.query is not None
    assert weights.key is not None
    query = _block(columns, weights.query, pairs) / columns.shape[-2] ** 0.5
    key = _block(columns, weights.key, pairs)
    scores = jnp.einsum("...cj,...ci->...ji", key, query)
    if weights.bias is not None:
        bias = pair_values(matched(weights.bias, columns, "weights"), pairs)
        scores = scores + jnp.broadcast_to(bias, scores.shape)
    return jax.nn.relu(scores)
