r"""What a program says to the other ranks, whoever carries it.

A loss that is the same on all ranks is written with two linear maps, each the transpose
of the other. With one copy of x for each rank r,

.. math:: \mathrm{sum}: x_r \mapsto \sum_s x_s , \qquad
          \mathrm{replicate}: x \mapsto x_r = x .

Values that are added pass through `sum`, parameters that all ranks share pass through
`replicate`. The derivative of a loss with respect to a sum is the same on all ranks, so
the transposed `sum` hands it on as it is; the transposed `replicate` adds up what each
rank found. `jax.grad` is then the exact gradient of the whole loss on every rank,
however the sums enter it; so are `jax.jvp` and second derivatives. Other collectives
are made of these two, except `shift`, which hands on an array to a neighbor: its
transpose is the shift in the other direction.

There are three kinds of ranks: the only one, processes under MPI, and devices of JAX.
`Communicator.spmd` compiles the program of a rank, and `Communicator.divide` gives each
rank its block; these two let the same code run on all three.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected, expected_type
from physml.parallel.agreement import first_disagreement
from physml.parallel.division import Divided, Division

Tree = TypeVar("Tree")
Result = TypeVar("Result")
Program = Callable[..., Any]

# What MPI knows: half precision and random keys are not among it.
_SUMMABLE = (jnp.bool_, jnp.integer, jnp.float32, jnp.float64, jnp.complexfloating)


class Communicator(ABC):
    """The contract; `SerialCommunicator` is its simplest implementation.

    In the program of a rank (a function given to `spmd`): `rank`, `size`, `sum`,
    `replicate`, `shift`, `broadcast`, `gather`. Around it: `spmd`, `divide`, `share`,
    `fetch`. On the host, between programs, for each process: `process`,
    `num_processes`, `is_root`, `barrier`, `broadcast_object`, `gather_objects`,
    `gather_rows`, `on_root`, `require_agreement`, `leave`. A process is a rank under
    MPI; under sharding it holds several. Communicators of the same ranks are equal and
    share compiled programs.

    Examples
    --------
    >>> from physml.parallel import choose_communicator
    >>> communicator = choose_communicator("auto")
    >>> samples = communicator.divide(jnp.arange(10.0))
    >>> def loss(slope, samples):
    ...     errors = (communicator.replicate(slope) * samples.values - 1) ** 2
    ...     return communicator.sum(jnp.sum(errors, where=samples.mask))
    >>> float(communicator.spmd(jax.grad(loss))(0.5, samples))  # on every rank
    195.0
    """

    name: str

    def __eq__(self, other: object) -> bool:
        """Whether both have the same ranks, so that they share compiled programs."""
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    @property
    def library(self) -> str:
        """What carries the data."""
        return "XLA"

    @property
    def sends_gpu_memory(self) -> bool:
        """Whether arrays on a GPU travel without a copy through the host."""
        return True

    # In the program of a rank

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of ranks."""

    @property
    @abstractmethod
    def rank(self) -> int | jax.Array:
        """The number of this rank, from 0; with several, known only as a program runs.

        So all ranks run one program, and what each computes from the same values is
        bitwise the same: their loops and line searches end at the same step.
        """

    @abstractmethod
    def _sum_vector(self, vector: jax.Array) -> jax.Array:
        """Add over the ranks, bitwise the same on all; the transpose is replicate."""

    @abstractmethod
    def _replicate_vector(self, vector: jax.Array) -> jax.Array:
        """Return the vector; the transpose is the sum over the ranks."""

    @abstractmethod
    def _shift_vector(self, vector: jax.Array, step: int) -> jax.Array:
        """Return the vector of the rank `step` before, cyclically."""

    def _send(self, transfer: Callable[[jax.Array], jax.Array], tree: Tree) -> Tree:
        return _by_dtype(transfer, tree)

    def sum(self, tree: Tree) -> Tree:
        """Add pytrees over the ranks.

        Parameters
        ----------
        tree
            Arrays of the same shapes and dtypes on every rank: real, complex, integer,
            or boolean, which is counted. All of one dtype travel as one vector.

        Returns
        -------
        The sums, bitwise the same on every rank. They differ from those on another
        number of ranks by rounding: by a few eps times the sum of absolute values.
        """
        return self._send(self._sum_vector, jax.tree.map(_as_summable, tree))

    def replicate(self, tree: Tree) -> Tree:
        """Return parameters that all ranks share; gradients are summed on the way back.

        Parameters
        ----------
        tree
            The same on every rank. Leaves without derivatives are passed on.
        """
        leaves, structure = jax.tree.flatten(tree)
        floating = [jnp.issubdtype(jnp.result_type(x), jnp.inexact) for x in leaves]
        chosen = [_as_summable(x) for x, f in zip(leaves, floating, strict=True) if f]
        moved = iter(self._send(self._replicate_vector, chosen))
        shared = [
            next(moved) if f else x for x, f in zip(leaves, floating, strict=True)
        ]
        return jax.tree.unflatten(structure, shared)

    def shift(self, tree: Tree, step: int) -> Tree:
        """Return the pytree of another rank, at a fixed distance in the ring of ranks.

        Parameters
        ----------
        tree
            Arrays of the same shapes and dtypes on every rank.
        step
            Rank r gets what rank (r - step) modulo the size has: 1 for the rank before,
            -1 for the one after.

        Notes
        -----
        Its cost does not grow with the number of ranks.
        """
        return self._send(
            partial(self._shift_vector, step=step), jax.tree.map(_as_summable, tree)
        )

    def broadcast(self, tree: Tree, root: int = 0) -> Tree:
        """Return the pytree of one rank on all of them.

        Parameters
        ----------
        tree
            Arrays of the same shapes and dtypes on every rank.
        root
            The rank whose values count; -0.0 arrives as 0.0.
        """
        if not 0 <= root < self.size:
            raise expected(f"a root from 0 to {self.size - 1}", root, "name a rank")
        is_root = jnp.asarray(self.rank == root)
        chosen = jax.tree.map(lambda x: jnp.where(is_root, x, jnp.zeros_like(x)), tree)
        return _like(self.sum(chosen), tree)

    def gather(self, tree: Tree, num_items: int) -> Tree:
        """Join the blocks of all ranks in order, on every rank.

        Parameters
        ----------
        tree
            Arrays of shape (length, ...), where length is that of
            `Division(num_items, size)`; what pads a block is dropped.
        num_items
            The length of the whole, without padding.

        Returns
        -------
        Arrays of shape (num_items, ...); -0.0 arrives as 0.0.

        Notes
        -----
        A sum of arrays that are zero outside the rank's own block: differentiable, and
        one all-reduce of the whole, which moves twice the bytes that a gather would.
        """
        division = Division(num_items, self.size)
        placed = jax.tree.map(lambda x: _place(x, division, self.rank), tree)
        whole = jax.tree.map(lambda x: x[:num_items], self.sum(placed))
        return _like(whole, tree)

    # Around the program

    @abstractmethod
    def spmd(self, program: Program, *, divided_outputs: Any = False) -> Program:
        """Compile the program of one rank; the result runs it on all ranks together.

        Parameters
        ----------
        program
            A function of pytrees. Arguments are the same on all ranks, except the
            `Divided` ones, of which it sees its own block.
        divided_outputs
            True if each rank returns its own block, of shape (length, ...); or a pytree
            of bool, a prefix of what the program returns. By default the outputs are
            the same on all ranks, as after a `sum`.
        """

    @abstractmethod
    def divide(self, tree: Any) -> Divided:
        """Divide arrays over the ranks along their first axis.

        Parameters
        ----------
        tree
            Arrays of shape (num_items, ...), the same on every process.
        """

    def share(self, tree: Tree) -> Tree:
        """Put arrays that all ranks use where the outputs of programs lie.

        A program whose arguments lie elsewhere is right as well, but compiled again.
        """
        return tree

    def fetch(self, tree: Tree) -> Tree:
        """Return outputs of a program as ordinary arrays of this process."""
        return tree

    # On the host

    @property
    @abstractmethod
    def process(self) -> int:
        """The number of this process, from 0."""

    @property
    @abstractmethod
    def num_processes(self) -> int:
        """How many processes run the program."""

    @property
    def is_root(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.process == 0

    @abstractmethod
    def barrier(self) -> None:
        """Wait until every process is here and has finished its programs."""

    @abstractmethod
    def gather_objects(self, value: Any) -> list[Any]:
        """Return the Python objects of all processes, in order, on each of them."""

    def broadcast_object(self, value: Any, root: int = 0) -> Any:
        """Return the Python object of one process on all of them."""
        return self.gather_objects(value if self.process == root else None)[root]

    def on_root(self, function: Callable[[], Result]) -> Result:
        """Call a function on the root; return, or raise, what comes on all processes.

        Parameters
        ----------
        function
            Reads a file, or computes on the host: contains no program of the ranks.
        """
        answer: Any = None
        if self.is_root:
            try:
                answer = (function(), None)
            except Exception as error:
                answer = (None, error)
        value, failure = self.broadcast_object(answer)
        if failure is not None:
            raise failure
        return value

    def gather_rows(self, rows: np.ndarray) -> np.ndarray:
        """Join host arrays of any number of rows, in the order of the processes."""
        return np.concatenate(self.gather_objects(np.asarray(rows)))

    def require_agreement(self, configuration: Mapping[str, object]) -> None:
        """Refuse to start if processes differ in what they are about to do.

        Parameters
        ----------
        configuration
            Options, versions: names and values that can be compared.

        Raises
        ------
        ValueError
            On every process, with the first entry that differs.
        """
        difference = first_disagreement(self.gather_objects(dict(configuration)))
        if difference is not None:
            raise expected(
                "the same configuration and versions on every rank",
                difference,
                "start all ranks with one command line and one installation",
            )

    def leave(self, exit_code: int, sentence: str = "") -> NoReturn:
        """End this process with an exit code, and the others if they go on without it.

        For programs that turn an exception into a sentence and an exit code. An
        exception that nobody catches ends all ranks by itself.

        Parameters
        ----------
        exit_code
            Of this process.
        sentence
            The root prints it to stderr, and a process that leaves alone.
        """
        if self.is_root:
            print_error(sentence)
        raise SystemExit(exit_code)


def print_error(sentence: str) -> None:
    """Print to stderr at once."""
    if sentence:
        print(sentence, file=sys.stderr, flush=True)


def _as_summable(array: Any) -> jax.Array:
    array = jnp.asarray(array)
    if not any(jnp.issubdtype(array.dtype, kind) for kind in _SUMMABLE):
        raise expected_type(
            "integer, float32, float64 or complex arrays",
            array.dtype,
            "convert them before they are sent",
        )
    return array.astype(int) if array.dtype == bool else array


def _by_dtype(send: Callable[[jax.Array], jax.Array], tree: Tree) -> Tree:
    """Send the leaves of each dtype as one vector."""
    leaves, structure = jax.tree.flatten(tree)
    sent = list(leaves)
    for dtype in dict.fromkeys(leaf.dtype for leaf in leaves):
        group = [i for i, x in enumerate(leaves) if x.dtype == dtype and x.size > 0]
        if not group:
            continue
        ends = np.cumsum([leaves[i].size for i in group])[:-1]
        vector = send(jnp.concatenate([leaves[i].ravel() for i in group]))
        for i, piece in zip(group, jnp.split(vector, ends), strict=True):
            sent[i] = piece.reshape(leaves[i].shape)
    return jax.tree.unflatten(structure, sent)


def _like(tree: Tree, pattern: Tree) -> Tree:
    """Return to the dtypes of a pattern: bool was counted on its way."""
    return jax.tree.map(lambda x, y: x.astype(jnp.result_type(y)), tree, pattern)


def _place(block: jax.Array, division: Division, rank: int | jax.Array) -> jax.Array:
    """Return the block at its place among zeros, with one row to spare for padding."""
    require_length(block, division)
    mask = jnp.expand_dims(division.mask(rank), tuple(range(1, block.ndim)))
    rows = jnp.where(mask, block, jnp.zeros_like(block))
    whole = jnp.zeros((division.num_items + 1, *block.shape[1:]), block.dtype)
    return jax.lax.dynamic_update_slice_in_dim(whole, rows, division.start(rank), 0)


def require_length(block: jax.Array, division: Division) -> None:
    """Refuse what is not a block of a division."""
    if block.ndim == 0 or block.shape[0] != division.length:
        raise expected(
            f"blocks of {division.length} rows "
            f"for {division.num_items} items on {division.num_ranks} ranks",
            f"shape {block.shape}",
            "evaluate Division.indices(rank), padding included",
        )
