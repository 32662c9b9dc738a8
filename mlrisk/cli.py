"""The command line: ``mlrisk run | sweep | report | data | list``."""

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from mlrisk import __version__
from mlrisk.errors import BadInput, MlriskError, one_of

COMMANDS = ("run", "sweep", "report", "data", "list")
EPILOG = "Any field of the experiment's config can be set: --seeds 200 --optimizer.learning_rate 0.02"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line and exit code 2, as for every other bad input."""
        command = self.prog.removeprefix("mlrisk").strip()
        raise BadInput(f"{command}: {message}" if command else message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 bad input, 3 no data, 4 no storage, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given and not given[0].startswith("-") and given[0] not in COMMANDS:
            raise BadInput(one_of("command", given[0], COMMANDS))
        parsed, rest = _parser().parse_known_args(given)
        if parsed.command not in ("run", "sweep") and rest:
            raise BadInput(f"{parsed.command}: {rest[0]!r} is not an argument; see mlrisk {parsed.command} --help")
        if parsed.command in ("run", "sweep") and parsed.show_help and parsed.experiment is None:
            print(parsed.usage(), end="")
            return 0
        logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
        logging.getLogger("mlrisk").setLevel(logging.INFO)
        return parsed.call(parsed, rest, given)
    except MlriskError as error:
        print(f"mlrisk: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nmlrisk: interrupted; the same command continues where it stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe went away: nothing to tell anyone
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="mlrisk", description="The science of machine-learning risk, in JAX.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"mlrisk {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="|".join(COMMANDS))
    _add_run(commands)
    _add_sweep(commands)
    page = commands.add_parser("report", help="one self-contained page from run folders", allow_abbrev=False)
    page.add_argument("paths", nargs="+", type=Path, help="run folders, or folders that contain some")
    page.add_argument("--output", type=Path, default=Path("report.html"))
    page.set_defaults(call=_report)
    _add_data(commands)
    table = commands.add_parser("list", help="experiments, paper figure, presets, expected time")
    table.set_defaults(call=_list)
    return parser


def _add_run(commands: Any) -> None:
    run = commands.add_parser("run", help="run one experiment", epilog=EPILOG, allow_abbrev=False, add_help=False)
    _add_common(run)
    run.add_argument("--force", action="store_true", help="run anew in a folder beside a finished run")
    run.add_argument("--distributed", action="store_true", help="join the other processes of Slurm, Open MPI or TPU")
    run.add_argument("--coordinator", help="host:port of process 0, where no scheduler says it")
    run.add_argument("--num_processes", type=int, help="how many processes there are")
    run.add_argument("--process_id", type=int, help="which of them this is")
    run.set_defaults(call=_run, usage=run.format_help)


def _add_sweep(commands: Any) -> None:
    sweep = commands.add_parser("sweep", help="run a grid of configs, here or on a cluster", allow_abbrev=False,
                                add_help=False, epilog=EPILOG)  # fmt: skip
    _add_common(sweep)
    sweep.add_argument("--grid", action="append", default=[], metavar="FIELD=A,B,C", help="values of one field")
    sweep.add_argument("--launcher", default="here", help="here, local (processes) or slurm")
    sweep.add_argument("--slurm", action="append", default=[], metavar="KEY=VALUE", help="options of the scheduler")
    sweep.add_argument("--jobs", type=int, default=1, help="jobs at a time")
    sweep.add_argument("--dry_run", action="store_true", help="show the plan and stop")
    sweep.set_defaults(call=_sweep, usage=sweep.format_help)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("experiment", nargs="?", help="see mlrisk list")
    parser.add_argument("--config", help="a preset's name, or a YAML file")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where run folders go (default: runs)")
    parser.add_argument("--devices", type=int, help="CPU devices to use (default: one per core)")
    parser.add_argument("-h", "--help", action="store_true", dest="show_help", help="show this and every field")


def _add_data(commands: Any) -> None:
    data = commands.add_parser("data", help="list data sets, or prepare one", allow_abbrev=False)
    verbs = data.add_subparsers(dest="verb", required=True, metavar="list|prepare")
    for name, text in (("list", "what there is and where"), ("prepare", "download and prepare one")):
        verb = verbs.add_parser(name, help=text, allow_abbrev=False)
        if name == "prepare":
            verb.add_argument("name")
        verb.add_argument("--data_dir", type=Path)
    data.set_defaults(call=_data)


def _run(parsed: argparse.Namespace, rest: list[str], given: list[str]) -> int:
    from mlrisk import commands

    return commands.run(parsed, rest, shlex.join(["mlrisk", *given]))


def _sweep(parsed: argparse.Namespace, rest: list[str], given: list[str]) -> int:
    from mlrisk import commands

    return commands.sweep(parsed, rest, shlex.join(["mlrisk", *given]))


def _report(parsed: argparse.Namespace, rest: list[str], given: list[str]) -> int:
    from mlrisk import report

    report.report(parsed.paths, parsed.output)
    print(f"wrote {parsed.output}")
    return 0


def _data(parsed: argparse.Namespace, rest: list[str], given: list[str]) -> int:
    from mlrisk import commands

    return commands.data(parsed)


def _list(parsed: argparse.Namespace, rest: list[str], given: list[str]) -> int:
    from mlrisk import commands

    return commands.list_experiments()


if __name__ == "__main__":
    sys.exit(main())
