"""The sweeps of the memorization chapter at ``cpu``: operations a second, as a share of the measured peak.

Each experiment's own ``run`` builds its lanes; one lane a device is timed, after a run that compiles. Sweeps of CNNs
are held against the fastest convolution of this machine, the others against the fastest product.
"""

import time
from pathlib import Path
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.operations import count
from benchmarks.timing import matmul_peak, seconds
from mlrisk import config as configs
from mlrisk.experiment import _module, find, presets
from mlrisk.harness import Train, prepare

EXPERIMENTS = ("capacity", "convergence", "noise_levels", "critical_samples", "regularisers", "first_layer_filters")
CHANNELS, IMAGES, SIDE, KERNEL = (32, 64), 64, 24, 5


def run(data_dir: str | None, rounds: int, names: tuple[str, ...] = EXPERIMENTS) -> list[dict[str, Any]]:
    """One row a sweep of each experiment's ``cpu`` preset."""
    peaks = {"product": median(matmul_peak() for _ in range(rounds)), "convolution": convolution_peak()}
    rows = []
    for name in names:
        experiment = find(name)
        config = configs.load(experiment.config, presets(name)["cpu"].path, {"data_dir": data_dir}, name)
        module = _module(name)
        original, seen = module.sweep, []
        module.sweep = lambda train, keys, hypers=None, n=name, s=seen, **_: _watched(n, train, keys, hypers, peaks, s)
        try:
            experiment.run(config, jax.random.key(0), Path("unused"))
        finally:
            module.sweep = original
        rows += seen
    return rows


def _watched(name: str, train: Any, keys: Any, hypers: Any, peaks: dict[str, float], seen: list[dict[str, Any]]) -> Any:
    """Times one lane a device of a sweep and writes a row; returns blanks of the whole sweep's shapes."""
    hyper = jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], hypers)
    if isinstance(train, Train):
        lanes = prepare(train, keys[: jax.device_count()], jax.tree.map(lambda leaf: leaf[None], hyper))
        lanes.run(show=False)
        started = time.perf_counter()
        fit = lanes.run(show=False)
        took = time.perf_counter() - started
        stopped = np.where(fit.stopped_at < 0, train.num_steps, fit.stopped_at).mean() / train.num_steps
        operations = count(train, keys[0], hyper, trips=_trips(train)) * stopped * jax.device_count()
        kernels = [leaf.shape for leaf in jax.tree.leaves(jax.eval_shape(train.model.init, keys[0])) if leaf.ndim > 1]
        kind = "convolution" if any(len(shape) == 4 for shape in kernels) else "product"
        row = {"experiment": name, "kernels": " ".join("x".join(map(str, shape)) for shape in kernels),
               "lanes": lanes_of(keys, hypers),
               "seconds a lane": took / jax.device_count(), "GFLOP/s": operations / took / 1e9, "peak of": kind,
               "share of peak": operations / took / peaks[kind]}  # fmt: skip
        print(row, flush=True)
        seen.append(row)
    else:
        print(f"{name}: a sweep of another kind, {lanes_of(keys, hypers)} lanes, is not timed", flush=True)
    shape = jax.eval_shape(train, keys[0], *(() if hypers is None else (hyper,)))
    axes = (len(jax.tree.leaves(hypers)[0]), len(keys)) if hypers is not None else (len(keys),)
    return jax.tree.map(lambda leaf: np.zeros((*axes, *leaf.shape), leaf.dtype), shape)


def lanes_of(keys: Any, hypers: Any) -> int:
    """Settings times seeds."""
    return len(keys) * (1 if hypers is None else len(jax.tree.leaves(hypers)[0]))


def total_minutes(rows: list[dict[str, Any]]) -> float:
    """What all lanes of the timed sweeps take, at the time that one lane took; compiling and reports not included."""
    return sum(row["lanes"] * row["seconds a lane"] for row in rows) / 60


def _trips(train: Train) -> int:
    """Steps of the search for critical samples: it ends early only where all are critical."""
    return max((getattr(probe, "num_steps", 0) for _, probe in train.probes), default=0)


def convolution_peak() -> float:
    """Operations per second of XLA's own convolution outside any loop, the best of sizes and of three calls."""
    return max(_convolution_rate(channels) for channels in CHANNELS)


def _convolution_rate(channels: int) -> float:
    images, kernel = jnp.ones((IMAGES, SIDE, SIDE, channels)), jnp.ones((KERNEL, KERNEL, channels, channels))

    @jax.jit
    def convolve(images: Any, kernel: Any) -> Any:
        return jax.lax.conv_general_dilated(images, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    operations = count(convolve, images, kernel)
    convolve(images, kernel).block_until_ready()
    return operations / min(seconds(lambda: convolve(images, kernel)) for _ in range(5))
