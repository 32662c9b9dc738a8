"""Do penalties across domains still work where P(x) differs between the training domains too?"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.config import setting
from mlrisk.data.imbalance import CHANNELS, KINDS, ImbalancedSampler, Kind, groups
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, block_length, coloured_runs, curves, from_fit, make_train, merge, seed_cells, sweep
from mlrisk.harness.colour_blocks import ColouredModel, coloured_mlp
from mlrisk.harness.coloured import TrainingDomainsProbe, domain_objective
from mlrisk.harness.coloured_runs import WORDS, ColouredSetting, GreyParts
from mlrisk.harness.coloured_search import Draws, Shifted, draw_settings, shifted_at_step, shifted_lanes
from mlrisk.measures import Interval, interval_difference, share_interval
from mlrisk.objectives.domains import METHODS
from mlrisk.report import PALETTE, Claim, Obtained, Plate, Tables
from mlrisk.types import Objective, RandomKey

SOURCE = "Krueger et al. 2021, Figure 5 and section 4.1.2 (thesis Figure 5.4)"
COMPARED = ("v_rex", "irm_v1")
BY = ("part", "method", "share", "draw")
LOOKS = {"v_rex": {"color": PALETTE["blue"]}, "irm_v1": {"color": PALETTE["vermilion"], "linestyle": "--"}}
PUBLISHED = {"class": 0.044, "digit": 0.237, "color": 0.020}  # share of REx's settings above chance


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: do the penalties survive covariate shift? Krueger et al. 2021, Figure 5 (thesis Figure 5.4)."""

    dataset: Literal["digits", "mnist"] = setting("digits", "which data set")
    data_dir: str | None = setting(None, "where prepared data sets are", identity=False)
    pool: int = setting(1000, "training pictures; the rest of the training split is the test domain", at_least=2)
    label_noise: float = setting(0.25, "probability that a label is wrong", at_least=0, at_most=1)
    train_noise: tuple[float, float] = setting((0.2, 0.1), "P(colour is not the label's)", at_least=0, at_most=1)
    test_noise: float = setting(0.9, "the same in the test domain", at_least=0, at_most=1)
    shares: tuple[float, ...] = setting((0.1, 0.3, 0.5), "p: share of group 0 in domain 1, of group 1 in domain 2",
                                        at_least=0, at_most=1, items=1)  # fmt: skip
    training: ColouredSetting = setting(ColouredSetting(), "of the figure's lanes")
    restarts: int = setting(3, "restarts of the figure's lanes", at_least=2)
    draws: int = setting(4, "random settings of the search", at_least=1)
    search_shares: tuple[float, float, float] = setting((0.1, 0.1, 0.2), "p of the search for class, digit and color",
                                                        at_least=0, at_most=1)  # fmt: skip
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        size = f"{self.pool:,} pictures of {self.dataset}, MLP 2 x {self.training.hidden}, {self.restarts} restarts"
        return f"{size}, {self.draws} random settings, {self.training.steps} steps"


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> GreyParts:
    """Grey pictures; which are in which domain, and their colours, are drawn by each lane."""
    del key
    return coloured_runs.grey_parts(config.dataset, config.data_dir, config.pool)


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, hidden: int, pixels: int, kind: Kind) -> ColouredModel:
    """Two hidden layers of ReLU, Glorot's uniform weights, one logit."""
    return coloured_mlp(hidden, pixels, CHANNELS[kind])


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, model: ColouredModel) -> Objective:
    """V-REx or IRMv1, as the lane says."""
    base = domain_objective(model, len(config.train_noise))
    return lambda params, batch, hyper, key: base(params, batch, hyper.penalty, key)


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """For each kind of shift one sweep over methods and shares, and one a width over random settings."""
    data_key, figure_key, search_key, draw_key = prng.streams(key, "data", "figure", "search", "draws")
    data, one = make_data(config, data_key), config.training
    base = Draws(*(np.asarray([v]) for v in (one.hidden, one.weight_decay, one.learning_rate, one.switch, one.weight)))
    methods = [METHODS.index(method) for method in COMPARED]
    parts, folder = {}, run_dir / "chunks"
    for kind, searched in zip(KINDS, config.search_shares, strict=True):
        each = [shifted_lanes(base, np.zeros(1, int), methods, share) for share in config.shares]
        lanes = Shifted(*(_joined(leaves) for leaves in zip(*each, strict=True)))
        columns = _columns(config.shares, [-1])
        keys = prng.lane_keys(figure_key, config.restarts)
        name = f"figure {kind} {one.hidden}"
        parts[name] = _sweep(config, data, kind, one.hidden, keys, lanes, columns, folder / name.replace(" ", "-"))
        drawn = draw_settings(draw_key, config.draws)
        for hidden in sorted(set(drawn.hidden.tolist())):
            chosen = np.flatnonzero(drawn.hidden == hidden)
            columns = _columns([searched], chosen.tolist())
            lanes = shifted_lanes(drawn, chosen, methods, searched)
            name = f"search {kind} {hidden}"
            keys = prng.lane_keys(search_key, 1)
            parts[name] = _sweep(config, data, kind, hidden, keys, lanes, columns, folder / name.replace(" ", "-"))
    return merge(parts, "part")


