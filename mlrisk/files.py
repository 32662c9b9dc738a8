"""Files that are there whole or not at all, and one clear line when a disk is full or a folder closed."""

import errno
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mlrisk.errors import MlriskError, StorageError

REASONS = {
    errno.ENOSPC: "no space left on the device; free some and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some and run the same command again",
    errno.EFBIG: "a file would pass the size limit of this process or file system",
    errno.EACCES: "permission denied; choose another --out or change its permissions",
    errno.EPERM: "permission denied; choose another --out or change its permissions",
    errno.EROFS: "the file system is read-only; choose another --out",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another --out",
    errno.EEXIST: "there is a file of that name where a folder is needed; choose another --out",
    errno.ENOENT: "it cannot be created there; choose another --out",
}
TEMPORARY = ".draft"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that takes its place, forced to disk, when the block ends well.

    Args:
        path: where the file shall be; missing parent folders are made.

    Yields:
        The temporary path to write to, in the same folder, so that the rename is atomic.

    Raises:
        StorageError: the folder or the file cannot be written; what was there before is untouched.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name[:40]}.{os.getpid()}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        with open(draft, "rb") as file:
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):  # a parent that is no folder has no draft either
            draft.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> Path:
    """Write a file, whole or not at all.

    Raises:
        StorageError: the file cannot be written.
    """
    with replacing(path) as draft:
        draft.write_bytes(data)
    return Path(path)


def write_text(path: Path, text: str) -> Path:
    """`write_bytes` for text in UTF-8."""
    return write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> Path:
    """`write_bytes` for strict JSON: NaN and infinities become the strings that ``float`` reads back."""
    return write_text(path, json.dumps(_strict(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_text(path: Path) -> str:
    """The text of a file that ought to be there.

    Raises:
        StorageError: the file is missing, unreadable or not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise StorageError(f"{path}: is missing") from error
    except UnicodeDecodeError as error:
        raise StorageError(f"{path}: is damaged (not UTF-8 text)") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror})") from error


def read_json(path: Path, kind: type[dict] | type[list] = dict) -> Any:
    """The value of a JSON file whose outermost value is of type ``kind``.

    Raises:
        StorageError: the file is missing, is not JSON, or holds another kind of value.
    """
    try:
        value = json.loads(read_text(path))
    except ValueError as error:
        raise StorageError(f"{path}: is damaged (not JSON: {error})") from error
    if not isinstance(value, kind):
        raise StorageError(f"{path}: is damaged (holds a {type(value).__name__}, not a {kind.__name__})")
    return value


@contextmanager
def storing(folder: Path, kept: str) -> Iterator[None]:
    """Turn an operating-system error while writing under ``folder`` into one line that a user can act on.

    Args:
        folder: where the writing happens; named in the line.
        kept: what is still whole; ends the line.

    Raises:
        StorageError: for any `OSError`, and for a `StorageError` that came of one.
    """
    try:
        yield
    except (OSError, StorageError) as error:
        if isinstance(error, MlriskError) and not isinstance(error, StorageError):
            raise  # missing data, say: not this folder's fault
        cause = error.__cause__ if isinstance(error, StorageError) else error
        if not isinstance(cause, OSError) or str(error).startswith("run folder"):
            raise
        reason = REASONS.get(cause.errno or 0, cause.strerror or str(cause))
        raise StorageError(f"run folder {folder}: {reason} ({kept})") from cause


def remove_drafts(folder: Path) -> None:
    """Remove half-written files that a killed process left in a folder."""
    for path in folder.glob(f".*{TEMPORARY}"):
        path.unlink(missing_ok=True)


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _strict(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
