"""The benchmark tables: small files of the published formats, against computations written another way."""

import builtins
import gzip
from collections import Counter

import jax
import numpy as np
import pytest

from mlrisk.data import uci
from mlrisk.data.tabular import TABLES, load_hdf5, load_tabular
from mlrisk.errors import BadInput, DataUnavailable

DRAW = np.random.default_rng(7)


def counts(total):
    """Sizes of the three parts: a tenth of all for test, a tenth of the rest for validation, both rounded down."""
    test = total // 10
    val = (total - test) // 10
    return total - test - val, val, test


def check(table, rows, mean, std):
    """The parts are, in order, the standardised rows."""
    whole = np.concatenate([table.train, table.val, table.test])
    assert tuple(len(part) for part in table[:3]) == counts(len(rows))
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(whole, ((rows - mean) / std).astype(np.float32))


def test_power_has_the_published_order_of_draws_and_columns(tmp_path):
    raw = DRAW.normal(size=(137, 8)) * 10
    (tmp_path / "power").mkdir()
    np.save(tmp_path / "power" / "data.npy", raw)
    table = load_tabular("power", tmp_path)
    random, rows = np.random.RandomState(42), raw.copy()
    random.shuffle(rows)
    gap, _, voltage, _, *meters, time = rows.T
    voltage = voltage + 0.01 * random.rand(137)
    gap = gap + 0.001 * random.rand(137)
    meters = np.asarray(meters).T + random.rand(137, 3)
    rows = np.column_stack([gap, voltage, meters, time])
    rest = rows[:124]
    check(table, rows, rest.mean(axis=0), rest.std(axis=0))


def test_miniboone_is_cut_in_order_and_standardised_without_the_test_rows(tmp_path):
    raw = DRAW.normal(size=(60, 43)) ** 3
    np.save(tmp_path / "data.npy", raw)
    table = load_tabular("miniboone", tmp_path)
    check(table, raw, raw[:54].mean(axis=0), np.sqrt(((raw[:54] - raw[:54].mean(axis=0)) ** 2).mean(axis=0)))


def sensors(rows):
    """Column 1 copies 0, column 4 copies 3 upside down, 6 and 7 copy 5: 0, 5 and 6 must go."""
    base = DRAW.normal(size=(rows, 5))
    near = 0.01 * DRAW.normal(size=(rows, 4))
    columns = [base[:, 0], base[:, 0] + near[:, 0], base[:, 1], base[:, 2], -base[:, 2] + near[:, 1],
               base[:, 3], 2 * base[:, 3] + near[:, 2], base[:, 3] + near[:, 3], base[:, 4]]  # fmt: skip
    return np.column_stack(columns) * 100


def without_near_copies(columns):
    columns = list(columns)
    while True:
        for i, column in enumerate(columns):
            others = [np.corrcoef(column, other)[0, 1] for j, other in enumerate(columns) if j != i]
            if any(r > 0.98 for r in others):
                del columns[i]
                break
        else:
            return np.column_stack(columns)


def write_text(path, values, opened=open):
    with opened(path, "wt") as file:
        file.write("Time (seconds), CO conc (ppm), Ethylene conc (ppm), sensor readings (16 channels)\n")
        for i, row in enumerate(values):
            file.write(f"{i / 100:.2f}\t0.00   0.00 \t" + " ".join(repr(float(v)) for v in row) + "\n")


@pytest.mark.parametrize("zipped", [False, True])
def test_gas_from_text_drops_the_first_of_each_near_copy(tmp_path, zipped):
    values = sensors(213)
    (tmp_path / "gas").mkdir()
    name = "ethylene_CO.txt.gz" if zipped else "ethylene_CO.txt"
    write_text(tmp_path / "gas" / name, values, gzip.open if zipped else open)
    table = load_tabular("gas", tmp_path)
    rows = without_near_copies(values.T)
    assert rows.shape[1] == 6
    np.testing.assert_array_equal(rows, values[:, [1, 2, 3, 4, 7, 8]])
    check(table, rows, rows.mean(axis=0), rows.std(axis=0, ddof=1))


