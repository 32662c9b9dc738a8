"""Data sets in memory, noise to put on them, and samplers that draw from them."""

from mlrisk.data.conditions import CONDITIONS, Condition, ConditionSampler, noise_conditions
from mlrisk.data.crossed import CROSSED, crossed_conditions
from mlrisk.data.dequantised import dequantised_digits
from mlrisk.data.downscale import downscale
from mlrisk.data.energies import ENERGIES, Energy, find_energy, log_normaliser
from mlrisk.data.loading import load
from mlrisk.data.noise import Corrupted, rand_x, rand_y
from mlrisk.data.noise_levels import NoiseLevel, NoiseLevelSampler, NoisyExamples, noise_settings, noisy_examples
from mlrisk.data.orders import epoch_order
from mlrisk.data.patches import bsds300_patches
from mlrisk.data.preparing import prepare
from mlrisk.data.preprocess import Moments, moments, standardise, subset
from mlrisk.data.rows import RowSampler
from mlrisk.data.sampling import EpochSampler, MaskedSampler, epoch_rows, permuted_index
from mlrisk.data.sources import SOURCES, Dataset, Source, SourceStatus, list_sources, search_path
from mlrisk.data.splits import Split, train_and_validation
from mlrisk.data.tabular import load_hdf5, load_tabular
from mlrisk.data.toys import TOYS, Toy, find_toy
from mlrisk.data.uci import Tabular

__all__ = [
    "CONDITIONS",
    "CROSSED",
    "ENERGIES",
    "SOURCES",
    "TOYS",
    "Condition",
    "ConditionSampler",
    "Corrupted",
    "Dataset",
    "Energy",
    "EpochSampler",
    "MaskedSampler",
    "Moments",
    "NoiseLevel",
    "NoiseLevelSampler",
    "NoisyExamples",
    "RowSampler",
    "Source",
    "SourceStatus",
    "Split",
    "Tabular",
    "Toy",
    "bsds300_patches",
    "crossed_conditions",
    "dequantised_digits",
    "downscale",
    "epoch_order",
    "epoch_rows",
    "find_energy",
    "find_toy",
    "list_sources",
    "load",
    "load_hdf5",
    "load_tabular",
    "log_normaliser",
    "moments",
    "noise_conditions",
    "noise_settings",
    "noisy_examples",
    "permuted_index",
    "prepare",
    "rand_x",
    "rand_y",
    "search_path",
    "standardise",
    "subset",
    "train_and_validation",
]
