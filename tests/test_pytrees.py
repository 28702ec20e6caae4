from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import pytest

from physml.pytrees import register_dataclass


def constant(number):
    @register_dataclass
    @dataclass(frozen=True)
    class Constant:
        value: jax.Array

        def __call__(self):
            return self.value + number

    return Constant


@partial(register_dataclass, static=("name",))
@dataclass(frozen=True)
class Named:
    first: object
    name: str
    second: object = 2.0


def test_classes_with_equal_fields_have_other_structures():
    one, other = (jax.tree.structure(constant(k)(0.0)) for k in range(2))
    assert one != other


def test_a_jitted_function_never_runs_the_program_of_another_class():
    # by jax 0.10's own registration 60 of 400 get what another class has compiled
    call = jax.jit(lambda node: node())
    zero = jnp.zeros(())
    assert [float(call(constant(k)(zero))) for k in range(30)] == list(range(30))


def test_static_fields_belong_to_the_structure():
    node = Named(jnp.ones(2), "a")
    assert jax.tree.structure(node) == jax.tree.structure(Named(0, "a", 1))
    assert jax.tree.structure(node) != jax.tree.structure(Named(0, "b", 1))
    doubled = jax.jit(lambda node: jax.tree.map(lambda x: 2 * x, node))(node)
    assert doubled.name == "a"
    assert doubled.first.tolist() == [2, 2]
    assert doubled.second == 4


def test_paths_name_the_fields():
    paths = [
        jax.tree_util.keystr(p) for p, _ in jax.tree.leaves_with_path(Named(0, "a"))
    ]
    assert paths == [".first", ".second"]


def test_a_static_name_that_is_no_field_is_refused():
    with pytest.raises(ValueError, match="Named has no field nmae"):
        register_dataclass(Named, static=("nmae",))
