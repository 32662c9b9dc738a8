"""What an experiment file hands over: the one object that the command line, the tests and the report import."""

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mlrisk.errors import BadInput, one_of
from mlrisk.harness.records import Records
from mlrisk.report import Claim, Plate, Tables
from mlrisk.types import RandomKey

Run = Callable[[Any, RandomKey, Path], Records]


@dataclass(frozen=True)
class Experiment:
    """One question: how to run it, how to read the answer, and what the literature said.

    ``run(config, key, run_dir) -> Records`` does all computing; ``analyse(records) -> Tables`` and
    ``figures(records, tables)`` read records only, so they can be redone anywhere.
    """

    name: str
    question: str
    source: str
    """The paper's figure or table."""
    config: type
    run: Run
    analyse: Callable[[Records], Tables]
    figures: Callable[[Records, Tables], Mapping[str, Plate]]
    claims: Sequence[Claim]


@dataclass(frozen=True)
class Preset:
    """A YAML file of ``configs/<experiment>/`` and its lab card: the ``# key: value`` lines at its head."""

    name: str
    path: Path
    card: Mapping[str, str]


def experiment_names() -> list[str]:
    """The experiments that ship with mlrisk."""
    return sorted(path.stem for path in shipped("experiments").glob("[a-z]*.py"))


def find(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        BadInput: there is none, with the nearest name.
    """
    if name not in experiment_names():
        raise BadInput(one_of("experiment", name, experiment_names()))
    return _module(name).EXPERIMENT


def presets(experiment: str) -> dict[str, Preset]:
    """The shipped presets of an experiment by name."""
    paths = sorted((shipped("configs") / experiment).glob("*.yaml"))
    return {path.stem: Preset(path.stem, path, read_card(path)) for path in paths}


def read_card(path: Path) -> dict[str, str]:
    """The lab card at the head of a preset: ``# key: value`` lines, continued by lines that start with two blanks."""
    card: dict[str, str] = {}
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        text = line[1:]
        if text.startswith("   ") and card:
            card[next(reversed(card))] += " " + text.strip()
        elif ":" in text:
            key, value = text.split(":", 1)
            card[key.strip()] = value.strip()
    return card


def shipped(folder: str) -> Path:
    """``experiments`` or ``configs``: inside an installed package, or beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / folder
    return inside if inside.is_dir() else package.parent / folder


def _module(name: str) -> ModuleType:
    full = f"mlrisk.experiments.{name}"
    if full in sys.modules:
        return sys.modules[full]
    spec = importlib.util.spec_from_file_location(full, shipped("experiments") / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module  # dataclasses look their module up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[full]
        raise
    return module
