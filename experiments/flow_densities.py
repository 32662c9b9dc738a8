"""Can a flow learn a density with many modes from samples? Affine and sigmoidal maps by maximum likelihood."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.bijectors import Flow, masked_autoregressive_flow
from mlrisk.config import setting
from mlrisk.data import TOYS, Condition, ConditionSampler
from mlrisk.data.energies import grid
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, block_length, from_fit, make_train, merge, sweep
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.harness.outcomes import last_values, mean_cells
from mlrisk.models.whitened import standard_normal
from mlrisk.objectives import log_density, maximum_likelihood
from mlrisk.report import PALETTE, Cell, Claim, Obtained, Plate, Tables
from mlrisk.types import Examples, Metrics, Model, Objective, Params, RandomKey, Scalar

SOURCE = "Huang et al. 2018, toy density estimation (grids of Gaussians)"
NAMES = tuple(TOYS)
KINDS = ("affine", "affine deep", "dsf", "ddsf")
LOOKS = {k: {"color": PALETTE[c]} for k, c in zip(KINDS, ("vermilion", "orange", "blue", "green"), strict=True)}
HALVES = {"grid_2x2": 8.5}  # half the side of a picture's square; 6 for the others


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: do sigmoidal maps learn many modes where affine ones fail? Huang et al. 2018, grids of Gaussians."""

    models: tuple[Literal["affine", "affine deep", "dsf", "ddsf"], ...] = setting(KINDS, "which flows", items=1)
    num_layers: int = setting(2, "autoregressive layers of each flow", at_least=1)
    deep_layers: int = setting(6, "layers of the deeper affine flow", at_least=1)
    hidden_sizes: tuple[int, ...] = setting((64, 64), "hidden units of each layer's conditioner", at_least=1)
    units: int = setting(16, "sigmoids of each map", at_least=1)
    optimizer: OptimizerConfig = setting(OptimizerConfig(name="adam", learning_rate=0.005))
    train_size: int = setting(200_000, "samples to learn from", at_least=1)
    test_size: int = setting(10_000, "samples that no flow has learnt from", at_least=2)
    batch_size: int = setting(64, "samples in a step", at_least=1)
    num_steps: int = setting(2000, "steps of each fit", at_least=1)
    num_blocks: int = setting(5, "how often a fit is judged; must divide the steps", at_least=1)
    seeds: int = setting(10, "fits of each density by each flow", at_least=2)
    resolution: int = setting(100, "pixels along a side of a density's picture", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        return f"{self.num_layers} layers, {self.num_steps:,} steps of {self.batch_size}, {self.seeds} seeds a density"


class Data(NamedTuple):
    """Samples to learn from and to test on with their true log-densities, and the pictures' pixels with theirs."""

    train: Examples
    test: Float[Array, "targets n 2"]
    test_log_density: Float[Array, "targets n"]
    pixels: Float[Array, "targets rows columns 2"]
    log_density: Float[Array, "targets rows columns"]


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> Data:
    """Independent samples of each density, stacked along a first axis."""
    keys = [prng.streams(key, f"{name}/train", f"{name}/test") for name in NAMES]
    drawn = [(toy.sample(train, config.train_size), toy.sample(test, config.test_size))
             for toy, (train, test) in zip(TOYS.values(), keys, strict=True)]  # fmt: skip
    train, test = (jnp.stack(parts) for parts in zip(*drawn, strict=True))
    pixels = jnp.stack([_pixels(HALVES.get(name, 6.0), config.resolution) for name in NAMES])
    truth = [jnp.stack([jax.jit(toy.log_prob)(x) for toy, x in zip(TOYS.values(), points, strict=True)])
             for points in (test, pixels)]  # fmt: skip
    unlabelled = jnp.zeros(train.shape[:2], jnp.int32)
    return Data(Examples(train, unlabelled), test, truth[0], pixels, truth[1])


def _pixels(half: float, resolution: int) -> Float[Array, "rows columns 2"]:
    return jnp.asarray(grid(((-half, half), (-half, half)), 2 * half / resolution * (1 + 1e-9))[0], jnp.float32)


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, kind: str) -> Flow:
    """A flow whose log-density takes one pass."""
    layers = config.deep_layers if kind == "affine deep" else config.num_layers
    transformer: Any = kind.removesuffix(" deep")
    sizes = {"num_layers": layers, "hidden_sizes": config.hidden_sizes, "units": config.units}
    return masked_autoregressive_flow(2, transformer=transformer, **sizes)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, flow: Flow) -> Objective:
    """Mean negative log-likelihood of the inputs, in nats."""
    likelihood = maximum_likelihood(flow, standard_normal(2))

    def objective(params: Params, batch: Examples, hyper: Condition, key: RandomKey) -> tuple[Scalar, Any]:
        return likelihood(params, batch.inputs, hyper, key)

    return objective


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """For each flow one sweep over densities and seeds."""
    data_key, lane_key = prng.streams(key, "data", "lanes")
    data = make_data(config, data_key)
    parts = {kind: _fit(config, kind, data, lane_key, run_dir / "chunks" / kind.replace(" ", "_"))
             for kind in config.models}  # fmt: skip
    records = merge(parts, "model")
    return records._replace(arrays=records.arrays | {"data/log_density": np.asarray(data.log_density)})


