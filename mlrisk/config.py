"""Typed configs: frozen dataclasses, YAML presets, dotted overrides, and the hash that names a run folder."""

import dataclasses
import hashlib
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import draccus
import yaml

from mlrisk.errors import BadInput, one_of

Config = TypeVar("Config")
BOUNDS = {
    "at_least": (lambda value, bound: value >= bound, "at least {}"),
    "above": (lambda value, bound: value > bound, "above {}"),
    "at_most": (lambda value, bound: value <= bound, "at most {}"),
    "below": (lambda value, bound: value < bound, "below {}"),
}


def setting(default: Any, help: str = "", *, identity: bool = True, items: int = 0, **bounds: float | int) -> Any:
    """A config field with its explanation and bounds.

    Args:
        default: its value; instances of frozen dataclasses are fine.
        help: one line for ``--help``.
        identity: False for fields that change how a run is carried out but not what it computes; they stay out
            of the hash.
        items: the fewest elements of a tuple.
        bounds: ``at_least``, ``above``, ``at_most``, ``below``; for tuples, of each element.

    Raises:
        TypeError: a bound of another name.
    """
    if unknown := set(bounds) - set(BOUNDS):
        raise TypeError(f"setting: {unknown} are no bounds; use {', '.join(BOUNDS)}")
    metadata = {"help": help, "identity": identity, "items": items, "bounds": bounds}
    return dataclasses.field(default=default, metadata=metadata)


def load(cls: type[Config], preset: Path | None, overrides: Mapping[str, Any], experiment: str) -> Config:
    """The config of a run: the class's defaults, then the preset, then the overrides.

    Args:
        cls: a frozen dataclass made of `setting` fields.
        preset: a YAML file whose key ``experiment`` names the experiment it is for; None for the defaults.
        overrides: dotted field name -> value, as text or already typed.
        experiment: the experiment to run.

    Raises:
        BadInput: one line that names the file or field, the value and what is allowed.
    """
    raw: dict[str, Any] = {}
    for name, _, value in walk(cls):  # an inner config keeps the defaults that its outer one gives it
        _set(raw, name, list(value) if isinstance(value, tuple) else value)
    for name, value in (_flatten(read_preset(preset, experiment)) if preset else {}).items():
        _put(cls, raw, name, value, f"{preset}: ")
    for name, value in overrides.items():
        _put(cls, raw, name, value, "")
    return _decode(cls, raw)


def read_preset(path: Path, experiment: str) -> dict[str, Any]:
    """The fields of a preset file, without its ``experiment`` key.

    Raises:
        BadInput: the file is missing, no YAML mapping, or for another experiment.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise BadInput(f"config: {path} cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or "not text"
        raise BadInput(f"config: {path} is not valid YAML ({where}{problem})") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise BadInput(f"config: {path} is not a mapping of field names to values")
    owner = content.pop("experiment", None)
    if owner != experiment:
        said = f"is for experiment {owner!r}" if owner else "does not say 'experiment: ...'"
        raise BadInput(f"config: {path} {said}, not {experiment!r}")
    return content


def dump(config: Any, experiment: str) -> str:
    """The resolved config as YAML; `load` reads it back to an equal config."""
    return f"experiment: {experiment}\n" + str(draccus.dump(config))


def identity(config: Any, experiment: str) -> str:
    """sha256 of the experiment's name and of every field that changes what is computed, in hexadecimal."""
    content = {name: value for name, field, value in walk(config) if field.metadata.get("identity", True)}
    return hashlib.sha256(json.dumps([experiment, content], sort_keys=True).encode()).hexdigest()


