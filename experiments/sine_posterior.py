"""Can one sigmoidal map of Gaussian noise hold a posterior with four modes? The frequency of a sine wave."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.bijectors import Flow, inverse_autoregressive_flow
from mlrisk.config import setting
from mlrisk.data import sine
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, block_length, from_fit, make_train, merge, sweep
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.harness.outcomes import last_values, mean_cells
from mlrisk.models.whitened import standard_normal
from mlrisk.objectives import fitness, log_density, reverse_kl, tempering
from mlrisk.report import PALETTE, Cell, Claim, Obtained, Plate, Tables
from mlrisk.types import Metrics, Model, Objective, Params, RandomKey

SOURCE = "Huang et al. 2018, posterior of a sine wave's frequency"
KINDS = ("affine", "dsf", "ddsf")
LOOKS = {k: {"color": PALETTE[c]} for k, c in zip(KINDS, ("vermilion", "blue", "green"), strict=True)}
MODES = tuple(f"{mode:.1f} Hz" for mode in sine.MODES)


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: does one sigmoidal map find all modes of a posterior? Huang et al. 2018, the sine wave."""

    models: tuple[Literal["affine", "dsf", "ddsf"], ...] = setting(KINDS, "which maps", items=1)
    units: int = setting(24, "sigmoids of a map", at_least=1)
    optimizer: OptimizerConfig = setting(OptimizerConfig(name="adam", learning_rate=0.01))
    batch_size: int = setting(320, "fresh samples in a step", at_least=1)
    num_steps: int = setting(20_000, "steps of each fit", at_least=1)
    num_blocks: int = setting(10, "how often a fit is judged; must divide the steps", at_least=1)
    first_weight: float = setting(0.2, "weight of the likelihood at the first step", at_least=0, at_most=1)
    tempering_steps: float = setting(16_000.0, "steps in which that weight would rise by 1; it stays at 1", above=0)
    eval_samples: int = setting(10_000, "samples a fit is judged by", at_least=2)
    seeds: int = setting(20, "fits of each map", at_least=2)
    resolution: int = setting(400, "frequencies at which densities are drawn", at_least=20)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        return f"{self.units} sigmoids, {self.num_steps:,} steps of {self.batch_size}, {self.seeds} seeds"


class Data(NamedTuple):
    """Frequencies in hertz, the posterior's log-density there, and what quadrature says of it."""

    frequency: Float[Array, " n"]
    log_density: Float[Array, " n"]
    oracle: sine.SineOracle


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> Data:
    """The posterior on a grid of frequencies; nothing is random."""
    del key
    oracle = sine.posterior_oracle()
    frequency = jnp.asarray((np.arange(config.resolution) + 0.5) * sine.HIGHEST / config.resolution, jnp.float32)
    return Data(frequency, sine.log_likelihood(frequency) - oracle.log_integral, oracle)


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, kind: str) -> Flow:
    """``f = 2 sigmoid(tau(z))`` in hertz, with an unconditional increasing map tau and Gaussian z."""
    transformer: Any = kind
    flow = inverse_autoregressive_flow(1, transformer=transformer, num_layers=1, hidden_sizes=(1,), units=config.units)

    def bijector(params: Params, context: None = None) -> distrax.Bijector:
        squash = distrax.Chain([distrax.ScalarAffine(0.0, scale=sine.HIGHEST), distrax.Sigmoid()])
        return distrax.Chain([distrax.Block(squash, 1), flow.bijector(params, context)])

    return Flow(flow.init, bijector)


def _target(points: Float[Array, "n 1"]) -> Float[Array, " n"]:
    return sine.log_likelihood(points[:, 0])


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, flow: Flow) -> Objective:
    """Tempered reverse Kullback-Leibler divergence: ``E_q[log q - w log-likelihood]``; the prior is constant."""
    return reverse_kl(flow, _target, config.batch_size, standard_normal(1))


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """For each map one sweep over seeds."""
    data_key, lane_key = prng.streams(key, "data", "lanes")
    data = make_data(config, data_key)
    parts = {kind: _fit(config, kind, data, lane_key, run_dir / "chunks" / kind) for kind in config.models}
    records = merge(parts, "model")
    facts = {"frequency": data.frequency, "log_density": data.log_density, "masses": data.oracle.masses}
    return records._replace(arrays=records.arrays | {f"data/{name}": np.asarray(f) for name, f in facts.items()})


