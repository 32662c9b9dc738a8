"""What the literature reports on the density-estimation tables: test log-likelihoods in nats."""

from typing import NamedTuple


class Published(NamedTuple):
    """A test log-likelihood in nats and its spread: two deviations over runs for DDSF, else over test rows."""

    value: float
    spread: float

    def __str__(self) -> str:
        return f"{self.value:g} -+ {self.spread:g}"


_COLUMNS = ("power", "gas", "hepmass", "miniboone", "bsds300")
_ROWS = {
    ("maf_affine", 5): ((0.14, 0.01), (9.07, 0.02), (-17.70, 0.02), (-11.75, 0.44), (155.69, 0.28)),
    ("maf_affine", 10): ((0.24, 0.01), (10.08, 0.02), (-17.73, 0.02), (-12.24, 0.45), (154.93, 0.28)),
    ("maf_ddsf", 5): ((0.62, 0.01), (11.91, 0.13), (-15.09, 0.40), (-8.86, 0.15), (157.73, 0.04)),
    ("maf_ddsf", 10): ((0.60, 0.02), (11.96, 0.33), (-15.32, 0.23), (-9.01, 0.01), (157.43, 0.30)),
}


def published(table: str, model: str, layers: int) -> Published | None:
    """What was published for a model of so many layers on a table, or None.

    Args:
        table: as in `mlrisk.data.load_tabular`.
        model: ``maf_affine`` or ``maf_ddsf``.
        layers: 5 or 10.

    Source:
        Papamakarios, Pavlakou and Murray (2017), table 1 (affine); Huang et al. (2018), table 3 (DDSF).
    """
    row = dict(zip(_COLUMNS, _ROWS.get((model, layers), ()), strict=False))
    return Published(*row[table]) if table in row else None


def published_row(model: str, layers: int = 5) -> str:
    """All that was published for a model, in one phrase."""
    return ", ".join(f"{table} {published(table, model, layers)}" for table in _COLUMNS)
