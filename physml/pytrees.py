"""Dataclasses as pytrees whose structures differ from class to class.

JAX chooses a compiled program by the structure of its arguments. From version 0.10 on
`jax.tree_util.register_dataclass` gives two classes with equal static fields structures
that compare equal; only their hashes differ, and a jitted function that has met both
now and then runs the program of the other class (in jax 0.10, at one of some hundred
coincidences). Nodes registered with functions of their own, as here, are told apart.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar

from jax.tree_util import GetAttrKey, register_pytree_with_keys

Node = TypeVar("Node", bound=type)


def register_dataclass(cls: Node, static: Iterable[str] = ()) -> Node:
    """Make a dataclass a pytree.

    Parameters
    ----------
    cls
        The class; its constructor takes all fields by their names and must bear leaves
        of any kind, tracers and shapes among them.
    static
        Names of the fields that belong to the structure: hashable, compared with ==,
        and a new program is compiled for each new value. All others hold children.

    Returns
    -------
    The class itself: to be used as a decorator, or as
    `partial(register_dataclass, static=("name",))`.

    Raises
    ------
    ValueError
        If a name is none of a field.

    Examples
    --------
    >>> import jax
    >>> from dataclasses import dataclass
    >>> @register_dataclass
    ... @dataclass(frozen=True)
    ... class Wall:
    ...     height: float
    >>> jax.tree.leaves(Wall(2.0))
    [2.0]
    """
    names = [field.name for field in dataclasses.fields(cls) if field.init]
    structure = tuple(static)
    if unknown := set(structure) - set(names):
        raise ValueError(f"{cls.__name__} has no field {', '.join(sorted(unknown))}.")
    children = tuple(name for name in names if name not in structure)

    def flatten(node: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        values = tuple(getattr(node, name) for name in children)
        return values, tuple(getattr(node, name) for name in structure)

    def flatten_with_keys(node: Any) -> tuple[Any, tuple[Any, ...]]:
        values, fixed = flatten(node)
        return tuple(zip(map(GetAttrKey, children), values, strict=True)), fixed

    def unflatten(fixed: tuple[Any, ...], values: Iterable[Any]) -> Any:
        fields = dict(zip(children, values, strict=True))
        return cls(**fields, **dict(zip(structure, fixed, strict=True)))

    register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls
