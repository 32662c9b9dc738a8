"""The audit from the command line on a user's own file and model: a whole page, and one line for what is wrong."""

import json

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from mlrisk.cli import main

RUN = "run memorization_audit --config smoke --validation_size 20 --train_size 60"
MODEL = """
import jax, jax.numpy as jnp

def make_model(shape, classes):
    def init(key):
        return {"w": 0.1 * jax.random.normal(key, (shape[0], classes))}
    return init, lambda params, x: x @ params["w"]
"""
RNG = np.random.default_rng(0)
Y = np.arange(120) % 3
X = RNG.normal(size=(120, 4)) + 3 * np.eye(4)[Y]

# arguments -> exit code, beginning of the line; {dir} is a folder with the files of `folder` in it
CASES = {
    "--data {dir}/absent.npz": (3, "data: {dir}/absent.npz is not there"),
    "--data {dir}/own.py": (2, "data: '{dir}/own.py' is not one of digits, mnist"),
    "--data digit": (2, "data: 'digit' is not one of digits, mnist"),
    "--data {dir}/nan.npz": (2, "x: 1 of 480 values are not finite"),
    "--data {dir}/float.npz": (2, "y: dtype float64 is not an integer type"),
    "--data {dir}/one.npz": (2, "y: all labels are 0; at least two classes are needed"),
    "--data {dir}/keys.npz": (2, "data: {dir}/keys.npz has inputs, labels; x and y are needed"),
    "--data {dir}/good.npz --train_size 101": (2, "train_size: 101 with validation_size 20 is not allowed"),
    "--data {dir}/good.npz --batch_size 61": (2, "batch_size: 61 is not from 1 to 60 (the number of examples)"),
    "--data {dir}/good.npz --batch_size 50": (2, "size: 42 is not from 50 (the batch size) to 60"),
    "--data {dir}/good.npz --model own": (2, "model: 'own' is not mlp, cnn, module:callable or path/to/file.py:callable"),
    "--data {dir}/good.npz --model {dir}/own.py:make": (2, "model: {dir}/own.py has no callable 'make'"),
    "--data {dir}/good.npz --model {dir}/absent.py:make": (2, "model: '{dir}/absent.py:make' cannot be imported (FileNotFoundError"),
    "--data {dir}/good.npz --model cnn": (2, "input_shape: (4,) is not (height, width, channels)"),
    "--data {dir}/good.npz --corrupt 0.6": (2, "corrupt: 0.6 is not allowed"),
    "--data {dir}/good.npz --radii 0": (2, "radii: (0.0,) is not allowed"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    files = {
        "good": {"x": X, "y": Y},
        "nan": {"x": np.where(np.arange(480).reshape(120, 4) == 7, np.nan, X), "y": Y},
        "float": {"x": X, "y": Y.astype(float)},
        "one": {"x": X, "y": 0 * Y},
        "keys": {"inputs": X, "labels": Y},
    }
    for name, arrays in files.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    (tmp_path / "own.py").write_text(MODEL)
    return tmp_path


@pytest.mark.parametrize("arguments", CASES)
def test_what_is_wrong_gets_one_line(arguments, folder, capsys, as_a_user):
    code, line = CASES[arguments]
    words = dict(zip(RUN.split()[4::2], RUN.split()[5::2], strict=True))
    given = arguments.format(dir=folder).split()
    words |= dict(zip(given[::2], given[1::2], strict=True))
    fields = [word for pair in words.items() for word in pair]
    assert main([*RUN.split()[:4], *fields, "--out", str(folder / "runs")]) == code
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1, said
    assert said[0].startswith("mlrisk: " + line.format(dir=folder))


@pytest.mark.slow
def test_an_audit_of_ones_own_data_and_model_is_one_page(folder, capsys):
    options = ["--data", str(folder / "good.npz"), "--model", f"{folder / 'own.py'}:make_model", "--corrupt", "0"]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        assert main([*RUN.split(), *options, "--out", str(folder / "runs")]) == 0
    (run,) = (folder / "runs" / "memorization_audit").iterdir()
    suspects = pq.read_table(run / "tables" / "suspects.parquet").to_pylist()
    assert sorted({row["index"] for row in suspects}) == sorted(row["index"] for row in suspects)
    assert len(suspects) == 60
    assert all(Y[row["index"]] == row["label"] for row in suspects)
    assert not any(row["made_wrong"] for row in suspects)
    advice = pq.read_table(run / "tables" / "advice.parquet").to_pylist()
    assert [row["quantity"] for row in advice][1] == "best epoch"
    claims = json.loads((run / "claims.json").read_text())
    judged = {row["name"]: row["verdict"] for row in claims}
    assert judged.pop("early-stopping") != "not judged"
    assert set(judged.values()) == {"not judged"}
    assert "set corrupt above 0" in (run / "report.html").read_text()
