"""Decoded pixels on disk: decoding MNIST takes seconds, reading it back a fraction of one."""

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mlrisk import files
from mlrisk.data.records import Arrays

_LAYOUT = "1"


def cached(folder: Path, read: Callable[[Path], Arrays]) -> Arrays:
    """``read(folder)``, from the cache if the files of the folder have not changed since it was written.

    The entry is named after the layout version and the name, size and time of change of every file, and each
    array in it carries a checksum; a damaged entry is read anew. ``MLRISK_CACHE=0`` turns the cache off; a
    cache folder that cannot be written is no error.

    Args:
        folder: prepared data set ``DIR/name/version``.
        read: what to do when there is no entry.

    Returns:
        `Arrays`, the same either way.
    """
    if os.environ.get("MLRISK_CACHE") == "0":
        return read(folder)
    entry = cache_dir() / f"{folder.parent.name}-{folder.name}-{_fingerprint(folder)}.npz"
    arrays = _restore(entry)
    if arrays is None:
        arrays = read(folder)
        with contextlib.suppress(OSError):
            _store(entry, arrays)
    return arrays


def cache_dir() -> Path:
    """``$XDG_CACHE_HOME/mlrisk``, by default ``~/.cache/mlrisk``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mlrisk"


def _fingerprint(folder: Path) -> str:
    found = sorted((path.name, path.stat()) for path in folder.iterdir())
    text = "\n".join([_LAYOUT, *(f"{name} {status.st_size} {status.st_mtime_ns}" for name, status in found)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _restore(entry: Path) -> Arrays | None:
    try:
        with entry.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return Arrays(**{name: stored[name] for name in Arrays._fields})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _store(entry: Path, arrays: Arrays) -> None:
    with files.replacing(entry) as draft, draft.open("wb") as stream:
        np.savez(stream, **arrays._asdict())