def test_a_key_takes_a_random_quarter_of_the_text(tmp_path, monkeypatch):
    values = sensors(202)
    write_text(tmp_path / "ethylene_CO.txt", values)
    monkeypatch.setattr(uci, "gas", lambda rows: uci.Tabular(rows, rows, rows))
    found = load_tabular("gas", tmp_path, key=jax.random.key(3)).train
    places = [int(np.flatnonzero((values == row).all(axis=1))[0]) for row in found]
    assert len(set(places)) == len(places) == 50
    assert places != sorted(places)
    np.testing.assert_array_equal(load_tabular("gas", tmp_path).train, values)
    np.testing.assert_array_equal(load_tabular("gas", tmp_path, key=jax.random.key(3)).train, found)


def test_gas_from_a_pickle_is_gas_from_text(tmp_path):
    pandas = pytest.importorskip("pandas")
    values = sensors(150)
    frame = pandas.DataFrame(values, columns=[f"R{i}" for i in range(9)])
    frame.insert(0, "Time", np.arange(150) / 100)
    frame.insert(1, "Meth", 0.0)
    frame.insert(2, "Eth", 1.0)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    frame.to_pickle(tmp_path / "a" / "ethylene_CO.pickle")
    write_text(tmp_path / "b" / "ethylene_CO.txt", values)
    for left, right in zip(
        load_tabular("gas", tmp_path / "a")[:3], load_tabular("gas", tmp_path / "b")[:3], strict=True
    ):
        np.testing.assert_array_equal(left, right)
    frame.drop(columns="Eth").to_pickle(tmp_path / "a" / "ethylene_CO.pickle")
    with pytest.raises(DataUnavailable, match="no column Eth"):
        load_tabular("gas", tmp_path / "a")


def hepmass_files(folder, zipped=False):
    """Feature 1 has its smallest value six times, feature 2 its largest; feature 3 its smallest five times."""
    folder.mkdir(exist_ok=True)
    train, test = DRAW.normal(size=(90, 5)), DRAW.normal(size=(70, 5))
    for rows in (train, test):
        rows[:, 1] = np.maximum(rows[:, 1], np.sort(rows[:, 1])[4])
    labels = (np.arange(90) % 3 > 0) * 1.0, (np.arange(70) % 2 > 0) * 1.0
    signal = train[labels[0] == 1]
    signal[:6, 1], signal[6:12, 2], signal[12:17, 3] = -9.0, 9.0, -9.0
    train[labels[0] == 1] = signal
    train[labels[0] == 0, 4] = -50.0
    opened, end = (gzip.open, ".gz") if zipped else (open, "")
    header = "# label,f0,f1,f2,f3,f4"
    with opened(folder / f"1000_train.csv{end}", "wt") as file:
        file.write(header + "\n")
        # a field more than the header has names: what index_col=False cuts off
        file.writelines(
            ",".join(map(repr, map(float, (y, *x)))) + ",1000.0\n" for y, x in zip(labels[0], train, strict=True)
        )
    with opened(folder / f"1000_test.csv{end}", "wt") as file:
        file.write(header + ",mass\n")
        file.writelines(
            ",".join(map(repr, map(float, (y, *x, 1000)))) + "\n" for y, x in zip(labels[1], test, strict=True)
        )
    return signal, test[labels[1] == 1]