def _fit(config: Config, kind: str, data: Data, key: RandomKey, folder: Path) -> Records:
    flow, every = make_model(config, kind), block_length(config.num_steps, config.num_blocks)
    train = make_train(
        Model(flow.init, lambda params, x: flow.bijector(params).inverse(x)),
        make_objective(config, flow),
        make_optimizer(config.optimizer),
        ConditionSampler(data.train, config.batch_size),
        {"test": _probe(flow, data)},
        num_steps=config.num_steps,
        probe_every=every,
    )
    hypers, keys = Condition(jnp.arange(len(NAMES))), prng.lane_keys(key, config.seeds)
    fit = sweep(train, keys, hypers, lanes=config.lanes or "auto", run_dir=folder)
    firsts = jax.tree.map(lambda leaf: jnp.asarray(leaf[:, 0]), fit.state.params)
    flat = data.pixels.reshape(len(NAMES), -1, 2)
    picture = jax.jit(lambda all: jax.lax.map(lambda one: log_density(flow, standard_normal(2), *one), all))
    density = np.asarray(picture((firsts, flat))).reshape(data.log_density.shape)
    return from_fit(fit, probe_every=every, settings={"density": NAMES})._replace(arrays={"density": density})


def _probe(flow: Flow, data: Data) -> Callable[..., Metrics]:
    def probe(state: Any, key: RandomKey, hyper: Condition) -> Metrics:
        del key
        found = log_density(flow, standard_normal(2), state.params, data.test[hyper.condition])
        return {"kl": (data.test_log_density[hyper.condition] - found).mean()}

    return probe


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> Tables:
    """Per flow and density how far the last fit is from the truth. Nothing is selected."""
    found = last_values(records, "test", ("model", "density"))
    rows = [{"model": kind, "density": name, "statistic": "kl", **mean_cells(values)}
            for (kind, name, _), values in found.items()]  # fmt: skip
    return {"divergence": report.tidy_table(rows, DIVERGENCE)}


DIVERGENCE = (
    "Per flow and density, at the last step: KL(p || q) from the known density p to the fit q in nats, as the mean of "
    "log p - log q over samples that were not learnt from, the same for all fits. Means with 95 % bootstrap intervals "
    "over seeds."
)


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """The densities with each flow's fit, and the divergences."""
    kinds = list(dict.fromkeys(tables["divergence"]["model"].to_pylist()))
    logs = {"truth": records.arrays["data/log_density"]} | {k: records.arrays[f"{k}/density"] for k in kinds}
    with report.house_style():
        return {"densities": _densities({name: np.exp(log) for name, log in logs.items()}),
                "divergence": _divergence(tables, kinds)}  # fmt: skip


def _densities(pictures: Mapping[str, Float[np.ndarray, "targets rows columns"]]) -> Plate:
    figure = Figure(figsize=(6.4, 1.4 * len(pictures) + 0.6))
    axes = figure.subplots()
    report.density_mosaic(axes, pictures, NAMES)
    axes.set(xlabel="density", ylabel="model")
    return Plate(figure, "Each density and each flow's fit (first seed) on the square \N{MINUS SIGN}6 to 6 ("
                 "\N{MINUS SIGN}8.5 to 8.5 for the 2 x 2 grid); brightness relative to the truth.")  # fmt: skip


def _divergence(tables: Tables, kinds: Sequence[str]) -> Plate:
    figure = Figure(figsize=(5.6, 2.8))
    axes = figure.subplots()
    for place, kind in enumerate(kinds):
        found = [_kl(tables, kind, name) for name in NAMES]
        ends = np.asarray([[c.value - c.low, c.high - c.value] for c in found], float).T.clip(0)
        across = np.arange(len(NAMES)) + 0.6 * ((place + 0.5) / len(kinds) - 0.5)
        axes.errorbar(across, [c.value for c in found], ends, fmt="o", label=kind, color=LOOKS[kind]["color"])
    axes.set(xticks=range(len(NAMES)), xticklabels=NAMES, yscale="log", xlabel="density", ylabel="KL(p || q) / nats")
    axes.legend(ncols=2)
    return Plate(figure, "Divergence of each flow's fit from the known density: mean over seeds with 95 % intervals.")


# 8. Claims ------------------------------------------------------------------------------------------------------
def _kl(tables: Tables, kind: str, name: str) -> Cell:
    return report.cell(tables["divergence"], model=kind, density=name)


def _nearer(name: str) -> Callable[[Tables], Obtained]:
    def check(tables: Tables) -> Obtained:
        dsf, affine = _kl(tables, "dsf", name), _kl(tables, "affine", name)
        others = [k for k in ("affine deep", "ddsf") if k in tables["divergence"]["model"].to_pylist()]
        note = "KL(p || q) in nats" + "".join(f"; {k} {_kl(tables, k, name).value:.3g}" for k in others)
        # an affine flow that spreads evenly over the modes is not far off; pictures of separate modes ask for more
        criterion = f"interval below half that of the affine flow ({affine.value:.3g})"
        return Obtained(*dsf, criterion, 2 * dsf.high < affine.low, note)

    return check


def _claim(name: str, where: str, published: str | None) -> Claim:
    statement = f"A deep sigmoidal flow is far nearer {where} than an affine one of as many layers."
    return Claim(
        name=f"{name}-dsf-nearer", statement=statement, source=SOURCE, published=published, check=_nearer(name)
    )


CLAIMS = (
    _claim("grid_2x2", "the 2 x 2 grid", "picture"),
    _claim("grid_5x5", "the 5 x 5 grid", "picture"),
    _claim("grid_10x10", "the 10 x 10 grid", "picture: all modes, where affine has none"),
    _claim("swiss_roll", "the swiss roll", "picture"),
)

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="flow_densities",
    question="Can a flow learn a density with many modes from samples, and does it need sigmoidal maps for it?",
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
