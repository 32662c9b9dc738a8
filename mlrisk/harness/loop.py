"""The one training loop: a scan over probe blocks around a scan over steps, as a pure function of a key."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Int

from mlrisk.harness import tracking
from mlrisk.harness.tracking import Best, BestRule
from mlrisk.prng import step_key, stream, streams
from mlrisk.types import Aux, Hyper, Metrics, Model, Objective, Params, Probe, RandomKey, Sampler

Optimizer = optax.GradientTransformation | Callable[[Hyper], optax.GradientTransformation]


class TrainState(NamedTuple):
    """Everything a lane needs to go on; saved whole, so a resumed lane continues bit for bit."""

    step: Int[Array, ""]
    params: Params
    opt_state: Any
    key: RandomKey
    diverged_at: Int[Array, ""]
    """First step with a loss that is not finite; -1 while there is none."""
    stopped_at: Int[Array, ""]
    """Step at which early stopping froze the lane; -1 while it runs."""
    average: Params | None
    """Debiased exponential average of the parameters, when asked for."""
    best: Best | None
    """Snapshot at the best probe so far, when asked for."""


class Fit(NamedTuple):
    """The result of one lane: its final state, each metric along the probe blocks, and how it ended."""

    state: TrainState | None
    history: Metrics
    diverged_at: Int[Array, ""]
    """First step with a loss that is not finite, or -1."""
    stopped_at: Int[Array, ""]
    """Step at which early stopping froze the lane, or -1."""


class Progress(NamedTuple):
    """A lane under way: its state and the history so far, in buffers of the final size."""

    state: TrainState
    history: Metrics


@dataclass(frozen=True)
class Train:
    """A pure ``train(key, hyper=None) -> Fit``, which can also be run block by block.

    ``train(key, hyper)`` equals ``finish(advance(start(key, hyper), hyper, 0, num_blocks))``; the harness uses
    the three parts to save long lanes between blocks.
    """

    sampler: Sampler
    probes: tuple[tuple[str, Probe], ...]
    model: Model
    objective: Objective
    optimizer: Optimizer
    num_steps: int
    probe_every: int
    schedule: Callable[[Hyper, Int[Array, ""]], Hyper] | None
    average_decay: float | None
    best: BestRule | None
    keep_state: bool

    @property
    def num_blocks(self) -> int:
        """How many times the probes are called."""
        return self.num_steps // self.probe_every

    def __call__(self, key: RandomKey, hyper: Hyper = None) -> Fit:
        """Train one lane from start to end."""
        return self.finish(self.advance(self.start(key, hyper), hyper, 0, self.num_blocks))

    def start(self, key: RandomKey, hyper: Hyper = None) -> Progress:
        """The lane before its first step; its history buffers hold zeros."""
        params = self.model.init(stream(key, "init"))
        state = TrainState(
            step=jnp.int32(0),
            params=params,
            opt_state=self._optimizer(hyper).init(params),
            key=key,
            diverged_at=jnp.int32(-1),
            stopped_at=jnp.int32(-1),
            average=None if self.average_decay is None else jax.tree.map(jnp.zeros_like, params),
            best=None if self.best is None else self.best.start(params),
        )
        row = jax.eval_shape(lambda s: self._block(s, hyper)[1], state)
        history = {name: jnp.zeros((self.num_blocks, *r.shape), r.dtype) for name, r in row.items()}
        return Progress(state, history)

    def advance(
        self, progress: Progress, hyper: Hyper, first: Int[Array, ""] | int, last: Int[Array, ""] | int
    ) -> Progress:
        """Run blocks ``first`` to ``last - 1``; the bounds may be traced, so every cut shares one compile."""
        own = self._with_lane_data(progress.state.key, hyper)
        return lax.fori_loop(first, last, lambda block, p: own._one(block, p, hyper), progress)

    def finish(self, progress: Progress) -> Fit:
        """What a finished lane gives back."""
        state, history = progress
        return Fit(state if self.keep_state else None, history, state.diverged_at, state.stopped_at)

    def _with_lane_data(self, key: RandomKey, hyper: Hyper) -> "Train":
        """With what the sampler draws once a lane drawn here, outside the loops."""
        for_lane = getattr(self.sampler, "for_lane", None)
        return self if for_lane is None else replace(self, sampler=for_lane(stream(key, "data"), hyper))

    def _one(self, block: Int[Array, ""], progress: Progress, hyper: Hyper) -> Progress:
        state, history = progress
        if self.best is None or not self.best.stops:
            state, row = self._block(state, hyper)
        else:
            previous = jax.tree.map(lambda h: h[jnp.maximum(block - 1, 0)], history)
            state, row = lax.cond(
                state.stopped_at >= 0, lambda s: (s, previous), lambda s: self._block(s, hyper), state
            )
        return Progress(state, {name: h.at[block].set(row[name]) for name, h in history.items()})

    def _block(self, state: TrainState, hyper: Hyper) -> tuple[TrainState, Metrics]:
        data_key, train_key, eval_key = streams(state.key, "data", "train", "eval")

        def step(state: TrainState, _: None) -> tuple[TrainState, Metrics]:
            return self._step(state, hyper, data_key, train_key)

        state, metrics = lax.scan(step, state, None, length=self.probe_every)
        row = {f"train/{name}": jnp.mean(values, axis=0) for name, values in metrics.items()}
        for split, probe in self.probes:
            found = _with_hyper(probe, state, step_key(stream(eval_key, split), state.step), hyper)
            row |= {f"{split}/{name}": jnp.asarray(value) for name, value in found.items()}
        if self.best is not None:
            state = self.best.update(state, row, self.probe_every)
        return state, row

    def _step(
        self, state: TrainState, hyper: Hyper, data_key: RandomKey, train_key: RandomKey
    ) -> tuple[TrainState, Metrics]:
        if self.schedule is not None:
            hyper = self.schedule(hyper, state.step)
        batch = _with_hyper(self.sampler, data_key, state.step, hyper)
        gradient = jax.value_and_grad(self.objective, has_aux=True)
        (loss, aux), grads = gradient(state.params, batch, hyper, step_key(train_key, state.step))
        updates, opt_state = self._optimizer(hyper).update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics, carried = aux if isinstance(aux, Aux) else (aux, {})
        params = _replaced(params, carried) if carried else params
        diverged = (state.diverged_at < 0) & ~jnp.isfinite(loss)
        return state._replace(
            step=state.step + 1,
            params=params,
            opt_state=opt_state,
            diverged_at=jnp.where(diverged, state.step, state.diverged_at),
            average=tracking.average(state.average, params, state.step, self.average_decay),
        ), metrics

    def _optimizer(self, hyper: Hyper) -> optax.GradientTransformation:
        made = self.optimizer
        return made if isinstance(made, optax.GradientTransformation) else made(hyper)


def _replaced(params: Any, entries: dict[str, Any]) -> Any:
    return {**params, **entries}


def _with_hyper(function: Callable[..., Any], first: Any, second: Any, hyper: Hyper) -> Any:
    needed = [
        p
        for p in inspect.signature(function).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]
    return function(first, second, hyper) if len(needed) == 3 else function(first, second)


jax.tree_util.register_dataclass(
    Train,
    data_fields=["sampler", "probes"],
    meta_fields=[
        "model", "objective", "optimizer", "num_steps", "probe_every",
        "schedule", "average_decay", "best", "keep_state",
    ],
)  # fmt: skip


def make_train(
    model: Model,
    objective: Objective,
    optimizer: Optimizer,
    sampler: Sampler,
    probes: Mapping[str, Probe] | Sequence[tuple[str, Probe]] = (),
    num_steps: int = 1,
    probe_every: int | None = None,
    *,
    schedule: Callable[[Hyper, Int[Array, ""]], Hyper] | None = None,
    average_decay: float | None = None,
    best: BestRule | None = None,
    keep_state: bool = True,
) -> Train:
    """A pure ``train(key, hyper=None) -> Fit`` to jit, vmap, shard or hand to `mlrisk.harness.sweep`.

    Args:
        model: the ``init`` of the parameters (``apply`` is the objective's and the probes' business).
        objective: ``(params, batch, hyper, key) -> (loss, metrics)``.
        optimizer: an optax transformation, or ``hyper -> transformation`` to vmap over learning rates; clipping
            and learning-rate schedules are optax's own.
        sampler: ``(key, step) -> batch``; called with the same key at every step. With a third positional
            argument it is given ``hyper`` too, for data that differ from lane to lane. A sampler's method
            ``for_lane(key, hyper) -> sampler`` is called once a lane, for what is drawn once and used at every step.
        probes: split name -> ``probe(state, key) -> metrics``, called after each block (``hyper`` as third, as
            for samplers). Scalars become rows of the records, larger arrays become arrays.
        num_steps: optimiser steps of one lane.
        probe_every: steps in a block; must divide ``num_steps``; by default one block.
        schedule: ``(hyper, step) -> hyper`` applied before each step, for penalty and KL schedules.
        average_decay: keep a debiased exponential average of the parameters with this decay.
        best: keep the parameters at the best value of a probed metric, and stop early if it has a patience.
        keep_state: False gives ``Fit.state = None``, for sweeps whose final parameters would fill the memory.

    Returns:
        A `Train`. Its history has ``train/<metric>``, the mean over each block's steps, and ``<split>/<metric>``
        from the probes, with leading axis ``num_steps // probe_every``.

    Raises:
        ValueError: a count is not positive, ``probe_every`` does not divide ``num_steps``, or the best snapshot is
            to be of averaged parameters that are not kept.
    """
    every = num_steps if probe_every is None else probe_every
    if num_steps < 1 or every < 1 or num_steps % every:
        raise ValueError(f"probe_every: {every} must be positive and divide num_steps, which is {num_steps}")
    if average_decay is not None and not 0 <= average_decay < 1:
        raise ValueError(f"average_decay: {average_decay} is not in [0, 1)")
    if best is not None and best.of == "average" and average_decay is None:
        raise ValueError("best.of: 'average' needs an average_decay; without one no average is kept")
    named = tuple(probes.items() if isinstance(probes, Mapping) else probes)
    return Train(
        sampler,
        named,
        model,
        objective,
        optimizer,
        num_steps,
        every,
        schedule,
        average_decay,
        best,
        keep_state,
    )
