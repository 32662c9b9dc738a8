"""A program compiled for one plan, and one chunk run on it, from its checkpoint if it has one."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from mlrisk.harness import processes
from mlrisk.harness.checkpoint import Checkpoints
from mlrisk.harness.lanes import AXIS, Plan, fit_to_memory, free_memory, over_lanes
from mlrisk.harness.program import Program, Stage

FIRST_BLOCKS = 1
CPU_OPTIONS: dict[str, str | bool] = {"xla_cpu_copy_insertion_use_region_analysis": True}
"""Without it, XLA on a CPU copies every large weight matrix in each step of a scan (5 to 10 % at 1024 units)."""


class Engine(NamedTuple):
    """The compiled stages of a program, their shared arrays on the devices, and the memory estimate."""

    plan: Plan
    mesh: Mesh
    program: Program
    compiled: tuple[Callable[..., PyTree], ...]
    shared: list[list[Any]]
    need: int
    free: int | None

    def describe(self) -> str:
        """The plan and its memory estimate in one line."""
        return self.plan.describe(self.need, self.free)

    def stage(self, number: int, extra: PyTree, carry: PyTree, rest: tuple[PyTree, ...] = ()) -> PyTree:
        """Run one stage for a chunk laid along the mesh."""
        extra = processes.place_everywhere(extra, self.mesh)
        return self.compiled[number](self.shared[number], extra, carry, rest)


def build(program: Program, plan: Plan, mesh: Mesh, inputs: PyTree, free_bytes: int | None, *, fixed: bool) -> Engine:
    """Compile a program for the widest plan that fits, or for the given one if it is fixed.

    Args:
        program: the lane, taken apart.
        plan: the layout to try first.
        mesh: where the lanes go.
        inputs: host arrays with one row per lane.
        free_bytes: memory to plan for on each device; None asks the backend.
        fixed: compile this plan and no other.
    """
    shared = processes.place_everywhere([stage.arrays for stage in program.stages], mesh)
    local = mesh.local_mesh.devices.flat[0]
    free = free_memory(local) if free_bytes is None else free_bytes
    tried: dict[Plan, tuple[Any, ...]] = {}

    def need(plan: Plan) -> int:
        tried[plan] = _compile(program, plan, mesh, shared, inputs)
        return max(_bytes(compiled) for compiled in tried[plan])

    chosen, needed = (plan, need(plan)) if fixed else fit_to_memory(plan, need, free)
    return Engine(chosen, mesh, program, tried[chosen], shared, needed, free)


def run_chunk(
    engine: Engine,
    inputs: PyTree,
    checkpoints: Path | None,
    segment_seconds: float,
    advanced: Callable[[float], Any],
) -> PyTree:
    """One chunk of lanes from its keys and hypers to its result on the host.

    Args:
        engine: the compiled program.
        inputs: host arrays (key words, hypers), one row per lane of the chunk.
        checkpoints: where a chunk with several blocks is saved between them.
        segment_seconds: how often, at most, that happens.
        advanced: told the share of the chunk that each call has done.
    """
    keys, hypers = processes.place_lanes(inputs, engine.mesh)
    if engine.program.blocks == 1 or checkpoints is None:
        out = processes.to_host(engine.stage(0, (), keys, (hypers,)))
        advanced(1.0)
        return out
    saved = Checkpoints(checkpoints)
    lane = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((engine.plan.chunk, *leaf.shape), leaf.dtype),
        engine.program.stages[0].out,
    )
    done, state = saved.latest(lane)
    advanced(done / engine.program.blocks)
    carry = processes.place_lanes(state, engine.mesh) if done else engine.stage(0, (), keys, (hypers,))
    carry = _advance(engine, carry, hypers, done, saved, segment_seconds, advanced)
    return processes.to_host(engine.stage(2, (), carry, (hypers,)))


def _advance(
    engine: Engine,
    carry: PyTree,
    hypers: PyTree,
    done: int,
    saved: Checkpoints,
    segment_seconds: float,
    advanced: Callable[[float], Any],
) -> PyTree:
    """The blocks from ``done`` on, in segments of about ``segment_seconds``, each saved but the last."""
    blocks, length = engine.program.blocks, FIRST_BLOCKS
    while done < blocks:
        last = min(done + length, blocks)
        begun = time.monotonic()
        carry = jax.block_until_ready(engine.stage(1, (np.int32(done), np.int32(last)), carry, (hypers,)))
        pace = (time.monotonic() - begun) / (last - done)
        length = int(processes.agree(np.int32(min(blocks, max(1, segment_seconds / max(pace, 1e-9))))))
        advanced((last - done) / blocks)
        done = last
        if done < blocks:
            saved.save(done, processes.to_host(carry))
    return carry


def _compile(program: Program, plan: Plan, mesh: Mesh, shared: list[list[Any]], inputs: PyTree) -> tuple[Any, ...]:
    keys, hypers = _lane_shapes(inputs, plan, mesh)
    if program.blocks == 1 or len(program.stages) == 1:
        return (_compile_stage(program.stages[0], shared[0], (), keys, (hypers,), plan, mesh),)
    carry = _lane_shapes(program.stages[0].out, plan, mesh, stacked=False)
    bounds = processes.place_everywhere((np.int32(0), np.int32(0)), mesh)
    return (
        _compile_stage(program.stages[0], shared[0], (), keys, (hypers,), plan, mesh),
        _compile_stage(program.stages[1], shared[1], bounds, carry, (hypers,), plan, mesh, donate=True),
        _compile_stage(program.stages[2], shared[2], (), carry, (hypers,), plan, mesh),
    )


def _compile_stage(
    stage: Stage,
    shared: list[Any],
    extra: PyTree,
    carry: PyTree,
    rest: tuple[PyTree, ...],
    plan: Plan,
    mesh: Mesh,
    *,
    donate: bool = False,
) -> Any:
    mapped = over_lanes(stage.call, plan.width, mesh)

    def run(shared: list[Any], extra: PyTree, carry: PyTree, rest: tuple[PyTree, ...]) -> PyTree:
        return mapped(shared, extra, (carry, *rest))

    run.__name__ = "mlrisk_sweep"
    jitted = jax.jit(run, donate_argnums=(2,) if donate else ())
    lowered = jitted.lower(shared, extra, carry, rest)
    if mesh.devices.flat[0].platform != "cpu":
        return lowered.compile()
    try:
        return lowered.compile(compiler_options=CPU_OPTIONS)
    except jax.errors.JaxRuntimeError:  # a jaxlib that no longer knows the option
        return lowered.compile()


def _lane_shapes(tree: PyTree, plan: Plan, mesh: Mesh, *, stacked: bool = True) -> PyTree:
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))

    def one(leaf: Any) -> jax.ShapeDtypeStruct:
        shape = leaf.shape[1:] if stacked else leaf.shape
        return jax.ShapeDtypeStruct((plan.chunk, *shape), leaf.dtype, sharding=sharding)

    return jax.tree.map(one, tree)


def _bytes(compiled: Any) -> int:
    analysis = compiled.memory_analysis()
    if analysis is None:
        return 0
    return analysis.temp_size_in_bytes + analysis.output_size_in_bytes
