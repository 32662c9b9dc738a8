"""Stacks of bijectors as a pair of pure functions: parameters are an ordinary pytree, structure is not among them."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mlrisk.bijectors.autoregressive import Autoregressive, init_params
from mlrisk.bijectors.checks import require_choice, require_context, require_count
from mlrisk.bijectors.coupling import Coupling, init_coupling
from mlrisk.bijectors.made import MADE
from mlrisk.bijectors.mixing import Mixing, init_mixing
from mlrisk.bijectors.projection import Projected, make_transformer
from mlrisk.bijectors.transformers import Transformer
from mlrisk.types import Params, RandomKey

Parallel = Literal["forward", "inverse"]
Order = Literal["flip", "random", "natural"]
Kind = Literal["affine", "spline", "dsf", "ddsf"]


class Flow(NamedTuple):
    """A bijector whose parameters live outside it.

    ``init(key) -> params``, an ordinary pytree: optax, vmap over seeds and checkpoints take it as it is.
    ``bijector(params, context=None) -> distrax.Bijector`` maps noise to data forward; events (D,).
    """

    init: Callable[[RandomKey], Params]
    bijector: Callable[..., distrax.Bijector]


class _Layer(NamedTuple):
    init: Callable[[RandomKey], Params]
    bijector: Callable[[Params, Array | None], distrax.Bijector]


def neural_autoregressive_flow(
    event_size: int,
    *,
    transformer: Kind | Transformer = "dsf",
    num_layers: int = 2,
    hidden_sizes: tuple[int, ...] = (64, 64),
    units: int = 16,
    depth: int | None = None,
    features: int | None = None,
    context_size: int = 0,
    parallel: Parallel = "inverse",
    order: Order = "flip",
    order_seed: int = 0,
    mixing: Literal["lu"] | None = None,
    residual: bool = False,
    activation: str = "elu",
    dtype: Any = jnp.float32,
) -> Flow:
    """Layers of ``y_t = tau(x_t; c(x_1, ..., x_{t-1}, context))`` with a deep sigmoidal transformer tau.

    Args:
        event_size: D, the number of variables.
        transformer: "dsf", "ddsf", "affine", "spline", or a `Transformer` of one's own.
        num_layers: autoregressive layers.
        hidden_sizes: hidden layers of each layer's masked conditioner (blocks, where residual).
        units: sigmoids of each map (bins of a spline).
        depth: composed maps of "dsf" (1), layers of "ddsf" (2).
        features: numbers that the conditioner gives for each variable, from which a linear map shared by all
            variables makes those of the transformer (`Projected`); None: the conditioner gives them itself.
        context_size: length of the context given to ``Flow.bijector``; 0 for none.
        parallel: "inverse": log_prob in one pass (density estimation); "forward": sampling in one pass (variational
            inference). The other direction solves for one variable after another.
        order: of the variables: "flip" reverses it in every other layer, "random" draws one for each, "natural"
            keeps it.
        order_seed: of the random orders, which are structure and not parameters.
        mixing: "lu" puts a learnt linear map (a product of triangular matrices) before each layer.
        residual: residual blocks in the conditioner.
        activation: of the conditioner.
        dtype: of the parameters, and so of events and contexts.

    Returns:
        A `Flow` that starts near the identity.

    Raises:
        ValueError: an argument is not allowed; the line names it.

    Source:
        Huang et al. 2018.
    """
    require_count("event_size", event_size)
    made = make_transformer(transformer, units, depth)
    if features is not None:
        made = Projected(made, require_count("features", features))
    conditioner = MADE(event_size, made.num_params, hidden_sizes, context_size, residual, activation)

    def layer(order: tuple[int, ...]) -> _Layer:
        def bijector(params: Params, context: Array | None) -> distrax.Bijector:
            return Autoregressive(conditioner, made, params, order=order, context=context)

        return _Layer(lambda key: init_params(conditioner, made, key, dtype), bijector)

    layers = [layer(o) for o in _orders(event_size, num_layers, order, order_seed)]
    return _flow(_mixed(layers, mixing, event_size, dtype), event_size, context_size, parallel, dtype)


def inverse_autoregressive_flow(
    event_size: int, *, transformer: Kind | Transformer = "affine", parallel: Parallel = "forward", **structure: Any
) -> Flow:
    """An affine autoregressive flow that samples in one pass: for variational inference.

    Args:
        event_size: D.
        transformer: as for `neural_autoregressive_flow`, to which all arguments go.
        parallel: which direction takes one pass.
        **structure: the other arguments there.

    Source:
        Kingma et al. 2016 (IAF).
    """
    return neural_autoregressive_flow(event_size, transformer=transformer, parallel=parallel, **structure)


def masked_autoregressive_flow(
    event_size: int, *, transformer: Kind | Transformer = "affine", parallel: Parallel = "inverse", **structure: Any
) -> Flow:
    """An affine autoregressive flow whose log_prob takes one pass: for density estimation.

    Args:
        event_size: D.
        transformer: as for `neural_autoregressive_flow`, to which all arguments go.
        parallel: which direction takes one pass.
        **structure: the other arguments there.

    Source:
        Papamakarios et al. 2017 (MAF).
    """
    return neural_autoregressive_flow(event_size, transformer=transformer, parallel=parallel, **structure)


def coupling_flow(
    event_size: int,
    *,
    transformer: Kind | Transformer = "affine",
    num_layers: int = 4,
    hidden_sizes: tuple[int, ...] = (64, 64),
    units: int = 16,
    depth: int | None = None,
    context_size: int = 0,
    parallel: Parallel = "forward",
    order: Order = "flip",
    order_seed: int = 0,
    mixing: Literal["lu"] | None = None,
    residual: bool = False,
    activation: str = "elu",
    dtype: Any = jnp.float32,
) -> Flow:
    """Coupling layers: half of the variables choose the maps of the others; both directions take one pass.

    Args:
        event_size: D; one variable alone is moved by maps that depend on nothing but the context.
        transformer: "affine", "spline", "dsf", "ddsf", or a `Transformer` of one's own.
        num_layers: coupling layers; "flip" makes the halves change places.
        hidden_sizes: hidden layers of the network that sees one half.
        units: bins or sigmoids of each map.
        depth: as for `neural_autoregressive_flow`.
        context_size: length of the context.
        parallel: the direction in which no root is sought, for "dsf" and "ddsf".
        order: how the halves are chosen in each layer.
        order_seed: of the random orders.
        mixing: "lu" puts a learnt linear map before each layer.
        residual: residual blocks.
        activation: of the network.
        dtype: of the parameters.

    Returns:
        A `Flow` that starts near the identity.

    Raises:
        ValueError: an argument is not allowed; the line names it.

    Source:
        Dinh et al. 2017; Durkan et al. 2019.
    """
    require_count("event_size", event_size)
    require_count("context_size", context_size, least=0)
    made, moving = make_transformer(transformer, units, depth), event_size - event_size // 2
    seen = event_size // 2 + context_size
    conditioner = MADE(1, moving * made.num_params, hidden_sizes, seen, residual, activation)

    def layer(order: tuple[int, ...]) -> _Layer:
        def bijector(params: Params, context: Array | None) -> distrax.Bijector:
            return Coupling(conditioner, made, params, order, context)

        return _Layer(lambda key: init_coupling(conditioner, made, moving, key, dtype), bijector)

    layers = [layer(o) for o in _orders(event_size, num_layers, order, order_seed)]
    return _flow(_mixed(layers, mixing, event_size, dtype), event_size, context_size, parallel, dtype)


def _orders(size: int, num_layers: int, order: str, seed: int) -> list[tuple[int, ...]]:
    require_count("num_layers", num_layers)
    require_choice("order", order, ("flip", "random", "natural"))
    natural = tuple(range(size))
    if order == "random":
        draw = np.random.default_rng(seed)
        return [tuple(int(i) for i in draw.permutation(size)) for _ in range(num_layers)]
    return [natural[::-1] if order == "flip" and i % 2 else natural for i in range(num_layers)]


def _mixed(layers: list[_Layer], kind: str | None, size: int, dtype: Any) -> list[_Layer]:
    require_choice("mixing", kind, (None, "lu"))
    if kind is None:
        return layers
    linear = _Layer(lambda key: init_mixing(key, size, dtype), lambda params, _: Mixing(params))
    return [part for layer in layers for part in (linear, layer)]


def _flow(layers: list[_Layer], size: int, context_size: int, parallel: str, dtype: Any) -> Flow:
    """The layers in the order in which values pass through them in the parallel direction."""
    require_choice("parallel", parallel, ("forward", "inverse"))
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"dtype: {dtype!r} is not allowed; it must be a floating-point type")

    def init(key: RandomKey) -> Params:
        keys = jax.random.split(key, len(layers))
        return tuple(layer.init(k) for layer, k in zip(layers, keys, strict=True))

    def bijector(params: Params, context: Float[Array, "*batch C"] | None = None) -> distrax.Bijector:
        require_context(context, context_size, dtype, "flow")
        parts = [layer.bijector(own, context) for layer, own in zip(layers, params, strict=True)]
        chain = parts[0] if len(parts) == 1 else distrax.Chain(parts[::-1])
        return chain if parallel == "forward" else distrax.Inverse(chain)

    return Flow(init, bijector)
