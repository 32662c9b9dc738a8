"""Three inputs with exact risks: which features do ERM, IRM and REx keep where noise and inputs both shift?"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.config import setting
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, block_length, from_fit, make_train, sweep
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.objectives import erm, v_rex
from mlrisk.report import PALETTE, Claim, Obtained, Plate, Tables
from mlrisk.theory.discrete_domains import (
    HETEROSKEDASTIC,
    DiscreteDomains,
    expected_risks,
    hybrid_risks,
    scale_slopes,
)
from mlrisk.types import Metrics, Model, Objective, Params, RandomKey, Scalar

SOURCE = "Krueger et al. 2021, code (toy heteroskedastic data)"
METHODS = ("ERM", "IRM, summed", "IRM", "REx", "REx-HD")
EXPECTED = {
    "ERM": (0.5000, 0.7500, 0.1334),
    "IRM, summed": (0.5000, 0.7500, 0.4929),
    "IRM": (0.5000, 0.7500, 0.1431),
    "REx": (0.5000, 0.5002, 0.4995),
    "REx-HD": (0.5000, 0.7465, 0.4967),
}
COLORS = ("ink", "vermilion", "orange", "blue", "green")


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: what do ERM, IRM and REx keep where noise and inputs both shift? Krueger et al. 2021, code."""

    optimizer: OptimizerConfig = setting(OptimizerConfig(learning_rate=0.1))
    num_steps: int = setting(500, "steps; the penalty's weight is the step's number, from 1", at_least=1)
    num_blocks: int = setting(50, "how often predictions are kept; must divide the steps", at_least=1)
    irm_most: float = setting(100.0, "largest weight of IRM's penalty", above=0)
    seed: int = setting(0, "root of all random numbers; nothing is random here", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        return f"exact risks of 3 domains over 3 inputs, {self.num_steps} steps"


class Hyper(NamedTuple):
    """Which method a lane follows, and the penalty's weight at this step."""

    method: Int[Array, "..."]
    weight: Float[Array, "..."]


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> DiscreteDomains:
    """The script's three domains; nothing is random."""
    del config, key
    return HETEROSKEDASTIC


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config) -> Model:
    """One logit for each input, all 0 at the start."""
    del config
    return Model(lambda key: jnp.zeros(3), lambda logits, x: logits[x])


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, domains: DiscreteDomains) -> Objective:
    """The five objectives of the script, with w the step's number; see `_losses`."""

    def objective(logits: Params, batch: None, hyper: Hyper, key: RandomKey) -> tuple[Scalar, Metrics]:
        del batch, key
        loss = _losses(config, domains, logits, hyper.weight)[hyper.method]
        return loss, {"loss": loss}

    return objective


def _losses(config: Config, domains: DiscreteDomains, logits: Params, weight: Scalar) -> Float[Array, " methods"]:
    """With S the sum of risks and g_ek domain e's slope in logit k's scale, in the order of `METHODS`.

    ``S``; ``S + min(w, 100) mean_k (sum_e g_ek)^2``, as coded; ``S + min(w, 100) sum_e mean_k g_ek^2``;
    ``S / w + w Var R``; ``10 sum_ij R_ij / w + w sum_i Var_j R_ij`` over hybrid domains. Variances are unbiased.
    """
    risks, hybrid = expected_risks(logits, domains), hybrid_risks(logits, domains)
    slopes, capped, total = scale_slopes(logits, domains), jnp.minimum(weight, config.irm_most), erm(risks)
    return jnp.stack([
        total,
        total + capped * jnp.square(slopes.sum(0)).mean(),
        total + capped * jnp.square(slopes).mean(1).sum(),
        v_rex(risks, weight * weight, 1) / weight,
        10 * hybrid.sum() / weight + weight * jnp.var(hybrid, axis=1, ddof=1).sum(),
    ])  # fmt: skip


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """One lane a method; all risks are exact."""
    domains, every = make_data(config, key), block_length(config.num_steps, config.num_blocks)

    def judge(state: Any, key: RandomKey, hyper: Hyper) -> Metrics:
        del key
        risks = expected_risks(state.params, domains)
        chances = {f"x={x}": p for x, p in enumerate(jax.nn.sigmoid(state.params))}
        return chances | {f"risk {e}": risk for e, risk in enumerate(risks)} | {"logits": state.params}

    train = make_train(
        make_model(config),
        make_objective(config, domains),
        make_optimizer(config.optimizer),
        lambda key, step: None,
        {"fit": judge},
        num_steps=config.num_steps,
        probe_every=every,
        schedule=lambda hyper, step: hyper._replace(weight=(step + 1).astype(jnp.float32)),
        keep_state=False,
    )
    hypers = Hyper(jnp.arange(len(METHODS)), jnp.ones(len(METHODS)))
    fit = sweep(train, prng.lane_keys(prng.stream(key, "lanes"), 1), hypers, lanes=config.lanes or "auto",
                run_dir=run_dir)  # fmt: skip
    records = from_fit(fit, probe_every=every, settings={"method": METHODS})
    stopped = jnp.asarray(records.arrays["fit/logits"][METHODS.index("IRM, summed"), 0, -1])
    weight = jnp.float32(config.num_steps)
    places = {"where it stops": stopped, "at the ERM solution": _pooled_logits(domains)}
    trap = [_losses(config, domains, logits, weight)[METHODS.index("IRM, summed")] for logits in places.values()]
    return records._replace(arrays=records.arrays | {"data/trap": np.asarray(trap)})


