"""How the lanes of a sweep are laid out: chunks, devices, and how many run side by side on each."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
from jax import lax
from jax.sharding import AxisType, Mesh, PartitionSpec
from jaxtyping import PyTree

AXIS = "seed"
CHUNKS = 10
"""Aim for about this many chunks: the unit of durability and of the progress bar."""
HEADROOM = 0.8
"""Share of the free memory that a compiled estimate may fill."""


class Plan(NamedTuple):
    """The layout of a sweep, kept in the run folder so that a resumed sweep makes the same one."""

    total: int
    chunk: int
    width: int
    devices: int

    @property
    def chunks(self) -> int:
        """How many chunks there are; the last is filled up with copies of the last lane."""
        return -(-self.total // self.chunk)

    def describe(self, need: int | None = None, free: int | None = None) -> str:
        """The plan in one line, with the memory estimate that led to it."""
        per_device = self.chunk // self.devices
        abreast = "one after another" if self.width == 1 else f"{self.width} abreast"
        line = (
            f"{self.total} lanes in {self.chunks} chunks of {self.chunk}: "
            f"{self.devices} device{'s' * (self.devices > 1)} x {per_device} lanes, {abreast}"
        )
        if need is not None and free is not None:
            line += f"; needs {size(need)} of {size(free)} free per device"
        return line


def size(count: int) -> str:
    """A number of bytes for people: ``3.2 GB``."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.3g} {units[0]}"


def lane_mesh(mesh: Mesh | None = None) -> Mesh:
    """The mesh to lay lanes along: the given one (with an axis ``"seed"``), or all devices of the backend.

    Raises:
        ValueError: the mesh has other axes than ``"seed"``.
    """
    if mesh is None:
        return jax.make_mesh((jax.device_count(),), (AXIS,), axis_types=(AxisType.Auto,))
    if mesh.axis_names != (AXIS,):
        raise ValueError(f"mesh: its axes are {mesh.axis_names}; the harness lays lanes along ('{AXIS}',)")
    return mesh


def first_plan(
    total: int, devices: int, lanes: int | Literal["auto", "wide"], platform: str, chunk: int | None = None
) -> Plan:
    """The layout to try first: one lane at a time on a CPU, all lanes abreast on an accelerator.

    Args:
        total: number of lanes.
        devices: number of devices along the mesh.
        lanes: how many lanes run abreast on a device; ``"auto"`` is 1 on CPU and ``"wide"`` elsewhere.
        platform: ``cpu``, ``gpu`` or ``tpu``.
        chunk: lanes in a chunk, rounded up to fill every device; by default about a tenth of all.

    Raises:
        ValueError: ``lanes`` is neither a positive number nor one of the two words, or ``chunk`` not positive.
    """
    if lanes not in ("auto", "wide") and not (isinstance(lanes, int) and lanes >= 1):
        raise ValueError(f"lanes: {lanes!r} is not a positive number, 'auto' or 'wide'")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk: {chunk} is not a positive number of lanes")
    if lanes == "auto" and platform == "cpu":
        lanes = 1
    share = -(-min(total, chunk or total) // devices)
    if isinstance(lanes, str):
        return Plan(total, share * devices, share, devices)
    width = min(lanes, share)
    rounds = -(-share // width) if chunk else -(-share // (CHUNKS * width))
    return Plan(total, rounds * width * devices, width, devices)


def fit_to_memory(plan: Plan, need: Callable[[Plan], int], free: int | None) -> tuple[Plan, int]:
    """The widest plan whose compiled estimate leaves headroom, found by scaling down from the first one.

    Args:
        plan: the layout to try first.
        need: compiles a plan and returns the bytes that it takes on one device.
        free: free bytes on one device; None where the backend does not say.

    Returns:
        The plan, and its estimate.
    """
    needed = need(plan)
    while free is not None and needed > HEADROOM * free and plan.width > 1:
        width = max(1, min(plan.width - 1, int(plan.width * HEADROOM * free / needed)))
        plan = Plan(plan.total, width * plan.devices, width, plan.devices)
        needed = need(plan)
    return plan, needed


def free_memory(device: Any) -> int | None:
    """Free bytes on a device: the allocator's own figure, or on a CPU the machine's over the local devices."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    if device.platform != "cpu":
        return None
    return _free_on_host() // jax.local_device_count()


def _free_on_host() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def over_lanes(function: Callable[..., PyTree], width: int, mesh: Mesh) -> Callable[..., PyTree]:
    """``function(shared, extra, *lane)`` for one lane, made to run for a chunk of lanes laid along the mesh.

    Each device takes its share of the leading axis, ``width`` lanes abreast, one group after another.

    Args:
        function: takes shared arrays, replicated scalars, and the arguments of one lane.
        width: lanes abreast on one device; must divide each device's share.
        mesh: a mesh with the one axis ``"seed"``.
    """

    def local(shared: PyTree, extra: PyTree, lanes: tuple[PyTree, ...]) -> PyTree:
        def one(lane: tuple[PyTree, ...]) -> PyTree:
            return function(shared, extra, *lane)

        count = jax.tree.leaves(lanes)[0].shape[0]
        if width == 1:
            return lax.map(one, lanes)
        return jax.vmap(one)(lanes) if width >= count else lax.map(one, lanes, batch_size=width)

    along, everywhere = PartitionSpec(AXIS), PartitionSpec()
    return jax.shard_map(local, mesh=mesh, in_specs=(everywhere, everywhere, along), out_specs=along, check_vma=False)
