"""Can a flow fit a target with modes far apart? Affine and sigmoidal maps against nine energies, by reverse KL."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.bijectors import Flow, inverse_autoregressive_flow, neural_autoregressive_flow
from mlrisk.config import setting
from mlrisk.data import ENERGIES, log_normaliser
from mlrisk.data.energies import U4_WEIGHTS, grid, mode_masses, outside_modes
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, block_length, from_fit, make_train, merge, sweep
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.harness.outcomes import Outcomes, last_values, mean_cells, share_cells
from mlrisk.models.whitened import standard_normal
from mlrisk.objectives import fitness, log_density, reverse_kl
from mlrisk.report import PALETTE, Cell, Claim, Obtained, Plate, Tables
from mlrisk.types import Metrics, Model, Objective, RandomKey

SOURCE = "Huang et al. 2018, toy energy fitting (four-mode mixture)"
NAMES = tuple(ENERGIES)
MODES = ("left", "right", "top", "bottom")
KINDS = ("affine", "affine deep", "dsf", "ddsf")
LOOKS = {k: {"color": PALETTE[c]} for k, c in zip(KINDS, ("vermilion", "orange", "blue", "green"), strict=True)}
SQUARE = ((-5.0, 5.0), (-5.0, 5.0))


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: do sigmoidal maps separate modes where affine ones fail? Huang et al. 2018, toy energies."""

    models: tuple[Literal["affine", "affine deep", "dsf", "ddsf"], ...] = setting(KINDS, "which flows", items=1)
    num_layers: int = setting(2, "autoregressive layers of each flow", at_least=1)
    deep_layers: int = setting(6, "layers of the deeper affine flow", at_least=1)
    hidden_sizes: tuple[int, ...] = setting((64, 64), "hidden units of each layer's conditioner", at_least=1)
    units: int = setting(16, "sigmoids of each map", at_least=1)
    optimizer: OptimizerConfig = setting(OptimizerConfig(name="adam", learning_rate=0.001))
    batch_size: int = setting(64, "fresh samples in a step", at_least=1)
    num_steps: int = setting(5000, "steps of each fit", at_least=1)
    num_blocks: int = setting(5, "how often a fit is judged; must divide the steps", at_least=1)
    eval_samples: int = setting(10_000, "samples it is judged by", at_least=2)
    seeds: int = setting(20, "fits of U4 by each flow", at_least=2)
    gallery_seeds: int = setting(2, "fits of each other energy by each flow", at_least=1)
    resolution: int = setting(80, "pixels along a side of a density's picture", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        return f"{self.num_layers} layers, {self.num_steps:,} steps of {self.batch_size}, {self.seeds} seeds of U4"


class Hyper(NamedTuple):
    """Which energy a lane fits."""

    energy: Int[Array, "..."]


class Data(NamedTuple):
    """The pixels' centres, each energy's normalised log-density there, and each energy's log-normaliser."""

    pixels: Float[Array, "rows columns 2"]
    log_density: Float[Array, "energies rows columns"]
    log_normaliser: Float[Array, " energies"]


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> Data:
    """The energies on the pictures' pixels, and their normalisers by quadrature; nothing is random."""
    del key
    pixels = jnp.asarray(grid(SQUARE, 10 / config.resolution)[0], jnp.float32)
    normalisers = jnp.asarray([log_normaliser(energy) for energy in ENERGIES.values()])
    pictures = jax.jit(lambda x: jnp.stack([energy(x) for energy in ENERGIES.values()]))(pixels)
    return Data(pixels, pictures - normalisers[:, None, None], normalisers)


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, kind: str) -> Flow:
    """A flow that samples in one pass."""
    if kind.startswith("affine"):
        layers = config.deep_layers if kind == "affine deep" else config.num_layers
        return inverse_autoregressive_flow(2, num_layers=layers, hidden_sizes=config.hidden_sizes)
    sizes = {"num_layers": config.num_layers, "hidden_sizes": config.hidden_sizes, "units": config.units}
    return neural_autoregressive_flow(2, transformer=kind, parallel="forward", **sizes)  # type: ignore


def _target(points: Float[Array, "n 2"], hyper: Hyper) -> Float[Array, " n"]:
    return jax.lax.switch(hyper.energy, [energy.function for energy in ENERGIES.values()], points)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, flow: Flow) -> Objective:
    """Reverse Kullback-Leibler divergence up to the log-normaliser: ``E_q[log q - log p~]``."""
    return reverse_kl(flow, _target, config.batch_size, standard_normal(2))


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """For each flow one sweep over the seeds of U4, and one over the other energies."""
    data_key, lane_key = prng.streams(key, "data", "lanes")
    data = make_data(config, data_key)
    parts = {kind: _fit(config, kind, data, lane_key, run_dir / "chunks" / kind.replace(" ", "_"))
             for kind in config.models}  # fmt: skip
    records = merge(parts, "model")
    facts = {f"data/{name}": np.asarray(fact) for name, fact in data._asdict().items()}
    return records._replace(arrays=records.arrays | facts)


