"""Pictures turned by an angle, and digits whose domain is the angle."""

import dataclasses
import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mlrisk import prng
from mlrisk.data.domain_splits import HOLDOUT, Trial, domain_of, interleaved_domains, scale_bytes
from mlrisk.errors import BadInput
from mlrisk.types import RandomKey

ANGLES = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0)


class _Corners:
    """For each pixel of a turned picture, the four pixels around where it comes from, and their weights."""

    def __init__(self, height: int, width: int, angle: float) -> None:
        turn = math.radians(angle)
        rows, columns = np.mgrid[:height, :width]
        y, x = rows - (height - 1) / 2, columns - (width - 1) / 2
        from_x = math.cos(turn) * x - math.sin(turn) * y + (width - 1) / 2
        from_y = math.sin(turn) * x + math.cos(turn) * y + (height - 1) / 2
        # round-off must not move whole pixels next door
        from_x, from_y = np.round(from_x, 9), np.round(from_y, 9)
        index, weights = [], []
        for down in (0, 1):
            for right in (0, 1):
                i, j = np.floor(from_y).astype(int) + down, np.floor(from_x).astype(int) + right
                near = (1 - np.abs(from_y - i)) * (1 - np.abs(from_x - j))
                inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
                index.append(np.where(inside, i * width + j, 0).ravel())
                weights.append(np.where(inside, near, 0.0).ravel())
        self.index, self.weights = np.stack(index, 1), np.stack(weights, 1)


def rotation_table(
    height: int, width: int, angles: Sequence[float]
) -> tuple[Int[Array, "angles pixels 4"], Float[Array, "angles pixels 4"]]:
    """What `rotate` looks up: four pixels and weights for each pixel and angle."""
    corners = [_Corners(height, width, angle) for angle in angles]
    index = jnp.asarray(np.stack([each.index for each in corners]), jnp.int32)
    return index, jnp.asarray(np.stack([each.weights for each in corners]), jnp.float32)


def rotate(
    pictures: Float[Array, "n h w"],
    which: Int[Array, " n"],
    index: Int[Array, "angles pixels 4"],
    weights: Float[Array, "angles pixels 4"],
) -> Float[Array, "n h w"]:
    """Each picture turned anticlockwise about its centre: bilinear, zeros from outside.

    Args:
        pictures: of one size.
        which: each picture's angle, as a row of the tables.
        index: from `rotation_table`.
        weights: from `rotation_table`.

    Raises:
        BadInput: the tables are for pictures of another size.

    Source: Gulrajani and Lopez-Paz (2021), DomainBed, RotatedMNIST (bilinear, fill 0).
    """
    flat = pictures.reshape(pictures.shape[0], -1)
    if index.shape[1] != flat.shape[1]:
        raise BadInput(f"index: for pictures of {index.shape[1]} pixels, not of {flat.shape[1]}")
    corners = jax.vmap(lambda row, angle: row[index[angle]])(flat, which)
    return jnp.sum(corners * weights[which], -1).reshape(pictures.shape)


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["pictures", "digits", "index", "weights"],
    meta_fields=["num_domains", "holdout"],
)
@dataclasses.dataclass(frozen=True)
class RotatedDomains:
    """Digits in domains of one angle each; labels are the digits. Make it with `rotated_domains`."""

    pictures: Float[Array, "n h w"]
    digits: Int[Array, " n"]
    index: Int[Array, "angles pixels 4"]
    weights: Float[Array, "angles pixels 4"]
    num_domains: int
    holdout: float

    def draw(self, key: RandomKey) -> Trial:
        """Which digit is in which domain."""
        count = self.digits.shape[0]
        rows = interleaved_domains(prng.stream(key, "domains"), count, self.num_domains, self.holdout)
        return Trial(rows, self.digits, domain_of(rows, count))

    def render(self, pictures: Array, looks: Array) -> Array:
        """The pictures turned by the angles of their domains, with one channel."""
        return rotate(scale_bytes(pictures), looks, self.index, self.weights)[..., None]


def rotated_domains(
    pictures: Float[Array, "n h w"],
    digits: Int[Array, " n"],
    angles: Sequence[float] = ANGLES,
    holdout: float = HOLDOUT,
) -> RotatedDomains:
    """Digits dealt out to one domain an angle.

    Args:
        pictures: in [0, 1].
        digits: labels.
        angles: in degrees, at least 2.
        holdout: see `mlrisk.data.domain_splits.interleaved_domains`.

    Raises:
        BadInput: fewer than 2 angles, or digits of a single class.
    """
    if len(angles) < 2:
        raise BadInput(f"angles: {len(angles)} domains; at least 2 are needed")
    if len(np.unique(np.asarray(digits))) < 2:
        raise BadInput("digits: all are of a single class; at least 2 are needed")
    tables = rotation_table(pictures.shape[1], pictures.shape[2], angles)
    return RotatedDomains(pictures, digits, *tables, num_domains=len(angles), holdout=holdout)
