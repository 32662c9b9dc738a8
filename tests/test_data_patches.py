"""BSDS300 patches: made photographs whose patches are known, and the real ones where they are at hand."""

from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from mlrisk.data.patches import BLOCK, bsds300_patches, cut_patches, read_photographs, stack, whole_patches
from mlrisk.errors import BadInput, DataUnavailable

KEY = jax.random.key(5)
REAL = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six training and three test photographs, upright and wide: each a slope of its own steepness."""
    place = tmp_path_factory.mktemp("photographs")
    for part, count in (("train", 6), ("test", 3)):
        (place / "bsds300" / part).mkdir(parents=True)
        for i in range(count):
            height, width = (24, 40) if i % 2 else (40, 24)
            grey = np.tile((1 + i) * np.arange(width), (height, 1))
            picture = Image.fromarray(np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2))
            picture.save(place / "bsds300" / part / f"{i}.jpg", quality=100, subsampling=0)
    return place


def full(values):
    return whole_patches(values)[..., 0]


def test_every_patch_is_a_place_of_its_photograph_dequantised_and_centred():
    draw = np.random.default_rng(0)
    pictures = [draw.integers(0, 256, shape, dtype=np.uint8) for shape in ((8, 11), (13, 9), (10, 10))]
    found = cut_patches(KEY, stack(pictures), 400)
    places = {i: np.lib.stride_tricks.sliding_window_view(p, (8, 8)).reshape(-1, 64) for i, p in enumerate(pictures)}
    seen = {i: set() for i in places}
    for patch, which in zip(full(found.values.astype(np.float64)), found.photograph, strict=True):
        candidates = places[int(which)] / 256
        shift = patch.reshape(64) - (candidates - candidates.mean(axis=1, keepdims=True))
        # noise of width 1/256 less its mean: within 1/256 at the true place, far off at all others
        spread = shift.max(axis=1) - shift.min(axis=1)
        (hit,) = np.flatnonzero(spread < 1.02 / 256)
        seen[int(which)].add(hit)
    assert {i: len(s) for i, s in seen.items()} == {i: len(p) for i, p in places.items()}  # 4, 12 and 9 places


def test_noise_is_uniform_and_photographs_are_equally_frequent():
    flat = [np.full((9, 9), level, np.uint8) for level in (0, 100, 255)]
    found = cut_patches(KEY, stack(flat), 30_000)
    noise = found.values * 256
    assert noise.dtype == np.float32
    # u less the mean of 64 such: variance (1 - 1/64) / 12
    np.testing.assert_allclose(noise.var(), (1 - 1 / 64) / 12, rtol=0.01)
    last = full(noise)[:, -1, -1]  # restored from the mean, and noise like the others
    np.testing.assert_allclose([last.var(), np.abs(last).max() < 1], [(1 - 1 / 64) / 12, 1], rtol=0.03)
    np.testing.assert_allclose(np.bincount(found.photograph) / 30_000, 1 / 3, atol=0.015)
    assert np.abs(noise).max() < 1


def test_the_first_patches_do_not_depend_on_how_many_are_drawn():
    picture = stack([np.random.default_rng(1).integers(0, 256, (30, 50), dtype=np.uint8)])
    few, many = cut_patches(KEY, picture, 100), cut_patches(KEY, picture, BLOCK + 100)
    np.testing.assert_array_equal(few.values, many.values[:100])
    assert not np.array_equal(many.values[:100], many.values[BLOCK:])
    other = cut_patches(jax.random.key(6), picture, 100)
    assert not np.array_equal(few.values, other.values)


def steepness(values):
    """The slope along rows in grey levels a pixel, which names the photograph of the fixture."""
    return np.round(np.diff(full(values), axis=2).mean(axis=(1, 2)) * 256) - 1


def test_validation_has_photographs_of_its_own_and_test_only_test_photographs(folder):
    table = bsds300_patches(KEY, folder, train=300, val=100, test=90, val_photographs=2)
    fit, held_out = set(steepness(table.train)), set(steepness(table.val))
    assert len(held_out) == 2
    assert fit | held_out == set(range(6))
    assert not fit & held_out
    np.testing.assert_array_equal(steepness(table.test), table.groups)
    assert set(table.groups) == {0, 1, 2}
    again = bsds300_patches(KEY, folder, train=300, val=100, test=90, val_photographs=2)
    for left, right in zip(table, again, strict=True):
        np.testing.assert_array_equal(left, right)


def test_the_layout_of_the_archive_is_found_too(folder, tmp_path):
    (tmp_path / "BSDS300").mkdir()
    (tmp_path / "BSDS300" / "images").symlink_to(folder / "bsds300")
    sizes = {"train": 20, "val": 10, "test": 10, "val_photographs": 1}
    places = [folder, folder / "bsds300", tmp_path]
    tables = [bsds300_patches(KEY, place, **sizes) for place in places]
    for table in tables[1:]:
        np.testing.assert_array_equal(table.train, tables[0].train)


def test_missing_and_damaged_photographs_get_one_line(folder, tmp_path):
    with pytest.raises(DataUnavailable, match=f"bsds300: the photographs .* wanted in {tmp_path / 'bsds300'}; from"):
        bsds300_patches(KEY, tmp_path)
    with pytest.raises(BadInput, match="val: 0 is not allowed"):
        bsds300_patches(KEY, folder, val=0)
    with pytest.raises(BadInput, match="val_photographs: 6 leave none of the 6"):
        bsds300_patches(KEY, folder, val_photographs=6)
    (tmp_path / "half.jpg").write_bytes((folder / "bsds300" / "train" / "0.jpg").read_bytes()[:200])
    with pytest.raises(DataUnavailable, match=r"half.jpg: is damaged"):
        read_photographs(tmp_path)
    (tmp_path / "half.jpg").unlink()
    Image.new("L", (7, 20)).save(tmp_path / "thin.jpg")
    with pytest.raises(DataUnavailable, match=r"thin.jpg: has .20, 7. pixels"):
        read_photographs(tmp_path)


@pytest.mark.skipif(
    not (REAL / "bsds300").is_dir(), reason="no photographs beside the checkout (../shared/data/bsds300)"
)
def test_a_gaussian_on_real_patches_has_the_published_log_likelihood():
    table = bsds300_patches(jax.random.key(0), REAL, train=60_000, val=1000, test=30_000)
    fit, test = table.train.astype(np.float64), table.test.astype(np.float64)
    root = np.linalg.cholesky(np.cov(fit.T))
    whitened = np.linalg.solve(root, (test - fit.mean(axis=0)).T)
    found = -0.5 * (whitened**2).sum(axis=0) - np.log(np.diag(root)).sum() - 31.5 * np.log(2 * np.pi)
    by_photograph = np.bincount(table.groups, found) / np.bincount(table.groups)
    # published: 96.67 (MAF, table 1); test photographs differ a lot, so the mean over 100 of them is rough
    error = by_photograph.std() / np.sqrt(len(by_photograph))
    assert abs(found.mean() - 96.67) < min(3 * error, 5)
