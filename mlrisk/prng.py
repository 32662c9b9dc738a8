"""Named key streams: one root key per run, and streams from it that stay the same when another is added."""

import hashlib

import jax
from jaxtyping import Array, Int, Key

from mlrisk.types import RandomKey


def stream(key: RandomKey, name: str) -> RandomKey:
    """The stream called ``name`` under ``key``: ``fold_in(key, sha256(name)[:4])``.

    Args:
        key: a typed key, used for nothing else (never both split and folded).
        name: any string; the stream depends on it alone, so adding a name changes no other stream.

    Returns:
        A typed key.

    Raises:
        TypeError: ``key`` is not a typed key made by ``jax.random.key``.
    """
    _require_typed(key)
    return jax.random.fold_in(key, int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big"))


def streams(key: RandomKey, *names: str) -> tuple[RandomKey, ...]:
    """The streams of several names, in their order; see `stream`.

    Raises:
        ValueError: a name is given twice.
    """
    if len(set(names)) != len(names):
        raise ValueError(f"names: {names} has a repeated name; each stream needs its own")
    return tuple(stream(key, name) for name in names)


def step_key(key: RandomKey, step: Int[Array, ""] | int) -> RandomKey:
    """The key of one step of a stream: ``fold_in(key, step)``."""
    _require_typed(key)
    return jax.random.fold_in(key, step)


def lane_keys(key: RandomKey, count: int) -> Key[Array, " count"]:
    """The keys of ``count`` lanes (count,): lane i gets ``fold_in(stream(key, "lanes"), i)`` whatever the count."""
    if count < 1:
        raise ValueError(f"count: {count} is not a positive number of lanes")
    base = stream(key, "lanes")
    return jax.vmap(lambda i: jax.random.fold_in(base, i))(jax.numpy.arange(count))


def _require_typed(key: RandomKey) -> None:
    if not jax.numpy.issubdtype(getattr(key, "dtype", bool), jax.dtypes.prng_key):
        raise TypeError("key: expected a typed key from jax.random.key(seed), got a legacy key or another array")
