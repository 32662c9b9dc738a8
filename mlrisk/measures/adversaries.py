"""Searches for inputs nearby to which a model gives another class: FGSM, PGD, and LASS."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mlrisk import prng
from mlrisk.errors import BadInput
from mlrisk.measures.ascent import Count, Number, Predict, Search, climb, require_positive, require_search
from mlrisk.types import RandomKey, is_concrete

PUBLISHED_RADIUS = 0.3
"""The radius, in pixels of 0 to 255, that goes with the published step sizes of LASS."""


class Adversaries(NamedTuple):
    """``found`` (n,), and ``adversary`` (n, *shape): another class, or the example itself where none was found."""

    found: Bool[Array, " n"]
    adversary: Float[Array, "n ..."]


def fgsm(
    predict: Predict, x: Float[Array | np.ndarray, "n ..."], *, radius: Number, box: tuple[Number, Number] | None = None
) -> Adversaries:
    """One step from each example to the edge of its ball: ``x + r sign(dL(x)/dx)``.

    L is the cross-entropy against the model's own prediction.

    Args:
        predict: ``x -> logits`` (n, classes), each row a function of its own example alone.
        x: examples (n, *shape), not labels: only a change of the prediction counts.
        radius: r, in the units of x.
        box: lowest and highest value that an entry of an input may have; None for no limits.

    Returns:
        ``(found, adversary)``.

    Raises:
        BadInput: see `lass`.

    Source: Goodfellow, Shlens and Szegedy, Explaining and harnessing adversarial examples (2015), section 4.
    """
    step = jnp.asarray(radius).astype(x.dtype)
    found = climb(predict, x, lambda points, signs, _: points + step * signs, radius=radius, num_steps=1, box=box)
    return Adversaries(found.found, found.adversary)


def pgd(
    predict: Predict,
    x: Float[Array | np.ndarray, "n ..."],
    key: RandomKey,
    *,
    radius: Number,
    step: Number | None = None,
    num_steps: int = 10,
    random_start: bool = True,
    box: tuple[Number, Number] | None = None,
) -> Adversaries:
    """Projected gradient ascent from a random point of the ball: ``x_t = clip(x_{t-1} + s sign(dL(x_{t-1})/dx))``.

    Args:
        predict: see `fgsm`.
        x: examples (n, *shape).
        key: typed key of the random start, uniform in the ball.
        radius: r, in the units of x.
        step: s, in the units of x; ``2.5 r / num_steps`` when None.
        num_steps: iterations at most (static).
        random_start: False starts at the examples.
        box: see `fgsm`.

    Returns:
        ``(found, adversary)``, the first point of the path with another class.

    Raises:
        BadInput: see `lass`; or ``step`` is not positive.

    Source: Madry et al., Towards deep learning models resistant to adversarial attacks (2018), section 2.1.
    Differs: any point of the path counts, not the last one only.
    """
    require_search(x, radius, num_steps, box)
    if step is not None:
        require_positive("step", step)
    x = jnp.asarray(x)
    size = jnp.asarray(2.5 * radius / num_steps if step is None else step).astype(x.dtype)
    start = None
    if random_start:
        r = jnp.asarray(radius).astype(x.dtype)
        start = x + r * jax.random.uniform(prng.stream(key, "start"), x.shape, x.dtype, -1.0, 1.0)
    found = climb(
        predict,
        x,
        lambda points, signs, _: points + size * signs,
        radius=radius,
        num_steps=num_steps,
        box=box,
        start=start,
    )
    return Adversaries(found.found, found.adversary)


def lass(
    predict: Predict,
    x: Float[Array | np.ndarray, "n ..."],
    key: RandomKey,
    *,
    radius: Number,
    alpha: Number = 0.25,
    beta: Number = 0.2,
    num_steps: Count = 100,
    box: tuple[Number, Number] | None = None,
    scale: Number | None = None,
    min_new_share: Number = 0.0,
) -> Adversaries:
    """Langevin adversarial sample search: noisy sign ascent in a ball, until the predicted class changes.

    ``x_t = clip(x_{t-1} + c (alpha sign(dL(x_{t-1})/dx) + beta eta_t), x - r, x + r)``, ``eta_t ~ N(0, I)``,
    with L the cross-entropy against the model's own prediction at x.

    Args:
        predict: ``x -> logits`` (n, classes), each row a function of its own example alone: batch normalisation in
            inference mode. Any library's model will do that jax can differentiate.
        x: examples (n, *shape), in any units.
        key: typed key of the noise; each example has its own, so that its result does not depend on its batch.
        radius: r, in the units of x. The published 0.3 is for pixels from 0 to 255: it is ``0.3 / 255`` for inputs in
            [0, 1], and ``0.3 / 255 / std`` after standardisation.
        alpha: length of the step.
        beta: standard deviation of the noise.
        num_steps: iterations at most.
        box: lowest and highest value that an entry of an input may have; None for no limits.
        scale: c, the units of alpha and beta. None: ``r / 0.3``, so that the published ratios of alpha and beta
            to the radius hold in any units. 1.0: alpha and beta are in the units of x.
        min_new_share: end after an iteration that finds less than this share of the examples; 0 never does.

    Returns:
        ``(found, adversary)``. An example counts as found if any point of its path has another class; the adversary
        is the first such point, and the example itself where there is none. Under ``jit``, an example whose own
        logits are NaN is not found, and its adversary is NaN.

    Raises:
        BadInput: x is no batch of numbers or leaves the box, ``radius``, ``alpha`` or ``num_steps`` is not positive,
            ``beta`` negative, alpha under 1/20 of the radius without a ``scale`` (it was meant absolute), or
            ``predict`` gives anything but finite (n, 2 or more classes). Values are checked outside ``jit`` only.

    Source:
        Arpit et al. (2017), section 3.4 and Algorithm 1 (thesis section 3.4); the authors' code for what the
        algorithm leaves open: L, the gradient at the current point, 100 iterations at most, and the rule of
        ``min_new_share``, with 20 examples whatever the size of the set (0.002 of 10,000).
    Differs:
        The first adversary is returned, not where the path ends. Every example has its own noise stream. The
        sign printed in Algorithm 1 would climb the predicted class's own score.
    """
    found = lass_search(
        predict,
        x,
        key,
        radius=radius,
        alpha=alpha,
        beta=beta,
        num_steps=num_steps,
        box=box,
        scale=scale,
        min_new_share=min_new_share,
    )
    return Adversaries(found.found, found.adversary)


def lass_search(
    predict: Predict,
    x: Float[Array | np.ndarray, "n ..."],
    key: RandomKey,
    *,
    radius: Number,
    alpha: Number = 0.25,
    beta: Number = 0.2,
    num_steps: Count = 100,
    box: tuple[Number, Number] | None = None,
    scale: Number | None = None,
    min_new_share: Number = 0.0,
    index: Int[Array, " n"] | None = None,
    counted: Bool[Array, " n"] | None = None,
) -> Search:
    """`lass` with everything that it found out: also when each example was found, and how many iterations ran.

    Args:
        predict: and the other arguments down to ``min_new_share``: see `lass`.
        x: examples (n, *shape).
        key: typed key.
        radius: in the units of x.
        alpha: length of the step.
        beta: standard deviation of the noise.
        num_steps: iterations at most.
        box: limits of an entry.
        scale: units of alpha and beta.
        min_new_share: of the examples, below which an iteration is the last.
        index: the number of each example's noise stream; its place in the batch when None.
        counted: see `mlrisk.measures.ascent.climb`.

    Raises:
        BadInput: see `lass`.
    """
    _require_steps(alpha, beta, scale)
    require_positive("radius", radius)
    unit = radius / PUBLISHED_RADIUS if scale is None else scale
    rate, spread = (jnp.asarray(unit * factor).astype(x.dtype) for factor in (alpha, beta))
    streams = jnp.arange(x.shape[0]) if index is None else index

    def noise(iteration: Array) -> Array:
        now = prng.step_key(key, iteration)
        return jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(now, i), x.shape[1:], x.dtype))(streams)

    def advance(points: Array, signs: Array, iteration: Array) -> Array:
        return points + rate * signs + spread * noise(iteration)

    limits = {"radius": radius, "num_steps": num_steps, "box": box, "min_new_share": min_new_share}
    return climb(predict, x, advance, **limits, counted=counted)


def _require_steps(alpha: Number, beta: Number, scale: Number | None) -> None:
    require_positive("alpha", alpha)
    if scale is not None:
        require_positive("scale", scale)
    elif is_concrete(alpha) and alpha < PUBLISHED_RADIUS / 20:
        raise BadInput(
            f"alpha: {alpha} is under 1/20 of the radius, which counts as {PUBLISHED_RADIUS}; scale=1.0 is needed for "
            "steps in the units of x"
        )
    if is_concrete(beta) and not beta >= 0:
        raise BadInput(f"beta: {beta} is not a number from 0 up")
