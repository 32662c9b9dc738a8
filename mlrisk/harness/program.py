"""A user's train function taken apart: its arrays as arguments, its random keys as plain words."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.core as jaxpr_core
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from mlrisk.harness.loop import Train


class Stage(NamedTuple):
    """One traced function of a lane: ``call(arrays, extra, *lane)``, whose constants have become ``arrays``.

    Constants baked into a program make XLA compile for minutes and miss its cache; as arguments they do neither.
    """

    call: Callable[..., PyTree]
    arrays: list[Any]
    text: str
    """The program's text without memory addresses, the same in every process."""
    out: PyTree
    """Shapes and dtypes of one lane's result, with typed keys as plain words."""
    out_keys: PyTree
    """For each leaf of the result, the name of its key implementation, or an empty string."""


class Program(NamedTuple):
    """A lane as one stage, or as start, advance and finish, of which the middle one can be repeated."""

    stages: tuple[Stage, ...]
    blocks: int

    @property
    def last(self) -> Stage:
        """The stage whose result is the lane's."""
        return self.stages[-1]


def whole_program(train: Callable[..., PyTree], key: Any, hyper: PyTree) -> Program:
    """The program of any pure ``train(key)``, or ``train(key, hyper)`` where there are hypers."""
    takes_hyper = hyper is not None or isinstance(train, Train)

    def call(_: PyTree, key: Any, hyper: PyTree) -> PyTree:
        return train(key, hyper) if takes_hyper else train(key)

    return Program((_stage(call, (), (unlock((key, hyper))), key_names((key, hyper))),), 1)


def segmented_program(train: Train, key: Any, hyper: PyTree) -> Program:
    """The program of a `Train` that can stop between any two of its blocks."""
    given, names = unlock((key, hyper)), key_names((key, hyper))
    start = _stage(lambda _, key, hyper: train.start(key, hyper), (), given, names)
    lane, lane_names = (start.out, given[1]), (start.out_keys, names[1])
    bounds = (jnp.int32(0), jnp.int32(train.num_blocks))
    advance = _stage(lambda b, lane, hyper: train.advance(lane, hyper, *b), bounds, lane, lane_names)
    finish = _stage(lambda _, lane, hyper: train.finish(lane), (), lane, lane_names)
    return Program((start, advance, finish), train.num_blocks)


def unlock(tree: PyTree) -> PyTree:
    """The tree with each typed key as its plain words, which every device placement understands."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, tree)


def lock(tree: PyTree, names: PyTree) -> PyTree:
    """The inverse of `unlock`: typed keys again wherever ``names`` names a key implementation."""

    def typed(name: str, leaf: Any) -> Any:
        return jax.random.wrap_key_data(jnp.asarray(leaf), impl=name) if name else leaf

    return jax.tree.map(typed, names, tree)


def key_names(tree: PyTree) -> PyTree:
    """For each leaf, the name of its key implementation; an empty string for leaves that are no typed keys."""
    return jax.tree.map(lambda leaf: str(jax.random.key_impl(leaf)) if _is_key(leaf) else "", tree)


def _stage(function: Callable[..., PyTree], extra: PyTree, lane: tuple[PyTree, ...], names: PyTree) -> Stage:
    found: list[PyTree] = []

    def unlocked(extra: PyTree, *lane: PyTree) -> PyTree:
        out = function(extra, *lock(lane, names))
        found.append(key_names(out))
        return unlock(out)

    traced, out = jax.make_jaxpr(unlocked, return_shape=True)(extra, *lane)
    structure = jax.tree.structure(out)

    def call(arrays: list[Any], extra: PyTree, *lane: PyTree) -> PyTree:
        flat = jaxpr_core.eval_jaxpr(traced.jaxpr, arrays, *jax.tree.leaves((extra, lane)))
        return jax.tree.unflatten(structure, flat)

    text = re.sub(r"0x[0-9a-f]+", "", str(traced))
    return Stage(call, list(traced.consts), text, out, found[-1])


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(getattr(leaf, "dtype", np.dtype(bool)), jax.dtypes.prng_key)
