"""The search that all our attacks share: steps uphill inside an l_inf ball until the predicted class changes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from mlrisk.errors import BadInput
from mlrisk.types import is_concrete

Predict = Callable[[Array], Any]
"""``predict(x) -> logits``: (n, *shape) to (n, classes), each row a function of its own example alone."""

Advance = Callable[[Array, Array, Array], Array]
"""``(points, signs, iteration) -> points``, before they are clipped to the ball and the box."""

Number = float | int | Array

Count = int | Int[Array, ""]


class Search(NamedTuple):
    """What a search found for each example, and how long it took."""

    found: Bool[Array, " n"]
    """Whether some point of the path has another class than the example."""
    adversary: Float[Array, "n ..."]
    """The first such point; the example itself where there is none, NaN where it is not defined."""
    found_at: Int[Array, " n"]
    """The iteration that found it, from 1; 0 where none did."""
    defined: Bool[Array, " n"]
    """Whether the logits at the example are numbers. An example where they are not is never found."""
    iterations: Int[Array, ""]
    """How many iterations ran."""


def climb(
    predict: Predict,
    x: Float[Array | np.ndarray, "n ..."],
    advance: Advance,
    *,
    radius: Number,
    num_steps: Count,
    box: tuple[Number, Number] | None = None,
    min_new_share: Number = 0.0,
    start: Float[Array, "n ..."] | None = None,
    counted: Bool[Array, " n"] | None = None,
) -> Search:
    """Iterate ``x_t = clip(advance(x_{t-1}, sign(dL(x_{t-1})/dx), t))`` until every class has changed.

    L is the cross-entropy against the model's own prediction at the example. An example, once found, stays found,
    and its adversary stays the first one; the loop runs on for the others.

    Args:
        predict: logits of a batch; batch normalisation must be in inference mode.
        x: examples (n, *shape).
        advance: the step.
        radius: of the ball around each example, in the units of x.
        num_steps: iterations at most.
        box: lowest and highest value that an entry of an input may have; None for no limits.
        min_new_share: end after an iteration that finds less than this share of the examples; 0 never does.
        start: first points; the examples when None.
        counted: examples that matter; the others are never found, nor does the search go on for them. All when None.

    Returns:
        A `Search`. No gradient passes through it.

    Raises:
        BadInput: see `require_search`; or the logits are not (n, classes), of one class, or visibly NaN.

    Differs:
        L is replaced by ``log sum_{j != y} exp(z_j) - z_y``, whose gradient has the same sign: that of L is rounded
        to zero where the model is very sure.
    """
    require_search(x, radius, num_steps, box)
    x = lax.stop_gradient(jnp.asarray(x))
    logits = predict(x)
    _require_logits(logits, x.shape[0])
    own, defined = jnp.argmax(logits, axis=-1), _numbers(logits)
    matters = defined if counted is None else defined & counted
    enough = jnp.asarray(min_new_share, jnp.float32) * jnp.sum(matters, dtype=jnp.float32)

    def goes_on(state: tuple[Search, Array, Array, Array]) -> Array:
        search, _, _, latest = state
        ended = (search.iterations > 0) & (latest < enough)
        return (search.iterations < num_steps) & jnp.any(matters & ~search.found) & ~ended

    def iterate(state: tuple[Search, Array, Array, Array]) -> tuple[Search, Array, Array, Array]:
        search, points, signs, _ = state
        points = _clip(advance(points, signs, search.iterations + 1), x, radius, box)
        signs, changed = _look(predict, points, own)
        new = changed & matters & ~search.found
        return _found(search, new, points), points, signs, jnp.sum(new, dtype=jnp.float32)

    blank = jnp.where(_rows(defined, x), x, jnp.nan)
    nothing = Search(jnp.zeros_like(defined), blank, jnp.zeros_like(own, jnp.int32), defined, jnp.int32(0))
    points = x if start is None else _clip(lax.stop_gradient(start), x, radius, box)
    first = nothing, points, _look(predict, points, own)[0], jnp.float32(0)
    return lax.stop_gradient(lax.while_loop(goes_on, iterate, first)[0])


def _look(predict: Predict, points: Array, own: Array) -> tuple[Array, Array]:
    """The signs of the gradient at the points, and whether their class is another than their example's."""

    def excess(points: Array) -> tuple[Array, Array]:
        logits = predict(points)
        hit = jax.nn.one_hot(own, logits.shape[-1], dtype=bool)
        others = jax.nn.logsumexp(jnp.where(hit, -jnp.inf, logits), axis=-1)
        return jnp.sum(others - jnp.sum(jnp.where(hit, logits, 0), axis=-1)), logits

    gradient, logits = jax.grad(excess, has_aux=True)(points)
    signs = jnp.where(jnp.isnan(gradient), 0, jnp.sign(gradient))
    return signs, (jnp.argmax(logits, axis=-1) != own) & _numbers(logits)


