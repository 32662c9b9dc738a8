"""Data sets by name: the embedded digits, the search path, and one helpful line for whatever is missing."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlrisk.data import SOURCES, list_sources, load, prepare, preparing, search_path, sources
from mlrisk.errors import BadInput, DataUnavailable

PREPARED = [name for name in SOURCES if name != "digits"]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for variable in ("MLRISK_DATA_DIR", "TFDS_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def pretend_prepared(place, name="mnist", text='{"fileFormat": "array_record"}'):
    folder = Path(place) / name / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(text)
    return folder


def test_digits_are_the_whole_set_split_once_and_for_all():
    from sklearn.datasets import load_digits

    digits = load("digits")
    both = np.concatenate([digits.train.inputs, digits.test.inputs])
    assert (both.dtype, digits.train.labels.dtype) == (np.float32, np.int32)
    assert (both.min(), both.max()) == (0, 1)
    original = load_digits().images / 16
    np.testing.assert_array_equal(np.unique(both.reshape(-1, 64), axis=0), np.unique(original.reshape(-1, 64), axis=0))
    np.testing.assert_array_equal(digits.train.inputs[0, ..., 0], original[0])
    np.testing.assert_array_equal(load("digits").test.inputs, digits.test.inputs)


def test_the_digits_split_is_stratified():
    digits = load("digits")
    train, test = (np.bincount(part.labels, minlength=10) for part in (digits.train, digits.test))
    np.testing.assert_array_equal(test, (train + test) // 5)


def test_the_table_of_sources_agrees_with_what_is_loaded():
    digits, entry = load("digits"), SOURCES["digits"]
    assert (len(digits.train.labels), len(digits.test.labels)) == (entry.num_train, entry.num_test)
    assert (digits.shape, digits.num_classes, len(digits.class_names)) == (entry.shape, entry.num_classes, 10)


@pytest.mark.parametrize(("name", "near"), [("mnits", "mnist"), ("cifar-10", "cifar10"), ("Digits", "digits")])
@pytest.mark.parametrize("call", [load, prepare])
def test_an_unknown_name_gets_the_nearest(call, name, near):
    with pytest.raises(BadInput, match=rf"^name: '{name}' is not one of .*; did you mean '{near}'\?$"):
        call(name)


@pytest.mark.parametrize("name", PREPARED)
@pytest.mark.parametrize("call", [load, prepare])
def test_missing_data_names_the_extra_and_the_command(call, name, tmp_path, monkeypatch):
    monkeypatch.setattr(preparing.importlib.util, "find_spec", lambda module: None)
    place = tmp_path / "my data"
    with pytest.raises(DataUnavailable) as caught:
        call(name, place)
    line = str(caught.value)
    assert line.startswith(f"{name}: ")
    assert 'pip install "mlrisk[prepare]"' in line
    assert line.endswith(f"mlrisk data prepare {name} --data_dir '{place}'")
    assert "\n" not in line
    assert not place.exists()


def test_the_search_path_is_the_argument_or_the_environment_in_order(tmp_path, monkeypatch):
    default = tmp_path / "home" / "tensorflow_datasets"
    assert search_path() == [default]
    monkeypatch.setenv("TFDS_DATA_DIR", "/second")
    monkeypatch.setenv("MLRISK_DATA_DIR", "~/first")
    assert search_path() == [tmp_path / "home" / "first", Path("/second"), default]
    assert search_path(tmp_path) == [tmp_path]


def test_the_first_place_that_has_the_data_wins_and_an_argument_is_the_only_place(tmp_path, monkeypatch):
    monkeypatch.setenv("MLRISK_DATA_DIR", str(tmp_path / "a"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "b"))
    assert sources.find("mnist") is None
    last = pretend_prepared(tmp_path / "home" / "tensorflow_datasets")
    assert sources.find("mnist") == last
    second = pretend_prepared(tmp_path / "b")
    assert sources.find("mnist") == second
    pretend_prepared(tmp_path / "a", text='{"fileFormat": "tfrecord"}')
    assert sources.find("mnist") == second
    assert sources.find("mnist", tmp_path / "elsewhere") is None


def test_the_listing_says_where_data_is_or_how_to_get_it(tmp_path):
    folder = pretend_prepared(tmp_path)
    rows = {row.name: row for row in list_sources(tmp_path)}
    assert list(rows) == list(SOURCES)
    assert (rows["digits"].found, rows["mnist"].found) == ("embedded", str(folder))
    assert rows["cifar10"].found == "not prepared"
    assert rows["cifar10"].how.endswith(f"mlrisk data prepare cifar10 --data_dir {tmp_path}")
    assert (rows["cifar10"].shape, rows["cifar10"].num_train) == ((32, 32, 3), 50_000)


def test_what_is_there_already_is_not_prepared_again(tmp_path):
    assert prepare("digits").is_file()
    assert prepare("mnist", pretend_prepared(tmp_path).parents[1]) == tmp_path / "mnist" / "3.0.1"


class Builder:
    """Stands in for the TFDS builder: a download that fails, or one that leaves files of some format."""

    def __init__(self, place, failure=None, file_format="array_record"):
        self.place, self.failure, self.file_format = place, failure, file_format
        self.data_dir = place / "mnist" / "3.0.1"

    def download_and_prepare(self):
        if self.failure:
            raise self.failure
        pretend_prepared(self.place, text=f'{{"fileFormat": "{self.file_format}"}}')


def with_builder(monkeypatch, builder):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(preparing.importlib.util, "find_spec", lambda module: True)
    asked = {}
    monkeypatch.setattr(tfds, "builder", lambda name, **options: asked.update(options) or builder)
    return asked


@pytest.mark.parametrize("failure", [ConnectionError("no route\nto host"), PermissionError(13, "denied")])
def test_a_failed_download_is_one_line(tmp_path, monkeypatch, failure):
    with_builder(monkeypatch, Builder(tmp_path, failure))
    with pytest.raises(DataUnavailable, match=f"^mnist: could not be downloaded .*{type(failure).__name__}") as caught:
        prepare("mnist", tmp_path)
    assert "\n" not in str(caught.value)


def test_preparing_asks_for_array_records_in_the_folder(tmp_path, monkeypatch):
    asked = with_builder(monkeypatch, Builder(tmp_path))
    assert prepare("mnist", tmp_path) == tmp_path / "mnist" / "3.0.1"
    assert (asked["file_format"], asked["data_dir"]) == ("array_record", str(tmp_path))


def test_a_folder_prepared_in_another_format_is_not_mistaken_for_success(tmp_path, monkeypatch):
    with_builder(monkeypatch, Builder(tmp_path, file_format="tfrecord"))
    with pytest.raises(DataUnavailable, match="holds tfrecord files"):
        prepare("mnist", tmp_path)


def test_importing_is_light():
    heavy = ("tensorflow", "tensorflow_datasets", "sklearn", "array_record")
    code = f"import sys, mlrisk.data; sys.exit(str([name for name in {heavy} if name in sys.modules] or ''))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=False,
    )
    assert done.stderr.strip() == ""
