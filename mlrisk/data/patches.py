"""The BSDS300 patch benchmark, cut from the photographs of the Berkeley segmentation data set."""

import os
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Float32, Int, UInt8

from mlrisk import prng
from mlrisk.data.sources import search_path
from mlrisk.data.uci import Tabular
from mlrisk.errors import BadInput, DataUnavailable
from mlrisk.types import RandomKey

SIDE = 8
LEVELS = 256
DIMENSIONS = SIDE * SIDE - 1
BLOCK = 1 << 15
_LAYOUTS = ("bsds300", "BSDS300/images", "BSDS300", ".")


class Photographs(NamedTuple):
    """Grey photographs of any sizes, end to end: ``pixels`` (total,), and ``start``, ``height``, ``width`` of each."""

    pixels: UInt8[np.ndarray, " total"]
    start: Int[np.ndarray, " n"]
    height: Int[np.ndarray, " n"]
    width: Int[np.ndarray, " n"]


class Patches(NamedTuple):
    """Patches (n, 63), and the index (n,) of the photograph that each was cut from."""

    values: Float32[np.ndarray, "n 63"]
    photograph: Int[np.ndarray, " n"]


def bsds300_patches(
    key: RandomKey,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    train: int = 1_000_000,
    val: int = 50_000,
    test: int = 250_000,
    val_photographs: int = 20,
) -> Tabular:
    """The BSDS300 density benchmark, from the photographs: 8x8 grey patches as 63 numbers.

    ``x = (p + u) / 256`` with grey levels p and ``u ~ U[0, 1)``, less its own mean, without its last pixel.
    Photograph and position of a patch are uniform. The first patches do not depend on how many are drawn.

    Args:
        key: typed key; decides the patches, the noise, and which training photographs validation has.
        data_dir: folder with ``bsds300/train`` and ``bsds300/test`` (or ``BSDS300/images/...``, as distributed),
            which hold ``*.jpg``; if None, one on `mlrisk.data.search_path`.
        train: training patches; the default sizes are the published ones.
        val: validation patches.
        test: test patches, from the test photographs only.
        val_photographs: training photographs of which validation patches are cut, and no training patches.

    Returns:
        `Tabular` of float32 (n, 63), with the photograph of each test patch as ``groups``.

    Raises:
        BadInput: a size below 1, or no photographs left to train on.
        DataUnavailable: the photographs are missing or damaged.

    Source:
        Zoran and Weiss (2011); Uria, Murray and Larochelle (2013), RNADE, section 4.2; Papamakarios, Pavlakou
        and Murray (2017), appendix D.

    Differs:
        Other patches than the published HDF5 file's, from JPEG colours turned to luma (ITU-R 601), so
        log-likelihoods are near the published ones and not equal to them. Validation patches come from whole
        photographs kept apart; which ones the published file kept apart is not known.
    """
    for name, size in (("train", train), ("val", val), ("test", test), ("val_photographs", val_photographs)):
        if size < 1:
            raise BadInput(f"{name}: {size} is not allowed, it must be at least 1")
    folder = _folder(data_dir)
    fit, unseen = read_photographs(folder / "train"), read_photographs(folder / "test")
    if val_photographs >= len(fit):
        raise BadInput(f"val_photographs: {val_photographs} leave none of the {len(fit)} to train on")
    keys = prng.streams(key, "held out", "train", "val", "test")
    order = np.asarray(jax.random.permutation(keys[0], len(fit)))
    kept, held_out = np.sort(order[val_photographs:]), np.sort(order[:val_photographs])
    training = cut_patches(keys[1], stack([fit[i] for i in kept]), train)
    validation = cut_patches(keys[2], stack([fit[i] for i in held_out]), val)
    testing = cut_patches(keys[3], stack(unseen), test)
    return Tabular(training.values, validation.values, testing.values, testing.photograph)


