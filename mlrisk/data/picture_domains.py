"""A folder of pictures ``domain/class/file`` as domains to train on."""

import dataclasses
import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from mlrisk import prng
from mlrisk.data.domain_splits import HOLDOUT, Trial, grouped_domains, scale_bytes
from mlrisk.data.image_folders import find_image_domains, read_pictures
from mlrisk.types import RandomKey


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["pictures", "labels", "mean", "std"],
    meta_fields=["sizes", "names", "class_names", "holdout"],
)
@dataclasses.dataclass(frozen=True)
class PictureDomains:
    """Photographs in domains that are what they are; a trial only draws which are held out."""

    pictures: UInt8[Array, "n size size 3"]
    labels: Int[Array, " n"]
    mean: Float[Array, " 3"]
    std: Float[Array, " 3"]
    sizes: tuple[int, ...]
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    holdout: float

    def draw(self, key: RandomKey) -> Trial:
        """The part of each domain that is held out."""
        rows = grouped_domains(prng.stream(key, "domains"), self.sizes, self.holdout)
        return Trial(rows, self.labels, jnp.zeros_like(self.labels))

    def render(self, pictures: Array, looks: Array) -> Array:
        """Standardised pictures."""
        del looks
        shape = (1, 1, 1, 3)
        return (scale_bytes(pictures) - self.mean.reshape(shape)) / self.std.reshape(shape)


def picture_domains(
    folder: str | os.PathLike[str],
    size: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    holdout: float = HOLDOUT,
) -> PictureDomains:
    """All pictures of a folder in memory, as bytes.

    Args:
        folder: one folder a domain with one a class in each, see `mlrisk.data.image_folders.find_image_domains`.
        size: pixels of a side that pictures are resized to.
        mean: of the channels, by which pictures in [0, 1] are standardised.
        std: the same.
        holdout: share of each domain that is held out.

    Raises:
        DataUnavailable: the folder does not exist, or a picture is damaged.
        BadInput: fewer than 2 domains, an empty one, or one with pictures of a single class.

    Differs:
        DomainBed crops, flips and recolours training pictures at random; here they are as they are.
    """
    found = find_image_domains(folder)
    pictures = np.concatenate([read_pictures(domain.files, size) for domain in found.domains])
    labels = np.concatenate([domain.labels for domain in found.domains])
    return PictureDomains(
        jnp.asarray(pictures),
        jnp.asarray(labels),
        jnp.asarray(mean, jnp.float32),
        jnp.asarray(std, jnp.float32),
        tuple(len(domain.labels) for domain in found.domains),
        tuple(domain.name for domain in found.domains),
        found.class_names,
        holdout,
    )
