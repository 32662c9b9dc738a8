"""Configs: every preset loads, round-trips and is hashable; what is resolved is what is dumped and hashed."""

import dataclasses
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrisk import config as configs
from mlrisk.config import setting
from mlrisk.errors import BadInput
from mlrisk.experiment import experiment_names, find, presets


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = setting(0.1, "a rate", above=0)
    kind: Literal["a", "b"] = setting("a", "a kind")


@dataclasses.dataclass(frozen=True)
class Toy:
    count: int = setting(3, "a count", at_least=1, at_most=100)
    sizes: tuple[int, ...] = setting((1, 2), "sizes", at_least=1)
    flag: bool = setting(False, "a flag")
    note: str | None = setting(None, "a note", identity=False)
    limit: float | None = setting(None, "a limit", above=0)
    inner: Inner = setting(Inner(rate=0.5))


PRESETS = [(name, preset) for name in experiment_names() for preset in presets(name).values()]


@pytest.mark.parametrize(("name", "preset"), PRESETS, ids=[f"{name}-{preset.name}" for name, preset in PRESETS])
def test_every_preset_loads_round_trips_and_has_a_lab_card(name, preset, tmp_path):
    cls = find(name).config
    config = configs.load(cls, preset.path, {}, name)
    (tmp_path / "again.yaml").write_text(configs.dump(config, name))
    again = configs.load(cls, tmp_path / "again.yaml", {}, name)
    assert again == config
    assert hash(again) == hash(config)
    assert configs.identity(again, name) == configs.identity(config, name)
    assert {"what", "question", "paper", "command", "time", "expect"} <= set(preset.card)
    assert preset.card["command"].startswith(f"mlrisk run {name}")


@given(
    count=st.integers(1, 100),
    sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=4),
    flag=st.booleans(),
    rate=st.floats(1e-12, 1e12),
    limit=st.none() | st.floats(1e-6, 1e6),
)
def test_overrides_as_text_equal_overrides_as_values(count, sizes, flag, rate, limit):
    values = {"count": count, "sizes": sizes, "flag": flag, "inner.rate": rate, "limit": limit}
    text = {name: "null" if value is None else str(value) for name, value in values.items()}
    made = Toy(count, tuple(sizes), flag, None, limit, Inner(rate, "a"))
    assert configs.load(Toy, None, values, "toy") == made
    assert configs.load(Toy, None, text | {"inner.kind": "a"}, "toy") == made


def test_defaults_of_an_inner_default_survive_a_partial_override():
    assert configs.load(Toy, None, {"inner.kind": "b"}, "toy").inner == Inner(0.5, "b")


@pytest.mark.parametrize("text", ["3,4", "[3, 4]", "[3,4]"])
def test_lists_can_be_written_with_or_without_brackets(text):
    assert configs.load(Toy, None, {"sizes": text}, "toy").sizes == (3, 4)


def test_the_identity_changes_with_what_is_computed_and_with_nothing_else():
    plain = configs.identity(Toy(), "toy")
    assert configs.identity(Toy(note="elsewhere"), "toy") == plain
    others = [Toy(count=4), Toy(sizes=(2, 1)), Toy(flag=True), Toy(limit=1.0), Toy(inner=Inner(0.5, "b"))]
    assert len({plain, configs.identity(Toy(), "other"), *(configs.identity(o, "toy") for o in others)}) == 7


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("count", 101, "count: 101 is not allowed, it must be at least 1 and at most 100"),
        ("count", "0x10", "count: '0x10' is not allowed, it must be a whole number"),
        ("flag", "perhaps", "flag: 'perhaps' is not allowed, it must be true or false"),
        ("sizes", 3, "sizes: 3 is not allowed, it must be a list of which each item is a whole number"),
        ("sizes", "[1, [2]]", "sizes: [1, [2]] is not allowed, it must be a list of which each item is a whole number"),
        ("limit", -1, "limit: -1.0 is not allowed, it must be above 0"),
        ("inner.kind", "c", "inner.kind: 'c' is not one of a, b"),
        ("inner.rate", None, "inner.rate: None is not allowed, it must be a number"),
    ],
)
def test_bad_values_name_the_field_the_value_and_what_is_allowed(name, value, line):
    with pytest.raises(BadInput) as caught:
        configs.load(Toy, None, {name: value}, "toy")
    assert str(caught.value) == line


def test_a_bound_of_another_name_is_a_mistake_of_the_author():
    with pytest.raises(TypeError, match="least"):
        setting(1, least=0)
