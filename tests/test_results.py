"""What is committed under results/ is whole, small, and what the README shows."""

from pathlib import Path

import pytest

from mlrisk.errors import BadInput
from mlrisk.files import read_json
from mlrisk.report import results

ROOT = Path(__file__).parents[1]


def test_the_page_of_results_shows_the_kept_claims():
    assert results.page(ROOT / "results") == (ROOT / "results" / "README.md").read_text()


@pytest.mark.parametrize("folder", sorted(path.parent for path in ROOT.glob("results/*/*/claims.json")), ids=str)
def test_kept_runs_are_small_and_name_their_code_and_machine(folder):
    assert sum(path.stat().st_size for path in folder.iterdir()) < 200_000
    assert read_json(folder / "environment.json")["commit"]
    assert "devices" in read_json(folder / "environment.json")


def test_only_finished_runs_are_kept(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(BadInput, match="is not a finished run with a figure 'x'"):
        results.keep(tmp_path / "run", "x", tmp_path / "results")
