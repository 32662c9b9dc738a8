"""Pictures in folders ``domain/class/file``: the layout of PACS, VLCS, OfficeHome and their like."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8

from mlrisk.errors import BadInput, DataUnavailable

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")


class ImageDomain(NamedTuple):
    """One domain: the files of its pictures, in the order of their names, and the class of each."""

    name: str
    files: tuple[Path, ...]
    labels: Int32[np.ndarray, " n"]


class ImageDomains(NamedTuple):
    """All domains of a folder, and the names of the classes that the labels count."""

    domains: tuple[ImageDomain, ...]
    class_names: tuple[str, ...]


def find_image_domains(folder: str | os.PathLike[str]) -> ImageDomains:
    """The domains and classes of a folder ``domain/class/file``; no picture is read yet.

    Domains and classes are numbered in the order of their names. A class is one that any domain has.

    Args:
        folder: holds one folder a domain; other files beside them are left alone, as are hidden ones.

    Raises:
        DataUnavailable: the folder does not exist.
        BadInput: there are fewer than 2 domains, a domain has no pictures, or pictures of a single class.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataUnavailable(f"folder: {root} does not exist; it holds one folder a domain, with one a class in each")
    places = _folders(root)
    if len(places) < 2:
        raise BadInput(f"folder: {root} has {len(places)} domains (folders); at least 2 are needed")
    names = sorted({place.name for domain in places for place in _folders(domain)})
    return ImageDomains(tuple(_domain(place, names) for place in places), tuple(names))


def read_pictures(files: Sequence[Path], size: int) -> UInt8[np.ndarray, "n size size 3"]:
    """Pictures in colour, each resized to ``size`` by ``size`` (bilinear, its shape not kept).

    Args:
        files: any format that Pillow reads.
        size: pixels of a side.

    Raises:
        BadInput: the size is not positive.
        DataUnavailable: a file is missing or damaged.

    Source: Gulrajani and Lopez-Paz (2021), DomainBed: 224 by 224, resized without cropping at test time.
    """
    # not needed by any other part of the data package at import
    from PIL import Image, UnidentifiedImageError

    if size < 1:
        raise BadInput(f"size: {size} is not a positive number of pixels")
    found = np.empty((len(files), size, size, 3), np.uint8)
    for row, file in zip(found, files, strict=True):
        try:
            with Image.open(file) as picture:
                row[:] = np.asarray(picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
        except (OSError, UnidentifiedImageError) as error:
            raise DataUnavailable(f"folder: {file} is missing or damaged ({error})") from error
    return found


def domain_index(found: ImageDomains, name: str) -> int:
    """The number of a domain by its name.

    Raises:
        BadInput: there is none of that name.
    """
    names = [domain.name for domain in found.domains]
    if name not in names:
        raise BadInput(f"test_domain: {name!r} is not one of {', '.join(names)}")
    return names.index(name)


def _folders(place: Path) -> list[Path]:
    return sorted(child for child in place.iterdir() if child.is_dir() and not child.name.startswith("."))


def _domain(place: Path, names: list[str]) -> ImageDomain:
    pairs = [
        (file, names.index(child.name))
        for child in _folders(place)
        for file in sorted(child.iterdir())
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    ]
    if len({label for _, label in pairs}) < 2:
        counted = f"{len(pairs)} pictures of {len({label for _, label in pairs})} classes"
        raise BadInput(f"folder: domain {place.name} has {counted}; at least 2 classes with pictures are needed")
    return ImageDomain(
        place.name, tuple(file for file, _ in pairs), np.asarray([label for _, label in pairs], np.int32)
    )