def walk(config: Any, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    """Each leaf field of a config or config class with its dotted name and its value (default, for a class)."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name, field.default)
        if dataclasses.is_dataclass(value):
            yield from walk(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", field, value


def _flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _put(cls: Any, raw: dict[str, Any], name: str, value: Any, where: str) -> None:
    fields = {dotted: field for dotted, field, _ in walk(cls)}
    if name not in fields:
        inner = [dotted for dotted in fields if dotted.startswith(f"{name}.")]
        if inner:
            raise BadInput(f"{where}{name}: {value!r} is not allowed, it has fields of its own: {', '.join(inner)}")
        raise BadInput(where + one_of("field", name, fields))
    _check_raw(name, _field_type(fields[name]), value, where)
    _set(raw, name, _from_text(_field_type(fields[name]), value))


def _set(raw: dict[str, Any], name: str, value: Any) -> None:
    *outer, last = name.split(".")
    for part in outer:
        raw = raw.setdefault(part, {})
    raw[last] = value


def _field_type(field: dataclasses.Field[Any]) -> Any:
    assert not isinstance(field.type, str), "configs must not use postponed annotations"
    return field.type


def _from_text(kind: Any, value: Any) -> Any:
    """Text from the command line as YAML where the field is not text itself: ``[3, 4]``, ``null``."""
    if not isinstance(value, str) or kind is str or typing.get_origin(kind) is Literal:
        return value
    if typing.get_origin(kind) is tuple and not value.lstrip().startswith("["):
        value = f"[{value}]"
    try:
        parsed = _optional(kind) or typing.get_origin(kind) is tuple or kind is bool
        return yaml.safe_load(value) if parsed else value
    except yaml.YAMLError:
        return value


def _check_raw(name: str, kind: Any, value: Any, where: str) -> None:
    """Refuse what the decoder would let through: null for a number, true for an integer."""
    wants = _describe(kind)
    bad_null = value is None and not _optional(kind)
    bad_bool = isinstance(value, bool) and kind is not bool
    if bad_null or bad_bool or (isinstance(value, str) and not value.strip() and kind is not str):
        raise BadInput(f"{where}{name}: {value!r} is not allowed, it must be {wants}")


def _decode(cls: type[Config], raw: dict[str, Any]) -> Config:
    try:
        config = draccus.decode(cls, raw)
    except draccus.ParsingError as error:
        name = ".".join(part for part in getattr(error, "key_path", ()) if not part.isdigit())
        kinds = {dotted: _field_type(field) for dotted, field, _ in walk(cls)}
        value = _get(raw, name)
        if name in kinds and typing.get_origin(kinds[name]) is Literal:
            raise BadInput(one_of(name, value, typing.get_args(kinds[name]))) from error
        wants = _describe(kinds[name]) if name in kinds else "a mapping of fields"
        raise BadInput(f"{name}: {value!r} is not allowed, it must be {wants}") from error
    for name, field, value in walk(config):
        _check_bounds(name, value, field.metadata.get("bounds", {}))
        if isinstance(value, tuple) and len(value) < (fewest := field.metadata.get("items", 0)):
            raise BadInput(f"{name}: {value} is not allowed, it must have at least {fewest} item{'s' * (fewest > 1)}")
    return config


def _get(raw: Any, name: str) -> Any:
    for part in name.split("."):
        raw = raw.get(part) if isinstance(raw, dict) else None
    return raw


def _check_bounds(name: str, value: Any, bounds: Mapping[str, float | int]) -> None:
    values: Sequence[Any] = value if isinstance(value, tuple) else (value,)
    wanted = " and ".join(BOUNDS[bound][1].format(f"{limit:g}") for bound, limit in bounds.items())
    for number in values:
        if isinstance(number, float) and not math.isfinite(number):
            raise BadInput(f"{name}: {number} is not allowed, it must be {wanted or 'a finite number'}")
        if number is not None and not all(BOUNDS[bound][0](number, limit) for bound, limit in bounds.items()):
            raise BadInput(f"{name}: {value} is not allowed, it must be {wanted}")


def _optional(kind: Any) -> bool:
    return isinstance(kind, types.UnionType) and type(None) in typing.get_args(kind)


def _describe(kind: Any) -> str:
    if _optional(kind):
        return " or ".join(_describe(part) for part in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return f"a list of which each item is {_describe(typing.get_args(kind)[0])}"
    if typing.get_origin(kind) is Literal:
        return f"one of {', '.join(typing.get_args(kind))}"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    return names.get(kind, str(kind))
