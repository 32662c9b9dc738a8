"""``python -m benchmarks NAME``: run one benchmark and print its table."""

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks import tables
from mlrisk.files import write_json
from mlrisk.harness.environment import environment
from mlrisk.harness.runtime import configure


def main() -> int:
    """Parse the command line, run, print, and keep the rows where ``--output`` says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("name", choices=list(CALLS))
    parser.add_argument("--widths", default="64,256,1024", help="hidden units of both layers")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved repetitions; medians are shown")
    parser.add_argument("--devices", type=int, help="CPU devices (default: one per core)")
    parser.add_argument("--peers", help="sweep: of loop,vmap; flows: of zuko,flowjax; empty for none (default: all)")
    parser.add_argument("--data_dir", help="chapter: where prepared data sets are")
    parser.add_argument("--experiments", help="chapter: which, separated by commas (default: all that train by sweeps)")
    parser.add_argument("--figure", type=Path, help="PNG file for the figure of scaling")
    parser.add_argument("--output", type=Path, help="JSON file for the rows and the environment")
    parsed = parser.parse_args()
    rows, text = CALLS[parsed.name](parsed)
    print("\n" + text)
    if parsed.output:
        write_json(parsed.output, {"environment": environment(), "rows": rows})
    return 0


def _peers(parsed: argparse.Namespace, every: str) -> list[str]:
    return [peer for peer in (every if parsed.peers is None else parsed.peers).split(",") if peer]


def _sweep(parsed: argparse.Namespace) -> tuple[list[dict[str, Any]], str]:
    configure(devices=parsed.devices)
    from benchmarks import sweep

    widths = [int(width) for width in parsed.widths.split(",")]
    rows = sweep.run(widths, parsed.seeds, parsed.rounds, _peers(parsed, "loop,vmap"))
    return rows, tables.table(rows)


def _flows(parsed: argparse.Namespace) -> tuple[list[dict[str, Any]], str]:
    configure(devices=parsed.devices or 1)  # one program at a time: all cores to it
    from benchmarks import flows

    rows = flows.run(parsed.rounds, _peers(parsed, "zuko,flowjax"))
    return rows, tables.table(rows)


def _scaling(parsed: argparse.Namespace) -> tuple[list[dict[str, Any]], str]:
    configure(devices=parsed.devices or 1)
    from benchmarks import scaling

    rows = scaling.run(parsed.rounds)
    if parsed.figure:
        scaling.figure(rows, parsed.figure)
    slopes = [f"{axis}, {call}: {slope:.2f}" for (axis, call), slope in scaling.exponents(rows).items()]
    return rows, tables.table(rows) + "\n\nexponents: " + "; ".join(slopes)


def _chapter(parsed: argparse.Namespace) -> tuple[list[dict[str, Any]], str]:
    configure(devices=parsed.devices)
    from benchmarks import chapter

    names = tuple(parsed.experiments.split(",")) if parsed.experiments else chapter.EXPERIMENTS
    rows = chapter.run(parsed.data_dir, parsed.rounds, names)
    return rows, f"{tables.table(rows)}\n\nall lanes: {chapter.total_minutes(rows):.1f} minutes"


def _critical(parsed: argparse.Namespace) -> tuple[list[dict[str, Any]], str]:
    configure(devices=parsed.devices or 1)
    from benchmarks import critical_samples

    rows = critical_samples.measure(parsed.rounds)
    return rows, tables.table(rows)


def _sensitivity(parsed: argparse.Namespace) -> tuple[list[dict[str, Any]], str]:
    configure(devices=parsed.devices or 1)
    from benchmarks import sensitivity

    rows = sensitivity.measure(parsed.rounds)
    return rows, sensitivity.table(rows)


def _colored_mnist(parsed: argparse.Namespace) -> tuple[list[dict[str, Any]], str]:
    configure(devices=parsed.devices)
    from benchmarks import colored_mnist

    rows = colored_mnist.measure(parsed.rounds)
    return rows, tables.table(rows)


CALLS = {
    "sweep": _sweep,
    "flows": _flows,
    "scaling": _scaling,
    "chapter": _chapter,
    "critical": _critical,
    "sensitivity": _sensitivity,
    "colored_mnist": _colored_mnist,
}

if __name__ == "__main__":
    sys.exit(main())
