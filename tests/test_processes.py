"""The same records whether one device, several devices, several processes or submitit carry a sweep out."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
RUN = [sys.executable, "-m", "mlrisk", "run", "easy_examples", "--config", "smoke"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(out: Path, *extra: str) -> subprocess.Popen:
    return subprocess.Popen([*RUN, "--out", str(out), *extra], env=ENVIRONMENT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip


def finish(*processes: subprocess.Popen) -> list[str]:
    said = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(said)
    return said


def records(out: Path) -> tuple:
    (table,) = out.rglob("records.parquet")
    (correct,) = out.rglob("tracked.correct.npy")
    return pq.read_table(table), np.load(correct)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    out = tmp_path_factory.mktemp("alone")
    finish(start(out, "--devices", "1"))
    return records(out)


def assert_same(found: tuple, expected: tuple) -> None:
    (table, correct), (other, other_correct) = found, expected
    assert table.drop(["value"]).equals(other.drop(["value"]))
    np.testing.assert_allclose(table["value"], other["value"], rtol=1e-5)
    np.testing.assert_array_equal(correct, other_correct)


def test_four_devices_give_the_same_records(tmp_path, alone):
    finish(start(tmp_path, "--devices", "4"))
    assert_same(records(tmp_path), alone)


def test_two_processes_give_the_same_records_and_one_of_them_writes(tmp_path, alone):
    cluster = ["--coordinator", f"127.0.0.1:{free_port()}", "--num_processes", "2", "--devices", "2"]
    said = finish(*(start(tmp_path, *cluster, "--process_id", str(i)) for i in range(2)))
    assert_same(records(tmp_path), alone)
    assert "report:" in said[0]
    assert "report:" not in said[1]


SEGMENTS = """
import sys, jax, jax.numpy as jnp, numpy as np, optax
from mlrisk.harness import make_train, sweep
from mlrisk.harness.runtime import Cluster, configure
from mlrisk.types import Model
cluster = Cluster(sys.argv[2], 2, int(sys.argv[3])) if len(sys.argv) > 2 else None
configure(devices=2, cluster=cluster)
model = Model(lambda key: jax.random.normal(key, (3,)), lambda p, x: x @ p)
def objective(params, batch, hyper, key):
    loss = jnp.sum((params - jax.random.normal(key, (3,))) ** 2)
    return loss, {"loss": loss}
train = make_train(model, objective, optax.adam(0.1), lambda key, step: (), num_steps=40, probe_every=10)
for _ in range(2):
    fit = sweep(train, jax.random.split(jax.random.key(0), 6), run_dir=sys.argv[1], chunk=4, segment_seconds=0.0)
print("sum", repr(float(np.sum(np.abs(fit.state.params), dtype=np.float64))))
"""


def test_segments_and_chunks_work_across_processes(tmp_path):
    """Two processes save checkpoints and chunks between them, and a second call reads them back."""
    solo = subprocess.run([sys.executable, "-c", SEGMENTS, str(tmp_path / "solo")], env=ENVIRONMENT, check=True,
                          capture_output=True, text=True)  # fmt: skip
    where = f"127.0.0.1:{free_port()}"
    pair = [
        subprocess.Popen([sys.executable, "-c", SEGMENTS, str(tmp_path / "pair"), where, str(i)], env=ENVIRONMENT,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for i in range(2)
    ]  # fmt: skip
    said = [next(line for line in text.splitlines() if line.startswith("sum")) for text in finish(*pair)]
    assert said == [solo.stdout.strip()] * 2


@pytest.mark.parametrize("launcher", ["here", "local"])
def test_a_grid_through_each_launcher_gives_the_same_records(tmp_path, launcher, alone):
    command = [sys.executable, "-m", "mlrisk", "sweep", "easy_examples", "--config", "smoke", "--out", str(tmp_path),
               "--devices", "1", "--grid", "optimizer.learning_rate=0.01,0.1", "--launcher", launcher]  # fmt: skip
    plan = subprocess.run([*command, "--dry_run"], env=ENVIRONMENT, check=True, capture_output=True, text=True)
    assert plan.stdout.count("to do") == 2
    assert not any(tmp_path.iterdir())
    subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True, timeout=300)
    folders = sorted((tmp_path / "easy_examples").iterdir())
    assert len(folders) == 2
    same = [f for f in folders if "learning_rate: 0.01\n" in (f / "config.yaml").read_text()]
    assert_same(records(same[0]), alone)
    again = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True)
    assert again.stdout.count("done ") == 2