def whole_patches(values: Float[np.ndarray, "*n 63"]) -> Float[np.ndarray, "*n 8 8 1"]:
    """The pictures that centred patches are of: their mean is zero, so the pixel left out is minus their sum."""
    whole = np.concatenate([values, -values.sum(axis=-1, keepdims=True)], axis=-1)
    return whole.reshape(*values.shape[:-1], SIDE, SIDE, 1)


def cut_patches(key: RandomKey, photographs: Photographs, count: int) -> Patches:
    """Patches at uniform places of uniform photographs, dequantised, centred, without the last pixel.

    Args:
        key: typed key; patch i depends on it and i alone.
        photographs: each at least 8 pixels high and wide.
        count: how many, n.

    Returns:
        `Patches`, float32.
    """
    values = np.empty((count, DIMENSIONS), np.float32)
    chosen = np.empty(count, np.int32)
    for block, first in enumerate(range(0, count, BLOCK)):
        rows = slice(first, min(first + BLOCK, count))
        whole, which = _cut_block(prng.step_key(key, block), photographs)
        values[rows], chosen[rows] = whole[: rows.stop - first], which[: rows.stop - first]
    return Patches(values, chosen)


def read_photographs(folder: Path) -> list[UInt8[np.ndarray, "_ _"]]:
    """All ``*.jpg`` of a folder in the order of their names, as grey levels.

    Raises:
        DataUnavailable: a photograph is damaged or smaller than a patch.
    """
    from PIL import Image  # not needed by those who read no photographs

    found = []
    for path in sorted(folder.glob("*.jpg")):
        try:
            with Image.open(path) as image:
                found.append(np.asarray(image.convert("L")))
        except OSError as error:
            raise DataUnavailable(f"{path}: is damaged ({error})") from error
        if min(found[-1].shape) < SIDE:
            raise DataUnavailable(f"{path}: has {found[-1].shape} pixels, at least {SIDE} x {SIDE} are wanted")
    return found


def stack(pictures: list[UInt8[np.ndarray, "_ _"]]) -> Photographs:
    """Grey pictures of any sizes laid end to end."""
    sizes = np.asarray([picture.size for picture in pictures])
    height, width = np.asarray([picture.shape for picture in pictures]).T
    return Photographs(np.concatenate([p.ravel() for p in pictures]), np.cumsum(sizes) - sizes, height, width)


def _cut_block(key: RandomKey, photographs: Photographs) -> tuple[np.ndarray, np.ndarray]:
    place, noise = (np.asarray(drawn) for drawn in _draw(key))
    which = (place[0] * len(photographs.start)).astype(np.int32)
    height, width = photographs.height[which], photographs.width[which]
    top, left = ((u * (n - SIDE + 1)).astype(np.int64) for u, n in ((place[1], height), (place[2], width)))
    corner = photographs.start[which] + top * width + left
    side = np.arange(SIDE)
    index = corner[:, None, None] + side[:, None] * width[:, None, None] + side
    patches = (photographs.pixels[index].reshape(BLOCK, -1) + noise) / np.float32(LEVELS)
    return (patches - patches.mean(axis=1, keepdims=True))[:, :-1], which


@jax.jit
def _draw(key: RandomKey) -> tuple[Float[Array, "3 block"], Float[Array, "block pixels"]]:
    place, noise = prng.streams(key, "place", "noise")
    return jax.random.uniform(place, (3, BLOCK)), jax.random.uniform(noise, (BLOCK, SIDE * SIDE))


def _folder(data_dir: str | os.PathLike[str] | None) -> Path:
    places = search_path(data_dir)
    for folder in (place / layout for place in places for layout in _LAYOUTS):
        if any((folder / "train").glob("*.jpg")) and any((folder / "test").glob("*.jpg")):
            return folder
    looked = " or ".join(str(place / "bsds300") for place in places)
    raise DataUnavailable(
        f"bsds300: the photographs train/*.jpg and test/*.jpg wanted in {looked}; "
        "from BSDS300-images.tgz of the Berkeley segmentation data set"
    )
