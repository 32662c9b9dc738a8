"""Pictures inside the page: SVG that takes the colours of the page, or PNG on a light panel."""

import base64
import re
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from markupsafe import Markup, escape
from PIL import Image

from mlrisk.errors import StorageError
from mlrisk.report.figures import GRID, INK

MOST_INLINE_BYTES = 300_000
_PIXELS = {"pt": 96 / 72, "in": 96.0, "px": 1.0, "": 1.0}
_DROPPED = {"metadata", "title", "style"}
_FOREIGN = {"script", "foreignObject", "iframe", "a", "animate", "set"}
_MATPLOTLIB_RULE = "*{stroke-linejoin:round;stroke-linecap:butt}"  # the page's own style sheet says the same
_RECOLOURED = {INK: "var(--ink)", GRID: "var(--rule)", "stroke: #000000": "stroke: var(--ink)"}


class Picture(NamedTuple):
    """One figure of a run, ready for the page; ``width`` is its natural width in CSS pixels."""

    name: str
    caption: str
    markup: Markup
    width: float


def load_picture(folder: Path, name: str, caption: str, alt: str, prefix: str) -> Picture:
    """The picture called ``name``: inline SVG below 300 kB, else PNG, as nothing outside the page.

    Args:
        folder: holds ``name.svg``, ``name.png`` or both.
        name: the figure's name.
        caption: shown below it.
        alt: what it shows, in words.
        prefix: put before every identifier, so that two pictures of one page do not mix.

    Returns:
        A `Picture`.

    Raises:
        StorageError: neither file is there, or the one needed is damaged.
    """
    svg, png = folder / f"{name}.svg", folder / f"{name}.png"
    if svg.is_file():
        root = _parse(svg)
        width = _natural_width(root)
        if svg.stat().st_size < MOST_INLINE_BYTES and _harmless(root):
            return Picture(name, caption, _inline(root, alt, prefix), width)
        if not png.is_file():
            return Picture(name, caption, _embedded(svg, "image/svg+xml", alt), width)
    if png.is_file():
        return Picture(name, caption, _embedded(png, "image/png", alt), _png_width(png))
    raise StorageError(f"{svg}: is missing, and so is {png.name}")


def _parse(path: Path) -> ElementTree.Element:
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError) as error:
        raise StorageError(f"{path}: is damaged (not a whole SVG: {error})") from error
    if _local(root.tag) != "svg":
        raise StorageError(f"{path}: is damaged (its outermost element is {_local(root.tag)}, not svg)")
    return root


def _harmless(root: ElementTree.Element) -> bool:
    """Whether a picture can be part of the page: no scripts, no rules for all of it, nothing from outside."""
    for element in root.iter():
        tag = _local(element.tag)
        if tag in _FOREIGN or any(_local(name).lower().startswith("on") for name in element.attrib):
            return False
        if any(re.search(r"url\((?!#)", value) for value in element.attrib.values()):
            return False
        if tag == "style" and re.sub(r"\s", "", element.text or "") != _MATPLOTLIB_RULE:
            return False
        links = [value for name, value in element.attrib.items() if _local(name) == "href"]
        if not all(link.startswith(("#", "data:image/png;")) for link in links):
            return False
    return True


def _inline(root: ElementTree.Element, alt: str, prefix: str) -> Markup:
    for parent in list(root.iter()):
        for child in [child for child in parent if _local(child.tag) in _DROPPED]:
            parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        attributes = {_local(name): _attribute(_local(name), value, prefix) for name, value in element.items()}
        element.attrib.clear()
        element.attrib.update(attributes)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib.update({"class": "picture", "role": "img", "aria-label": alt})
    root.tail = None
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _attribute(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return f"{prefix}-{value}"
    if name == "href" and value.startswith("#"):
        return f"#{prefix}-{value[1:]}"
    value = value.replace("url(#", f"url(#{prefix}-")
    if name == "style":
        for old, new in _RECOLOURED.items():
            value = value.replace(old, new)
    return value


def _embedded(path: Path, kind: str, alt: str) -> Markup:
    content = base64.b64encode(path.read_bytes()).decode()
    return Markup(f'<img class="picture" src="data:{kind};base64,{content}" alt="{escape(alt)}">')


def _natural_width(root: ElementTree.Element) -> float:
    match = re.fullmatch(r"([\d.]+)(pt|in|px|)", root.get("width", ""))
    if match:
        return float(match[1]) * _PIXELS[match[2]]
    box = root.get("viewBox", "").split()
    return float(box[2]) if len(box) == 4 else 640.0


def _png_width(path: Path) -> float:
    try:
        with Image.open(path) as image:
            dots = float(image.info.get("dpi", (96.0, 96.0))[0])
            width = image.width
            image.verify()
    except (OSError, SyntaxError, ValueError) as error:
        raise StorageError(f"{path}: is damaged (not a whole PNG)") from error
    return width * 96 / dots


def _local(name: str) -> str:
    return name.rpartition("}")[2]
