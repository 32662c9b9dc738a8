"""The tables of the density-estimation benchmark by name, from files that the user brings."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float64

from mlrisk.data import raw_tables, uci
from mlrisk.data.sources import search_path
from mlrisk.data.uci import Tabular
from mlrisk.errors import BadInput, DataUnavailable, one_of
from mlrisk.types import RandomKey

_MAF = "data.tar.gz of zenodo.org/records/1161203"
NOT_SENSORS = 3
"""The UCI text has time and two concentrations before the sensors; the pickle calls them Time, Meth, Eth."""


class Wanted(NamedTuple):
    """What a data set is read from: alternatives, each one or more file names, and where they come from."""

    alternatives: tuple[tuple[str, ...], ...]
    origin: str
    read: Callable[[list[Path], RandomKey | None], Tabular]


def load_tabular(name: str, data_dir: str | os.PathLike[str] | None = None, *, key: RandomKey | None = None) -> Tabular:
    """A table of the density-estimation benchmark, cut and standardised as published.

    Args:
        name: ``power``, ``gas``, ``hepmass``, ``miniboone`` or ``bsds300`` (for BSDS300 from photographs see
            `mlrisk.data.bsds300_patches`). A file ``<name>.hdf5`` with ``train``, ``validation`` and ``test`` is
            taken as it is; otherwise the raw files are, as MAF or UCI hand them out.
        data_dir: folder that holds the files, or a folder ``name`` with them; if None, those of
            `mlrisk.data.search_path`.
        key: for ``gas`` from UCI's text only: a random quarter of its rows in random order, as the published
            pickle is; None takes all rows in the order of time.

    Returns:
        `Tabular` host arrays.

    Raises:
        BadInput: no such table, or a raw file with the wrong columns.
        DataUnavailable: a file is missing (the line says which, and where it is wanted) or damaged, or an
            optional package is.

    Source:
        Papamakarios, Pavlakou and Murray (2017), Masked autoregressive flow, section 4.2 and appendix D.

    Differs:
        The seed of the published quarter of ``gas`` is unknown: from UCI's text the rows are others.
    """
    if name not in TABLES:
        raise BadInput(one_of("name", name, TABLES))
    wanted = TABLES[name]
    for folder in _folders(name, data_dir):
        for file in (f"{name}.hdf5", f"{name}.h5"):
            if (folder / file).is_file():
                return _finite(load_hdf5(folder / file), folder / file)
        for files in wanted.alternatives:
            paths = [_plain_or_gzipped(folder / file) for file in files]
            if all(path.is_file() for path in paths):
                return _finite(wanted.read(paths, key), paths[0])
    raise _missing(name, wanted, data_dir)


def load_hdf5(path: str | os.PathLike[str]) -> Tabular:
    """The ``train``, ``validation`` (or ``val``) and ``test`` tables of an HDF5 file, as they are stored.

    Raises:
        DataUnavailable: the file is missing or damaged, a part is missing, or h5py is.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise DataUnavailable(f"{path}: no such file; an HDF5 file with train, validation and test is wanted")
    return Tabular(*raw_tables.read_hdf5(path))


def _bsds300(paths: list[Path], key: RandomKey | None) -> Tabular:
    del key
    return load_hdf5(paths[0])


def _power(paths: list[Path], key: RandomKey | None) -> Tabular:
    del key
    return uci.power(raw_tables.read_npy(paths[0]))


def _miniboone(paths: list[Path], key: RandomKey | None) -> Tabular:
    del key
    return uci.miniboone(raw_tables.read_npy(paths[0]))


def _hepmass(paths: list[Path], key: RandomKey | None) -> Tabular:
    del key
    return uci.hepmass(*(raw_tables.read_csv(path) for path in paths))


def _gas(paths: list[Path], key: RandomKey | None) -> Tabular:
    if paths[0].suffix == ".pickle":
        return uci.gas(_sensors(paths[0]))
    sensors = raw_tables.read_text(paths[0])[:, NOT_SENSORS:]
    if key is not None:
        sensors = sensors[np.asarray(jax.random.permutation(key, len(sensors)))[: round(0.25 * len(sensors))]]
    return uci.gas(sensors)


def _sensors(path: Path) -> Float64[np.ndarray, "n d"]:
    frame = raw_tables.read_frame(path)
    absent = [name for name in ("Meth", "Eth", "Time") if name not in getattr(frame, "columns", ())]
    if absent:
        raise DataUnavailable(f"{path}: is damaged (no column {', '.join(absent)})")
    return frame.drop(columns=["Meth", "Eth", "Time"]).to_numpy(np.float64)


TABLES: dict[str, Wanted] = {
    "power": Wanted((("data.npy",),), _MAF, _power),
    "gas": Wanted((("ethylene_CO.pickle",), ("ethylene_CO.txt",)), f"{_MAF}, or UCI data set 322 (the text)", _gas),
    "hepmass": Wanted((("1000_train.csv", "1000_test.csv"),), f"{_MAF}, or UCI data set 347", _hepmass),
    "miniboone": Wanted((("data.npy",),), _MAF, _miniboone),
    "bsds300": Wanted((("BSDS300.hdf5",),), _MAF, _bsds300),
}


def _folders(name: str, data_dir: str | os.PathLike[str] | None) -> list[Path]:
    places = search_path(data_dir)
    inside = [place / folder for place in places for folder in (name, name.upper())]
    return [*inside, *places] if data_dir is not None else inside


def _plain_or_gzipped(path: Path) -> Path:
    zipped = path.with_name(f"{path.name}.gz")
    return zipped if not path.is_file() and path.suffix in (".csv", ".txt") else path


def _missing(name: str, wanted: Wanted, data_dir: str | os.PathLike[str] | None) -> DataUnavailable:
    files = " or ".join([" and ".join(files) for files in wanted.alternatives] + [f"{name}.hdf5"])
    places = " or ".join(str(place / name) for place in search_path(data_dir))
    return DataUnavailable(f"{name}: {files} wanted in {places}; from {wanted.origin}")


def _finite(table: Tabular, path: Path) -> Tabular:
    for part in ("train", "val", "test"):
        if not np.isfinite(getattr(table, part)).all():
            raise DataUnavailable(f"{path}: the {part} part has values that are not finite (a constant column?)")
    return table
