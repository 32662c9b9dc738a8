"""Killed at any moment and started again, a run ends with the same bits as one that was never disturbed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ENVIRONMENT = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(Path(__file__).parents[1])}

# Lanes of many blocks, so that kills also fall between checkpoints inside a chunk.
SEGMENTS = """
import sys, jax, jax.numpy as jnp, numpy as np, optax
from mlrisk.harness import make_train, sweep
from mlrisk.harness.runtime import configure
from mlrisk.types import Model
configure(devices=2)
data = jax.random.normal(jax.random.key(1), (200, 30))
model = Model(lambda key: jax.random.normal(key, (30, 30)), lambda p, x: x @ p)
def objective(params, batch, hyper, key):
    loss = jnp.mean((batch @ params - batch) ** 2) + 0.01 * jnp.mean(jax.random.normal(key, (30, 30)) * params)
    return loss, {"loss": loss}
def sampler(key, step):
    return data[jax.random.randint(jax.random.fold_in(key, step), (20,), 0, 200)]
train = make_train(model, objective, lambda h: optax.adam(h), sampler, {"eval": lambda s, k: {"p": s.params}},
                   num_steps=600, probe_every=100, average_decay=0.9)
fit = sweep(train, jax.random.split(jax.random.key(0), 4), jnp.asarray([0.01, 0.001]), run_dir=sys.argv[1],
            chunk=2, segment_seconds=0.0)
np.savez(sys.argv[1] + "/result.npz", loss=fit.history["train/loss"], p=fit.state.params, a=fit.state.average)
open(sys.argv[1] + "/DONE", "w").close()
"""
SWEEP = [sys.executable, "-c", SEGMENTS]
RUN = [sys.executable, "-m", "mlrisk", "run", "easy_examples", "--config", "smoke", "--seeds", "40", "--out"]


def run_until(command: list[str], folder: Path, changes: int, rng: random.Random) -> int:
    """Run a command until its folder has changed so often since its plan, kill it there; the changes seen.

    Counted in changes of the folder, not in seconds, the moments are inside the run on a machine of any speed.
    """
    process = subprocess.Popen([*command, str(folder)], env=ENVIRONMENT, stderr=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL)  # fmt: skip
    seen, before = 0, listing(folder)
    while process.poll() is None and seen < changes:
        time.sleep(0.002)
        now = listing(folder)
        seen, before = seen + (now != before and any(name.endswith("plan.json") for name in now)), now
    time.sleep(rng.uniform(0, 0.05))
    process.send_signal(signal.SIGKILL)
    assert process.wait() in (0, -signal.SIGKILL)
    return seen


def listing(folder: Path) -> set[str]:
    return {os.path.join(place, name) for place, _, names in os.walk(folder) for name in names}


def outcome(folder: Path) -> dict[str, bytes]:
    """The files that must be the same to the bit, by their path inside the folder."""
    kept = [p for p in folder.rglob("*") if p.name in ("records.parquet", "claims.json", "result.npz")]
    kept += list(folder.rglob("arrays/*.npy")) + list(folder.rglob("tables/*.parquet"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


@pytest.mark.parametrize("command", [SWEEP, RUN], ids=["sweep", "run"])
@pytest.mark.parametrize("kills", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_killed_runs_end_with_the_same_bits(tmp_path, command, kills):
    rng, hits = random.Random(kills), 0
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    changes = run_until(command, whole, 10**9, rng)
    for _ in range(kills):
        run_until(command, broken, rng.randint(1, max(2, changes // (kills + 1))), rng)
        hits += not any(broken.rglob("DONE"))
    subprocess.run([*command, str(broken)], env=ENVIRONMENT, check=True, capture_output=True)
    assert any(whole.rglob("DONE"))
    assert hits >= kills / 2, f"only {hits} of {kills} kills fell inside the run"
    expected, found = outcome(whole), outcome(broken)
    assert expected.keys() == found.keys()
    assert expected
    assert [name for name in expected if expected[name] != found[name]] == []


def test_a_finished_run_is_left_alone_and_force_goes_beside_it(tmp_path):
    def call(*extra):
        done = subprocess.run([*RUN[:7], "--out", str(tmp_path), *extra], env=ENVIRONMENT, check=True,
                              capture_output=True, text=True)  # fmt: skip
        return done.stdout

    call()
    (folder,) = (tmp_path / "easy_examples").iterdir()
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert "done before" in call()
    call("--force")
    assert sorted(p.name for p in (tmp_path / "easy_examples").iterdir()) == [folder.name, f"{folder.name}.2"]
    assert stamps == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_interrupting_leaves_a_run_that_continues(tmp_path):
    # what a shell runs in the background, and all that it starts, is born deaf to interrupts; a preexec_fn
    # could restore them, but forks, of which jax warns once it is imported here
    listening = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", listening, *RUN, str(tmp_path)]
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not any(tmp_path.rglob("plan.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130, said
    assert said.strip().splitlines()[-1] == "mlrisk: interrupted; the same command continues where it stopped"
    subprocess.run([*RUN, str(tmp_path)], env=ENVIRONMENT, check=True, capture_output=True)
    assert any(tmp_path.rglob("DONE"))
