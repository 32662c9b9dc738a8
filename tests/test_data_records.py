"""Prepared folders: read exactly, without TensorFlow, and every kind of damage noticed and named."""

import io
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from mlrisk.data import cache, load, records
from mlrisk.errors import DataUnavailable

SHAPES = {"mnist": (28, 28, 1), "cifar10": (32, 32, 3)}


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(stream, "PNG")
    return stream.getvalue()


def pictures(shape, count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def write_records(path, images, labels):
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    writer = ArrayRecordWriter(str(path), "group_size:1")
    for image, label in zip(images, labels, strict=True):
        record = tf_example_pb2.Example()
        record.features.feature["image"].bytes_list.value.append(image)
        record.features.feature["label"].int64_list.value.append(int(label))
        writer.write(record.SerializeToString())
    writer.close()


def write_features(folder, shape):
    base = "tensorflow_datasets.core.features"
    image = {
        "shape": {"dimensions": [str(side) for side in shape]},
        "dtype": "uint8",
        "encodingFormat": "png",
    }
    features = {
        "image": {"pythonClassName": f"{base}.image_feature.Image", "image": image},
        "label": {
            "pythonClassName": f"{base}.class_label_feature.ClassLabel",
            "classLabel": {"numClasses": "10"},
        },
    }
    wrapped = {
        "pythonClassName": f"{base}.features_dict.FeaturesDict",
        "featuresDict": {"features": features},
    }
    (folder / "features.json").write_text(json.dumps(wrapped))


def write_info(folder, name, shards, file_format="array_record"):
    template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    splits = [
        {"name": split, "shardLengths": [str(length) for length in lengths], "filepathTemplate": template}
        for split, lengths in shards.items()
    ]
    info = {"name": name, "version": folder.name, "fileFormat": file_format, "splits": splits}
    (folder / "dataset_info.json").write_text(json.dumps(info))


def write_dataset(place, name="mnist", version="3.0.1", shards=None, labels=None):
    """A small prepared data set; returns its pixels and labels by split."""
    folder, shape = Path(place) / name / version, SHAPES[name]
    folder.mkdir(parents=True)
    shards = shards or {"train": [25, 15], "test": [20]}
    write_features(folder, shape)
    write_info(folder, name, shards)
    written = {}
    for seed, (split, lengths) in enumerate(shards.items()):
        pixels = pictures(shape, sum(lengths), seed)
        classes = np.arange(sum(lengths)) % 10 if labels is None else np.asarray(labels)
        written[split] = (pixels, classes)
        bounds = np.cumsum([0, *lengths])
        for shard, (low, high) in enumerate(itertools.pairwise(bounds)):
            path = folder / f"{name}-{split}.array_record-{shard:05d}-of-{len(lengths):05d}"
            write_records(path, [png(one) for one in pixels[low:high]], classes[low:high])
    return written


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize("name", SHAPES)
def test_a_prepared_set_is_read_exactly(tmp_path, name):
    written = write_dataset(tmp_path, name)
    dataset = load(name, tmp_path)
    assert (dataset.name, dataset.num_classes, dataset.shape) == (name, 10, SHAPES[name])
    assert dataset.class_names == tuple("0123456789")
    for split, examples in (("train", dataset.train), ("test", dataset.test)):
        pixels, labels = written[split]
        assert (examples.inputs.dtype, examples.labels.dtype) == (np.float32, np.int32)
        np.testing.assert_array_equal(examples.inputs, pixels / np.float32(255))
        np.testing.assert_array_equal(examples.labels, labels)


def test_the_newest_whole_version_is_read(tmp_path):
    for version, classes in [("3.0.2", 1), ("3.0.10", 2), ("1.9.9", 3)]:
        write_dataset(tmp_path, version=version, shards={"train": [2], "test": [2]}, labels=[classes] * 2)
    (tmp_path / "mnist" / "4.0.0.incompleteABC").mkdir()
    (tmp_path / "mnist" / "5.0.0").mkdir()
    np.testing.assert_array_equal(load("mnist", tmp_path).train.labels, [2, 2])


def rewrite(path, change):
    path.write_bytes(change(bytearray(path.read_bytes())))


def flip(content, place):
    content[place] ^= 0xFF
    return content


DAMAGES = {
    "truncated": lambda path: rewrite(path, lambda content: content[: len(content) // 2]),
    "short by a little": lambda path: rewrite(path, lambda content: content[:-1000]),
    "empty": lambda path: path.write_bytes(b""),
    "zeroed": lambda path: rewrite(path, lambda content: content[:2000] + bytes(9000) + content[11_000:]),
    "missing": lambda path: path.unlink(),
    "text": lambda path: path.write_text("not found\n" * 20_000),
    "fewer examples": lambda path: write_records(path, [png(pictures((28, 28, 1), 1, 0)[0])] * 19, [0] * 19),
    "more examples": lambda path: write_records(path, [png(pictures((28, 28, 1), 1, 0)[0])] * 21, [0] * 21),
    "not an image": lambda path: write_records(path, [b"P5 28 28 255 "] * 20, [0] * 20),
    "half an image": lambda path: write_records(path, [png(pictures((28, 28, 1), 1, 0)[0])[:300]] * 20, [0] * 20),
    "wrong size": lambda path: write_records(path, [png(pictures((27, 28, 1), 1, 0)[0])] * 20, [0] * 20),
    "colour": lambda path: write_records(path, [png(pictures((28, 28, 3), 1, 0)[0])] * 20, [0] * 20),
    "label too large": lambda path: write_records(path, [png(pictures((28, 28, 1), 1, 0)[0])] * 20, [10] * 20),
    "negative label": lambda path: write_records(path, [png(pictures((28, 28, 1), 1, 0)[0])] * 20, [-1] * 20),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_one_line_that_names_the_file(tmp_path, damage):
    write_dataset(tmp_path)
    path = tmp_path / "mnist/3.0.1/mnist-test.array_record-00000-of-00001"
    damage(path)
    with pytest.raises(DataUnavailable) as caught:
        load("mnist", tmp_path)
    line = str(caught.value)
    assert line.startswith(f"{path}: damaged or incomplete: ")
    assert "\n" not in line


@pytest.fixture(scope="module")
def flippable(tmp_path_factory):
    place = tmp_path_factory.mktemp("flip")
    written = write_dataset(place, shards={"train": [2], "test": [40]})
    path = place / "mnist/3.0.1/mnist-test.array_record-00000-of-00001"
    return path, path.read_bytes(), written["test"][0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
@example(share=0.1)
def test_a_flipped_byte_is_noticed_or_changes_nothing(flippable, share):
    path, content, pixels = flippable
    path.write_bytes(flip(bytearray(content), int(share * len(content))))
    try:
        read, line = records.read_arrays(path.parent).test_inputs, str(path)
    except DataUnavailable as error:
        read, line = pixels, str(error)
    assert str(path) in line
    np.testing.assert_array_equal(read, pixels)


def test_a_flipped_byte_in_the_pixels_is_noticed(flippable):
    path, content, pixels = flippable
    inside = content.index(png(pixels[3])) + 200
    path.write_bytes(flip(bytearray(content), inside))
    with pytest.raises(DataUnavailable, match="mnist-test"):
        records.read_arrays(path.parent)


@pytest.mark.parametrize("text", [None, "", '{"name": ', "[]"])
@pytest.mark.parametrize("file", ["features.json", "dataset_info.json"])
def test_damaged_metadata_is_named(tmp_path, file, text):
    write_dataset(tmp_path)
    path = tmp_path / "mnist/3.0.1" / file
    path.unlink() if text is None else path.write_text(text)
    wanted = "not prepared in" if (file, text) == ("dataset_info.json", None) else "damaged or incomplete"
    with pytest.raises(DataUnavailable, match=wanted):
        load("mnist", tmp_path)


def test_a_set_without_a_test_split_is_refused(tmp_path):
    write_dataset(tmp_path, shards={"train": [3]})
    with pytest.raises(DataUnavailable, match="needs the splits train and test"):
        load("mnist", tmp_path)


def test_files_of_another_format_are_explained(tmp_path):
    write_dataset(tmp_path)
    write_info(tmp_path / "mnist/3.0.1", "mnist", {"train": [40], "test": [20]}, "tfrecord")
    with pytest.raises(DataUnavailable, match="holds tfrecord files, which cannot be read without TensorFlow"):
        load("mnist", tmp_path)


def entries():
    return sorted(cache.cache_dir().iterdir()) if cache.cache_dir().is_dir() else []


def no_reading(folder):
    raise AssertionError(f"{folder} was read again")


def test_the_cache_returns_the_same_arrays_without_reading(tmp_path, monkeypatch):
    write_dataset(tmp_path)
    first = load("mnist", tmp_path)
    assert [entry.suffix for entry in entries()] == [".npz"]
    monkeypatch.setattr(records, "read_arrays", no_reading)
    second = load("mnist", tmp_path)
    np.testing.assert_array_equal(first.train.inputs, second.train.inputs)
    np.testing.assert_array_equal(first.test.labels, second.test.labels)
    assert first.class_names == second.class_names


@pytest.mark.parametrize("spoil", [lambda c: flip(c, len(c) // 3), lambda c: c[: len(c) // 2], lambda c: c[:0]])
def test_a_damaged_cache_entry_is_read_anew(tmp_path, spoil):
    written = write_dataset(tmp_path)
    load("mnist", tmp_path)
    rewrite(entries()[0], spoil)
    for _ in range(2):
        np.testing.assert_array_equal(load("mnist", tmp_path).train.inputs, written["train"][0] / np.float32(255))
    assert len(entries()) == 1


def test_changed_files_are_not_served_from_the_cache(tmp_path):
    write_dataset(tmp_path)
    load("mnist", tmp_path)
    DAMAGES["zeroed"](tmp_path / "mnist/3.0.1/mnist-test.array_record-00000-of-00001")
    with pytest.raises(DataUnavailable, match="mnist-test"):
        load("mnist", tmp_path)


def test_the_cache_can_be_off_or_impossible(tmp_path, monkeypatch):
    write_dataset(tmp_path)
    monkeypatch.setenv("MLRISK_CACHE", "0")
    load("mnist", tmp_path)
    assert entries() == []
    monkeypatch.delenv("MLRISK_CACHE")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(load("mnist", tmp_path).train.labels) == 40


def test_reading_imports_no_tensorflow_and_prints_nothing(tmp_path):
    write_dataset(tmp_path)
    code = "import sys, mlrisk.data as d; d.load('mnist', sys.argv[1]); assert 'tensorflow' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "JAX_PLATFORMS": "cpu"},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("cut", ["truncated", "flipped"])
def test_damage_to_the_real_mnist_is_noticed(shared_data, tmp_path, cut):
    shutil.copytree(shared_data / "mnist", tmp_path / "mnist", copy_function=shutil.copyfile)
    (path,) = (tmp_path / "mnist").rglob("mnist-train*")
    spoil = DAMAGES["truncated"] if cut == "truncated" else lambda path: rewrite(path, lambda c: flip(c, 200_000))
    spoil(path)
    with pytest.raises(DataUnavailable) as caught:
        load("mnist", tmp_path)
    assert str(caught.value).startswith(f"{path}: damaged or incomplete: ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "counts", "mean"), [("mnist", (60_000, 10_000), 0.1307), ("cifar10", (50_000, 10_000), 0.4734)]
)
def test_the_real_sets_have_the_published_sizes_and_mean(shared_data, name, counts, mean):
    dataset = load(name, shared_data)
    assert (len(dataset.train.labels), len(dataset.test.labels)) == counts
    assert dataset.train.inputs.mean(dtype=float) == pytest.approx(mean, abs=1e-4)
    assert (dataset.train.inputs.min(), dataset.train.inputs.max()) == (0, 1)
