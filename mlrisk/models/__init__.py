"""Networks as pure ``Model(init, apply)`` pairs, and their layers that are fast on every platform."""

from mlrisk.models.cnn import alexnet_small
from mlrisk.models.convolution import Conv, conv2d
from mlrisk.models.initialisers import INITIALISERS, initialiser
from mlrisk.models.linen import from_linen
from mlrisk.models.mlp import ACTIVATIONS, mlp
from mlrisk.models.pooling import max_pool
from mlrisk.models.vae import mlp_decoder, mlp_encoder, residual_decoder, residual_encoder

__all__ = [
    "ACTIVATIONS",
    "INITIALISERS",
    "Conv",
    "alexnet_small",
    "conv2d",
    "from_linen",
    "initialiser",
    "max_pool",
    "mlp",
    "mlp_decoder",
    "mlp_encoder",
    "residual_decoder",
    "residual_encoder",
]
