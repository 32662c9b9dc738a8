"""Neural autoregressive flows against zuko's and flowjax's: density, training step, sampling, gradient of the inverse.

Same number of variables, batch, conditioner widths, units and transforms for all; rounds interleave the contenders,
and medians are shown. Every time is in ms of a compiled call on data that are already there.
"""

from collections.abc import Callable
from statistics import median
from typing import Any

import distrax
import jax
import jax.numpy as jnp
import optax

from benchmarks.timing import seconds
from mlrisk.bijectors import Flow, masked_autoregressive_flow, neural_autoregressive_flow

SIZES = ((6, 1024, (100, 100)), (63, 256, (512, 512)))
UNITS, LAYERS, RATE = 16, 2, 1e-3
Calls = dict[str, Callable[[], Any]]


def run(rounds: int, peers: list[str]) -> list[dict[str, Any]]:
    """One row per size and contender: ms of each call, and the ratios to ours.

    Args:
        rounds: repetitions, of which medians are taken.
        peers: of ``zuko`` and ``flowjax``.
    """
    rows = []
    for size in SIZES:
        contenders = _contenders(size, peers)
        found: dict[tuple[str, str], list[float]] = {}
        for number in range(rounds):
            for name, calls in contenders.items():
                for call, function in calls.items():
                    once = (name, call) == ("zuko NAF", "sample")  # seconds a call
                    if not (once and number):
                        found.setdefault((name, call), []).append(timed(function, 1 if once else 3))
        rows += _rows(size, contenders, {key: median(times) for key, times in found.items()})
    return rows


def _contenders(size: tuple[int, int, tuple[int, ...]], peers: list[str]) -> dict[str, Calls]:
    event_size, batch, widths = size
    common = {"num_layers": LAYERS, "hidden_sizes": widths}
    made = {
        "ours dsf": neural_autoregressive_flow(event_size, units=UNITS, **common),
        "ours dsf, 16 features": neural_autoregressive_flow(event_size, units=UNITS, features=16, **common),
        "ours ddsf": neural_autoregressive_flow(event_size, transformer="ddsf", units=UNITS, features=16, **common),
        "ours affine": masked_autoregressive_flow(event_size, **common),
        "ours spline": masked_autoregressive_flow(event_size, transformer="spline", units=8, **common),
    }
    contenders = {name: ours(flow, event_size, batch) for name, flow in made.items()}
    if "zuko" in peers:
        from benchmarks.flow_peers import zuko_naf

        contenders["zuko NAF"] = zuko_naf(event_size, batch, widths)
    if "flowjax" in peers:
        from benchmarks.flow_peers import flowjax_block, flowjax_spline

        contenders |= {
            "flowjax block NAF": flowjax_block(event_size, batch),
            "flowjax spline MAF": flowjax_spline(event_size, batch, widths),
        }
    return contenders


def ours(flow: Flow, event_size: int, batch: int) -> Calls:
    """The compiled calls of one of our flows; the training step is Adam's."""
    key = jax.random.key(0)
    params, x = flow.init(key), jax.random.normal(key, (batch, event_size))
    base = distrax.Independent(distrax.Normal(jnp.zeros(event_size), jnp.ones(event_size)), 1)
    optimizer = optax.adam(RATE)
    state = {"params": params, "opt": optimizer.init(params)}

    def log_prob(params: Any, x: jax.Array) -> jax.Array:
        return distrax.Transformed(base, flow.bijector(params)).log_prob(x)

    @jax.jit
    def step(params: Any, opt: Any) -> tuple[Any, Any]:
        grads = jax.grad(lambda p: -log_prob(p, x).mean())(params)
        updates, opt = optimizer.update(grads, opt, params)
        return optax.apply_updates(params, updates), opt

    def train() -> Any:
        state["params"], state["opt"] = step(state["params"], state["opt"])
        return state

    forward = jax.jit(lambda params, z: flow.bijector(params).forward(z))
    slope = jax.jit(jax.grad(lambda params, z: flow.bijector(params).forward(z).sum(), (0, 1)))
    density = jax.jit(log_prob)
    return {
        "log_prob": lambda: density(params, x),
        "train": train,
        "sample": lambda: forward(params, x),
        "inverse_gradient": lambda: slope(params, x),
    }


def timed(function: Callable[[], Any], repeats: int = 3) -> float:
    """Milliseconds of the best of some calls; the first, which may compile, does not count."""
    jax.block_until_ready(function())
    return 1000 * min(seconds(function) for _ in range(repeats))


def _rows(size: tuple[int, int, tuple[int, ...]], contenders: dict[str, Calls], times: dict) -> list[dict[str, Any]]:
    rows = []
    for name, calls in contenders.items():
        row: dict[str, Any] = {"D": size[0], "batch": size[1], "flow": name}
        row |= {f"{call}_ms": times[name, call] for call in calls}
        for call in ("log_prob", "train", "sample"):
            if (name, call) in times and not name.startswith("ours"):
                row[f"{call}_over_ours"] = times[name, call] / times["ours dsf", call]
                row[f"{call}_over_16_features"] = times[name, call] / times["ours dsf, 16 features", call]
        if "inverse_gradient" in calls:
            row["gradient_over_inverse"] = times[name, "inverse_gradient"] / times[name, "sample"]
        print(row, flush=True)
        rows.append(row)
    return rows
