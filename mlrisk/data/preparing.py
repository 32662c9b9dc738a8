"""Preparing a data set once: download it and write it as array_record, through TFDS."""

import contextlib
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlrisk.data import sources
from mlrisk.data.records import damaged
from mlrisk.errors import DataUnavailable


def prepare(name: str, data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Make a data set readable by `mlrisk.data.load`; nothing is done where it already is.

    TFDS writes to a temporary folder and renames it, so an interrupted preparation leaves no half data set.

    Args:
        name: one of `mlrisk.data.SOURCES`.
        data_dir: folder to write to; if None, the first of `mlrisk.data.search_path`.

    Returns:
        The folder of the prepared version; for embedded data, the file that holds it.

    Raises:
        BadInput: no data set has this name.
        DataUnavailable: TensorFlow is missing, the download failed, or the folder cannot be written.
    """
    if sources.source(name).needs == "nothing":
        return _embedded()
    folder = sources.find(name, data_dir)
    if folder is not None:
        return folder
    place = sources.search_path(data_dir)[0]
    if importlib.util.find_spec("tensorflow") is None:
        raise DataUnavailable(f"{name}: preparing needs TensorFlow; {sources.how_to_prepare(name, place)}")
    with _quiet():
        return _download(name, place)


def _embedded() -> Path:
    import sklearn.datasets

    return Path(str(sklearn.datasets.__file__)).parent / "data" / "digits.csv.gz"


def _download(name: str, place: Path) -> Path:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    failures = (OSError, tfds.download.DownloadError, NonMatchingChecksumError)
    try:
        builder: Any = tfds.builder(name, data_dir=str(place), file_format=sources.FORMAT, try_gcs=False)
        if not sys.stderr.isatty():
            tfds.disable_progress_bar()
        builder.download_and_prepare()
    except failures as error:
        reason = " ".join(str(error).split())[:200]
        raise DataUnavailable(
            f"{name}: could not be downloaded and prepared in {place} ({type(error).__name__}: {reason}); "
            f"check the network and the folder, or copy a prepared {place / name} from another machine"
        ) from error
    folder = Path(str(builder.data_dir))
    if sources.file_format(folder) != sources.FORMAT:
        raise damaged(folder, f"holds {sources.file_format(folder)} files; another --data_dir also helps")
    return folder


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the retries of the download off the terminal: what failed is said once, in the error."""
    loggers = [logging.getLogger(name) for name in ("absl", "urllib3")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