def _fit(config: Config, kind: str, data: Data, key: RandomKey, folder: Path) -> Records:
    flow, every = make_model(config, kind), block_length(config.num_steps, config.num_blocks)
    train = make_train(
        Model(flow.init, lambda params, x: flow.bijector(params).forward(x)), make_objective(config, flow),
        make_optimizer(config.optimizer), lambda key, step: None, {"fit": _probe(config, flow, data.log_normaliser)},
        num_steps=config.num_steps, probe_every=every,
    )  # fmt: skip
    shape, flat = data.pixels.shape[:2], data.pixels.reshape(-1, 2)
    picture = jax.jit(
        lambda all: jax.lax.map(lambda p: log_density(flow, standard_normal(2), p, flat).reshape(shape), all)
    )
    parts, pictures = {}, {}
    for part, (names, seeds) in _parts(config).items():
        hypers, keys = Hyper(jnp.asarray([NAMES.index(n) for n in names])), prng.lane_keys(key, seeds)
        fit = sweep(train, keys, hypers, lanes=config.lanes or "auto", run_dir=folder / part)
        parts[part] = from_fit(fit, probe_every=every, settings={"energy": names})
        firsts = jax.tree.map(lambda leaf: jnp.asarray(leaf[:, 0]), fit.state.params)
        pictures |= dict(zip(names, np.asarray(picture(firsts)), strict=True))
    return merge(parts, "part")._replace(arrays={"density": np.stack([pictures[name] for name in NAMES])})


def _parts(config: Config) -> dict[str, tuple[tuple[str, ...], int]]:
    """U4 by itself where it has more seeds than the others."""
    if config.seeds == config.gallery_seeds:
        return {"all": (NAMES, config.seeds)}
    others = tuple(name for name in NAMES if name != "U4")
    return {"U4": (("U4",), config.seeds), "others": (others, config.gallery_seeds)}


def _probe(config: Config, flow: Flow, normalisers: Float[Array, " energies"]) -> Callable[..., Metrics]:
    def probe(state: Any, key: RandomKey, hyper: Hyper) -> Metrics:
        found, points, _ = fitness(flow, _target, standard_normal(2), state.params, key, config.eval_samples, hyper)
        exact, masses = normalisers[hyper.energy], mode_masses(points)
        return {
            "gap": exact - found.elbo,
            "normaliser_error": found.log_normaliser - exact,
            "efficiency": found.efficiency,
            "outside": outside_modes(points),
        } | {f"mass_{mode}": mass for mode, mass in zip(MODES, masses, strict=True)}

    return probe


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> Tables:
    """Per flow and energy how near the last fit is, and on U4 what became of the modes. Nothing is selected."""
    found = last_values(records, "fit", ("model", "energy"))
    kinds = list(dict.fromkeys(kind for kind, *_ in found))
    exact = dict(zip(NAMES, records.arrays["data/log_normaliser"].tolist(), strict=True))
    fits = [
        {"model": kind, "energy": name, "statistic": statistic, **mean_cells(found[kind, name, statistic]),
         "log_normaliser": exact[name]}
        for kind in kinds for name in NAMES for statistic in ("gap", "normaliser_error", "efficiency")
    ]  # fmt: skip
    modes = [{"model": kind, **row} for kind in kinds for row in _mode_rows(found, kind)]
    return {"fits": report.tidy_table(fits, FITS), "modes": report.tidy_table(modes, MODE_TABLE)}


FITS = (
    "Per flow and energy, at the last step: gap, log-normaliser by quadrature less the evidence lower bound, which is "
    "KL(q || p) in nats; normaliser_error, importance-sampled log-normaliser less that by quadrature, in nats; "
    "efficiency, effective over actual sample size. Means with 95 % bootstrap intervals over seeds."
)
MODE_TABLE = (
    "U4 at the last step: share of samples nearest each mode; outside: farther than 3 standard deviations from every "
    "mode; least: lowest mass over its truth; separated: share of seeds in which every mode has at least half its mass "
    "and at most 0.033 of the samples are outside. 95 % intervals over seeds: bootstrap, Clopper-Pearson for separated."
)