def _found(search: Search, new: Array, points: Array) -> Search:
    iteration = search.iterations + 1
    return search._replace(
        found=search.found | new,
        adversary=jnp.where(_rows(new, points), points, search.adversary),
        found_at=jnp.where(new, iteration, search.found_at),
        iterations=iteration,
    )


def _clip(points: Array, x: Array, radius: Number, box: tuple[Number, Number] | None) -> Array:
    r = jnp.asarray(radius).astype(x.dtype)
    inside = jnp.clip(points, x - r, x + r)
    return inside if box is None else jnp.clip(inside, *(jnp.asarray(end).astype(x.dtype) for end in box))


def _rows(mask: Array, like: Array) -> Array:
    return mask.reshape(-1, *(1,) * (like.ndim - 1))


def _numbers(logits: Array) -> Bool[Array, " n"]:
    return ~jnp.any(jnp.isnan(logits), axis=-1)


def require_search(x: Any, radius: Number, num_steps: Count, box: tuple[Number, Number] | None) -> None:
    """Refuse arguments that no search can use; values are looked at only outside ``jit`` and its kin.

    Raises:
        BadInput: ``x`` is empty, not floating, has NaN or leaves the box; ``radius`` is not positive;
            ``num_steps`` is below 1; or the ends of the box are not in order.
    """
    if x.ndim < 2 or not x.size:
        raise BadInput(f"x: shape {x.shape} is not a batch (n, *shape) with at least one example")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise BadInput(f"x: dtype {x.dtype} is not floating; convert the inputs first, to the units of radius")
    if is_concrete(num_steps) and num_steps < 1:
        raise BadInput(f"num_steps: {num_steps} is not a positive number of iterations")
    require_positive("radius", radius)
    if is_concrete(x) and (wrong := int(np.isnan(np.asarray(x)).reshape(len(x), -1).any(-1).sum())):
        raise BadInput(f"x: {wrong} of {len(x)} examples have NaN, none may")
    if box is not None and all(map(is_concrete, box)):
        _require_inside(x, *box)


def require_positive(field: str, value: Number) -> None:
    """Refuse a visible value that is not positive and finite.

    Raises:
        BadInput: it is not.
    """
    if is_concrete(value) and not (np.isfinite(value).all() and (np.asarray(value) > 0).all()):
        raise BadInput(f"{field}: {value} is not a positive number")


def _require_inside(x: Any, low: Number, high: Number) -> None:
    if not np.asarray(low) < np.asarray(high):
        raise BadInput(f"box: ({low}, {high}) is not (low, high) with low < high")
    if is_concrete(x) and (x.min() < low or x.max() > high):
        raise BadInput(f"x: values from {x.min():.6g} to {x.max():.6g} are not inside the box [{low}, {high}]")


def _require_logits(logits: Any, count: int) -> None:
    shape = getattr(logits, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != count or shape[1] < 2:
        raise BadInput(f"predict: gives {shape or type(logits)} for {count} examples, not ({count}, 2 or more classes)")
    if is_concrete(logits) and (wrong := int(np.isnan(np.asarray(logits)).any(-1).sum())):
        raise BadInput(f"predict: gives NaN for {wrong} of {count} examples, none may")
