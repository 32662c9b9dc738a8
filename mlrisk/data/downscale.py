"""Pictures made smaller."""

import jax.numpy as jnp

from mlrisk.errors import BadInput
from mlrisk.types import Examples


def downscale(examples: Examples, factor: int) -> Examples:
    """Pictures whose pixels are the means of blocks of ``factor x factor`` pixels.

    Args:
        examples: inputs (n, height, width, channels), labels (n,).
        factor: side of a block, a divisor of height and width (static); 1 changes nothing.

    Returns:
        Inputs (n, height / factor, width / factor, channels), the same labels.

    Raises:
        BadInput: the inputs are no pictures, or ``factor`` does not divide their sides.
    """
    shape = jnp.shape(examples.inputs)
    if len(shape) != 4:
        raise BadInput(f"inputs: shape {shape} is not (n, height, width, channels)")
    count, height, width, channels = shape
    if factor < 1 or height % factor or width % factor:
        raise BadInput(f"factor: {factor} is not a divisor of the pictures' sides, {height} and {width}")
    blocks = jnp.asarray(examples.inputs).reshape(count, height // factor, factor, width // factor, factor, channels)
    return Examples(blocks.mean((2, 4)), jnp.asarray(examples.labels))
