"""A realistic run folder for the tests of the report, and what reading it back must give."""

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from mlrisk.files import write_json, write_text
from mlrisk.measures import bootstrap_interval
from mlrisk.report import (
    Claim,
    Obtained,
    Plate,
    find_runs,
    house_style,
    judge,
    load_run,
    save_figures,
    write_claims,
    write_table,
)

ARMS = {"real": (1.2, 0.6), "randX": (60.0, 340.0), "randY": (6.0, 33.0)}
CONFIG = """data:
  name: digits
  train_size: 1000
model:
  hidden_sizes: [256, 256]
optimizer:
  learning_rate: 0.01
  batch_size: 32
num_steps: 32
seeds: 100
"""


def _rates():
    rng = np.random.default_rng(0)
    return {arm: np.sort(rng.binomial(100, 1 - rng.beta(*shape, 1000)) / 100) for arm, shape in ARMS.items()}


def _dispersion(rates):
    return float(np.var(rates) / (rates.mean() * (1 - rates.mean()) / 100))


def _tables():
    rates = _rates()
    rng = np.random.default_rng(1)
    arms = list(rates)
    index = [_dispersion(rates[arm]) for arm in arms]
    long = {
        "example": np.tile(np.arange(1000), 3),
        "arm": np.repeat(arms, 1000),
        "misclassified": np.concatenate([rates[arm] for arm in arms]),
        "label": rng.integers(0, 10, 3000),
        "always_right": np.concatenate([rates[arm] for arm in arms]) == 0,
    }
    summary = {
        "arm": arms,
        "dispersion_index": index,
        "within_label": [29.1, 0.99, 2.31],
        "mean_accuracy": [1 - float(rates[arm].mean()) for arm in arms],
        "always_right": [203, 0, 0],
        "always_wrong": [41, 0, 2],
        "seeds": [100, 100, 100],
        "loss_after_epoch": [0.912, 2.31, 2.29],
    }
    return {"dispersion": pa.table(summary), "examples": pa.table(long)}


CAPTIONS = {
    "dispersion": "Spread of the misclassification rates, relative to a binomial (1 = as wide as binomial).",
    "examples": "Misclassification rate of each example over 100 seeds, after one epoch.",
}


def _spread(tables):
    real, noise, _ = tables["dispersion"]["dispersion_index"].to_pylist()
    value, low, high = bootstrap_interval(np.full(30, real / noise) + np.linspace(-2, 2, 30), seed=0)
    return Obtained(value, low, high, 100, "> 10", value > 10)


CLAIMS = [
    Claim(
        name="real data are far from binomial",
        statement="On real data some examples are almost always right after one epoch and others "
        "almost always wrong, far more than independent runs of equal difficulty would give.",
        source="Arpit et al. 2017, Figure 1",
        published="far wider than binomial",
        selection="none; fixed before the runs",
        check=_spread,
    ),
    Claim(
        name="random inputs match the binomial",
        statement="With random inputs all examples are about equally hard.",
        source="Arpit et al. 2017, Figure 1",
        published="coincides with the binomial curve",
        check=lambda _: Obtained(
            0.987,
            0.951,
            1.034,
            100,
            "between 0.8 and 1.3",
            True,
            "Computed within labels: one epoch favours frequent classes.",
        ),
    ),
    Claim(
        name="random labels lie in between",
        statement="Random labels are broader than binomial but far narrower than real data.",
        source="Arpit et al. 2017, Figure 1",
        check=lambda _: Obtained(1.9, 1.4, 2.6, 100, "> 2", False),
    ),
    Claim(
        name="noise takes longer to fit",
        statement="Random inputs take more epochs to reach full training accuracy.",
        source="Arpit et al. 2017, Figure 7 <left>",
        published="slower at every width",
        check=lambda tables: tables["epochs"],
    ),
]


def _curves():
    with house_style():
        figure = Figure()
        axes = figure.subplots()
        for arm, rates in _rates().items():
            axes.plot(np.arange(1000), rates, label=arm)
        axes.set(xlabel="example, sorted by difficulty", ylabel="misclassification rate", ylim=(-0.02, 1.02))
        axes.legend()
    return figure


