"""Reading prepared TFDS folders of PNG or JPEG images without TensorFlow, and noticing damage."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image

from mlrisk.data.sources import INFO
from mlrisk.errors import DataUnavailable

_BLOCK = 5000
_MODES = {1: "L", 3: "RGB"}


class Arrays(NamedTuple):
    """A data set as it is stored: pixels in 0 to 255; ``class_names`` is an array of text."""

    train_inputs: UInt8[np.ndarray, "n h w c"]
    train_labels: Int32[np.ndarray, " n"]
    test_inputs: UInt8[np.ndarray, "m h w c"]
    test_labels: Int32[np.ndarray, " m"]
    class_names: np.ndarray


def read_arrays(folder: Path) -> Arrays:
    """The train and test splits of a prepared folder.

    Args:
        folder: ``DIR/name/version``, with ``dataset_info.json``, ``features.json`` and array_record files.

    Returns:
        `Arrays`, in the order of the files.

    Raises:
        DataUnavailable: a file is missing, truncated, damaged, or disagrees with ``dataset_info.json``.
    """
    builder = _open(folder)
    train, test = (_read_split(builder, split) for split in ("train", "test"))
    return Arrays(*train, *test, np.array(builder.info.features["label"].names))


def _open(folder: Path) -> Any:
    # slow to import, and needed by nobody who stays with embedded data
    import tensorflow_datasets as tfds
    from google.protobuf import json_format

    try:
        builder = tfds.builder_from_directory(str(folder))
        features: Any = builder.info.features
        complete = {"train", "test"} <= set(builder.info.splits) and {"image", "label"} <= set(features)
    except (OSError, ValueError, json_format.ParseError) as error:
        raise damaged(folder, f"{INFO} or features.json cannot be read ({_brief(error)})") from error
    if not complete:
        raise damaged(folder / INFO, "needs the splits train and test, and the features image and label")
    return builder


def _read_split(builder: Any, split: str) -> tuple[np.ndarray, np.ndarray]:
    import tensorflow_datasets as tfds

    info, features = builder.info.splits[split], builder.info.features
    records = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    inputs = np.empty((info.num_examples, *features["image"].shape), np.uint8)
    labels = np.empty(info.num_examples, np.int32)
    start = 0
    for path, length in zip(info.filepaths, info.shard_lengths, strict=True):
        stop = start + length
        _require_length(Path(path), length)
        for low in range(start, stop, _BLOCK):
            places = range(low, min(low + _BLOCK, stop))
            inputs[places.start : places.stop], labels[places.start : places.stop] = _read_block(
                Path(path), records, places, inputs.shape[1:]
            )
        _require_labels(Path(path), labels[start:stop], features["label"].num_classes)
        start = stop
    return inputs, labels


def _require_length(path: Path, length: int) -> None:
    from array_record.python.array_record_module import ArrayRecordReader

    try:
        reader = ArrayRecordReader(str(path))
        found = reader.num_records()
        reader.close()
    except RuntimeError as error:
        raise damaged(path, _brief(error)) from error
    if found != length:
        raise damaged(path, f"{found} examples where {INFO} says {length}")


def _require_labels(path: Path, labels: Int32[np.ndarray, " n"], num_classes: int) -> None:
    if np.any((labels < 0) | (labels >= num_classes)):
        raise damaged(path, f"labels outside 0 to {num_classes - 1}")


def _read_block(
    path: Path, records: Any, places: range, shape: tuple[int, ...]
) -> tuple[UInt8[np.ndarray, "b h w c"], Int32[np.ndarray, " b"]]:
    from google.protobuf.message import DecodeError

    try:
        block = records.__getitems__(places)
        pixels = [_decode(record["image"], shape) for record in block]
    except (RuntimeError, DecodeError, OSError, SyntaxError, ValueError) as error:
        raise damaged(path, _brief(error)) from error
    return np.stack(pixels), np.array([record["label"] for record in block], np.int32)


def _decode(encoded: bytes, shape: tuple[int, ...]) -> UInt8[np.ndarray, "h w c"]:
    """One image; naming the formats spares Pillow the search for the right one, a fifth of the time."""
    height, width, channels = shape
    with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
        if image.size != (width, height) or image.mode != _MODES.get(channels):
            raise ValueError(f"an image of size {image.size} and mode {image.mode} where {shape} was declared")
        return np.frombuffer(image.tobytes(), np.uint8).reshape(shape)


def damaged(path: Path, why: str) -> DataUnavailable:
    """The error for a file that is there and cannot be used."""
    return DataUnavailable(f"{path}: damaged or incomplete: {why}; delete its folder and prepare the data set again")


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
