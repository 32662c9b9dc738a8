"""Coloured MNIST at the published size: time against its operations at the measured peak, and against PyTorch.

There are two counts of operations: those of the published program, which multiplies with channels of zeros too, and
those that are left when pictures of one colour are taken together.

Random pictures stand in for the digits: the work is the same. One lane a device is timed, as the sweep runs them, for
a few full-batch steps of each method; the PyTorch loop is the obvious script, all cores on one restart.
"""

from statistics import median
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.operations import count
from benchmarks.timing import matmul_peak, seconds
from mlrisk.data.coloured import ColouredSampler, GreyDigits
from mlrisk.harness import prepare
from mlrisk.harness.colour_blocks import coloured_mlp
from mlrisk.harness.coloured import domain_objective
from mlrisk.harness.coloured_runs import ColouredSetting, coloured_train, penalties
from mlrisk.objectives.domains import METHODS

PICTURES, PIXELS, STEPS, RESTARTS, ALL_STEPS = 50_000, 196, 10, 10, 500


def measure(rounds: int = 3, hidden: tuple[int, ...] = (256, 390), *, peer: bool = True) -> list[dict[str, Any]]:
    """One row a width: seconds and operations of a step, the share of the peak, minutes of all lanes, PyTorch's ratio.

    Args:
        rounds: interleaved repetitions, of which medians are taken.
        hidden: units of both layers; those of the two published settings.
        peer: whether the PyTorch loop is timed too.
    """
    return [_row(units, rounds, peer=peer) for units in hidden]


def _row(units: int, rounds: int, *, peer: bool) -> dict[str, Any]:
    train, keys, hypers = _lanes(units)
    lanes = prepare(train, keys, hypers)
    lanes.run(show=False)
    times: dict[str, list[float]] = {"ours": [], "torch": [], "peak": []}
    for _ in range(rounds):
        times["ours"].append(seconds(lambda: lanes.run(show=False)) / (jax.device_count() * len(METHODS) * STEPS))
        times["peak"].append(matmul_peak())
        if peer:
            from benchmarks import coloured_peer

            times["torch"].append(coloured_peer.seconds_per_step(units, PICTURES, PIXELS, STEPS))
    hyper = jax.tree.map(lambda leaf: leaf[0], hypers)
    operations, published = count(train, keys[0], hyper) / STEPS, _painted_operations(units)
    ours, peak = median(times["ours"]), median(times["peak"])
    row = {
        "hidden": units,
        "GFLOP a step": operations / 1e9,
        "seconds a step": ours,
        "GFLOP/s": operations / ours / 1e9,
        "peak GFLOP/s": peak / 1e9,
        "over time at peak": ours * peak / operations,
        "published GFLOP": published / 1e9,
        "over published at peak": ours * peak / published,
        "minutes of all lanes": ours * ALL_STEPS * RESTARTS * len(METHODS) / 60,
        "torch over ours": median(times["torch"]) / ours if peer else None,
    }
    print(row, flush=True)
    return row


def _painted_operations(units: int) -> int:
    """Of one step of the published program: a loss on painted pictures and its gradient."""
    model = coloured_mlp(units, PIXELS).painted
    params = jax.eval_shape(model.init, jax.random.key(0))
    painted = jax.ShapeDtypeStruct((PICTURES, 2 * PIXELS), jnp.float32)
    return count(jax.grad(lambda params, inputs: model.apply(params, inputs).sum()), params, painted)


def _lanes(units: int) -> tuple[Any, Any, Any]:
    key = jax.random.key(0)
    pictures = jnp.maximum(jax.random.normal(key, (PICTURES, PIXELS)) - 0.8, 0)
    digits = GreyDigits(pictures, (jnp.arange(PICTURES) % 2).astype(jnp.int32))
    model, one = coloured_mlp(units, PIXELS), ColouredSetting(hidden=units, steps=STEPS)
    sampler = ColouredSampler(digits, jnp.asarray([0.2, 0.1]))
    train = coloured_train(model, domain_objective(model, 2), one, sampler, {}, STEPS)
    return train, jax.random.split(key, jax.device_count()), penalties(METHODS, one)
