"""Sweeps: equal to vmap whatever the layout, compiled once, and durable."""

import json
import logging
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType

from mlrisk.errors import BadInput, StorageError
from mlrisk.harness import Plan, make_train, sweep
from mlrisk.harness.lanes import first_plan, fit_to_memory, lane_mesh
from mlrisk.types import Model

KEYS = jax.random.split(jax.random.key(0), 7)
DATA = jax.random.normal(jax.random.key(1), (50, 4))


def fitted(key, scale=1.0):
    """A small regression with all that a lane may return: floats, integers, booleans, and a typed key."""
    weights = jax.random.normal(key, (4,)) * scale
    for _ in range(3):
        weights = weights - 0.1 * jax.grad(lambda w: jnp.mean((DATA @ w - 1) ** 2))(weights)
    return {
        "weights": weights,
        "best": jnp.argmax(weights),
        "up": weights > 0,
        "key": jax.random.fold_in(key, 7),
    }


def make_fit(**options):
    model = Model(lambda key: jax.random.normal(key, (4,)), lambda p, x: x @ p)

    def objective(params, batch, hyper, key):
        loss = jnp.mean((batch @ params - 1) ** 2)
        return loss, {"loss": loss}

    def sampler(key, step):
        return DATA[jax.random.randint(jax.random.fold_in(key, step), (10,), 0, 50)]

    return make_train(
        model,
        objective,
        lambda hyper: optax.sgd(0.1 if hyper is None else hyper["lr"]),
        sampler,
        {"eval": lambda state, key: {"params": state.params}},
        num_steps=12,
        probe_every=3,
        **options,
    )


def plain(tree):
    def words(leaf):
        typed = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if typed else leaf)

    return jax.tree.map(words, tree)


def assert_close(left, right):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), plain(left), plain(right))


def assert_same_bits(left, right):
    jax.tree.map(np.testing.assert_array_equal, plain(left), plain(right))


@given(
    lanes=st.sampled_from(["auto", "wide", 1, 2, 3, 50]),
    chunk=st.sampled_from([None, 1, 4, 100]),
    devices=st.sampled_from([1, 2, 4]),
)
def test_every_layout_equals_vmap(lanes, chunk, devices):
    mesh = jax.make_mesh((devices,), ("seed",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
    assert_close(sweep(fitted, KEYS, lanes=lanes, chunk=chunk, mesh=mesh), jax.vmap(fitted)(KEYS))


def test_a_lane_equals_its_solo_run():
    together = sweep(fitted, KEYS)
    for i, key in enumerate(KEYS):
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], together), jax.jit(fitted)(key))


def test_the_same_sweep_gives_the_same_bits():
    assert_same_bits(sweep(fitted, KEYS), sweep(fitted, KEYS))


def test_hypers_add_an_outer_axis():
    scales = jnp.asarray([0.0, 1.0, 2.0])
    expected = jax.vmap(lambda h: jax.vmap(lambda k: fitted(k, h))(KEYS))(scales)
    found = sweep(fitted, KEYS, scales)
    assert found["weights"].shape == (3, 7, 4)
    assert found["key"].shape == (3, 7)
    assert_close(found, expected)


def test_typed_keys_come_back_as_typed_keys():
    found = sweep(fitted, KEYS)["key"]
    assert jnp.issubdtype(found.dtype, jax.dtypes.prng_key)
    assert_same_bits(found, jax.vmap(lambda k: jax.random.fold_in(k, 7))(KEYS))


def test_one_diverging_setting_is_flagged_and_disturbs_no_other():
    train = make_fit()
    fit = sweep(train, KEYS, {"lr": jnp.asarray([0.1, 1e30, 0.05])})
    assert (fit.diverged_at[1] >= 0).all()
    assert (fit.diverged_at[[0, 2]] == -1).all()
    without = sweep(train, KEYS, {"lr": jnp.asarray([0.1, 0.05])})
    for kept, row in ((0, 0), (2, 1)):
        np.testing.assert_array_equal(fit.history["train/loss"][kept], without.history["train/loss"][row])


def test_all_chunks_and_settings_share_one_compile(caplog):
    with jax.log_compiles(True), caplog.at_level(logging.WARNING, logger="jax"):
        sweep(make_fit(), KEYS, {"lr": jnp.asarray([0.1, 0.05])}, chunk=4)
    compiled = [r.getMessage() for r in caplog.records if "Compiling" in r.getMessage()]
    assert sum("mlrisk_sweep" in line for line in compiled) == 1, compiled


