"""What is committed under results/ is whole, small, and what the README shows."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


def test_large_pictures_are_kept_small_or_refused(tmp_path):
    smooth = np.add.outer(np.arange(900), np.arange(900))[:, :, None] // np.array([7, 11, 5])
    noise = np.random.default_rng(0).integers(0, 255, (900, 900, 3))
    for name, values in {"smooth": smooth % 255 + noise % 8, "noise": noise}.items():
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > results.LARGEST
    with pytest.raises(BadInput, match="at most 150,000 are kept"):
        results._small(tmp_path / "noise.png")
    Image.fromarray((smooth % 255).astype(np.uint8)).resize((300, 300)).save(tmp_path / "small.png")
    assert results._small(tmp_path / "small.png") == (tmp_path / "small.png").read_bytes()


@pytest.mark.parametrize(("arguments", "line"), [(["run"], "RUN_FOLDER and FIGURE"), (["run", "x"], "not a finished")])
def test_wrong_arguments_are_one_line_and_write_nothing(arguments, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert results.main(arguments) == 2
    assert line in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
