"""The same calls on other people's flows: zuko (PyTorch) and flowjax (JAX, equinox)."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import flowjax.flows
import jax
import jax.numpy as jnp
import optax
import torch
import zuko
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import Normal

from benchmarks.flows import LAYERS, RATE, UNITS

Calls = dict[str, Callable[[], Any]]


def zuko_naf(event_size: int, batch: int, widths: tuple[int, ...]) -> Calls:
    """Zuko's neural autoregressive flow: 16 numbers a variable into a monotone network of its default size."""
    torch.manual_seed(0)
    flow = zuko.flows.NAF(event_size, transforms=LAYERS, signal=UNITS, hidden_features=widths)
    x, optimizer = torch.randn(batch, event_size), torch.optim.Adam(flow.parameters(), RATE)

    def train() -> None:
        optimizer.zero_grad()
        loss = -flow().log_prob(x).mean()
        loss.backward()
        optimizer.step()

    def log_prob() -> Any:
        with torch.no_grad():
            return flow().log_prob(x)

    def sample() -> Any:
        with torch.no_grad():
            return flow().sample((batch,))

    return {"log_prob": log_prob, "train": train, "sample": sample}


def flowjax_block(event_size: int, batch: int) -> Calls:
    """Flowjax's block neural autoregressive flow; blocks of 8 units, its default. Its inverse is a search."""
    make = flowjax.flows.block_neural_autoregressive_flow
    flow = make(jax.random.key(0), base_dist=Normal(jnp.zeros(event_size)), flow_layers=LAYERS)
    return _flowjax(flow, event_size, batch, sampled=False)


def flowjax_spline(event_size: int, batch: int, widths: tuple[int, ...]) -> Calls:
    """Flowjax's masked autoregressive flow with rational-quadratic splines of 8 knots."""
    flow = flowjax.flows.masked_autoregressive_flow(
        jax.random.key(0),
        base_dist=Normal(jnp.zeros(event_size)),
        transformer=RationalQuadraticSpline(knots=8, interval=5),
        flow_layers=LAYERS,
        nn_width=widths[0],
        nn_depth=len(widths),
    )
    return _flowjax(flow, event_size, batch, sampled=True)


def _flowjax(flow: Any, event_size: int, batch: int, *, sampled: bool) -> Calls:
    x = jax.random.normal(jax.random.key(1), (batch, event_size))
    arrays, static = eqx.partition(flow, eqx.is_inexact_array)
    optimizer = optax.adam(RATE)
    state = {"params": arrays, "opt": optimizer.init(arrays)}

    @jax.jit
    def step(params: Any, opt: Any) -> tuple[Any, Any]:
        grads = jax.grad(lambda p: -eqx.combine(p, static).log_prob(x).mean())(params)
        updates, opt = optimizer.update(grads, opt, params)
        return eqx.apply_updates(params, updates), opt

    def train() -> Any:
        state["params"], state["opt"] = step(state["params"], state["opt"])
        return state

    density = jax.jit(lambda p, x: eqx.combine(p, static).log_prob(x))
    draw = jax.jit(lambda p, key: eqx.combine(p, static).sample(key, (batch,)))
    calls = {"log_prob": lambda: density(arrays, x), "train": train}
    return calls | ({"sample": lambda: draw(arrays, jax.random.key(2))} if sampled else {})