def _fit(config: Config, kind: str, data: Data, key: RandomKey, folder: Path) -> Records:
    flow, every = make_model(config, kind), block_length(config.num_steps, config.num_blocks)
    train = make_train(
        Model(flow.init, lambda params, x: flow.bijector(params).forward(x)),
        make_objective(config, flow),
        make_optimizer(config.optimizer),
        lambda key, step: None,
        {"fit": _probe(config, flow, data)},
        num_steps=config.num_steps,
        probe_every=every,
        schedule=tempering(config.first_weight, config.tempering_steps),
    )
    fit = sweep(train, prng.lane_keys(key, config.seeds), lanes=config.lanes or "auto", run_dir=folder)
    points = data.frequency[:, None]
    curve = jax.jit(lambda all: jax.lax.map(lambda params: log_density(flow, standard_normal(1), params, points), all))
    density = np.asarray(curve(jax.tree.map(jnp.asarray, fit.state.params)))
    return from_fit(fit, probe_every=every)._replace(arrays={"density": density})


def _probe(config: Config, flow: Flow, data: Data) -> Callable[..., Metrics]:
    def probe(state: Any, key: RandomKey) -> Metrics:
        found, points, _ = fitness(flow, _target, standard_normal(1), state.params, key, config.eval_samples)
        masses, exact = sine.mode_masses(points[:, 0]), data.oracle.log_integral
        apart = jnp.abs(masses - jnp.asarray(data.oracle.masses, jnp.float32)).sum() / 2
        named = {f"mass {mode}": mass for mode, mass in zip(MODES, masses, strict=True)}
        return named | {"gap": exact - found.elbo, "integral_error": found.log_normaliser - exact, "distance": apart}

    return probe


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> Tables:
    """Per map the masses and peaks of the modes, and how near the last fit is. Nothing is selected."""
    found = last_values(records, "fit", ("model",))
    truth = dict(zip((f"mass {mode}" for mode in MODES), records.arrays["data/masses"].tolist(), strict=True))
    rows = [{"model": kind, "statistic": name, **mean_cells(values), "truth": truth.get(name, 0.0)}
            for (kind, name), values in found.items()]  # fmt: skip
    for kind in dict.fromkeys(kind for kind, _ in found):
        peaks = _peaks(records.arrays["data/frequency"], records.arrays[f"{kind}/density"])
        rows += [{"model": kind, "statistic": f"peak {mode}", **mean_cells(peak), "truth": float(true)}
                 for mode, peak, true in zip(MODES, peaks.T, sine.MODES, strict=True)]  # fmt: skip
    return {"posterior": report.tidy_table(rows, POSTERIOR)}


POSTERIOR = (
    "Per map, at the last step: mass, share of samples between the valleys at 0.3, 0.9 and 1.5 Hz, quadrature's as "
    "truth; distance, total variation between the four masses and the true ones; gap, log-integral less evidence lower "
    "bound, which is KL(q || p), and integral_error, importance-sampled log-integral less the exact one, both in nats; "
    "peak, frequency of the highest density between valleys, in Hz. Means with 95 % bootstrap intervals over seeds."
)


def _peaks(frequency: Float[np.ndarray, " n"], density: Float[np.ndarray, "seeds n"]) -> Float[np.ndarray, "seeds 4"]:
    cells = [np.flatnonzero((frequency >= low) & (frequency < high))
             for low, high in zip(sine.EDGES[:-1], sine.EDGES[1:], strict=True)]  # fmt: skip
    return np.stack([frequency[cell][density[:, cell].argmax(axis=1)] for cell in cells], axis=1)


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """The posterior with each map's densities, and the masses of the modes."""
    kinds = list(dict.fromkeys(tables["posterior"]["model"].to_pylist()))
    with report.house_style():
        return {"densities": _densities(records, kinds), "mode_masses": _masses(tables, kinds)}