def _bars():
    with house_style():
        figure = Figure()
        axes = figure.subplots()
        axes.bar(list(ARMS), [34.6, 2.0, 3.7], color="#0072b2", width=0.5)
        axes.axhline(1, color="#d55e00", linestyle="--")
        axes.set(ylabel="dispersion index", xlabel="training set", yscale="log")
    return figure


def _panels():
    rng = np.random.default_rng(2)
    with house_style():
        figure = Figure(figsize=(10.5, 3.6))
        for axes, arm in zip(figure.subplots(1, 3), ARMS, strict=True):
            image = axes.imshow(rng.normal(size=(10, 10)))
            axes.set(title=arm, xlabel="label predicted", ylabel="label given")
            axes.grid(visible=False)
        figure.colorbar(image, ax=figure.axes, label="sensitivity (nats)")
    return figure


def fake_run(folder, *, experiment="easy_examples", preset="digits", diverged=(), done=True):
    """A run folder as the harness leaves it."""
    tables = _tables()
    write_text(folder / "config.yaml", CONFIG)
    write_json(
        folder / "environment.json",
        {
            "python": "3.11.9",
            "device": {"kind": "cpu", "count": 2},
            "git_commit": "215c459",
            "packages": {"jax": "0.10.2", "numpy": "2.4.6", "optax": "0.2.8"},
        },
    )
    run = {
        "experiment": experiment,
        "question": "Are some examples easy for every network, and does that depend on the data being real?",
        "figure": "Figure 1",
        "command": f"mlrisk run {experiment} --config {preset} --seeds 100 --optimizer.learning_rate 0.01",
        "preset": preset,
        "seconds": 43.2,
        "plan": {"lanes": 100, "chunk": 25, "devices": 1},
        "diverged": list(diverged),
        "started": "2026-11-20T19:02:11",
        "finished": "2026-11-20T19:02:54",
    }
    write_json(folder / "run.json", run)
    for name, table in tables.items():
        write_table(table, folder / "tables" / f"{name}.parquet", CAPTIONS[name])
    plates = {
        "difficulty": Plate(_curves(), "Share of 100 runs that misclassify each of 1,000 digits after one epoch."),
        "dispersion": Plate(_bars(), "Dispersion index of each training set; the dashed line is the binomial."),
        "sensitivity": Plate(_panels(), "Mean class sensitivity over 100 seeds."),
    }
    save_figures(plates, folder / "figures")
    write_claims(folder / "claims.json", judge(CLAIMS, tables, "1,000 digits, 100 seeds, two layers of 256 units."))
    records = {
        "lane": np.arange(300) // 3,
        "seed": np.arange(300) // 3,
        "metric": ["loss"] * 300,
        "value": np.ones(300),
    }
    write_table(pa.table(records), folder / "records.parquet", "records")
    if done:
        write_text(folder / "DONE", "")
    return folder


def test_a_whole_run_reads_back(tmp_path):
    folder = fake_run(tmp_path / "easy_examples" / "digits-0a1b2c")
    view = load_run(folder)
    assert view.name == "easy_examples/digits-0a1b2c"
    assert view.config == CONFIG
    assert view.environment["device"] == {"kind": "cpu", "count": 2}
    assert [claim["verdict"] for claim in view.claims] == ["agrees", "agrees", "differs", "not judged"]
    assert [table.caption for table in view.tables] == list(CAPTIONS.values())
    assert [picture.name for picture in view.pictures] == ["difficulty", "dispersion", "sensitivity"]
    assert [round(picture.width) for picture in view.pictures] == [538, 538, 1008]
    assert view.records == {"rows": 300, "lanes": 100, "seeds": 100, "metrics": ["loss"]}


def test_runs_are_found_at_any_depth_and_told_apart(tmp_path):
    done = fake_run(tmp_path / "a" / "b" / "c")
    write_text(tmp_path / "a" / "d" / "config.yaml", "seeds: 1\n")
    write_text(done / "checkpoints" / "run.json", "{}")
    assert find_runs([tmp_path]) == ([done], [tmp_path / "a" / "d"])
