"""Every way to give a bijector the wrong argument that we could think of: a ValueError that names it."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.bijectors import (
    MADE,
    Affine,
    Autoregressive,
    DeepDenseSigmoidal,
    DeepSigmoidal,
    DenseLayer,
    Mixing,
    Permutation,
    coupling_flow,
    init_params,
    masked_autoregressive_flow,
    neural_autoregressive_flow,
)

ones = jnp.ones
ZERO = jnp.zeros(4)
CONDITIONER = MADE(3, 2, (4,), context_size=1)
FLOW = masked_autoregressive_flow(3, num_layers=1, hidden_sizes=(4,))
GIVEN = masked_autoregressive_flow(3, num_layers=1, hidden_sizes=(4,), context_size=2)
COUPLING = coupling_flow(3, num_layers=1, hidden_sizes=(4,))


def zeros(flow):
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(flow.init, jax.random.key(0)))


def autoregressive(**options):
    shapes = jax.eval_shape(lambda key: init_params(CONDITIONER, Affine(), key), jax.random.key(0))
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    given = {"conditioner": CONDITIONER, "transformer": Affine(), "context": ones((1, 1)), **options}
    return Autoregressive(given.pop("conditioner"), given.pop("transformer"), params, **given)


def layer(**parts):
    own = {"slopes": ones(4), "offsets": ZERO, "in_logits": jnp.zeros(1), "out_logits": ZERO,
           "in_matrix": jnp.zeros((4, 1)), "out_matrix": jnp.zeros((1, 4))}  # fmt: skip
    return DenseLayer(**(own | parts))


def naf(**options):
    return neural_autoregressive_flow(**({"event_size": 3} | options))


# what is done: a part of the line that must be said
CASES = {
    "flow: no variables": (lambda: naf(event_size=0), "event_size: 0 is not allowed; it must be an integer of at least 1"),
    "flow: half a variable": (lambda: naf(event_size=2.5), "event_size: 2.5 is not allowed"),
    "flow: unknown transformer": (lambda: naf(transformer="dfs"), "transformer: 'dfs' is not one of affine, spline, dsf, ddsf"),
    "flow: unknown order": (lambda: naf(order="reverse"), "order: 'reverse' is not one of flip, random, natural"),
    "flow: unknown mixing": (lambda: naf(mixing="qr"), "mixing: 'qr' is not one of None, lu"),
    "flow: unknown direction": (lambda: naf(parallel="both"), "parallel: 'both' is not one of forward, inverse"),
    "flow: unknown activation": (lambda: naf(activation="sin"), "activation: 'sin' is not one of elu, relu, tanh, gelu, silu"),
    "flow: no layers": (lambda: naf(num_layers=0), "num_layers: 0 is not allowed"),
    "flow: true layers": (lambda: naf(num_layers=True), "num_layers: True is not allowed"),
    "flow: no units": (lambda: naf(units=0), "units: 0 is not allowed"),
    "flow: no depth": (lambda: naf(depth=0), "depth: 0 is not allowed"),
    "flow: negative context": (lambda: naf(context_size=-1), "context_size: -1 is not allowed; it must be an integer of at least 0"),
    "flow: no hidden layers": (lambda: naf(hidden_sizes=()), "hidden_sizes: () is not allowed"),
    "flow: a hidden list": (lambda: naf(hidden_sizes=[4]), "hidden_sizes: [4] is not allowed; it must be a tuple"),
    "flow: a hidden zero": (lambda: naf(hidden_sizes=(4, 0)), "hidden_sizes[1]: 0 is not allowed"),
    "flow: unequal residual": (lambda: naf(hidden_sizes=(4, 5), residual=True), "hidden_sizes: (4, 5) is not allowed; residual blocks need equal sizes"),
    "flow: integers": (lambda: naf(dtype=jnp.int32), "dtype: "),
    "coupling flow: unknown transformer": (lambda: coupling_flow(3, transformer="nice"), "transformer: 'nice' is not one of"),
    "coupling flow: negative context": (lambda: coupling_flow(3, context_size=-1), "context_size: -1 is not allowed"),
    "flow: context missing": (lambda: GIVEN.bijector(zeros(GIVEN)), "context: None is not allowed; this flow has context_size 2"),
    "flow: context not wanted": (lambda: FLOW.bijector(zeros(FLOW), ones((1, 2))), "context: of shape (1, 2) is not allowed; this flow has context_size 0"),
    "flow: context of another size": (lambda: GIVEN.bijector(zeros(GIVEN), ones((1, 3))), "context: shape (1, 3) is not allowed; it must end in an axis of length 2"),
    "flow: integer context": (lambda: GIVEN.bijector(zeros(GIVEN), ones((1, 2), int)), "context: dtype int32 is not a floating-point type"),
    "flow: context of other rows": (lambda: GIVEN.bijector(zeros(GIVEN), ones((4, 2))).inverse(ones((5, 3))), "leading shape (5,) does not fit that of the context, (4,)"),
    "autoregressive: scalar": (lambda: FLOW.bijector(zeros(FLOW)).forward(ones(())), "shape () is not allowed; it must end in an axis of length 3"),
    "autoregressive: another size": (lambda: FLOW.bijector(zeros(FLOW)).forward(ones((2, 4))), "shape (2, 4) is not allowed; it must end in an axis of length 3"),
    "autoregressive: integers": (lambda: FLOW.bijector(zeros(FLOW)).inverse(ones((2, 3), int)), "dtype int32 is not a floating-point type"),
    "autoregressive: half precision": (lambda: FLOW.bijector(zeros(FLOW)).inverse(ones((2, 3), jnp.float16)), "dtype float16 is not that of the parameters, float32"),
    "autoregressive: repeated order": (lambda: autoregressive(order=(0, 0, 1)), "order: (0, 0, 1) is not an ordering; it must hold each of 0 to 2 once"),
    "autoregressive: short order": (lambda: autoregressive(order=(0, 1)), "order: (0, 1) is not an ordering"),
    "autoregressive: no order": (lambda: autoregressive(order=7), "order: 7 is not an ordering"),
    "autoregressive: conditioner": (lambda: autoregressive(conditioner=MADE(3, 5, (4,), 1)), "conditioner: num_params 5 is not allowed; the transformer takes 2"),
    "autoregressive: no context": (lambda: autoregressive(context=None).forward(ones((2, 3))), "context: None is not allowed; this conditioner has context_size 1"),
    "coupling: another size": (lambda: COUPLING.bijector(zeros(COUPLING)).forward(ones((2, 4))), "x: shape (2, 4) is not allowed"),
    "coupling: integers": (lambda: COUPLING.bijector(zeros(COUPLING)).inverse(ones((2, 3), int)), "y: dtype int32 is not a floating-point type"),
    "permutation: repeated": (lambda: Permutation((0, 2, 2)), "order: (0, 2, 2) is not an ordering; it must hold each of 0 to 2 once"),
    "permutation: fractions": (lambda: Permutation((0, 1.5)), "order: (0, 1.5) is not an ordering"),
    "permutation: another size": (lambda: Permutation((1, 0)).forward(ones(3)), "x: shape (3,) is not allowed; it must end in an axis of length 2"),
    "mixing: oblong": (lambda: Mixing({"matrix": ones((2, 3)), "bias": ones(2)}), "matrix: shape (2, 3) is not allowed"),
    "mixing: another size": (lambda: Mixing({"matrix": ones((2, 2)), "bias": ones(2)}).inverse(ones(3)), "y: shape (3,) is not allowed"),
    "dsf: a flat slope": (lambda: DeepSigmoidal(ZERO, ZERO, ZERO), "slopes: 0.0 is not allowed; all must be positive"),
    "dsf: a falling slope": (lambda: DeepSigmoidal(-ones(4), ZERO, ZERO), "slopes: -1.0 is not allowed; all must be positive"),
    "dsf: no number": (lambda: DeepSigmoidal(jnp.full(4, np.nan), ZERO, ZERO), "slopes: nan is not allowed; all must be positive"),
    "dsf: unequal units": (lambda: DeepSigmoidal(ones(4), jnp.zeros(3), ZERO), "offsets: shape (3,) is not allowed"),
    "dsf: scalars": (lambda: DeepSigmoidal(ones(()), ones(()), ones(())), "slopes: shape () is not allowed"),
    "dsf: no units": (lambda: DeepSigmoidal(ones(0), ones(0), ones(0)), "slopes: shape (0,) is not allowed"),
    "dsf: integers": (lambda: DeepSigmoidal(ones(4, int), ZERO, ZERO), "slopes: dtype int32 is not a floating-point type"),
    "dsf: unequal batches": (lambda: DeepSigmoidal(ones((2, 4)), jnp.zeros((3, 4)), ZERO), "offsets: leading shape (3,) does not fit slopes, (2,)"),
    "dsf: other rows": (lambda: DeepSigmoidal(ones((2, 4)), ZERO, ZERO).forward(ones(3)), "x: leading shape (3,) does not fit the parameters', (2,)"),
    "dsf: half precision": (lambda: DeepSigmoidal(ones(4), ZERO, ZERO).inverse(ones(3, jnp.float16)), "y: dtype float16 is not that of the parameters, float32"),
    "ddsf: no layers": (lambda: DeepDenseSigmoidal([]), "layers: () is not allowed; at least one layer is needed"),
    "ddsf: unequal units": (lambda: DeepDenseSigmoidal([layer(offsets=jnp.zeros(3))]), "layers[0].offsets: shape (3,) is not allowed"),
    "ddsf: two inputs": (lambda: DeepDenseSigmoidal([layer(in_matrix=jnp.zeros((4, 2)))]), "layers[0].in_matrix: shape (4, 2) is not allowed"),
    "ddsf: two outputs": (lambda: DeepDenseSigmoidal([layer(out_matrix=jnp.zeros((2, 4)))]), "layers[0].out_matrix: shape (2, 4) is not allowed"),
    "ddsf: layers that do not meet": (lambda: DeepDenseSigmoidal([layer(out_matrix=jnp.zeros((2, 4))), layer()]), "layers[1].in_logits: shape (1,) is not allowed"),
    "ddsf: a flat slope": (lambda: DeepDenseSigmoidal([layer(slopes=ZERO)]), "layers[0].slopes: 0.0 is not allowed; all must be positive"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_wrong_arguments_get_one_line(name, as_a_user):
    attempt, line = CASES[name]
    with pytest.raises(ValueError, match=re.escape(line)) as raised:
        attempt()
    assert "\n" not in str(raised.value)
