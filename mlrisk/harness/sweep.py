"""Many lanes of one train function: planned, compiled once, run chunk by chunk, each chunk durable."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Key, PyTree
from tqdm import tqdm

from mlrisk.errors import BadInput
from mlrisk.files import remove_drafts
from mlrisk.harness import lanes as layout
from mlrisk.harness import processes
from mlrisk.harness.checkpoint import Checkpoints
from mlrisk.harness.chunks import ChunkStore, fingerprint, read_plan, write_plan
from mlrisk.harness.engine import Engine, build, run_chunk
from mlrisk.harness.lanes import Plan
from mlrisk.harness.loop import Train
from mlrisk.harness.program import Program, lock, segmented_program, unlock, whole_program

log = logging.getLogger("mlrisk")


def sweep(
    train: Callable[..., PyTree],
    keys: Key[Array, " seeds"],
    hypers: PyTree = None,
    *,
    lanes: int | Literal["auto", "wide"] = "auto",
    mesh: Mesh | None = None,
    run_dir: str | Path | None = None,
    chunk: int | None = None,
    segment_seconds: float = 60.0,
    free_bytes: int | None = None,
    progress: bool | None = None,
    on_plan: Callable[[Plan], None] | None = None,
) -> PyTree:
    """Run ``train`` for every key, and for every setting in ``hypers``, and stack the results.

    Equal to ``vmap(train)(keys)``, or to the nested vmap over settings and keys, up to float rounding, whatever
    the layout. The function is compiled once. With a ``run_dir``, each finished chunk is on disk before the next
    starts, a `Train` is also saved between its blocks, and the same call on the same folder continues where a
    killed one stopped, with the same bits.

    Args:
        train: pure ``train(key)``, or ``train(key, hyper)`` when hypers are given; returns any pytree of arrays.
        keys: typed keys (seeds,).
        hypers: None, or a pytree whose leaves have a leading axis of settings (settings, ...).
        lanes: lanes abreast on one device; ``"auto"`` is one at a time on a CPU and ``"wide"`` on accelerators,
            where ``"wide"`` is as many as the compiled memory estimate allows.
        mesh: a mesh with one axis ``"seed"``; by default all devices, of all processes.
        run_dir: folder to keep finished chunks and checkpoints in.
        chunk: lanes in one durable unit; rounded up to fill every device. By default about a tenth.
        segment_seconds: how often, at most, a lane under way is saved.
        free_bytes: memory to plan for on each device; by default what is free.
        progress: show a bar; by default only on a terminal.
        on_plan: called with the plan before the first chunk runs.

    Returns:
        ``train``'s result with a leading axis (seeds,), or axes (settings, seeds) when hypers are given, as
        numpy arrays; typed keys come back as typed keys.

    Raises:
        ValueError: no keys, keys that are not typed, or hypers with unequal leading axes.
        BadInput: ``run_dir`` holds another sweep.
        StorageError: ``run_dir`` cannot be written; the chunks before are whole.
    """
    prepared = prepare(train, keys, hypers, lanes=lanes, mesh=mesh, run_dir=run_dir, chunk=chunk, free_bytes=free_bytes)
    log.info("%s", prepared.engine.describe())
    if on_plan is not None:
        on_plan(prepared.engine.plan)
    return prepared.run(segment_seconds=segment_seconds, show=progress)


class Prepared(NamedTuple):
    """A sweep that is planned and compiled; it can be run more than once."""

    engine: Engine
    inputs: PyTree
    axes: tuple[int, ...]
    store: ChunkStore | None

    def run(self, *, segment_seconds: float = 60.0, show: bool | None = None) -> PyTree:
        """The stacked results; see `sweep`."""
        parts = list(_run(self.engine, self.inputs, self.store, segment_seconds, show=show))
        out = jax.tree.map(lambda *leaves: np.concatenate(leaves)[: self.engine.plan.total], *parts)
        shaped = jax.tree.map(lambda leaf: leaf.reshape(*self.axes, *leaf.shape[1:]), out)
        return lock(shaped, self.engine.program.last.out_keys)


def prepare(
    train: Callable[..., PyTree],
    keys: Key[Array, " seeds"],
    hypers: PyTree = None,
    *,
    lanes: int | Literal["auto", "wide"] = "auto",
    mesh: Mesh | None = None,
    run_dir: str | Path | None = None,
    chunk: int | None = None,
    free_bytes: int | None = None,
) -> Prepared:
    """Plan and compile a sweep without running it; the arguments and errors are those of `sweep`."""
    inputs, axes = _lane_inputs(keys, hypers)
    total, mesh = int(np.prod(axes)), layout.lane_mesh(mesh)
    program = _program(train, keys, hypers, segmented=run_dir is not None)
    store, kept = _open_store(run_dir, program, inputs)
    plan = _layout(total, mesh, lanes, chunk, kept)
    engine = build(program, plan, mesh, inputs, free_bytes, fixed=kept is not None or isinstance(lanes, int))
    if store is not None and kept is None and processes.writes():
        write_plan(store.folder, engine.plan, store.identity)
    return Prepared(engine, inputs, axes, store)


def _lane_inputs(keys: Key[Array, " seeds"], hypers: PyTree) -> tuple[PyTree, tuple[int, ...]]:
    """Host arrays (key words, hypers) with one row per lane, settings outermost, and the axes of the result."""
    if (
        not jnp.issubdtype(getattr(keys, "dtype", np.dtype(bool)), jax.dtypes.prng_key)
        or keys.ndim != 1
        or not keys.size
    ):
        raise ValueError(
            "keys: expected typed keys (seeds,), at least one, such as jax.random.split(jax.random.key(0), 100)"
        )
    seeds, words = keys.shape[0], np.asarray(unlock(keys))
    if hypers is None:
        return (words, None), (seeds,)
    hypers = jax.tree.map(np.asarray, hypers)
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(hypers)}
    if len(lengths) != 1 or lengths <= {(), (0,)}:
        raise ValueError(f"hypers: leaves need one common leading axis of settings, at least 1, got {lengths}")
    ((settings,),) = lengths
    repeated = jax.tree.map(lambda leaf: np.repeat(leaf, seeds, axis=0), hypers)
    return (np.tile(words, (settings, 1)), repeated), (settings, seeds)


def _program(train: Callable[..., PyTree], keys: Key[Array, " seeds"], hypers: PyTree, *, segmented: bool) -> Program:
    hyper = jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], hypers)
    if segmented and isinstance(train, Train) and train.num_blocks > 1:
        return segmented_program(train, keys[0], hyper)
    return whole_program(train, keys[0], hyper)


def _open_store(run_dir: str | Path | None, program: Program, inputs: PyTree) -> tuple[ChunkStore | None, Plan | None]:
    """The store of finished chunks, and the plan that it was begun with."""
    if run_dir is None:
        return None, None
    text = "\n".join(stage.text for stage in program.stages)
    arrays = [array for stage in program.stages for array in stage.arrays]
    folder = Path(run_dir) / "chunks"
    store = ChunkStore(folder, fingerprint(text, [*arrays, *jax.tree.leaves(inputs)]), program.last.out)
    kept = read_plan(folder, store.identity) if processes.writes() else None
    if processes.writes():
        remove_drafts(folder)
    numbers = processes.agree(np.asarray(kept or (0, 0, 0, 0)))
    return store, Plan(*(int(n) for n in numbers)) if numbers[0] else None


def _layout(total: int, mesh: Mesh, lanes: int | Literal["auto", "wide"], chunk: int | None, kept: Plan | None) -> Plan:
    if kept is None:
        return layout.first_plan(total, mesh.size, lanes, mesh.devices.flat[0].platform, chunk)
    if kept.devices != mesh.size:
        raise BadInput(
            f"run_dir: begun with {kept.devices} devices, now there are {mesh.size}; "
            f"continue with {kept.devices}, or choose another folder"
        )
    return kept


def _run(
    engine: Engine, inputs: PyTree, store: ChunkStore | None, segment_seconds: float, *, show: bool | None
) -> Iterator[PyTree]:
    """Each chunk in turn; those that are whole on disk are read first, so that the estimated time is right."""
    plan = engine.plan
    found = {index: part for index in range(plan.chunks) if (part := _stored(store, index, plan)) is not None}
    lanes = [min(plan.chunk, plan.total - index * plan.chunk) for index in range(plan.chunks)]
    done = sum(lanes[index] for index in found)
    hidden = True if not processes.writes() else None if show is None else not show
    with tqdm(total=plan.total, initial=done, unit="lane", disable=hidden) as bar:
        for index in range(plan.chunks):
            yield (
                found.pop(index)
                if index in found
                else _compute(
                    engine,
                    inputs,
                    store,
                    index,
                    segment_seconds,
                    lambda share, n=lanes[index]: bar.update(share * n),
                )
            )


def _compute(
    engine: Engine,
    inputs: PyTree,
    store: ChunkStore | None,
    index: int,
    segment_seconds: float,
    advanced: Callable[[float], Any],
) -> PyTree:
    plan = engine.plan
    rows = np.minimum(np.arange(index * plan.chunk, (index + 1) * plan.chunk), plan.total - 1)
    mine = jax.tree.map(lambda leaf: leaf[rows], inputs)
    if store is None:
        return run_chunk(engine, mine, None, segment_seconds, advanced)
    checkpoints = store.folder.parent / "checkpoints" / f"chunk-{index:05d}"
    part = run_chunk(engine, mine, checkpoints, segment_seconds, advanced)
    if processes.writes():
        store.save(index, part)
    Checkpoints(checkpoints).clear()
    return part


def _stored(store: ChunkStore | None, index: int, plan: Plan) -> PyTree | None:
    if store is None:
        return None
    part = store.load(index, plan.chunk) if processes.writes() else None
    if not processes.agree(np.asarray(part is not None)):
        return None
    return processes.agree(store.blank(plan.chunk) if part is None else part)
