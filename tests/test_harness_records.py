"""Records of several sweeps become one."""

import numpy as np
import pytest

from mlrisk.errors import BadInput
from mlrisk.harness import Fit, Records, from_fit, merge


def records(seeds, blocks, offset):
    values = offset + np.arange(seeds * blocks, dtype=np.float32).reshape(seeds, blocks)
    history = {"val/loss": values, "val/rows": np.zeros((seeds, blocks, 3), np.float32)}
    ends = np.full(seeds, -1, np.int32)
    return from_fit(Fit(None, history, ends, ends), probe_every=5)


def test_lanes_are_numbered_through_and_named():
    merged = merge({"a": records(2, 3, 0), "b": records(3, 3, 100)}, "kind")
    rows = [row for row in merged.table.to_pylist() if row["metric"] == "loss"]
    assert [row["lane"] for row in rows] == [lane for lane in range(5) for _ in range(3)]
    assert [row["seed"] for row in rows[::3]] == [0, 1, 0, 1, 2]
    assert [row["kind"] for row in rows[::3]] == ["a", "a", "b", "b", "b"]
    assert [row["value"] for row in rows[6:9]] == [100, 101, 102]
    assert merged.table.column_names == ["lane", "seed", "kind", "step", "split", "metric", "value"]
    assert {name: array.shape for name, array in merged.arrays.items()} == {
        "a/val/rows": (2, 3, 3),
        "b/val/rows": (3, 3, 3),
    }


def test_merged_records_survive_a_folder(tmp_path):
    merged = merge({"a": records(2, 3, 0), "b": records(3, 2, 1)}, "kind")
    merged.save(tmp_path)
    loaded = Records.load(tmp_path)
    assert loaded.table.equals(merged.table)
    assert set(loaded.arrays) == set(merged.arrays)


@pytest.mark.parametrize("parts", [{}, {"a": records(1, 1, 0), "b": merge({"x": records(1, 1, 0)}, "other")}])
def test_parts_that_do_not_fit_get_one_line(parts):
    with pytest.raises(BadInput, match=r"^parts: [^\n]*$"):
        merge(parts, "kind")


def test_a_column_can_be_added_once():
    with pytest.raises(BadInput, match=r"^parts: [^\n]*'seed'$"):
        merge({"a": records(1, 1, 0)}, "seed")
