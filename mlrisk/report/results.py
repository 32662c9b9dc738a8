"""Small committed outcomes: what is kept of a run under ``results/``, and the page made from them.

``python -m mlrisk.report.results RUN_FOLDER FIGURE`` keeps a run and writes ``results/README.md`` anew.
"""

import io
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from mlrisk.errors import BadInput
from mlrisk.files import read_json, write_bytes, write_json, write_text
from mlrisk.report.formats import format_interval

LARGEST = 150_000
"""Bytes that a kept picture may have."""


def keep(run_dir: Path, figure: str, results: Path) -> Path:
    """Copy claims, environment, facts and one picture of a finished run to ``results/<experiment>/<preset>/``.

    Args:
        run_dir: a finished run folder.
        figure: the name of the picture to keep.
        results: the folder of kept outcomes.

    Raises:
        BadInput: the run is not finished, or has no such picture, or the picture is too large to commit even at two
            thirds of its size and with 64 colours.
        StorageError: a file is missing or damaged.
    """
    picture = run_dir / "figures" / f"{figure}.png"
    if not (run_dir / "DONE").exists() or not picture.exists():
        raise BadInput(f"run_dir: {run_dir} is not a finished run with a figure {figure!r}")
    run = read_json(run_dir / "run.json")
    folder = results / run["experiment"] / run["preset"]
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / picture.name, _small(picture))
    shutil.copy(run_dir / "config.yaml", folder / "config.yaml")
    write_json(folder / "claims.json", read_json(run_dir / "claims.json", list))
    write_json(folder / "environment.json", read_json(run_dir / "environment.json"))
    write_json(folder / "run.json", run)
    return folder


def _small(picture: Path) -> bytes:
    """The picture itself where it is small enough; density maps are not, and lose little as 64 colours."""
    if picture.stat().st_size <= LARGEST:
        return picture.read_bytes()
    image, buffer = Image.open(picture).convert("RGB"), io.BytesIO()
    image = image.resize((image.width * 2 // 3, image.height * 2 // 3), Image.Resampling.LANCZOS)
    image.quantize(64).save(buffer, format="PNG", optimize=True)
    if len(buffer.getvalue()) > LARGEST:
        raise BadInput(f"figure: {picture} has {len(buffer.getvalue()):,} bytes, at most {LARGEST:,} are kept")
    return buffer.getvalue()


def table(results: Path) -> str:
    """The Markdown table of every claim of every kept run: published beside obtained."""
    lines = ["| run | claim | published | obtained (95 %) | seeds | criterion | verdict |", "|" + " --- |" * 7]
    for path in sorted(results.glob("*/*/claims.json")):
        name = f"[{path.parent.parent.name}, {path.parent.name}]({path.parent.relative_to(results)})"
        for row in read_json(path, list):
            # infinite ends are kept as text
            low, high = (None if row[end] is None else float(row[end]) for end in ("low", "high"))
            found = "" if row["value"] is None else format_interval(float(row["value"]), low, high)
            cells = [name, row["statement"], row["published"] or "", found, str(row["n"]), row["criterion"] or "",
                     f"**{row['verdict']}**"]  # fmt: skip
            lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines)


def page(results: Path) -> str:
    """``results/README.md``: what the folder holds, and the table."""
    return f"{HEAD}\n{table(results)}\n"


HEAD = """# Results: published beside obtained

Small outcomes of runs, one folder a preset: claims, config, environment, one figure. This page is written by
`python -m mlrisk.report.results RUN_FOLDER FIGURE`, which keeps a run. Intervals are 95 %; each run's scale is in its
`claims.json`, its lab card at the head of its preset.
"""


def main(arguments: Sequence[str]) -> int:
    """Keep a run if one is given, then write the page; 0, or 2 after one line of what is wrong."""
    results = Path("results")
    try:
        if len(arguments) not in (0, 2):
            raise BadInput("arguments: RUN_FOLDER and FIGURE, or neither")
        if arguments:
            print(f"kept in {keep(Path(arguments[0]), arguments[1], results)}")
    except BadInput as error:
        print(f"mlrisk: {error}", file=sys.stderr)
        return error.exit_code
    write_text(results / "README.md", page(results))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
