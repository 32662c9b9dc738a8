"""Lanes that train by SGD on one of several stacked conditions, and differentiate through all of their updates."""

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from mlrisk.data.conditions import Condition
from mlrisk.data.orders import epoch_order
from mlrisk.data.sampling import require_batch
from mlrisk.errors import BadInput
from mlrisk.harness.loop import Fit
from mlrisk.measures.gini import gini
from mlrisk.measures.sensitivity import Norm, Variant, class_means, sensitivity_norms
from mlrisk.measures.trajectory import SGD, ExampleLoss
from mlrisk.measures.unrolled import InputGradients, input_gradients
from mlrisk.objectives.classification import accuracy
from mlrisk.prng import stream
from mlrisk.types import Examples, Metrics, Model, RandomKey

NORMS: tuple[Norm, ...] = ("l1", "l2", "linf")
VARIANTS: tuple[Variant, ...] = ("indirect", "total")


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["conditions"],
    meta_fields=["model", "loss", "learning_rate", "momentum", "batch_size", "targets", "of"],
)
@dataclasses.dataclass(frozen=True)
class SensitivityLane:
    """A pure ``train(key, condition) -> Fit`` for `mlrisk.harness.sweep`: loss-sensitivities along one training.

    Its initialisation and its batches are those that `make_train` gives a lane with the same key.

    Args:
        conditions: inputs (conditions, n, *shape), labels (conditions, n).
        model: what is trained; ``apply`` is used.
        loss: ``(outputs, labels) -> losses``, one an example.
        learning_rate: of SGD (static).
        momentum: of SGD (static).
        batch_size: examples in a step, from 1 to n (static).
        targets: numbers of updates after which losses are taken, in rising order; the last ends the training.
        of: ``"examples"``: what each example's input does to the mean loss; ``"classes"``: what the inputs of each
            class do to the loss of each class.

    Raises:
        BadInput: ``batch_size`` is not in [1, n], or the targets do not rise.
    """

    conditions: Examples
    model: Model
    loss: ExampleLoss
    learning_rate: float
    momentum: float
    batch_size: int
    targets: tuple[int, ...]
    of: Literal["examples", "classes"] = "examples"

    def __post_init__(self) -> None:
        require_batch(self.conditions, self.batch_size, at_most=True, stacked=1)
        if list(self.targets) != sorted({time for time in self.targets if time > 0}) or not self.targets:
            raise BadInput(f"targets: {self.targets} are not numbers of updates that rise from 1 or more")

    def __call__(self, key: RandomKey, hyper: Condition) -> Fit:
        """The history has a block a target for examples, and one block for classes."""
        examples = jax.tree.map(lambda leaf: leaf[hyper.condition], self.conditions)
        count = examples.labels.shape[0]
        order = epoch_order(stream(key, "data"), count, self.batch_size, self.targets[-1])
        sgd = SGD(order, self.learning_rate, self.momentum)
        params = self.model.init(stream(key, "init"))
        member = jnp.full((1, count), 1 / count, examples.inputs.dtype)
        if self.of == "classes":
            classes = jax.eval_shape(self.model.apply, params, examples.inputs).shape[-1]
            member = jax.nn.one_hot(examples.labels, classes, axis=0, dtype=examples.inputs.dtype)
        found = input_gradients(self.model.apply, params, examples, sgd, member, loss=self.loss, targets=self.targets)
        judged = lax.map(lambda own: accuracy(self.model.apply(own, examples.inputs), examples.labels), found.params)
        finite = jnp.isfinite(found.losses).all(-1)
        first = jnp.asarray(self.targets, jnp.int32)[jnp.argmin(finite)]
        history = example_history(found) if self.of == "examples" else class_history(found, member)
        blocks = len(self.targets) if self.of == "examples" else 1
        history |= {"training/accuracy": judged[-blocks:], "training/loss": found.losses.sum(-1)[-blocks:]}
        return Fit(None, history, jnp.where(finite.all(), jnp.int32(-1), first), jnp.int32(-1))


def example_history(found: InputGradients) -> Metrics:
    """Per target: how unequal sensitivities are at it, and those averaged over all targets up to it.

    Args:
        found: gradients of the mean loss, one part.

    Returns:
        For both variants, each (targets,): ``gini``, ``gini l2``, ``gini linf`` and ``median`` of the averages
        (l1 where no norm is named), ``gini now`` of the target's own; and ``averages`` themselves (targets, n).
        NaN from the first target on whose loss or gradient overflows.
    """
    history: Metrics = {}
    for variant in VARIANTS:
        own = {norm: sensitivity_norms(found, norm, variant)[0][:, 0] for norm in NORMS}
        average = {norm: _running_mean(values) for norm, values in own.items()}
        metrics = {
            "gini": gini(average["l1"]),
            "gini l2": gini(average["l2"]),
            "gini linf": gini(average["linf"]),
            "gini now": gini(own["l1"]),
            "median": jnp.median(average["l1"], axis=-1),
            "averages": average["l1"],
        }
        history |= {f"{variant}/{name}": values for name, values in metrics.items()}
    return history


def class_history(found: InputGradients, member: Float[Array, "classes n"]) -> Metrics:
    """For both variants the matrix of class sensitivities over all targets, ``matrix`` (1, classes, classes).

    Args:
        found: gradients of the losses of each class, one part a class.
        member: 1 where an example is of the class, else 0.
    """
    norms = {variant: sensitivity_norms(found, "l1", variant)[0].mean(0) for variant in VARIANTS}
    return {f"{variant}/matrix": class_means(values, member)[None] for variant, values in norms.items()}


def _running_mean(values: Float[Array, "targets n"]) -> Float[Array, "targets n"]:
    count = jnp.arange(1, len(values) + 1, dtype=values.dtype)
    return jnp.cumsum(values, axis=0) / count[:, None]
