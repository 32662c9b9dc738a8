"""Models from a user's own code, whatever library wrote them, as long as they are a pair of pure functions."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

from mlrisk.errors import BadInput
from mlrisk.types import Model


def imported_model(name: str, shape: tuple[int, ...], num_classes: int) -> Model:
    """The model that a callable of the user's makes: ``callable(shape, num_classes)``.

    It may return a `Model`, a pair ``(init, apply)`` or any object with these two as attributes:
    ``init(key) -> params`` and ``apply(params, inputs) -> logits``, pure JAX functions on batches. For Flax::

        def make_model(shape, num_classes):
            net = MyNet(num_classes)
            return lambda key: net.init(key, jnp.zeros((1, *shape))), net.apply

    Args:
        name: ``module:callable``, looked for in the working directory too, or ``path/to/file.py:callable``.
        shape: of one input.
        num_classes: logits that the model must give.

    Raises:
        BadInput: the code cannot be imported or called, or what it gives is no such pair; says why in one line.
    """
    place, colon, attribute = name.rpartition(":")
    if not (colon and place and attribute):
        raise BadInput(f"model: {name!r} is not module:callable or path/to/file.py:callable")
    with _one_line(name, "cannot be imported"):
        module = _from_file(Path(place)) if place.endswith(".py") else _from_module(place)
    make = getattr(module, attribute, None)
    if not callable(make):
        raise BadInput(f"model: {place} has no callable {attribute!r}")
    with _one_line(name, f"fails for inputs of shape {shape} and {num_classes} classes"):
        made: Any = make(shape, num_classes)
    model = _as_model(name, made)
    with _one_line(name, f"fails on inputs of shape {shape}"):
        params = jax.eval_shape(model.init, jax.random.key(0))
        logits = jax.eval_shape(model.apply, params, jax.ShapeDtypeStruct((2, *shape), jnp.float32))
    found = (getattr(logits, "shape", None), jnp.issubdtype(getattr(logits, "dtype", bool), jnp.floating))
    if found != ((2, num_classes), True):
        raise BadInput(f"model: {name!r} gives {logits} for 2 inputs, not float logits of shape (2, {num_classes})")
    return model


def _as_model(name: str, made: Any) -> Model:
    if isinstance(made, Model):
        return made
    parts: tuple[Any, ...] = (
        tuple(made) if isinstance(made, tuple | list) else (getattr(made, "init", 0), getattr(made, "apply", 0))
    )
    if len(parts) != 2 or not all(map(callable, parts)):
        raise BadInput(f"model: {name!r} returns a {type(made).__name__}, not a pair of functions (init, apply)")
    init, apply = parts
    return Model(init, apply)


def _from_module(name: str) -> ModuleType:
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(here)


def _from_file(path: Path) -> ModuleType:
    if not path.expanduser().is_file():
        raise FileNotFoundError(f"there is no file {path}")
    name = f"mlrisk_imported_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.expanduser())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and flax modules look their module up by name
    spec.loader.exec_module(module)
    return module


@contextmanager
def _one_line(name: str, problem: str) -> Iterator[None]:
    """The user's code may fail in any way; each becomes one line that says where."""
    try:
        yield
    except (Exception, SystemExit) as error:
        reason = next(iter(str(error).strip().splitlines()), "no reason given")
        raise BadInput(f"model: {name!r} {problem} ({type(error).__name__}: {reason})") from error