def _columns(shares: Sequence[float], draws: list[int]) -> dict[str, list[Any]]:
    """The settings of the lanes: for each share and method, the draws."""
    rows = [(method, share, draw) for share in shares for method in COMPARED for draw in draws]
    return {name: [row[i] for row in rows] for i, name in enumerate(BY[1:])}


def _joined(leaves: Any) -> Any:
    if isinstance(leaves[0], tuple):
        return type(leaves[0])(*(_joined(parts) for parts in zip(*leaves, strict=True)))
    return jnp.concatenate(leaves)


def _sweep(
    config: Config, data: GreyParts, kind: Kind, hidden: int, keys: Any, lanes: Shifted, columns: Any, run_dir: Path
) -> Records:
    model = make_model(config, hidden, data.train.pictures.shape[1], kind)
    samplers = [
        ImbalancedSampler(part, jnp.asarray(groups(np.asarray(part.digits), kind)), kind, jnp.asarray(noise),
                          config.label_noise, fixed)
        for part, noise, fixed in ((data.train, config.train_noise, None), (data.test, (config.test_noise,), 0.5))
    ]  # fmt: skip
    probes = {
        "train_domains": TrainingDomainsProbe(samplers[0], model, 2),
        "test_domain": TrainingDomainsProbe(samplers[1], model, 1, stream="held out"),
    }
    steps = config.training.steps
    train = make_train(model.painted, make_objective(config, model), lambda hyper: optax.adam(hyper.learning_rate),
                       samplers[0], probes, steps, block_length(steps, 1), schedule=shifted_at_step,
                       keep_state=False)  # fmt: skip
    fit = sweep(train, keys, lanes, lanes=config.lanes or "auto", run_dir=run_dir)
    return from_fit(fit, probe_every=steps, settings=columns)


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> Tables:
    """Final accuracies by kind, method and share, and the share of random settings above chance.

    Selection: none; the last step of every lane. The lesser of training and test accuracy is shown too, as settings
    that learn neither can be above chance in the test domain by being wrong on the colour in training.
    """
    found = {part: curves(records, f"{part}/accuracy", BY) for part in ("train_domains", "test_domain")}
    rows, above = [], {}
    for key, values in found["test_domain"].items():
        what, kind, _ = key[0].split()
        test, both = values[:, -1], np.minimum(values[:, -1], found["train_domains"][key][:, -1])
        if what == "figure":
            for quantity, numbers in (("test", test), ("lesser of training and test", both)):
                rows.append({"kind": kind, "method": key[1], "share": key[2], "quantity": quantity,
                             **seed_cells(numbers)})  # fmt: skip
        else:
            above.setdefault((kind, key[1], key[2]), []).append(both[0] > 0.5)
    search = [
        {
            "kind": kind,
            "method": method,
            "share": share,
            **share_interval(np.asarray(hits))._asdict(),
            "settings": len(hits),
        }
        for (kind, method, share), hits in above.items()
    ]
    return {"shares": report.tidy_table(rows, SHARES), "search": report.tidy_table(search, SEARCH)}