def _pooled_logits(domains: DiscreteDomains) -> Float[Array, "3"]:
    """The minimiser of the summed risks: the pooled P(y = 1 | x)."""
    pooled = (domains.inputs * domains.targets).sum(0) / domains.inputs.sum(0)
    return jnp.log(pooled / (1 - pooled))


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> Tables:
    """Predictions and risks of each method along training. Nothing is selected."""
    rows = [row for row in records.table.to_pylist() if row["split"] == "fit"]
    predictions = [{name: row[name] for name in ("method", "step", "metric", "value")} for row in rows]
    places = ("where it stops", "at the ERM solution")
    trap = [{"place": place, "objective": float(value)}
            for place, value in zip(places, records.arrays["data/trap"], strict=True)]  # fmt: skip
    return {"predictions": report.tidy_table(predictions, PREDICTIONS), "trap": report.tidy_table(trap, TRAP)}


PREDICTIONS = "Along training: P(y = 1 | x) of each input (x=0, x=1, x=2), and each domain's risk in nats; exact."
TRAP = "The objective of IRM with summed slopes, in nats, where gradient descent stops and at the solution of ERM."


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Predictions along training, and each method's risks at its end."""
    with report.house_style():
        return {"predictions": _predictions(tables), "risks": _risks(tables)}