def _mode_rows(found: Outcomes, kind: str) -> list[dict[str, Any]]:
    masses = np.stack([found[kind, "U4", f"mass_{mode}"] for mode in MODES])
    outside, least = found[kind, "U4", "outside"], (masses / U4_WEIGHTS[:, None]).min(0)
    separated = (least >= 0.5) & (outside <= 3 * math.exp(-4.5))
    named = {f"mass {mode}": (mass, true) for mode, mass, true in zip(MODES, masses, U4_WEIGHTS, strict=True)}
    named |= {"outside": (outside, math.exp(-4.5)), "least": (least, 1.0)}
    rows = [{"statistic": name, **mean_cells(v), "truth": float(true)} for name, (v, true) in named.items()]
    return [*rows, {"statistic": "separated", **share_cells(separated), "truth": 1.0}]


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """The four-mode target and its fits, its mode masses, and all nine energies."""
    kinds = list(dict.fromkeys(tables["modes"]["model"].to_pylist()))
    logs = {"target": records.arrays["data/log_density"]} | {k: records.arrays[f"{k}/density"] for k in kinds}
    pictures = {name: np.exp(log) for name, log in logs.items()}
    with report.house_style():
        return {
            "four_modes": _mosaic({"U4": np.stack([p[3] for p in pictures.values()])}, list(pictures),
                                  ("density", "energy"), "The target U4 and the density of each flow's first seed"),
            "mode_masses": _masses(tables, kinds),
            "gallery": _mosaic(pictures, NAMES, ("energy", "density"), "All nine energies and each flow's first seed"),
        }  # fmt: skip


def _mosaic(rows: Mapping[str, np.ndarray], columns: Sequence[str], labels: tuple[str, str], shown: str) -> Plate:
    figure = Figure(figsize=(7.6, (6.6 / len(columns)) * len(rows) + 0.7))
    axes = figure.subplots()
    report.density_mosaic(axes, rows, columns)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    return Plate(figure, f"{shown}, on the square from \N{MINUS SIGN}5 to 5 in z1 (across) and z2 (up); brightness "
                 "relative to the highest density of the first row.")  # fmt: skip


def _masses(tables: Tables, kinds: list[str]) -> Plate:
    figure = Figure(figsize=(5.6, 2.6))
    axes = figure.subplots()
    found = {kind: [_mode(tables, kind, f"mass {mode}") for mode in MODES] for kind in kinds}
    report.mass_chart(axes, found, LOOKS, dict(zip(MODES, U4_WEIGHTS.tolist(), strict=True)))
    axes.set(xlabel="mode of U4", ylabel="share of samples")
    return Plate(figure, "Share of each flow's samples nearest each mode of U4: mean over seeds with 95 % intervals.")


# 8. Claims ------------------------------------------------------------------------------------------------------
def _mode(tables: Tables, kind: str, statistic: str) -> Cell:
    return report.cell(tables["modes"], model=kind, statistic=statistic)


def _separates(kind: str, criterion: str, holds: Callable[[Cell], bool]) -> Callable[[Tables], Obtained]:
    def check(tables: Tables) -> Obtained:
        found, least, outside = (_mode(tables, kind, name) for name in ("separated", "least", "outside"))
        note = (f"share of seeds that separate the modes; least mode has {least.value:.2g} of its mass, "
                f"{outside.value:.2g} of samples outside all modes")  # fmt: skip
        if kind == "affine" and "affine deep" in tables["modes"]["model"].to_pylist():
            note += f"; with more layers {_mode(tables, 'affine deep', 'separated').value:.2g} of the seeds do"
        return Obtained(*found, criterion, holds(found), note)

    return check


def _on_u4(tables: Tables, statistic: str) -> tuple[Cell, ...]:
    return tuple(report.cell(tables["fits"], model=k, energy="U4", statistic=statistic) for k in ("dsf", "affine"))


def _nearer(tables: Tables) -> Obtained:
    dsf, affine = _on_u4(tables, "gap")
    criterion = f"below that of the affine flow ({affine.value:.3g}), intervals apart"
    return Obtained(*dsf, criterion, dsf.high < affine.low, "KL(q || p) on U4 in nats")


def _normalised(tables: Tables) -> Obtained:
    dsf, affine = _on_u4(tables, "normaliser_error")
    note = f"importance-sampled less quadrature on U4, in nats; affine {affine.value:.2g}"
    return Obtained(*dsf, "interval in [-0.05, 0.05]", dsf.low >= -0.05 and dsf.high <= 0.05, note)


CLAIMS = (
    Claim(
        name="affine-fails", statement="An affine flow does not separate the four modes.", source=SOURCE,
        published="picture: modes joined or lost",
        check=_separates("affine", "interval below 0.5", lambda found: found.high < 0.5),
    ),
    Claim(
        name="dsf-separates", statement="A deep sigmoidal flow of as many layers separates the four modes.",
        source=SOURCE, published="picture: four separate modes",
        check=_separates("dsf", "interval above 0.5", lambda found: found.low > 0.5),
    ),
    Claim(name="dsf-nearer", statement="The deep sigmoidal flow is nearer the four-mode target.", source=SOURCE,
          published="picture", check=_nearer),
    Claim(name="dsf-normaliser", statement="The deep sigmoidal flow covers the target: its importance weights give "
          "the log-normaliser.", source=SOURCE, check=_normalised),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="flow_energies",
    question="Can a flow fit a density with modes far apart, and does it need sigmoidal maps for it?",
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
