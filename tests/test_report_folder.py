"""Run folders with something wrong: the line names the file; pictures never act on the page."""

import shutil
import xml.etree.ElementTree as ElementTree

import pytest
from test_report_run import fake_run

from mlrisk.errors import StorageError
from mlrisk.report import load_run, report


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One fake run, made once; tests that damage it copy it first."""
    return fake_run(tmp_path_factory.mktemp("runs") / "easy_examples" / "digits-0a1b2c")


@pytest.fixture
def run_dir(made, tmp_path):
    return shutil.copytree(made, tmp_path / "runs" / "easy_examples" / "digits-0a1b2c")


def _truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _delete(path):
    path.unlink()


def _rewrite(text):
    return lambda path: path.write_text(text)


DAMAGE = {
    "run.json gone": ("run.json", _delete),
    "run.json cut": ("run.json", _truncate),
    "run.json without a question": (
        "run.json",
        _rewrite('{"experiment": "a", "command": "b", "preset": "c"}'),
    ),
    "config.yaml gone": ("config.yaml", _delete),
    "config.yaml not YAML": ("config.yaml", _rewrite("a: [1, 2")),
    "environment.json a list": ("environment.json", _rewrite("[]")),
    "claims.json gone": ("claims.json", _delete),
    "claims.json with an empty claim": ("claims.json", _rewrite("[{}]")),
    "claims.json with a number": ("claims.json", _rewrite("[3]")),
    "records.parquet gone": ("records.parquet", _delete),
    "records.parquet cut": ("records.parquet", _truncate),
    "table cut": ("tables/examples.parquet", _truncate),
    "figure cut": ("figures/difficulty.svg", _truncate),
    "figure no SVG": ("figures/difficulty.svg", _rewrite("<html></html>")),
    "captions gone": ("figures/captions.json", _delete),
    "captions of other figures": ("figures/captions.json", _rewrite("{}")),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_line_that_names_the_file(run_dir, tmp_path, name):
    file, harm = DAMAGE[name]
    harm(run_dir / file)
    with pytest.raises(StorageError) as caught:
        report([run_dir], tmp_path / "page.html")
    line = str(caught.value)
    assert "\n" not in line
    assert file.rpartition("/")[2].split(".")[0] in line
    assert not (tmp_path / "page.html").exists()


class TestPictures:
    def only(self, run_dir):
        return load_run(run_dir).pictures[0].markup

    def test_svg_takes_the_colours_of_the_page(self, run_dir):
        markup = self.only(run_dir)
        assert markup.startswith("<svg")
        assert "var(--ink)" in markup
        assert "#20262d" not in markup
        ElementTree.fromstring(markup)

    def test_large_svg_gives_way_to_png(self, run_dir):
        path = run_dir / "figures" / "difficulty.svg"
        path.write_text(path.read_text() + f"<!--{'x' * 300_000}-->")
        assert self.only(run_dir).startswith('<img class="picture" src="data:image/png;base64,')

    def test_damaged_png_is_named(self, run_dir):
        (run_dir / "figures" / "difficulty.svg").unlink()
        _truncate(run_dir / "figures" / "difficulty.png")
        with pytest.raises(StorageError, match=r"difficulty\.png"):
            load_run(run_dir)

    @pytest.mark.parametrize(
        "harm",
        [
            "<script>1</script>",
            '<g onload="x()"/>',
            '<use xlink:href="https://a.b/c"/>',
            '<g fill="url(https://a.b/c)"/>',
            "<style>p {display: none}</style>",
        ],
    )
    def test_svg_that_could_act_on_the_page_stays_an_image(self, run_dir, harm):
        path = run_dir / "figures" / "difficulty.svg"
        path.write_text(path.read_text().replace("</svg>", f"{harm}</svg>"))
        assert self.only(run_dir).startswith("<img")