SHARES = "Accuracy at the last step against the share p (0.5: no shift, 0: disjoint); 95 % intervals over restarts."
SEARCH = "Share of random settings whose training and test accuracy are both above 0.5; exact 95 % intervals."


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Figure 5.4 of the thesis."""
    with report.house_style():
        return {"covariate_shift": _lines(tables)}


def _lines(tables: Tables) -> Plate:
    figure, rows = Figure(figsize=(8.6, 3.2)), tables["shares"].to_pylist()
    for axes, kind in zip(figure.subplots(1, 3, sharey=True), KINDS, strict=True):
        for method, look in LOOKS.items():
            line = [r for r in rows if (r["kind"], r["method"], r["quantity"]) == (kind, method, "test")]
            line = sorted(line, key=lambda row: row["share"])
            report.banded_line(axes, line, "share", marker="o", ms=3, label=WORDS[method], **look)
        axes.axhline(0.5, color=PALETTE["ink"], lw=0.6)
        axes.set(title=kind, xlabel="share p (0.5: no shift)", ylim=(0, 0.8))
    figure.axes[0].set_ylabel("accuracy in the test domain")
    figure.axes[0].legend()
    return Plate(figure, SHARES)


# 8. Claims ------------------------------------------------------------------------------------------------------
def _above_irm(kind: str) -> Claim:
    """The difference where it is least in V-REx's favour, over all shares."""

    def check(tables: Tables) -> Obtained:
        rows = [r for r in tables["shares"].to_pylist() if r["kind"] == kind and r["quantity"] == "test"]
        found = []
        for share in sorted({r["share"] for r in rows}):
            one, other = (next(r for r in rows if (r["method"], r["share"]) == (m, share)) for m in COMPARED)
            apart = interval_difference(*(Interval(r["value"], r["low"], r["high"]) for r in (one, other)))
            found.append((apart, share, one["seeds"]))
        apart, _, seeds = min(found, key=lambda row: row[0].value)
        note = "; ".join(f"p {share:g}: {report.format_interval(*one)}" for one, share, _ in found)
        agrees = all(one.low > 0 for one, _, _ in found)
        return Obtained(apart.value, apart.low, apart.high, seeds, "at every p, interval above 0", agrees, note)

    return Claim(name=f"{kind}-v-rex-above-irm", statement=f"{kind}: V-REx beats IRM at every share.", source=SOURCE,
                 published="in every case", selection="last step", check=check)  # fmt: skip


def _search(kind: str, method: str) -> Claim:
    def check(tables: Tables) -> Obtained:
        row = next(r for r in tables["search"].to_pylist() if (r["kind"], r["method"]) == (kind, method))
        ends = (row["value"], row["low"], row["high"], row["settings"])
        expected = PUBLISHED[kind] if method == "v_rex" else 0.0
        note = f"p {row['share']:g}, {row['settings']} random settings; their published distribution is not known"
        return Obtained(*ends, f"interval holds {expected:g}", row["low"] <= expected <= row["high"], note)

    published = f"{PUBLISHED[kind]:.1%} of 340" if method == "v_rex" else "never"
    return Claim(name=f"{kind}-search-{method}".replace("_", "-"), source=SOURCE, published=published, check=check,
                 statement=f"{kind}: share of random settings with which {WORDS[method]} is above chance.")  # fmt: skip


CLAIMS = (*(_above_irm(kind) for kind in KINDS), *(_search(kind, method) for kind in KINDS for method in COMPARED))

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="covariate_shift",
    question="Do V-REx and IRM still ignore the colour where P(x) differs between the training domains?",
    source=SOURCE,
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))
