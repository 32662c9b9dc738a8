"""Figures: saved whole, twice the same, in colours that stay apart."""

import itertools
import json
import re

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from mlrisk.errors import BadInput, StorageError
from mlrisk.report import PALETTE, Plate, house_style, save_figures, style
from mlrisk.report.figures import describe

# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB.
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def draw():
    with house_style():
        figure = Figure()
        axes = figure.subplots()
        axes.plot([0, 1, 2], [1.0, 0.5, 0.25], label="real")
        axes.set(xlabel="step", ylabel="loss (nats)")
        axes.legend()
    return figure


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "figures"
    return folder, save_figures({"loss": Plate(draw(), "Loss of 10 seeds.")}, folder)


def test_writes_both_kinds_and_the_captions(saved):
    folder, paths = saved
    assert sorted(path.name for path in folder.iterdir()) == ["captions.json", "loss.png", "loss.svg"]
    assert set(paths) == set(folder.iterdir())
    assert json.loads((folder / "captions.json").read_text()) == {
        "loss": {"caption": "Loss of 10 seeds.", "alt": "Plot of loss (nats) against step"}
    }


def test_same_figure_gives_the_same_bytes(saved, tmp_path):
    _, paths = saved
    save_figures({"loss": Plate(draw(), "Loss of 10 seeds.")}, tmp_path / "again")
    for path in paths:
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_svg_has_no_date_and_no_metadata(saved):
    text = (saved[0] / "loss.svg").read_text()
    assert "<metadata>" not in text
    assert not re.search(r"20\d\d-\d\d-\d\d", text)


def test_style_ends_with_its_block():
    before = dict(mpl.rcParams)
    with house_style():
        assert mpl.rcParams["axes.spines.top"] is False
    assert dict(mpl.rcParams) == before


def test_style_does_not_depend_on_settings_outside_it():
    with mpl.rc_context({"font.size": 30, "lines.marker": "o"}), house_style():
        assert mpl.rcParams["font.size"] == style()["font.size"]
        assert mpl.rcParams["lines.marker"] == "None"


@pytest.mark.parametrize("name", ["../up", "a b", "", ".hidden", "a/b"])
def test_names_that_are_no_file_names_are_refused(tmp_path, name):
    with pytest.raises(BadInput, match="name"):
        save_figures({name: Plate(draw(), "A caption.")}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_caption_is_required(tmp_path):
    with pytest.raises(BadInput, match="empty caption"):
        save_figures({"loss": Plate(draw(), "  ")}, tmp_path)


def test_a_folder_that_cannot_be_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        save_figures({"loss": Plate(draw(), "A caption.")}, tmp_path / "file" / "figures")


def test_nothing_is_left_when_drawing_fails(tmp_path):
    figure = draw()
    figure.axes[0].set_xlabel("$\\nosuchcommand{$")
    with pytest.raises(ValueError, match="nosuchcommand"):
        save_figures({"loss": Plate(figure, "A caption.")}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_own_words_come_before_made_up_ones(tmp_path):
    save_figures({"loss": Plate(draw(), "A caption.", "A falling line.")}, tmp_path)
    assert json.loads((tmp_path / "captions.json").read_text())["loss"]["alt"] == "A falling line."


def test_a_figure_without_labels_is_said_to_have_none():
    assert describe(Figure()) == "Figure without labelled axes"


def _lab(colour, sight):
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(SIGHTS[sight] @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ seen
    f = np.cbrt(np.maximum(xyz / np.array([0.9505, 1.0, 1.089]), 1e-6))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHTS)
def test_first_four_colours_stay_apart_for_every_kind_of_sight(sight):
    """At least 10 units of CIE 1976 colour difference, about four times what is just noticeable."""
    seen = [_lab(colour, sight) for colour in list(PALETTE.values())[:4]]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 10
