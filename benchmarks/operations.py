"""Multiplications and additions of the matrix products and convolutions of a traced function, counted."""

import math
from collections.abc import Callable
from typing import Any

import jax


def count(function: Callable[..., Any], *arguments: Any, trips: int = 0) -> int:
    """Operations of one call: products inside a scan count once a step, a conditional as its dearest branch.

    Args:
        function: traced, not run.
        arguments: arrays, or their shapes.
        trips: how often each loop runs whose length the trace does not say.
    """
    return _of(jax.make_jaxpr(function)(*arguments).jaxpr, trips)


def _of(jaxpr: Any, trips: int) -> int:
    return sum(_equation(equation, trips) for equation in jaxpr.eqns)


def _equation(equation: Any, trips: int) -> int:
    name, inner = equation.primitive.name, _inner(equation.params)
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel, layout = equation.invars[1].aval.shape, equation.params["dimension_numbers"].rhs_spec
        outputs = math.prod(equation.outvars[0].aval.shape)
        return 2 * outputs * math.prod(kernel) // kernel[layout[0]]
    if name == "scan":
        return equation.params["length"] * sum(_of(jaxpr, trips) for jaxpr in inner)
    if name == "while":
        return trips * _of(_open(equation.params["body_jaxpr"]), trips)
    if name == "cond":
        return max(_of(jaxpr, trips) for jaxpr in inner)
    return sum(_of(jaxpr, trips) for jaxpr in inner)


def _inner(params: dict[str, Any]) -> list[Any]:
    found = []
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            opened = _open(item)
            if hasattr(opened, "eqns"):
                found.append(opened)
    return found


def _open(jaxpr: Any) -> Any:
    return jaxpr.jaxpr if hasattr(jaxpr, "jaxpr") else jaxpr
