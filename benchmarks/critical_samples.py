"""The critical sample ratio: examples per second against the obvious PyTorch loop, and what early exit saves.

Both sides search the same examples with the same weights for the same number of iterations: the radius is so small
that no search ends early. Rounds interleave the contenders, so that a machine whose speed drifts slows all of them.
"""

from functools import partial
from statistics import median
from typing import Any

import jax

from benchmarks.timing import seconds
from mlrisk.measures import critical_sample_ratio, lass_search
from mlrisk.models import alexnet_small, mlp
from mlrisk.types import Model

CLASSES, BATCH, ITERATIONS = 10, 250, 20
NEVER, SOON = 1e-7, 10.0  # radii within which no class changes, and within which all change in a few iterations
FAR = 1e6  # networks without biases: inputs times this are as much farther from any boundary
NETWORKS: dict[str, tuple[tuple[int, ...], Any, int]] = {
    "mlp 256x256": ((784,), partial(mlp, hidden_sizes=(256, 256)), 5000),
    "mlp 1024x1024": ((784,), partial(mlp, hidden_sizes=(1024, 1024)), 2000),
    "cnn 24x24": ((32, 32, 3), partial(alexnet_small, channels=(24, 24), dense=(96, 48)), 1000),
    "cnn 64x64": ((32, 32, 3), partial(alexnet_small, channels=(64, 64), dense=(384, 192)), 500),
}


def measure(rounds: int = 3, networks: tuple[str, ...] = tuple(NETWORKS)) -> list[dict[str, Any]]:
    """One row a network: examples per second of both sides at the same iterations, and the time early exit leaves.

    Args:
        rounds: interleaved repetitions, of which medians are taken.
        networks: names in `NETWORKS`.
    """
    return [_network(name, rounds) for name in networks]


def _network(name: str, rounds: int) -> dict[str, Any]:
    from benchmarks import critical_peers

    shape, build, examples = NETWORKS[name]
    model = build(shape, num_classes=CLASSES)
    params = jax.jit(model.init)(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (examples, *shape))
    ours, mixed = _ratio(model), x.at[BATCH:].divide(FAR)
    calls = {
        "ours": lambda: ours(params, x, NEVER).block_until_ready(),
        "torch": partial(critical_peers.loop, critical_peers.network(params), x, NEVER, ITERATIONS, BATCH),
        "all_soon": lambda: ours(params, x, SOON).block_until_ready(),
        "one_batch_late": lambda: ours(params, mixed, 1e-5).block_until_ready(),
    }
    shares = {call: float(run()) for call, run in calls.items()}
    found: dict[str, list[float]] = {call: [] for call in calls}
    for _ in range(rounds):
        for call, run in calls.items():
            found[call].append(seconds(run))
    times = {call: median(values) for call, values in found.items()}
    row = {
        "network": name,
        "examples": examples,
        "iterations": ITERATIONS,
        "ours_per_second": examples / times["ours"],
        "torch_per_second": examples / times["torch"],
        "speedup": times["torch"] / times["ours"],
        "csr_ours": shares["ours"],
        "csr_torch": shares["torch"],
        "iterations_if_all_soon": _iterations(model, params, x[:BATCH]),
        "time_if_all_soon": times["all_soon"] / times["ours"],
        "csr_if_one_batch_late": shares["one_batch_late"],
        "time_if_one_batch_late": times["one_batch_late"] / times["ours"],
    }
    print(row, flush=True)
    return row


def _ratio(model: Model) -> Any:
    def ratio(params: Any, x: jax.Array, radius: float) -> jax.Array:
        predict = partial(model.apply, params)
        key = jax.random.key(2)
        return critical_sample_ratio(predict, x, key, radius=radius, num_steps=ITERATIONS, batch_size=BATCH)

    return jax.jit(ratio)


def _iterations(model: Model, params: Any, x: jax.Array) -> int:
    search = jax.jit(
        lambda p, x: lass_search(partial(model.apply, p), x, jax.random.key(2), radius=SOON, num_steps=ITERATIONS)
    )
    return int(search(params, x).iterations)
