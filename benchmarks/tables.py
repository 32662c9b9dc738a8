"""Rows of measurements as a table of Markdown."""

from typing import Any


def table(rows: list[dict[str, Any]]) -> str:
    """The rows, without how a sweep was planned; what a contender lacks is left empty."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "plan"]
    text = [[f"{v:.3g}" if isinstance(v := row.get(name, ""), float) else str(v) for name in names] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in [names, ["---"] * len(names), *text])
