"""``python -m benchmarks NAME``: run one benchmark and print its table."""

import argparse
import sys
from pathlib import Path

from mlrisk.files import write_json
from mlrisk.harness.environment import environment
from mlrisk.harness.runtime import configure


def main() -> int:
    """Parse the command line, run, print, and keep the rows where ``--output`` says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("name", choices=["sweep"])
    parser.add_argument("--widths", default="64,256,1024", help="hidden units of both layers")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved repetitions; medians are shown")
    parser.add_argument("--devices", type=int, help="CPU devices (default: one per core)")
    parser.add_argument("--peers", default="loop,vmap", help="PyTorch variants to compare with; empty for none")
    parser.add_argument("--output", type=Path, help="JSON file for the rows and the environment")
    parsed = parser.parse_args()
    configure(devices=parsed.devices)
    from benchmarks import sweep

    widths = [int(width) for width in parsed.widths.split(",")]
    peers = [peer for peer in parsed.peers.split(",") if peer]
    rows = sweep.run(widths, parsed.seeds, parsed.rounds, peers)
    print("\n" + sweep.table(rows))
    if parsed.output:
        write_json(parsed.output, {"environment": environment(), "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
