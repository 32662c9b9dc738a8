"""Data of one's own: what an .npz file gives, what it may not hold, and labels made wrong on purpose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrisk.data.arrays import load_any, load_arrays
from mlrisk.data.mislabelled import mislabel
from mlrisk.errors import BadInput, DataUnavailable
from mlrisk.types import Examples

X, Y = np.arange(12.0).reshape(6, 2), np.asarray([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.uint8, np.int64])
def test_a_file_comes_back_as_it_was_saved(tmp_path, kind):
    np.savez(tmp_path / "mine.npz", x=X.astype(kind), y=Y.astype(np.int16))
    found = load_any(str(tmp_path / "mine.npz"))
    np.testing.assert_array_equal(found.train.inputs, X)
    np.testing.assert_array_equal(found.train.labels, Y)
    assert (found.name, found.num_classes, found.shape) == ("mine", 3, (2,))
    assert (found.train.inputs.dtype, found.train.labels.dtype) == (np.float32, np.int32)
    assert found.test.inputs.shape == (0, 2)


def test_a_test_split_and_compression(tmp_path):
    np.savez_compressed(tmp_path / "mine.npz", x=X, y=Y, x_test=X[:2] + 1, y_test=Y[:2])
    found = load_arrays(tmp_path / "mine.npz")
    np.testing.assert_array_equal(found.test.inputs, X[:2] + 1)
    np.testing.assert_array_equal(found.test.labels, Y[:2])


def test_names_are_loaded_by_name():
    assert load_any("digits").name == "digits"
    with pytest.raises(BadInput, match=r"data: 'digit' is not one of .*; did you mean 'digits'.*, nor the path of an"):
        load_any("digit")


BAD = {
    "no x": ({"y": Y}, "data: {path} has y; x and y are needed"),
    "nothing": ({}, "data: {path} has no arrays; x and y are needed"),
    "no y_test": ({"x": X, "y": Y, "x_test": X}, "data: {path} has x, y, x_test; x and y are needed"),
    "other key": ({"x": X, "y": Y, "x_tset": X}, "data: {path}: array: 'x_tset' is not one of x, y, x_test, y_test; did you mean 'x_test'?"),
    "text": ({"x": X.astype(str), "y": Y}, "x: <U32 of shape (6, 2) is not numbers of shape (n, ...)"),
    "complex": ({"x": X + 0j, "y": Y}, "x: complex128 of shape (6, 2) is not numbers"),
    "one axis": ({"x": X[:, 0], "y": Y}, "x: float64 of shape (6,) is not numbers of shape (n, ...)"),
    "float labels": ({"x": X, "y": Y + 0.5}, "y: dtype float64 is not an integer type"),
    "one-hot labels": ({"x": X, "y": np.eye(3, dtype=int)[Y]}, "y: shape (6, 3) does not fit x (6, 2)"),
    "fewer labels": ({"x": X, "y": Y[:5]}, "y: shape (5,) does not fit x (6, 2)"),
    "empty": ({"x": X[:0], "y": Y[:0]}, "y: shape (0,) does not fit x (0, 2)"),
    "nan": ({"x": np.where(X == 3, np.nan, X), "y": Y}, "x: 1 of 12 values are not finite (as float32)"),
    "too large": ({"x": X * 1e300, "y": Y}, "x: 11 of 12 values are not finite (as float32)"),
    "negative": ({"x": X, "y": Y - 1}, "y: labels from -1 to 1; they must count the classes from 0"),
    "one class": ({"x": X, "y": 0 * Y + 1}, "y: all labels are 1; at least two classes are needed"),
    "identifiers": ({"x": X, "y": 100 * Y}, "y: label 200 is not a class of 6 examples; labels count from 0"),
    "test shape": ({"x": X, "y": Y, "x_test": X[:, :1], "y_test": Y}, "x_test: inputs of shape (1,), those of x are (2,)"),
    "test label": ({"x": X, "y": Y, "x_test": X, "y_test": Y + 1}, "y_test: label 3 is not from 0 to 2, the classes of y"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_files_get_their_line(case, tmp_path):
    arrays, line = BAD[case]
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(BadInput) as caught:
        load_arrays(path)
    assert str(caught.value).startswith(line.format(path=path))
    assert "\n" not in str(caught.value)


def test_objects_are_refused_unread(tmp_path):
    np.savez(tmp_path / "bad.npz", x=np.asarray([{}], dtype=object), y=Y)
    with pytest.raises(BadInput, match="holds objects that are not arrays of numbers"):
        load_arrays(tmp_path / "bad.npz")


def test_missing_and_damaged_files_say_so(tmp_path):
    with pytest.raises(DataUnavailable, match=r"absent.npz is not there; numpy.savez"):
        load_arrays(tmp_path / "absent.npz")
    with pytest.raises(DataUnavailable, match="is not there"):
        load_arrays(tmp_path)
    np.savez(tmp_path / "whole.npz", x=X, y=Y)
    content = (tmp_path / "whole.npz").read_bytes()
    for name, part in (("cut", content[:200]), ("empty", b""), ("text", b"x,y\n1,2\n")):
        (tmp_path / f"{name}.npz").write_bytes(part)
        with pytest.raises((DataUnavailable, BadInput), match=r"no \.npz file"):
            load_arrays(tmp_path / f"{name}.npz")
    np.save(tmp_path / "array.npy", X)
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    with pytest.raises((DataUnavailable, BadInput), match=r"no \.npz file"):
        load_arrays(tmp_path / "array.npz")


EXAMPLES = Examples(jnp.ones((400, 1)), jnp.arange(400, dtype=jnp.int32) % 5)
wrong = jax.jit(mislabel, static_argnums=(2, 3))


@given(fraction=st.sampled_from([0.0, 0.1, 0.5, 1.0]), seed=st.integers(0, 20))
def test_exactly_a_share_of_the_labels_is_wrong_and_in_range(fraction, seed):
    found = wrong(jax.random.key(seed), EXAMPLES, 5, fraction)
    labels = np.asarray(found.examples.labels)
    np.testing.assert_array_equal(labels != np.asarray(EXAMPLES.labels), found.mask)
    assert int(found.mask.sum()) == round(fraction * 400)
    assert labels.min() >= 0
    assert labels.max() < 5


def test_every_wrong_class_is_equally_likely():
    big = Examples(jnp.ones((20_000, 1)), jnp.zeros(20_000, jnp.int32))
    counts = np.bincount(wrong(jax.random.key(0), big, 5, 1.0).examples.labels, minlength=5)
    np.testing.assert_allclose(counts, [0, 5000, 5000, 5000, 5000], atol=300)


@pytest.mark.parametrize(
    ("classes", "fraction", "line"),
    [(1, 0.1, "num_classes: 1"), (5, 1.1, "fraction: 1.1"), (5, -0.1, "fraction: -0.1")],
)
def test_bad_shares_get_their_line(classes, fraction, line):
    with pytest.raises(BadInput, match=line):
        mislabel(jax.random.key(0), EXAMPLES, classes, fraction)
