"""Files that are either whole or not there, and readers that say in one line what is wrong with one."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mlrisk.errors import StorageError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that takes its place when the block ends well, else is removed.

    Args:
        path: where the file shall be; missing parent folders are made.

    Yields:
        The temporary path to write to, in the same folder, so that the rename is atomic.

    Raises:
        StorageError: the folder or the file cannot be written.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        os.replace(draft, path)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """Writes ``text`` as UTF-8 to ``path``, whole or not at all.

    Raises:
        StorageError: the file cannot be written.
    """
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: Path, value: Any) -> Path:
    """Writes ``value`` as strict JSON: NaN and infinities become the strings that ``float`` reads back.

    Args:
        path: where the file shall be.
        value: dicts, lists, strings, booleans, None and numbers.

    Returns:
        ``path``.

    Raises:
        StorageError: the file cannot be written.
    """
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


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _strict(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