def _densities(records: Records, kinds: Sequence[str]) -> Plate:
    figure, arrays = Figure(figsize=(2.6 * len(kinds) + 0.4, 2.8)), records.arrays
    frequency, truth = arrays["data/frequency"], np.exp(arrays["data/log_density"])
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        axes.plot(frequency, np.exp(arrays[f"{kind}/density"]).T, color=LOOKS[kind]["color"], lw=0.8, alpha=0.5, ls="-")
        axes.plot(frequency, truth, color=PALETTE["ink"], lw=1.2, ls="--")
        axes.set(title=kind, xlabel="frequency / Hz", ylim=(0, 2.2 * truth.max()))
    panels[0].set(ylabel="posterior density / (1/Hz)")
    return Plate(
        figure, "Posterior density of the frequency: each map's fits (one line a seed) and quadrature (dashes)."
    )


def _masses(tables: Tables, kinds: Sequence[str]) -> Plate:
    figure = Figure(figsize=(5.6, 2.6))
    axes, table = figure.subplots(), tables["posterior"]
    found = {kind: [report.cell(table, model=kind, statistic=f"mass {mode}") for mode in MODES] for kind in kinds}
    truth = {row["statistic"][5:]: row["truth"] for row in table.to_pylist() if row["statistic"].startswith("mass")}
    report.mass_chart(axes, found, LOOKS, truth)
    axes.set(xlabel="mode", ylabel="share of samples")
    return Plate(figure, "Share of samples at each mode of the posterior: mean over seeds with 95 % intervals.")


# 8. Claims ------------------------------------------------------------------------------------------------------
def _cell(tables: Tables, kind: str, statistic: str) -> Cell:
    return report.cell(tables["posterior"], model=kind, statistic=statistic)


def _masses_right(tables: Tables) -> Obtained:
    found = _cell(tables, "dsf", "distance")
    masses = ", ".join(f"{_cell(tables, 'dsf', f'mass {mode}').value:.3f}" for mode in MODES)
    note = f"total variation between mode masses and quadrature's 0.143, 0.287, 0.287, 0.283; found {masses}"
    return Obtained(*found, "interval below 0.05", found.high < 0.05, note)


def _peaks_right(tables: Tables) -> Obtained:
    peaks = [_cell(tables, "dsf", f"peak {mode}") for mode in MODES[1:]]
    far = max(range(3), key=lambda i: abs(peaks[i].value - sine.MODES[i + 1]))
    right = all(mode - 0.05 <= p.low <= p.high <= mode + 0.05 for p, mode in zip(peaks, sine.MODES[1:], strict=True))
    note = "the peak farthest from its mode, in Hz; found " + ", ".join(f"{p.value:.3f}" for p in peaks)
    return Obtained(*peaks[far], "intervals within 0.05 Hz of 0.6, 1.2 and 1.8", right, note)


def _tight(tables: Tables) -> Obtained:
    dsf, affine = _cell(tables, "dsf", "gap"), _cell(tables, "affine", "gap")
    criterion = f"below 0.05 and below that of the affine map ({affine.value:.3g})"
    return Obtained(
        *dsf, criterion, dsf.high < min(0.05, affine.low), "log-integral less evidence lower bound, in nats"
    )


CLAIMS = (
    Claim(name="dsf-modes", statement="A deep sigmoidal flow finds the modes at 0.6, 1.2 and 1.8 Hz.", source=SOURCE,
          published="picture: three modes", check=_peaks_right),
    Claim(name="dsf-masses", statement="The modes have the masses of the true posterior, with half a mode at 0 Hz.",
          source=SOURCE, check=_masses_right),
    Claim(name="dsf-tight", statement="The evidence lower bound of the deep sigmoidal flow is tight, that of an affine "
          "map is not.", source=SOURCE, check=_tight),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="sine_posterior",
    question="Does one increasing map of Gaussian noise find all modes of a posterior, with their masses?",
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
