"""How difficult each example is over many seeds, and whether examples differ more than chance would make them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mlrisk.types import RandomKey


def example_difficulty(correct: Bool[Array, "seeds n"]) -> Float[Array, " n"]:
    """The share of seeds that misclassify each example: ``p_i = 1 - mean_s correct_si``.

    Args:
        correct: (seeds, n), whether each seed's network classifies each example as its label says.

    Returns:
        Values in [0, 1], (n,).

    Source: Arpit et al. 2017, section 3.1 and Figure 1 (thesis Figure 3.1).
    """
    return 1 - jnp.mean(jnp.asarray(correct).astype(jnp.float32), axis=0)


def dispersion_index(difficulty: Float[Array, "*axes n"], seeds: int) -> Float[Array, "*axes"]:
    """The variance of difficulty across examples over the binomial's: ``D = Var_i(p_i) / (p (1 - p) / S)``.

    1 if every example is as difficult as any other (each rate is then Binomial(S, p) / S); S at most.

    Args:
        difficulty: misclassification rates over ``seeds`` seeds, examples on the last axis.
        seeds: S, the number of seeds behind each rate.

    Returns:
        One index per leading axis; 0 where every rate is 0 or every rate is 1.

    Source: Arpit et al. 2017, Figure 1, where the binomial curve is drawn; the ratio is ours.
    """
    p = jnp.mean(difficulty, axis=-1)
    binomial = p * (1 - p) / seeds
    spread = jnp.var(difficulty, axis=-1, ddof=1)
    return jnp.where(binomial > 0, spread / jnp.where(binomial > 0, binomial, 1.0), 0.0)


def within_class_dispersion(
    difficulty: Float[Array, " n"], labels: Int[Array, " n"], seeds: int, num_classes: int
) -> Float[Array, ""]:
    """The dispersion index of each class, averaged over the classes that have two examples or more.

    Networks trained for one epoch on noise favour some classes, so examples differ by their label alone; within a
    class they do not.

    Args:
        difficulty: misclassification rates (n,).
        labels: the labels that the rates refer to (n,).
        seeds: S, the number of seeds behind each rate.
        num_classes: number of classes K.

    Returns:
        A scalar; classes whose rates are all 0 or all 1 have no binomial variance and are left out.
    """
    member = (labels[None, :] == jnp.arange(num_classes)[:, None]).astype(difficulty.dtype)
    count = jnp.sum(member, axis=1)
    p = (member @ difficulty) / jnp.maximum(count, 1.0)
    squares = jnp.sum(member * jnp.square(difficulty[None, :] - p[:, None]), axis=1)
    binomial = p * (1 - p) / seeds
    usable = (count > 1) & (binomial > 0)
    ratio = squares / jnp.maximum(count - 1.0, 1.0) / jnp.where(usable, binomial, 1.0)
    return jnp.sum(jnp.where(usable, ratio, 0.0)) / jnp.maximum(jnp.sum(usable.astype(ratio.dtype)), 1.0)


def binomial_null(key: RandomKey, p: Float[Array, " n"], seeds: int, draws: int = 1000) -> Float[Array, "draws n"]:
    """Difficulties of n examples if chance alone told them apart: ``Binomial(S, p_i) / S``, drawn many times.

    Args:
        key: typed key.
        p: each example's probability to be misclassified (n,); one value for all, or one per class.
        seeds: S.
        draws: how many sets of n rates.
    """
    counts = jax.random.binomial(key, seeds, jnp.broadcast_to(p, (draws, *p.shape)))
    return counts.astype(jnp.float32) / seeds


def split_half_reliability(
    key: RandomKey, correct: Bool[Array, "seeds n"], splits: int = 100
) -> Float[Array, " splits"]:
    """Pearson correlation over examples between the difficulties from two disjoint random halves of the seeds.

    Near 1: difficulty belongs to the example. Near 0: it belongs to the seed.

    Args:
        key: typed key for the splits.
        correct: (seeds, n); at least 2 seeds, an odd one is left out of each split.
        splits: number of random splits.

    Returns:
        One correlation per split, (splits,); 0 where a half has the same rate for all examples.

    Raises:
        ValueError: fewer than 2 seeds.
    """
    seeds = correct.shape[0]
    if seeds < 2:
        raise ValueError(f"correct: has {seeds} seed, two halves need at least 2")

    def one(index: Int[Array, ""]) -> Float[Array, ""]:
        order = jax.random.permutation(jax.random.fold_in(key, index), seeds)
        first = example_difficulty(correct[order[: seeds // 2]])
        second = example_difficulty(correct[order[seeds // 2 : 2 * (seeds // 2)]])
        return _correlation(first, second)

    return jax.lax.map(one, jnp.arange(splits))


def _correlation(x: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, ""]:
    x, y = x - jnp.mean(x), y - jnp.mean(y)
    scale = jnp.sqrt(jnp.sum(x**2) * jnp.sum(y**2))
    return jnp.where(scale > 0, jnp.sum(x * y) / jnp.where(scale > 0, scale, 1.0), 0.0)
