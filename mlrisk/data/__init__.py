"""Data sets in memory, noise to put on them, and samplers that draw from them."""

from mlrisk.data.loading import load
from mlrisk.data.noise import Corrupted, rand_x, rand_y
from mlrisk.data.preparing import prepare
from mlrisk.data.preprocess import Moments, moments, standardise, subset
from mlrisk.data.sampling import EpochSampler, MaskedSampler, permuted_index
from mlrisk.data.sources import SOURCES, Dataset, Source, SourceStatus, list_sources, search_path

__all__ = [
    "SOURCES",
    "Corrupted",
    "Dataset",
    "EpochSampler",
    "MaskedSampler",
    "Moments",
    "Source",
    "SourceStatus",
    "list_sources",
    "load",
    "moments",
    "permuted_index",
    "prepare",
    "rand_x",
    "rand_y",
    "search_path",
    "standardise",
    "subset",
]
