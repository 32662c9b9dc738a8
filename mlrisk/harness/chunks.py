"""Finished chunks on disk: one file each, written beside and renamed, with its checksum in its name."""

import hashlib
import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from mlrisk.errors import BadInput
from mlrisk.files import storing, write_bytes, write_json

log = logging.getLogger("mlrisk")


class ChunkStore(NamedTuple):
    """The folder of a sweep's finished chunks, the sweep's `fingerprint`, and the shapes of one lane's result."""

    folder: Path
    identity: str
    like: PyTree

    def save(self, index: int, chunk: PyTree) -> None:
        """Put one finished chunk on disk, whole or not at all.

        Raises:
            StorageError: the disk is full or the folder cannot be written; earlier chunks are untouched.
        """
        buffer = io.BytesIO()
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(chunk)]
        np.savez(buffer, allow_pickle=False, **{f"leaf{i}": _plain(leaf) for i, leaf in enumerate(leaves)})
        data = buffer.getvalue()
        name = f"chunk-{index:05d}-{hashlib.sha256(data).hexdigest()}.npz"
        with storing(self.folder, f"chunk {index} was not saved, chunks before it are whole"):
            write_bytes(self.folder / name, data)

    def load(self, index: int, lanes: int) -> PyTree | None:
        """The chunk of that index, or None where there is none; a damaged file is removed and counts as none."""
        for path in sorted(self.folder.glob(f"chunk-{index:05d}-*.npz")):
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() == path.stem.rsplit("-", 1)[1]:
                return self._decode(data, lanes)
            log.warning("%s is damaged (its checksum does not match): computing it again", path)
            path.unlink()
        return None

    def blank(self, lanes: int) -> PyTree:
        """A chunk of zeros."""
        return jax.tree.map(lambda leaf: np.zeros((lanes, *leaf.shape), leaf.dtype), self.like)

    def _decode(self, data: bytes, lanes: int) -> PyTree:
        like, structure = jax.tree.flatten(self.like)
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            leaves = [
                file[f"leaf{i}"].view(np.dtype(leaf.dtype)).reshape(lanes, *leaf.shape) for i, leaf in enumerate(like)
            ]
        return jax.tree.unflatten(structure, leaves)


def _plain(leaf: np.ndarray) -> np.ndarray:
    # numpy cannot store extension types such as bfloat16: keep their bytes
    leaf = np.ascontiguousarray(leaf)
    return leaf if leaf.dtype.isbuiltin == 1 else leaf.view(np.uint8)


def fingerprint(program: str, arrays: Sequence[jax.Array | np.ndarray]) -> str:
    """What a sweep computes, in 64 hexadecimal digits: its program, its data, its keys and hypers.

    Args:
        program: the text of the traced function of one lane.
        arrays: everything that goes into it.
    """
    digest = hashlib.sha256(program.encode())
    for array in arrays:
        host = np.asarray(array)
        digest.update(f"{host.dtype}{host.shape}".encode())
        digest.update(np.ascontiguousarray(host).view(np.uint8).data if host.size else b"")
    return digest.hexdigest()


def read_plan(folder: Path, identity: str) -> tuple[int, ...] | None:
    """The plan kept in this folder, or None where there is none.

    Args:
        folder: the sweep's folder of chunks.
        identity: the sweep's `fingerprint`.

    Raises:
        BadInput: the folder holds chunks of another sweep.
    """
    try:
        kept = json.loads((folder / "plan.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    if kept["identity"] != identity:
        raise BadInput(
            f"run_dir: {folder} holds chunks of another sweep (its function, keys or hypers differ); "
            "choose another folder, or remove that one"
        )
    return tuple(kept["plan"])


def write_plan(folder: Path, plan: Sequence[int], identity: str) -> None:
    """Keep a plan and the fingerprint of the sweep that it belongs to.

    Raises:
        StorageError: the folder cannot be made or written.
    """
    with storing(folder, "nothing was started"):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "plan.json", {"plan": list(plan), "identity": identity})
