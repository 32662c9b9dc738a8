"""Checkpoints of a chunk whose lanes are still under way: the whole stacked state, kept by orbax."""

import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree

from mlrisk.files import storing
from mlrisk.harness import processes


class Checkpoints:
    """The checkpoints of one chunk: after how many blocks, and the state then.

    Only the writing process touches the disk; the others are told what it read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, block: int, state: PyTree) -> None:
        """Keep the state after ``block`` blocks, and the one before it until this one is whole.

        Raises:
            StorageError: the disk is full or closed; the previous checkpoint is whole.
        """
        if not processes.writes():
            return
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
        with storing(self.folder, "the checkpoint before it is whole"), self._manager() as manager:
            manager.save(block, args=ocp.args.StandardSave(_named(leaves)))

    def latest(self, like: PyTree) -> tuple[int, PyTree]:
        """The newest readable checkpoint as (blocks done, state); (0, zeros) where there is none.

        Args:
            like: shapes and dtypes of the state.
        """
        shapes, structure = jax.tree.flatten(like)
        blank = [np.zeros(s.shape, s.dtype) for s in shapes]
        block, leaves = self._read(blank) if processes.writes() else (0, blank)
        block, leaves = processes.agree((np.int32(block), leaves))
        return int(block), jax.tree.unflatten(structure, leaves)

    def clear(self) -> None:
        """Remove them all, once the chunk itself is on disk."""
        if processes.writes():
            shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, blank: list[np.ndarray]) -> tuple[int, list[np.ndarray]]:
        if not self.folder.is_dir():
            return 0, blank
        with self._manager() as manager:
            for block in sorted(manager.all_steps(), reverse=True):
                try:
                    found: Any = manager.restore(block, args=ocp.args.StandardRestore(_named(blank)))
                    return block, [np.asarray(found[name]) for name in _named(blank)]
                except (ValueError, OSError, KeyError):
                    continue  # damaged: the one before it, or the start, gives the same bits
        return 0, blank

    def _manager(self) -> ocp.CheckpointManager:
        alone = ocp.options.MultiprocessingOptions(
            primary_host=0, active_processes={0}, barrier_sync_key_prefix="mlrisk"
        )
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2,
            create=False,
            cleanup_tmp_directories=True,
            enable_async_checkpointing=False,
            multiprocessing_options=alone if jax.process_count() > 1 else ocp.options.MultiprocessingOptions(),
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        return ocp.CheckpointManager(self.folder.resolve(), options=options)


def _named(leaves: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"leaf{i:04d}": leaf for i, leaf in enumerate(leaves)}
