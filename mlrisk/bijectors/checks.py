"""One clear line for each argument that cannot be used."""

from collections.abc import Sequence
from operator import index
from typing import Any

import jax
import jax.numpy as jnp


def require_floating(name: str, value: Any, dtype: Any = None) -> None:
    """Refuses arrays that are not floating point, or not of the parameters' own precision.

    Args:
        name: the argument, as the caller knows it.
        value: an array.
        dtype: the parameters' dtype, or None where any precision will do.

    Raises:
        ValueError: the dtype is another one.
    """
    found = jnp.result_type(value)
    if not jnp.issubdtype(found, jnp.floating):
        raise ValueError(f"{name}: dtype {found} is not a floating-point type")
    if dtype is not None and found != jnp.dtype(dtype):
        raise ValueError(f"{name}: dtype {found} is not that of the parameters, {jnp.dtype(dtype)}")


def require_event(name: str, value: Any, size: int) -> None:
    """Refuses arrays whose last axis is not the event of that size.

    Raises:
        ValueError: the array is a scalar, or its last axis has another length.
    """
    shape = jnp.shape(value)
    if not shape or shape[-1] != size:
        raise ValueError(f"{name}: shape {shape} is not allowed; it must end in an axis of length {size}")


def require_broadcast(name: str, shape: Sequence[int], other: str, other_shape: Sequence[int]) -> tuple[int, ...]:
    """The shape that two leading shapes broadcast to.

    Raises:
        ValueError: they do not fit each other.
    """
    try:
        return jnp.broadcast_shapes(tuple(shape), tuple(other_shape))
    except ValueError:
        raise ValueError(f"{name}: leading shape {tuple(shape)} does not fit {other}, {tuple(other_shape)}") from None


def require_count(name: str, value: Any, least: int = 1) -> int:
    """The count itself, when it is an integer of at least ``least``.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name}: {value!r} is not allowed; it must be an integer of at least {least}")
    return value


def require_choice(name: str, value: Any, allowed: Sequence[Any]) -> Any:
    """The value itself, when it is one of those allowed.

    Raises:
        ValueError: it is not.
    """
    if value not in allowed:
        raise ValueError(f"{name}: {value!r} is not one of {', '.join(map(str, allowed))}")
    return value


def require_order(name: str, order: Sequence[int], size: int) -> tuple[int, ...]:
    """The ordering as a tuple of plain integers.

    Raises:
        ValueError: it does not hold each of 0 to size - 1 once.
    """
    try:
        plain = tuple(index(place) for place in order)
    except TypeError:
        plain = ()
    if sorted(plain) != list(range(size)):
        raise ValueError(f"{name}: {order!r} is not an ordering; it must hold each of 0 to {size - 1} once")
    return plain


def require_context(context: Any, size: int, dtype: Any, owner: str) -> None:
    """Refuses a context that is missing, not wanted, or of another size or dtype.

    Args:
        context: an array, or None.
        size: what its last axis must be; 0 where none is wanted.
        dtype: the parameters' dtype.
        owner: whose context it is, for the message.

    Raises:
        ValueError: it does not fit.
    """
    if (context is None) != (size == 0):
        found = "None" if context is None else f"of shape {jnp.shape(context)}"
        raise ValueError(f"context: {found} is not allowed; this {owner} has context_size {size}")
    if context is not None:
        require_floating("context", context, dtype)
        require_event("context", context, size)


def same_leaves(mine: Any, theirs: Any) -> bool:
    """Whether two trees hold the very same arrays: identity, as values may be traced."""
    pairs = jax.tree.leaves(mine), jax.tree.leaves(theirs)
    return len(pairs[0]) == len(pairs[1]) and all(a is b for a, b in zip(*pairs, strict=True))
