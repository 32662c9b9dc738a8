"""The shapes of things that the parts of mlrisk hand to one another."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jax.core import Tracer
from jaxtyping import Array, Float, Int, Key, PyTree

Params = PyTree
Hyper = PyTree
Metrics = dict[str, Array]
RandomKey = Key[Array, ""]
Scalar = Float[Array, ""]


class Examples(NamedTuple):
    """Labelled inputs: ``inputs`` (n, *shape) and integer ``labels`` (n,)."""

    inputs: Float[Array, "n ..."]
    labels: Int[Array, " n"]


Disturb = Callable[[Array, RandomKey], Array]
"""``(values, key) -> values`` of the same shape: dropout or noise on a layer."""


class Model(NamedTuple):
    """A model as a pair of pure functions, and two more where training differs from prediction.

    ``init(key) -> params``; ``apply(params, inputs) -> outputs`` on a batch (n, *shape);
    ``apply_train(params, inputs, key) -> (outputs, state)`` for models with batch statistics or dropout, where
    ``state`` is a dict of the top-level entries of ``params`` to replace after the optimiser step (may be empty).
    ``apply_disturbed(params, inputs, key, disturb)`` is the same with ``disturb(values, key)`` applied to the output
    of every hidden layer.
    """

    init: Callable[[RandomKey], Params]
    apply: Callable[[Params, Array], Any]
    apply_train: Callable[[Params, Array, RandomKey], tuple[Any, dict[str, Any]]] | None = None
    apply_disturbed: Callable[[Params, Array, RandomKey, Disturb], tuple[Any, dict[str, Any]]] | None = None


class Aux(NamedTuple):
    """What an objective returns beside its loss when the model carries state: metrics and replaced entries."""

    metrics: Metrics
    state: dict[str, Any]


Objective = Callable[[Params, Any, Hyper, RandomKey], tuple[Scalar, Metrics | Aux]]
"""``(params, batch, hyper, key) -> (loss, metrics)``, or ``(loss, Aux)`` for models that carry state.

The loss is the scalar to minimise; metrics are scalars, averaged over the steps of a block.
"""

Sampler = Callable[..., Any]
"""``(key, step) -> batch``, or ``(key, step, hyper) -> batch``; the key is the same at every step."""

Probe = Callable[..., Metrics]
"""``(state, key) -> metrics``, or ``(state, key, hyper) -> metrics``: a pure function of the training state.

Called at the end of each block; metrics may be arrays of any shape.
"""


def is_concrete(value: Any) -> bool:
    """Whether a value can be looked at now, rather than stand for one inside ``jit``, ``vmap`` or ``grad``."""
    return not isinstance(value, Tracer)
