"""Key streams: stable names, no collisions, typed keys only."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrisk import prng

KEY = jax.random.key(0)


def words(key):
    return tuple(np.asarray(jax.random.key_data(key)).ravel().tolist())


def test_a_stream_depends_on_its_name_alone():
    assert (
        words(prng.streams(KEY, "a", "b")[1])
        == words(prng.streams(KEY, "c", "b", "a")[1])
        == words(prng.stream(KEY, "b"))
    )
    assert words(prng.stream(KEY, "init")) == words(jax.random.fold_in(KEY, 3142846090))  # as kept in old run folders
    assert words(prng.stream(jax.random.key(1), "b")) != words(prng.stream(KEY, "b"))


@given(names=st.lists(st.text(max_size=8), min_size=2, max_size=30, unique=True))
def test_different_names_give_different_streams(names):
    assert len({words(key) for key in prng.streams(KEY, *names)}) == len(names)


@given(count=st.integers(1, 50), more=st.integers(0, 50))
def test_lane_keys_do_not_depend_on_how_many_there_are(count, more):
    few, many = prng.lane_keys(KEY, count), prng.lane_keys(KEY, count + more)
    np.testing.assert_array_equal(jax.random.key_data(few), jax.random.key_data(many[:count]))
    assert len({words(key) for key in many}) == count + more


def test_lane_keys_and_split_keys_of_the_same_root_differ():
    """split(key, n)[i] equals fold_in(key, i): a root that is only ever turned into streams cannot collide with it."""
    split = {words(key) for key in jax.random.split(KEY, 20)}
    assert not split & {words(key) for key in prng.lane_keys(KEY, 20)}


@pytest.mark.parametrize(
    "call", [lambda k: prng.stream(k, "a"), lambda k: prng.step_key(k, 0), lambda k: prng.lane_keys(k, 2)]
)
def test_legacy_keys_are_refused(call, as_a_user):
    with pytest.raises(TypeError, match=r"key: expected a typed key from jax.random.key\(seed\)"):
        call(jax.numpy.zeros(2, jax.numpy.uint32))


def test_repeated_names_and_no_lanes_are_refused():
    with pytest.raises(ValueError, match="names: "):
        prng.streams(KEY, "a", "a")
    with pytest.raises(ValueError, match="count: 0"):
        prng.lane_keys(KEY, 0)
