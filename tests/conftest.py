"""Strict JAX for every test: typed promotion, no silent broadcasting, four CPU devices, its own compile cache."""

import os
import tempfile
from pathlib import Path

import hypothesis
import jax
import jaxtyping
import pytest

ROOT = Path(__file__).parents[1]
CACHE = Path(tempfile.gettempdir()) / f"mlrisk-test-cache-{os.getuid()}"

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
os.environ.setdefault("XDG_CACHE_HOME", str(CACHE))

hypothesis.settings.register_profile("ci", max_examples=15, deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data sets beside the checkout; tests that need them are skipped where they are absent."""
    folder = ROOT.parent / "shared" / "data" / "tfds"
    if not folder.is_dir():
        pytest.skip("no prepared data sets beside the checkout (../shared/data/tfds)")
    return folder


@pytest.fixture
def as_a_user():
    """Without the type checks that the tests switch on: bad arguments must reach mlrisk's own lines."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