def _predictions(tables: Tables) -> Plate:
    figure, rows = Figure(figsize=(7.6, 2.9)), tables["predictions"].to_pylist()
    titles = ("x = 0: pure noise", "x = 1: stable", "x = 2: unstable")
    panels = figure.subplots(1, 3, sharey=True)
    for x, (axes, title) in enumerate(zip(panels, titles, strict=True)):
        for method, color in zip(METHODS, COLORS, strict=True):
            line = [(row["step"], row["value"]) for row in rows if (row["method"], row["metric"]) == (method, f"x={x}")]
            axes.plot(*zip(*line, strict=True), label=method, color=PALETTE[color])
        axes.set(title=title, xlabel="step", ylim=(0, 1))
    panels[0].set(ylabel="predicted P(y = 1 | x)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(METHODS))
    return Plate(figure, "Predictions along training on exact risks, for each of three inputs. Inputs shift between "
                 "x = 0 and x = 1, labels at x = 2 (0.1, 0.1 and 0.2).")  # fmt: skip


def _last(tables: Tables, method: str, metrics: Sequence[str]) -> list[float]:
    last = max(tables["predictions"]["step"].to_pylist())
    return [report.find_row(tables["predictions"], method=method, step=last, metric=metric)["value"]
            for metric in metrics]  # fmt: skip


def _risks(tables: Tables) -> Plate:
    figure = Figure(figsize=(5.6, 2.6))
    axes = figure.subplots()
    for place, method in enumerate(METHODS):
        found = _last(tables, method, [f"risk {e}" for e in range(3)])
        for domain, (risk, color) in enumerate(zip(found, ("blue", "vermilion", "green"), strict=True)):
            label = f"domain {domain + 1}" if not place else None
            axes.plot(risk, place, "o^s"[domain], color=PALETTE[color], label=label)
    axes.set(yticks=range(len(METHODS)), yticklabels=METHODS, xlabel="risk / nats", ylim=(len(METHODS) - 0.5, -0.5))
    axes.legend()
    return Plate(figure, "Each domain's risk after training: only REx makes them equal, at the risk of a constant.")


# 8. Claims ------------------------------------------------------------------------------------------------------
def _predicted(method: str) -> Callable[[Tables], Obtained]:
    def check(tables: Tables) -> Obtained:
        found = _last(tables, method, ("x=0", "x=1", "x=2"))
        apart = max(abs(p - q) for p, q in zip(found, EXPECTED[method], strict=True))
        criterion = f"all within 0.0006 of {', '.join(f'{p:.4f}' for p in EXPECTED[method])} (computed independently)"
        note = f"largest distance; found {', '.join(f'{p:.4f}' for p in found)} at x = 0, 1, 2"
        return Obtained(apart, None, None, 0, criterion, apart < 6e-4, note)

    return check


def _destroyed(tables: Tables) -> Obtained:
    rex, hybrid = (_last(tables, method, ("x=1",))[0] for method in ("REx", "REx-HD"))
    note = f"P(y = 1 | x = 1), 0.75 in all domains; by REx-HD {hybrid:.4f}"
    criterion = "within 0.01 of 0.5, and REx-HD within 0.01 of 0.75"
    return Obtained(rex, None, None, 0, criterion, abs(rex - 0.5) < 0.01 and abs(hybrid - 0.75) < 0.01, note)


def _equal_risks(tables: Tables) -> Obtained:
    risks = _last(tables, "REx", [f"risk {e}" for e in range(3)])
    apart = max(abs(risk - 0.6927) for risk in risks)
    return Obtained(apart, None, None, 0, "all within 0.0006 of 0.6927 (computed independently)", apart < 6e-4,
                    f"largest distance; found {', '.join(f'{risk:.4f}' for risk in risks)}")  # fmt: skip


def _trapped(tables: Tables) -> Obtained:
    stopped, other = tables["trap"]["objective"].to_pylist()
    note = (
        f"objective where it stops, {stopped:.4f}, less that at the ERM solution, {other:.4f}, where the summed slopes "
        "and so the penalty vanish too; the start at logits of 0 has no penalty either, and descent cannot leave it"
    )
    return Obtained(stopped - other, None, None, 0, "above 0", stopped > other, note)


def _claim(name: str, statement: str, published: str, check: Callable[[Tables], Obtained]) -> Claim:
    return Claim(name=name, statement=statement, source=SOURCE, published=published, check=check)


CLAIMS = (
    _claim("erm", "ERM keeps the mean at x = 2.", ".5, .75, mean", _predicted("ERM")),
    _claim("irm-summed", "IRM as coded, with slopes summed over domains before squaring, drops x = 2.", ".5, .75, .5",
           _predicted("IRM, summed")),
    _claim("irm", "IRM with each domain's slope squared keeps x = 2, near its mean.", "not run",
           _predicted("IRM")),
    _claim("rex", "REx drops x = 2 and x = 1.", ".5, .5, .5", _predicted("REx")),
    _claim("rex-hd", "REx on hybrid domains drops x = 2 alone.", ".5, .75, .5", _predicted("REx-HD")),
    _claim("rex-equal", "REx makes the risks equal.", "equal risks", _equal_risks),
    _claim("rex-destroys", "Under shifts of noise and inputs, REx destroys a stable feature; hybrid domains save it.",
           "P(y = 1 | x = 1) of .5 and .75", _destroyed),
    _claim("irm-stuck", "IRM as coded drops x = 2 because it is stuck at its start, not because that is its optimum.",
           "not discussed", _trapped),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="discrete_example",
    question="Which features do ERM, IRM and REx keep where noise and inputs both shift between domains?",
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
