"""One MLP epoch from many seeds: against XLA's own matrix product, and against PyTorch, looped and vmapped.

The task is that of the easy-example sweep: 10,000 examples of 784 inputs, batch 128, plain SGD. Rounds interleave
all contenders, so that a machine whose speed drifts slows all of them.
"""

from statistics import median
from typing import Any

import jax
import optax

from benchmarks.timing import matmul_peak, seconds
from mlrisk.data import EpochSampler
from mlrisk.harness import make_train, prepare
from mlrisk.harness.lanes import size
from mlrisk.models import mlp
from mlrisk.objectives import classification
from mlrisk.types import Examples

EXAMPLES, INPUTS, CLASSES, BATCH, RATE = 10_000, 784, 10, 128, 0.01
STEPS = EXAMPLES // BATCH
LOOP_SEEDS = 10  # the loop's time per seed does not depend on how many there are


def run(widths: list[int], seeds: int, rounds: int, peers: list[str]) -> list[dict[str, Any]]:
    """One row per width: seconds per seed of each contender, and the ratios that matter.

    Args:
        widths: hidden units of both hidden layers.
        seeds: lanes of our sweep.
        rounds: repetitions, of which medians are taken.
        peers: ``loop`` and ``vmap``, PyTorch's two ways.
    """
    return [_width(width, seeds, rounds, peers) for width in widths]


def _width(width: int, seeds: int, rounds: int, peers: list[str]) -> dict[str, Any]:
    prepared = _prepare(width, seeds)
    prepared.run(show=False)
    contenders = {"ours": lambda: seconds(lambda: prepared.run(show=False)) / seeds}
    contenders |= {peer: _torch(peer, width, seeds) for peer in peers}
    found: dict[str, list[float]] = {"peak": []} | {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            found["peak"].append(matmul_peak())
            found[name].append(call())
    times = {name: median(found[name]) for name in contenders}
    rate = step_flops(width) * STEPS / times["ours"]
    row = {
        "width": width,
        "plan": prepared.engine.describe(),
        "peak_gflops": median(found["peak"]) / 1e9,
        "ours_gflops": rate / 1e9,
        "fraction_of_peak": rate / median(found["peak"]),
        **{f"{name}_ms_per_seed": 1000 * seconds for name, seconds in times.items()},
        **{f"speedup_over_{peer}": times[peer] / times["ours"] for peer in peers},
    }
    print(row, flush=True)
    return row


def step_flops(width: int) -> int:
    """Multiplications and additions of one step: forward, weight gradients, and input gradients but the first."""
    layers = [(INPUTS, width), (width, width), (width, CLASSES)]
    products = sum(a * b for a, b in layers)
    return 2 * BATCH * (3 * products - INPUTS * width)


def _prepare(width: int, seeds: int) -> Any:
    keys = jax.random.split(jax.random.key(0), seeds)
    inputs = jax.random.normal(jax.random.key(1), (EXAMPLES, INPUTS))
    labels = jax.random.randint(jax.random.key(2), (EXAMPLES,), 0, CLASSES)
    model = mlp((INPUTS,), (width, width), CLASSES)
    sampler = EpochSampler(Examples(inputs, labels), BATCH)
    train = make_train(model, classification(model), optax.sgd(RATE), sampler, num_steps=STEPS, keep_state=False)
    prepared = prepare(train, keys)
    print(prepared.engine.describe(), f"; data {size(inputs.nbytes)}")
    return prepared


def _torch(peer: str, width: int, seeds: int) -> Any:
    from benchmarks import torch_peers

    if peer == "loop":
        return lambda: torch_peers.loop(width, min(LOOP_SEEDS, seeds))
    lanes = min(seeds, 100 if width <= 256 else 10)  # wider stacks of wide networks only got slower
    return lambda: torch_peers.vmapped(width, lanes)
