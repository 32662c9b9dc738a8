"""The page made from run folders: complete, self-contained, and clear about what is missing."""

import html.parser
import itertools
import json
import re
import shutil
from importlib.resources import files

import numpy as np
import pytest
from test_report_run import fake_run

from mlrisk.errors import BadInput
from mlrisk.files import write_json, write_text
from mlrisk.report import report, report_run


class Checker(html.parser.HTMLParser):
    """Collects what the laws below speak of, and checks that elements close in order."""

    VOID = frozenset({"meta", "img", "link", "br", "hr"})

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.headings, self.resources, self.tags = [], [], [], [], [], []
        self.unlabelled = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.note(tag, given)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.note(tag, dict(attrs))

    def note(self, tag, given):
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if "href" in given else []
        self.resources += [given["src"]] if "src" in given else []
        self.headings += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        if given.get("class") == "picture" and not (given.get("alt") or given.get("aria-label")):
            self.unlabelled.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parse(text):
    checker = Checker()
    checker.feed(text)
    checker.close()
    return checker


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One fake run, made once; tests that damage it copy it first."""
    return fake_run(tmp_path_factory.mktemp("runs") / "easy_examples" / "digits-0a1b2c")


@pytest.fixture
def run_dir(made, tmp_path):
    return shutil.copytree(made, tmp_path / "runs" / "easy_examples" / "digits-0a1b2c")


@pytest.fixture(scope="module")
def pages(made, tmp_path_factory):
    """The same run as a page by itself, and twice on one page."""
    top = tmp_path_factory.mktemp("pages")
    for name in ("cpu-1", "paper-2"):
        shutil.copytree(made, top / "runs" / "easy_examples" / name)
    one = report([made], top / "one.html").read_text()
    return {"one": one, "many": report([top / "runs"], top / "many.html").read_text()}


@pytest.mark.parametrize("which", ["one", "many"])
class TestEveryPage:
    def test_elements_close_in_order(self, pages, which):
        assert parse(pages[which]).open == []

    def test_identifiers_are_unique_and_inner_links_lead_somewhere(self, pages, which):
        page = parse(pages[which])
        assert len(page.ids) == len(set(page.ids))
        assert page.links
        assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)

    def test_nothing_is_loaded_from_outside(self, pages, which):
        page = parse(pages[which])
        assert all(link.startswith(("#", "data:")) for link in page.links + page.resources)
        assert not re.search(r"https?://|@import|url\((?!#)", pages[which])
        assert "script" not in page.tags

    def test_headings_start_at_one_and_skip_no_level(self, pages, which):
        levels = parse(pages[which]).headings
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(deeper - level <= 1 for level, deeper in itertools.pairwise(levels))

    def test_pictures_have_words(self, pages, which):
        page = parse(pages[which])
        assert page.unlabelled == []
        assert page.tags.count("figcaption") == page.tags.count("figure") > 0

    def test_says_language_and_fits_a_phone(self, pages, which):
        assert '<html lang="en">' in pages[which]
        assert 'content="width=device-width, initial-scale=1"' in pages[which]


def test_page_holds_what_the_run_holds(pages):
    text = pages["one"]
    for part in (
        "Are some examples easy for every network",
        "mlrisk run easy_examples --config digits --seeds 100",
        "hidden_sizes: [256, 256]",
        "packages.jax",
        "Published",
        "Obtained",
        "far wider than binomial",
        "[0.951, 1.034]",
        "between 0.8 and 1.3",
        "Arpit et al. 2017, Figure 7 &lt;left&gt;",
        "could not be judged: KeyError",
        "the first 12 of 3,000 rows",
        "1,000 digits, 100 seeds, two layers of 256 units.",
    ):
        assert part in text


def test_verdicts_are_words_with_symbols(pages):
    words = re.findall(r'<span aria-hidden="true">(.)</span> (Agrees|Differs|Not judged)</span>', pages["one"])
    assert words == [("✓", "Agrees"), ("✓", "Agrees"), ("✗", "Differs"), ("?", "Not judged")]


def test_index_leads_to_every_run(pages):
    page = parse(pages["many"])
    assert {"#run-1", "#run-2"} <= set(page.links)
    assert "run-1" not in parse(pages["one"]).ids


def test_same_folder_gives_the_same_page(made, tmp_path):
    first, second = (report([made], tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert first == second


def test_diverged_lanes_are_named(run_dir, tmp_path):
    run = json.loads((run_dir / "run.json").read_text())
    run["diverged"] = [{"lane": 17, "seed": 42, "step": 310}]
    write_json(run_dir / "run.json", run)
    text = report([run_dir], tmp_path / "page.html").read_text()
    assert "1 lane diverged" in text
    assert "lane 17, seed 42, step 310" in text


def test_many_diverged_lanes_are_counted_beyond_forty(run_dir, tmp_path):
    run = json.loads((run_dir / "run.json").read_text())
    run["diverged"] = [{"lane": lane, "seed": lane, "step": 1} for lane in range(100)]
    write_json(run_dir / "run.json", run)
    text = report([run_dir], tmp_path / "page.html").read_text()
    assert "100 lanes diverged" in text
    assert "; and 60 more" in text


def test_unfinished_runs_are_listed_even_when_half_written(run_dir, tmp_path):
    write_text(run_dir.parent / "paper-ffff" / "config.yaml", "seeds: 1\n")
    text = report([tmp_path / "runs"], tmp_path / "page.html").read_text()
    assert "1 unfinished run" in text
    assert "easy_examples/paper-ffff" in text


def test_a_folder_given_twice_is_shown_once(run_dir, tmp_path):
    text = report([run_dir, run_dir.parent, tmp_path], tmp_path / "page.html").read_text()
    assert parse(text).tags.count("h1") == 1
    assert 'id="run-2"' not in text


def test_run_reports_into_its_own_folder_before_it_is_done(run_dir):
    (run_dir / "DONE").unlink()
    assert "unfinished" not in report_run(run_dir).read_text()
    assert (run_dir / "report.html").is_file()


def test_text_from_a_run_cannot_become_markup(run_dir, tmp_path):
    run = json.loads((run_dir / "run.json").read_text())
    run |= {"question": "<script>alert(1)</script>", "command": 'a && b <c> "d"'}
    write_json(run_dir / "run.json", run)
    text = report([run_dir], tmp_path / "page.html").read_text()
    assert "script" not in parse(text).tags
    assert "&lt;script&gt;" in text


BAD_PATHS = {
    "no paths": lambda top: [],
    "an empty folder": lambda top: [top],
    "no such folder": lambda top: [top / "nowhere"],
}


@pytest.mark.parametrize("name", BAD_PATHS)
def test_paths_without_runs_are_bad_input(tmp_path, name):
    with pytest.raises(BadInput):
        report(BAD_PATHS[name](tmp_path), tmp_path / "page.html")


def test_output_cannot_be_a_folder(run_dir, tmp_path):
    with pytest.raises(BadInput, match="output"):
        report([run_dir], tmp_path)


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [(text, ground) for text in ("ink", "muted", "accent") for ground in ("paper", "panel")]
    + [(verdict, f"{verdict}-tint") for verdict in ("agrees", "differs", "unjudged")]
    + [("ink", "unjudged-tint")],
)
def test_text_stands_out_from_its_ground(scheme, text, ground):
    """Contrast of at least 4.5, the AA level of WCAG 2."""
    css = (files("mlrisk.report") / "page.css").read_text()
    block = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", block))
    bright, dark = sorted((_luminance(colours[text]), _luminance(colours[ground])), reverse=True)
    assert (bright + 0.05) / (dark + 0.05) >= 4.5
