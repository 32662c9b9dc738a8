"""Loss-sensitivity at 20 times: one adjoint sweep against autodiff of the unrolled training, time by time or at once.

The task is that of the experiment: 1,000 examples of 14 x 14 inputs, an MLP of 2 x 16 units, SGD in batches of 50;
and once 10,000 examples, as autodiff carries the derivative by all inputs through every update. Rounds interleave the
contenders, and medians are shown; processor seconds (of all cores) bear other work on the machine better than seconds.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from benchmarks import tables
from mlrisk.data import epoch_order
from mlrisk.measures import SGD, loss_sensitivity
from mlrisk.models import mlp
from mlrisk.objectives.classification import cross_entropy
from mlrisk.types import Examples, Params

SHAPE, CLASSES, BATCH, RATE, TARGETS = (14, 14, 1), 10, 50, 0.1, 20
SIZES = ((1000, 100), (1000, 500), (1000, 2000), (10_000, 500))
MODEL = mlp(SHAPE, (16, 16), CLASSES)


def measure(rounds: int = 3, sizes: tuple[tuple[int, int], ...] = SIZES) -> list[dict[str, Any]]:
    """One row per size and contender: seconds to compile and to run, memory, and the ratio to ours.

    Args:
        rounds: repetitions, of which medians are taken; the Jacobian is run once.
        sizes: numbers of examples and of updates; the updates are divisible by the number of times.
    """
    return [row for examples, updates in sizes for row in _size(examples, updates, rounds)]


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown, and for each contender the exponent of its time in the number of updates."""
    slopes = ", ".join(f"{name} {slope:.2f}" for name, slope in exponents(rows).items())
    return "\n".join([tables.table(rows), "", f"exponent of the run time in the number of updates: {slopes}"])


def exponents(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Slope of log seconds over log updates, for the smallest number of examples; NaN from a single size."""
    found, fewest = {}, min(row["examples"] for row in rows)
    for name in dict.fromkeys(row["contender"] for row in rows):
        own = [row for row in rows if (row["contender"], row["examples"]) == (name, fewest)]
        updates, seconds = (np.log([row[column] for row in own]) for column in ("updates", "run_s"))
        found[name] = float(np.polyfit(updates, seconds, 1)[0]) if len(own) > 1 else float("nan")
    return found


def _size(examples: int, updates: int, rounds: int) -> list[dict[str, Any]]:
    times = tuple(updates // TARGETS * (number + 1) for number in range(TARGETS))
    inputs_key, labels_key, order_key, init_key = jax.random.split(jax.random.key(0), 4)
    inputs = jax.random.normal(inputs_key, (examples, *SHAPE))
    labels = jax.random.randint(labels_key, (examples,), 0, CLASSES)
    arguments = (MODEL.init(init_key), inputs, labels, epoch_order(order_key, examples, BATCH, updates))
    sources = {
        "one adjoint sweep": [_ours(times)],
        "a gradient a time": [_reverse((when,)) for when in times],
        "jacobian of all times": [_reverse(times)],
    }
    compiled, found = {}, {name: [] for name in sources}
    for name, functions in sources.items():
        began = time.perf_counter()
        programs = [jax.jit(function).lower(*arguments).compile() for function in functions]
        memory = max(_temporary(program) for program in programs)
        compiled[name] = (programs, time.perf_counter() - began, memory)
    norms = {}
    for number in range(rounds):
        for name, (programs, _, _) in compiled.items():
            if name != "jacobian of all times" or not number:
                began = time.perf_counter(), time.process_time()
                norms[name] = jax.block_until_ready([program(*arguments) for program in programs])
                found[name].append((time.perf_counter() - began[0], time.process_time() - began[1]))
    seconds = {name: tuple(map(median, zip(*values, strict=True))) for name, values in found.items()}
    return _rows({"examples": examples, "updates": updates}, compiled, seconds, norms)


def _rows(
    size: dict[str, int], compiled: dict[str, Any], seconds: dict[str, tuple[float, ...]], norms: dict[str, Any]
) -> list[dict[str, Any]]:
    reference = np.concatenate(norms["one adjoint sweep"])
    (_, own_compile, _), own = compiled["one adjoint sweep"], seconds["one adjoint sweep"]
    rows = [
        size
        | {
            "contender": name,
            "compile_s": compile_s,
            "run_s": seconds[name][0],
            "processor_s": seconds[name][1],
            "run_over_ours": seconds[name][0] / own[0],
            "processor_over_ours": seconds[name][1] / own[1],
            "both_over_ours": (compile_s + seconds[name][0]) / (own_compile + own[0]),
            "temporary_MB": memory / 1e6,
            "largest_difference": float(np.abs(np.concatenate(norms[name]) - reference).max() / reference.max()),
        }
        for name, (_, compile_s, memory) in compiled.items()
    ]
    for row in rows:
        print(row, flush=True)
    return rows


def _temporary(program: Any) -> int:
    return program.memory_analysis().temp_size_in_bytes


def _ours(times: tuple[int, ...]) -> Callable[..., Array]:
    def sensitivities(params: Params, inputs: Array, labels: Array, order: Array) -> Array:
        return loss_sensitivity(MODEL.apply, params, Examples(inputs, labels), SGD(order, RATE), times).norms

    return sensitivities


def _reverse(times: tuple[int, ...]) -> Callable[..., Array]:
    """What one would write without the adjoint: the training as a scan, and JAX's derivative of it."""

    def sensitivities(params: Params, inputs: Array, labels: Array, order: Array) -> Array:
        def losses(trained_on: Array) -> Array:
            def step(params: Params, rows: Array) -> tuple[Params, Params | None]:
                def mean(params: Params) -> Array:
                    return cross_entropy(MODEL.apply(params, trained_on[rows]), labels[rows]).mean()

                after = jax.tree.map(lambda p, g: p - RATE * g, params, jax.grad(mean)(params))
                return after, after if len(times) > 1 else None

            last, passed = jax.lax.scan(step, params, order[: max(times)])
            if len(times) == 1:
                return cross_entropy(MODEL.apply(last, inputs), labels).mean()[None]
            reached = jax.tree.map(lambda leaf: leaf[jnp.asarray(times) - 1], passed)
            return jax.vmap(lambda own: cross_entropy(MODEL.apply(own, inputs), labels).mean())(reached)

        if len(times) == 1:
            return jnp.abs(jax.grad(lambda x: losses(x)[0])(inputs)).sum((1, 2, 3))[None]
        return jnp.abs(jax.jacrev(losses)(inputs)).sum((2, 3, 4))

    return sensitivities