def test_arrays_of_a_train_are_arguments_not_constants_of_the_program():
    from mlrisk.harness.program import whole_program

    program = whole_program(lambda key: DATA[0] @ DATA[1] + jax.random.normal(key), KEYS[0], None)
    assert any(np.shape(array) == DATA.shape for array in program.last.arrays)


@pytest.mark.parametrize("train", [fitted, make_fit(), make_fit(average_decay=0.9)], ids=["plain", "fit", "average"])
def test_a_run_folder_changes_nothing_and_a_second_call_reads_it(tmp_path, train):
    first = sweep(train, KEYS, run_dir=tmp_path, segment_seconds=0.0, chunk=4)
    assert_same_bits(first, sweep(train, KEYS, chunk=4))
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "chunks").iterdir()}
    assert len(stamps) == 3
    assert_same_bits(sweep(train, KEYS, run_dir=tmp_path), first)
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "chunks").iterdir()}


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "remove"])
def test_a_damaged_chunk_is_found_and_computed_again(tmp_path, damage, caplog):
    first = sweep(fitted, KEYS, run_dir=tmp_path, chunk=4)
    victim = sorted((tmp_path / "chunks").glob("chunk-00001-*"))[0]
    data = bytearray(victim.read_bytes())
    if damage == "remove":
        victim.unlink()
    else:
        data[len(data) // 2] ^= 1
        victim.write_bytes({"truncate": data[:-9], "flip": data, "empty": b""}[damage])
    assert_same_bits(sweep(fitted, KEYS, run_dir=tmp_path, chunk=4), first)
    assert damage == "remove" or "damaged" in caplog.text
    assert len(list((tmp_path / "chunks").glob("chunk-*"))) == 2


def test_checkpoints_of_a_lane_under_way_are_used_and_damaged_ones_are_not(tmp_path):
    from mlrisk.harness import engine

    train = make_fit()
    expected = sweep(train, KEYS, chunk=100)
    folder = tmp_path / "checkpoints" / "chunk-00000"
    for damaged in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine.Checkpoints, "clear", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                sweep(train, KEYS, run_dir=tmp_path, segment_seconds=0.0, chunk=100)
        for path in (tmp_path / "chunks").glob("chunk-*"):
            path.unlink()
        steps = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())
        assert steps == [2, 3]
        if damaged:
            for file in (folder / "3").rglob("*"):
                if file.is_file():
                    file.write_bytes(b"")
        assert_same_bits(sweep(train, KEYS, run_dir=tmp_path, segment_seconds=0.0), expected)
        assert not folder.exists()
        for path in (tmp_path / "chunks").iterdir():
            path.unlink()


@pytest.mark.parametrize(
    ("change", "keys", "hypers"),
    [
        (lambda key: fitted(key, 2.0), KEYS, None),
        (fitted, jax.random.split(jax.random.key(5), 7), None),
        (fitted, KEYS[:5], None),
        (fitted, KEYS, jnp.ones(1)),
    ],
    ids=["function", "keys", "fewer keys", "hypers"],
)
def test_a_folder_of_another_sweep_is_refused(tmp_path, change, keys, hypers):
    sweep(fitted, KEYS, run_dir=tmp_path)
    with pytest.raises(BadInput, match="chunks of another sweep"):
        sweep(change, keys, hypers, run_dir=tmp_path)