@pytest.mark.parametrize("zipped", [False, True])
def test_hepmass_keeps_the_rule_of_the_first_count(tmp_path, zipped):
    signal, test = hepmass_files(tmp_path / "hepmass", zipped)
    table = load_tabular("hepmass", tmp_path)
    first_counts = [sorted(Counter(column).items())[0][1] for column in signal.T.tolist()]
    assert first_counts == [1, 6, 1, 5, 1]
    assert max(Counter(signal[:, 2].tolist()).values()) == 6  # most frequent, not smallest: stays
    keep = [i for i, count in enumerate(first_counts) if count <= 5]
    assert keep == [0, 2, 3, 4]
    mean = signal.mean(axis=0)
    std = np.sqrt(((signal - mean) ** 2).sum(axis=0) / (len(signal) - 1))
    found = np.concatenate([table.train, table.val])
    np.testing.assert_allclose(found, ((signal - mean) / std)[:, keep], rtol=1e-6)
    np.testing.assert_allclose(table.test, ((test - mean) / std)[:, keep], rtol=1e-6)
    assert len(table.val) == len(signal) // 10
    assert {part.dtype for part in table[:3]} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("name", "group", "dtype"), [("bsds300", "validation", "float32"), ("power", "val", "float64")]
)
def test_hdf5_is_taken_as_it_is(tmp_path, name, group, dtype):
    h5py = pytest.importorskip("h5py")
    parts = [DRAW.normal(size=(n, 4)).astype(dtype) for n in (9, 3, 2)]
    path = tmp_path / ("BSDS300.hdf5" if name == "bsds300" else "power.hdf5")
    with h5py.File(path, "w") as file:
        for part, values in zip(("train", group, "test"), parts, strict=True):
            file[part] = values
    for found, values in zip(load_tabular(name, tmp_path)[:3], parts, strict=True):
        np.testing.assert_array_equal(found, values)
        assert found.dtype == values.dtype
    np.testing.assert_array_equal(load_hdf5(path).test, parts[2])
    with h5py.File(path, "a") as file:
        del file["test"]
    with pytest.raises(DataUnavailable, match=f"{path.name}: is damaged .no test in it, it has train, {group}"):
        load_hdf5(path)


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("power", "data.npy or power.hdf5"),
        ("gas", "ethylene_CO.pickle or ethylene_CO.txt or gas.hdf5"),
        ("hepmass", "1000_train.csv and 1000_test.csv or hepmass.hdf5"),
        ("miniboone", "data.npy or miniboone.hdf5"),
        ("bsds300", "BSDS300.hdf5 or bsds300.hdf5"),
    ],
)
def test_a_missing_file_is_named_with_its_folder(tmp_path, name, files):
    with pytest.raises(DataUnavailable) as caught:
        load_tabular(name, tmp_path)
    assert str(caught.value).startswith(f"{name}: {files} wanted in {tmp_path / name}; from data.tar.gz of zenodo")
    assert "\n" not in str(caught.value)
    assert name in TABLES


@pytest.mark.parametrize(("package", "file"), [("pandas", "ethylene_CO.pickle"), ("h5py", "gas.hdf5")])
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, package, file):
    (tmp_path / file).write_bytes(b"anything")
    real = builtins.__import__

    def without(name, *rest, **options):
        if name == package:
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataUnavailable, match=rf'needs {package}: pip install "mlrisk\[tabular\]"'):
        load_tabular("gas", tmp_path)


def test_damaged_and_wrong_files_get_one_line(tmp_path, as_a_user):
    np.save(tmp_path / "data.npy", DRAW.normal(size=(50, 43)))
    with pytest.raises(BadInput, match="power: 43 columns in the raw table, 8 are wanted"):
        load_tabular("power", tmp_path)
    np.save(tmp_path / "data.npy", DRAW.normal(size=(11, 8)))
    with pytest.raises(BadInput, match="power: 11 rows left of the raw table, at least 12"):
        load_tabular("power", tmp_path)
    (tmp_path / "data.npy").write_bytes(b"half a file")
    with pytest.raises(DataUnavailable, match=r"data.npy: is damaged"):
        load_tabular("power", tmp_path)
    constant = np.column_stack([DRAW.normal(size=(50, 42)), np.ones(50)])
    np.save(tmp_path / "data.npy", constant)
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(DataUnavailable, match="train part has values that are not finite"),
    ):
        load_tabular("miniboone", tmp_path)
    (tmp_path / "1000_train.csv").write_text("# label,f0\n1.0,abc\n")
    (tmp_path / "1000_test.csv").write_text("# label,f0,mass\n1.0,2.0,3.0\n")
    with pytest.raises(DataUnavailable, match=r"1000_train.csv: is damaged"):
        load_tabular("hepmass", tmp_path)


def test_an_unknown_table_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(BadInput, match=r"name: 'hepmas' is not one of .*; did you mean 'hepmass'"):
        load_tabular("hepmas", tmp_path)


def test_thinning_keeps_rows_in_order_with_their_groups():
    parts = [np.arange(n, dtype=np.float32)[:, None] for n in (20, 9, 15)]
    table = uci.thinned(uci.Tabular(*parts, np.arange(15) * 2), jax.random.key(0), train=7, test=4)
    assert [len(part) for part in table] == [7, 9, 4, 4]
    assert (np.diff(table.train[:, 0]) > 0).all()
    np.testing.assert_array_equal(table.groups, 2 * table.test[:, 0])
    with pytest.raises(BadInput, match="val_size: 10 is not allowed, there are 9 val rows"):
        uci.thinned(table, jax.random.key(0), val=10)
