"""From the raw UCI tables to the three parts on which density models are compared: every step of MAF's, no other."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Float64, Int

from mlrisk import prng
from mlrisk.errors import BadInput
from mlrisk.types import RandomKey

SHUFFLE_SEED = 42
"""Of numpy's legacy generator, whose draws the published rows are."""
CORRELATED = 0.98
MOST_REPEATS = 5
LEAST_ROWS = 12
"""Fewer rows would leave a part without any."""


class Tabular(NamedTuple):
    """A table cut in three, rows are examples: float32 (n, d), BSDS300's HDF5 in the dtype it is stored in.

    ``groups`` (test rows,) numbers the thing that each test row was cut from, where rows are not independent.
    """

    train: Float[np.ndarray, "train d"]
    val: Float[np.ndarray, "val d"]
    test: Float[np.ndarray, "test d"]
    groups: Int[np.ndarray, " test"] | None = None


def thinned(table: Tabular, key: RandomKey, **sizes: int) -> Tabular:
    """Random rows of each part that a size is given for (``train``, ``val``, ``test``), in their order.

    Raises:
        BadInput: a part has fewer rows.
    """
    for part, size in sizes.items():
        have = len(getattr(table, part))
        if not 1 <= size <= have:
            raise BadInput(f"{part}_size: {size} is not allowed, there are {have} {part} rows")
        chosen = np.sort(np.asarray(jax.random.permutation(prng.stream(key, part), have))[:size])
        table = table._replace(**{part: getattr(table, part)[chosen]})
        if part == "test" and table.groups is not None:
            table = table._replace(groups=table.groups[chosen])
    return table


def power(raw: Float64[np.ndarray, "n 8"]) -> Tabular:
    """Household power: shuffled, two columns dropped, dequantised, cut, standardised by train and validation.

    With one ``RandomState(42)``: shuffle the rows; drop columns 3 (global intensity) and 1 (reactive power); then
    draw ``u_v, u_p, u_s ~ U(0, 1)`` in this order and add ``(0.001 u_p, 0.01 u_v, u_s, 0)``.

    Args:
        raw: active power, reactive power, voltage, intensity, three sub-meterings, time.

    Returns:
        Six columns, standardised with the mean and deviation (ddof 0) of training and validation rows.

    Raises:
        BadInput: another number of columns, or too few rows.

    Source:
        Papamakarios, Pavlakou and Murray (2017), Masked autoregressive flow, appendix D.
    """
    _require_columns("power", raw, 8)
    random = np.random.RandomState(SHUFFLE_SEED)
    order = np.arange(len(raw))
    random.shuffle(order)
    kept = raw[order][:, [0, 2, 4, 5, 6, 7]]
    voltage, active = random.rand(len(raw), 1), random.rand(len(raw), 1)
    meters = random.rand(len(raw), 3)
    kept += np.hstack([0.001 * active, 0.01 * voltage, meters, np.zeros((len(raw), 1))])
    return _standardised_by_rest(kept)


def gas(sensors: Float64[np.ndarray, "n d"]) -> Tabular:
    """Gas sensors: near-copies dropped, standardised by all rows, cut in the order of the file.

    While any column has Pearson's ``r > 0.98`` with another (signed: ``-0.99`` is kept), drop the first that has.

    Args:
        sensors: the 16 sensors, without time and concentrations.

    Returns:
        The columns left (8 of the published table), standardised with the mean and deviation (ddof 1) of all
        rows, test rows included, as published.

    Raises:
        BadInput: too few rows.

    Source:
        Papamakarios, Pavlakou and Murray (2017), Masked autoregressive flow, appendix D.
    """
    _require_columns("gas", sensors, None)
    with np.errstate(invalid="ignore"):  # a constant column correlates with nothing
        close = np.atleast_2d(np.corrcoef(sensors, rowvar=False)) > CORRELATED
    np.fill_diagonal(close, val=False)
    left = np.arange(sensors.shape[1])
    while (twins := close[np.ix_(left, left)].any(axis=1)).any():
        left = np.delete(left, np.argmax(twins))
    kept = sensors[:, left]
    return _cut((kept - kept.mean(axis=0)) / kept.std(axis=0, ddof=1))


def hepmass(train: Float64[np.ndarray, "n d"], test: Float64[np.ndarray, "m e"]) -> Tabular:
    """HEPMASS at mass 1000: signal only, standardised by the training file, repetitive features dropped.

    A feature goes if its *smallest* value in the training file occurs more than five times (the published rule
    was meant for the most frequent value, and takes the first of the sorted ones).

    Args:
        train: the columns of ``1000_train.csv``: label, features.
        test: the columns of ``1000_test.csv``: label, features, and one more that is dropped.

    Returns:
        The features left (21 of the published tables), standardised with the mean and deviation (ddof 1) of the
        training file; validation is its last tenth.

    Raises:
        BadInput: the files have no features in common, or too few rows.

    Source:
        Papamakarios, Pavlakou and Murray (2017), Masked autoregressive flow, appendix D.
    """
    columns, extra = train.shape[1], test.shape[1] - 1
    if extra != columns:
        raise BadInput(f"hepmass: {extra + 1} columns in the test file, {columns + 1} are wanted, one above training")
    signal, held_out = train[train[:, 0] == 1, 1:], test[test[:, 0] == 1, 1:-1]
    _require_columns("hepmass", signal, None)
    mean, deviation = signal.mean(axis=0), signal.std(axis=0, ddof=1)
    signal, held_out = (signal - mean) / deviation, (held_out - mean) / deviation
    kept = (signal == signal.min(axis=0)).sum(axis=0) <= MOST_REPEATS
    fit, val = _last_tenth(signal[:, kept])
    return _single(fit, val, held_out[:, kept])


def miniboone(raw: Float64[np.ndarray, "n 43"]) -> Tabular:
    """MiniBooNE: cut in the order of the file, standardised by train and validation (ddof 0).

    Args:
        raw: MAF's ``data.npy``, from which outliers and repetitive features are gone already.

    Returns:
        All 43 columns.

    Raises:
        BadInput: another number of columns, or too few rows.

    Source:
        Papamakarios, Pavlakou and Murray (2017), Masked autoregressive flow, appendix D.
    """
    _require_columns("miniboone", raw, 43)
    return _standardised_by_rest(raw)


def _standardised_by_rest(rows: Float64[np.ndarray, "n d"]) -> Tabular:
    rest, _ = _last_tenth(rows)
    return _cut((rows - rest.mean(axis=0)) / rest.std(axis=0))


def _cut(rows: Float64[np.ndarray, "n d"]) -> Tabular:
    rest, test = _last_tenth(rows)
    return _single(*_last_tenth(rest), test)


def _last_tenth(rows: Float64[np.ndarray, "n d"]) -> tuple[Float64[np.ndarray, "m d"], Float64[np.ndarray, "k d"]]:
    count = int(0.1 * len(rows))
    return rows[: len(rows) - count], rows[len(rows) - count :]


def _single(*parts: Float64[np.ndarray, "_ d"]) -> Tabular:
    train, val, test = (np.ascontiguousarray(part, dtype=np.float32) for part in parts)
    return Tabular(train, val, test)


def _require_columns(name: str, table: Float64[np.ndarray, "n d"], columns: int | None) -> None:
    rows, found = table.shape
    if columns is not None and found != columns:
        raise BadInput(f"{name}: {found} columns in the raw table, {columns} are wanted")
    if rows < LEAST_ROWS:
        raise BadInput(f"{name}: {rows} rows left of the raw table, at least {LEAST_ROWS} are wanted")
