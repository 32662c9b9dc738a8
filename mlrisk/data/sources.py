"""Which data sets there are, where each may lie on disk, and how it gets there."""

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from mlrisk.errors import BadInput, DataUnavailable, one_of
from mlrisk.types import Examples

FORMAT = "array_record"
INFO = "dataset_info.json"
_UNREADABLE = "unreadable"


class Dataset(NamedTuple):
    """A labelled data set in host memory.

    ``train`` and ``test`` hold inputs float32 (n, *shape) in [0, 1], and labels int32 (n,).
    """

    name: str
    train: Examples
    test: Examples
    num_classes: int
    shape: tuple[int, ...]
    class_names: tuple[str, ...] | None = None


class Source(NamedTuple):
    """What is known of a data set before it is read; sizes are of the full set."""

    description: str
    shape: tuple[int, ...]
    num_classes: int
    num_train: int
    num_test: int
    origin: str
    licence: str
    needs: str


_PREPARED = "preparing once, with TensorFlow and a download of {}"

SOURCES: dict[str, Source] = {
    "digits": Source(
        "8x8 grey handwritten digits", (8, 8, 1), 10, 1442, 355,
        "UCI, Optical recognition of handwritten digits (Alpaydin and Kaynak 1998), through scikit-learn",
        "CC BY 4.0", "nothing",
    ),
    "mnist": Source(
        "28x28 grey handwritten digits", (28, 28, 1), 10, 60_000, 10_000,
        "LeCun, Cortes and Burges (1998), through TFDS", "CC BY-SA 3.0", _PREPARED.format("11 MiB"),
    ),
    "fashion_mnist": Source(
        "28x28 grey pictures of clothes", (28, 28, 1), 10, 60_000, 10_000,
        "Xiao, Rasul and Vollgraf (2017), through TFDS", "MIT", _PREPARED.format("29 MiB"),
    ),
    "cifar10": Source(
        "32x32 colour photographs, 10 classes", (32, 32, 3), 10, 50_000, 10_000,
        "Krizhevsky (2009), through TFDS", "none stated", _PREPARED.format("162 MiB"),
    ),
    "cifar100": Source(
        "32x32 colour photographs, 100 classes", (32, 32, 3), 100, 50_000, 10_000,
        "Krizhevsky (2009), through TFDS", "none stated", _PREPARED.format("161 MiB"),
    ),
}  # fmt: skip


class SourceStatus(NamedTuple):
    """One row of `list_sources`; ``found`` is a folder, ``"embedded"`` or ``"not prepared"``."""

    name: str
    description: str
    shape: tuple[int, ...]
    num_train: int
    num_test: int
    found: str
    how: str


def source(name: str) -> Source:
    """The entry of `SOURCES`.

    Raises:
        BadInput: there is no such data set; names the nearest.
    """
    if name not in SOURCES:
        raise BadInput(one_of("name", name, SOURCES))
    return SOURCES[name]


def search_path(data_dir: str | os.PathLike[str] | None = None) -> list[Path]:
    """Where prepared data sets are looked for, first to last.

    An explicit ``data_dir`` is the only place; otherwise the environment's ``MLRISK_DATA_DIR``, then its
    ``TFDS_DATA_DIR``, then TFDS's own default, ``~/tensorflow_datasets``.
    """
    if data_dir is not None:
        return [Path(data_dir).expanduser()]
    named = [os.environ.get(variable) for variable in ("MLRISK_DATA_DIR", "TFDS_DATA_DIR")]
    return [Path(place).expanduser() for place in (*named, "~/tensorflow_datasets") if place]


def find(name: str, data_dir: str | os.PathLike[str] | None = None) -> Path | None:
    """The newest version of a prepared data set in the first place of `search_path` that has one, or None.

    A folder counts if its ``dataset_info.json`` says array_record or cannot be read (`load` then says why).
    """
    source(name)
    for place in search_path(data_dir):
        usable = [folder for folder in _versions(place / name) if file_format(folder) in (FORMAT, _UNREADABLE)]
        if usable:
            return usable[-1]
    return None


def not_prepared(name: str, data_dir: str | os.PathLike[str] | None = None) -> DataUnavailable:
    """The error for a data set that is nowhere on the search path: where we looked, and what provides it."""
    places = search_path(data_dir)
    other = [
        f"{folder} holds {file_format(folder)} files, which cannot be read without TensorFlow"
        for place in places
        for folder in _versions(place / name)
    ]
    looked = "; ".join([f"not prepared in {', '.join(str(place) for place in places)}", *other])
    return DataUnavailable(f"{name}: {looked}; {how_to_prepare(name, places[0])}")


def how_to_prepare(name: str, place: Path) -> str:
    """The two commands that put a data set in a folder."""
    command = f"mlrisk data prepare {name} --data_dir {shlex.quote(str(place))}"
    return f'prepare it once: pip install "mlrisk[prepare]", then {command}'


def list_sources(data_dir: str | os.PathLike[str] | None = None) -> list[SourceStatus]:
    """One row for each data set: its size, where it was found, and how to get it.

    Args:
        data_dir: as for `search_path`.
    """
    return [_status(name, entry, data_dir) for name, entry in SOURCES.items()]


def _status(name: str, entry: Source, data_dir: str | os.PathLike[str] | None) -> SourceStatus:
    size = (entry.description, entry.shape, entry.num_train, entry.num_test)
    if entry.needs == "nothing":
        return SourceStatus(name, *size, "embedded", "comes with scikit-learn")
    folder = find(name, data_dir)
    if folder is not None:
        return SourceStatus(name, *size, str(folder), "prepared")
    return SourceStatus(name, *size, "not prepared", how_to_prepare(name, search_path(data_dir)[0]))


def file_format(folder: Path) -> str:
    """The file format that a prepared folder declares."""
    try:
        info: Any = json.loads((folder / INFO).read_text())
    except (OSError, ValueError):
        return _UNREADABLE
    return str(info.get("fileFormat", "tfrecord")) if isinstance(info, dict) else _UNREADABLE


def _versions(folder: Path) -> list[Path]:
    """Prepared versions (1.2.3), oldest first; half-prepared ones carry another name and do not count."""
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    numbered = [name for name in names if re.fullmatch(r"\d+\.\d+\.\d+", name) and (folder / name / INFO).exists()]
    return [folder / name for name in sorted(numbered, key=lambda name: [int(part) for part in name.split(".")])]
