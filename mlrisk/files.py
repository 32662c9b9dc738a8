"""Files that are there whole or not at all, and one clear line when a disk is full or a folder closed."""

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlrisk.errors import StorageError

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


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside it, force it to disk, then rename it into place."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:20]}", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for text in UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """`write_bytes` for a JSON document, indented, with a final newline."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


@contextmanager
def storing(folder: Path, kept: str) -> Iterator[None]:
    """Turn an operating-system error while writing under ``folder`` into one line.

    Args:
        folder: where the writing happens; named in the line.
        kept: what is still whole; ends the line.

    Raises:
        StorageError: instead of any `OSError`.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        reason = REASONS.get(error.errno or 0, error.strerror or str(error))
        raise StorageError(f"run folder {folder}: {reason} ({kept})") from error
