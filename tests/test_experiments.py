"""Every experiment with its smoke presets: runs, records, tables, figures, claims and report."""

import json
from pathlib import Path

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from mlrisk.cli import main
from mlrisk.experiment import experiment_names, find, presets
from mlrisk.harness.records import Records

SMOKE = [(name, preset) for name in experiment_names() for preset in presets(name) if preset.startswith("smoke")]


@pytest.fixture(scope="module", params=SMOKE, ids=["-".join(pair) for pair in SMOKE])
def finished(request, tmp_path_factory) -> tuple[str, Path]:
    name, preset = request.param
    out = tmp_path_factory.mktemp("runs")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        assert main(["run", name, "--config", preset, "--out", str(out)]) == 0
    (folder,) = (out / name).iterdir()
    return name, folder


def test_a_smoke_run_leaves_a_whole_run_folder(finished):
    name, folder = finished
    left = {path.name for path in folder.iterdir()}
    assert left == {"config.yaml", "environment.json", "run.json", "records.parquet", "arrays", "tables", "figures",
                    "claims.json", "report.html", "DONE"}  # fmt: skip
    claims = json.loads((folder / "claims.json").read_text())
    assert [row["name"] for row in claims] == [claim.name for claim in find(name).claims]
    assert all(row["verdict"] != "not judged" for row in claims), claims
    page = (folder / "report.html").read_text()
    assert find(name).question in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_analysis_needs_the_records_alone(finished):
    name, folder = finished
    experiment, records = find(name), Records.load(folder)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        tables = experiment.analyse(records)
        assert set(experiment.figures(records, tables)) == {p.stem for p in (folder / "figures").glob("*.svg")}
    for table, found in tables.items():
        assert found.equals(pq.read_table(folder / "tables" / f"{table}.parquet"))


def test_records_are_tidy(finished):
    _, folder = finished
    table = Records.load(folder).table
    names = table.column_names
    assert names[:2] == ["lane", "seed"]
    assert names[-4:] == ["step", "split", "metric", "value"]
    keys = list(zip(*(table[name].to_pylist() for name in names[:-1]), strict=True))
    assert len(set(keys)) == len(keys)


def test_easy_examples_reports_a_lane_that_diverged(tmp_path, capsys):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        arguments = ["--config", "smoke", "--optimizer.learning_rate", "1e30", "--out", str(tmp_path)]
        assert main(["run", "easy_examples", *arguments]) == 0
    assert "diverged: lane 0, seed 0, condition real, step" in capsys.readouterr().out
    (folder,) = (tmp_path / "easy_examples").iterdir()
    assert len(json.loads((folder / "run.json").read_text())["diverged"]) == 12
    assert "diverged" in (folder / "report.html").read_text().lower()


def test_real_mnist_is_read_and_its_difficulty_table_joins_to_it(shared_data, tmp_path):
    from mlrisk.data import load

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        arguments = ["--config", "smoke", "--dataset", "mnist", "--data_dir", str(shared_data), "--out", str(tmp_path)]
        assert main(["run", "easy_examples", *arguments]) == 0
    (folder,) = (tmp_path / "easy_examples").iterdir()
    table = pq.read_table(folder / "tables" / "difficulty.parquet").to_pylist()
    labels = np.asarray(load("mnist", shared_data).train.labels)
    assert all(labels[row["index"]] == row["true_label"] for row in table)
    assert {row["condition"] for row in table} == {"real", "randX", "randY"}