def test_the_plan_is_kept_so_that_a_resumed_sweep_makes_the_same_one(tmp_path):
    plans = []
    sweep(fitted, KEYS, run_dir=tmp_path, lanes=2, chunk=4, on_plan=plans.append)
    sweep(fitted, KEYS, run_dir=tmp_path, on_plan=plans.append)
    assert plans[0] == plans[1]
    kept = json.loads((tmp_path / "chunks" / "plan.json").read_text())
    assert Plan(*kept["plan"]) == plans[0]
    one = jax.make_mesh((1,), ("seed",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
    with pytest.raises(BadInput, match="begun with 4 devices, now there are 1"):
        sweep(fitted, KEYS, run_dir=tmp_path, mesh=one)


@given(total=st.integers(1, 500), devices=st.integers(1, 8), lanes=st.sampled_from(["auto", "wide", 1, 5]))
def test_plans_cover_all_lanes_with_little_waste(total, devices, lanes):
    plan = first_plan(total, devices, lanes, "cpu")
    assert plan.chunk % (devices * plan.width) == 0
    assert plan.chunks * plan.chunk >= total > (plan.chunks - 1) * plan.chunk


@given(width=st.integers(1, 200), free=st.integers(0, 10**6), each=st.integers(1, 10**5))
def test_the_width_fits_the_memory_if_any_does(width, free, each):
    plan, need = fit_to_memory(Plan(width, width, width, 1), lambda plan: 100 + each * plan.width, free)
    assert need == 100 + each * plan.width
    assert plan.width == 1 or need <= 0.8 * free
    if plan.width < width:
        assert 100 + each * (plan.width + 2) > 0.8 * free * 0.4 or plan.width == 1


def test_wide_lanes_are_cut_to_the_free_memory():
    plans = []
    wide = sweep(lambda key: jax.random.normal(key, (1000,)), KEYS, lanes="wide", mesh=_one(), on_plan=plans.append)
    tight = sweep(
        lambda key: jax.random.normal(key, (1000,)), KEYS, lanes="wide", mesh=_one(),
        free_bytes=40_000, on_plan=plans.append,
    )  # fmt: skip
    assert plans[0].width == 7
    assert plans[1].width < 7
    np.testing.assert_array_equal(wide, tight)


def _one():
    return jax.make_mesh((1,), ("seed",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"keys": jnp.zeros((3, 2), jnp.uint32)}, "keys: expected typed keys"),
        ({"keys": jax.random.key(0)}, "keys: expected typed keys"),
        ({"keys": KEYS[:0]}, "keys: expected typed keys"),
        ({"hypers": {"a": jnp.ones(2), "b": jnp.ones(3)}}, "hypers: leaves need one common leading axis"),
        ({"hypers": jnp.ones(())}, "hypers: leaves need one common leading axis"),
        ({"hypers": jnp.ones((0,))}, "hypers: leaves need one common leading axis"),
        ({"lanes": 0}, "lanes: 0"),
        ({"lanes": "many"}, "lanes: 'many'"),
        ({"chunk": 0}, "chunk: 0"),
    ],
)
def test_bad_arguments_get_one_line(as_a_user, arguments, line):
    given = {"train": fitted, "keys": KEYS} | arguments
    with pytest.raises(Exception, match=line):
        sweep(given.pop("train"), given.pop("keys"), given.pop("hypers", None), **given)


def test_a_mesh_with_another_axis_is_refused():
    with pytest.raises(ValueError, match="mesh: its axes"):
        lane_mesh(jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,)))


def test_a_folder_that_cannot_be_made_gives_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="a part of the path is a file") as caught:
        sweep(fitted, KEYS, run_dir=tmp_path / "file" / "run")
    assert "\n" not in str(caught.value)


FULL_DISK = """
import resource, sys, jax, jax.numpy as jnp
from mlrisk.errors import StorageError
from mlrisk.harness import sweep, chunks
limit = int(sys.argv[2])
real = chunks.write_bytes
def near_full(path, data):
    if "chunk-00002" in path.name and limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    real(path, data)
chunks.write_bytes = near_full
keys = jax.random.split(jax.random.key(0), 6)
try:
    out = sweep(lambda key: jax.random.normal(key, (5000,)), keys, run_dir=sys.argv[1], chunk=1)
    print("sum", float(jnp.sum(out)))
except StorageError as error:
    print("line", error)
"""


def test_a_full_disk_gives_one_line_and_keeps_the_earlier_chunks(tmp_path):
    """The operating system refuses the third chunk half-way through, as it does when a disk fills up."""

    def call(limit):
        done = subprocess.run(
            [sys.executable, "-c", FULL_DISK, str(tmp_path), str(limit)],
            capture_output=True, text=True, check=True, env=os.environ | {"JAX_PLATFORMS": "cpu"},
        )  # fmt: skip
        return done.stdout.strip()

    said = call(4096)
    assert said.startswith("line run folder")
    assert "chunk 2 was not saved, chunks before it are whole" in said
    assert [path.name[:11] for path in sorted((tmp_path / "chunks").glob("chunk-*"))] == [
        "chunk-00000",
        "chunk-00001",
    ]
    assert not list((tmp_path / "chunks").glob(".*"))
    resumed = call(0)
    assert resumed.startswith("sum")
