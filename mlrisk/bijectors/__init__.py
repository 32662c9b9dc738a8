"""Bijectors that distrax lacks: deep sigmoidal maps, autoregressive layers with an exact inverse, and their flows."""

from mlrisk.bijectors.autoregressive import Autoregressive, init_params
from mlrisk.bijectors.coupling import Coupling, init_coupling
from mlrisk.bijectors.deep_dense_sigmoidal import DeepDenseSigmoidal, DenseLayer
from mlrisk.bijectors.deep_sigmoidal import DeepSigmoidal
from mlrisk.bijectors.flows import (
    Flow,
    coupling_flow,
    inverse_autoregressive_flow,
    masked_autoregressive_flow,
    neural_autoregressive_flow,
)
from mlrisk.bijectors.made import MADE
from mlrisk.bijectors.mixing import Mixing, init_mixing
from mlrisk.bijectors.permutation import Permutation
from mlrisk.bijectors.projection import Projected
from mlrisk.bijectors.root_finding import find_root, implicit_inverse
from mlrisk.bijectors.sigmoidal_transformers import DenseSigmoidal, Sigmoidal
from mlrisk.bijectors.transformers import Affine, Spline, Transformer

__all__ = [
    "MADE",
    "Affine",
    "Autoregressive",
    "Coupling",
    "DeepDenseSigmoidal",
    "DeepSigmoidal",
    "DenseLayer",
    "DenseSigmoidal",
    "Flow",
    "Mixing",
    "Permutation",
    "Projected",
    "Sigmoidal",
    "Spline",
    "Transformer",
    "coupling_flow",
    "find_root",
    "implicit_inverse",
    "init_coupling",
    "init_mixing",
    "init_params",
    "inverse_autoregressive_flow",
    "masked_autoregressive_flow",
    "neural_autoregressive_flow",
]
