"""Puts the figures that the notebooks drew into the pages, where they follow light and dark.

A notebook holds its figures as SVG on white. In the page each becomes a part of the HTML: without
the white ground, every colour a variable with another value where the page is dark (see
figure_colours.py), and identifiers unique in the book. What is drawn on an opaque image keeps its
colours, as the image does. No letter becomes smaller than ``SMALLEST`` pixels: where the window is
too narrow for that, the figure scrolls sideways.
"""

from __future__ import annotations

import base64
import io
import math
import re
from hashlib import sha256
from html import escape, unescape
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from PIL import Image

from .figure_colours import PAGE, in_the_dark, letters_on, mixed

SMALLEST = 9  # pixels, for the letters of a figure on the narrowest screen
_PIXELS = 1.39  # per point: letters of 11 points are then as large as those of the text

_IMAGE = re.compile(r'<img\b[^>]*?\bsrc="(?P<src>[^"]*/_images/[0-9a-f]{64}\.svg)"[^>]*>')
_ALT = re.compile(r'\balt="([^"]*)"')
_HREF = "{http://www.w3.org/1999/xlink}href"
_SCALE = re.compile(r"scale\((-?[\d.]+)")
_MOVE = re.compile(r"translate\((-?[\d.]+)[ ,]+(-?[\d.]+)\)")
_TURN = re.compile(r"rotate\((-?[\d.]+)\)")
_PAIR = re.compile(r"(-?[\d.]+) (-?[\d.]+)")
_AROUND_COMMAND = re.compile(r"\s*([A-Za-z])\s*")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


class Box(NamedTuple):
    """A rectangle that was filled, and with which colour in the dark; None if it is an image."""

    left: float
    top: float
    right: float
    bottom: float
    colour: str | None

    def holds(self, x: float, y: float) -> bool:
        """Whether a point lies inside."""
        return self.left <= x <= self.right and self.top <= y <= self.bottom

    def within(self, edge: Box) -> Box:
        """Return the part inside of another rectangle."""
        return Box(
            max(self.left, edge.left),
            max(self.top, edge.top),
            min(self.right, edge.right),
            min(self.bottom, edge.bottom),
            self.colour,
        )


class Figure:
    """One SVG file of matplotlib, rewritten for a page."""

    def __init__(self, svg: str, name: str) -> None:
        self.root = ElementTree.fromstring(svg)
        for element in self.root.iter():
            element.tag = element.tag.rpartition("}")[2]
        self.name = name
        self.dark: dict[str, str] = {}  # variable: its value in the dark
        self.sizes: list[float] = []  # of the letters, in points
        self.width, self.height = (float(n) for n in self.root.attrib["viewBox"].split()[2:])
        self._grounds: list[Box] = []
        self._shapes: dict[str, Box] = {}  # what is drawn in several places, by its identifier
        # Where drawings are cut off: the bars of a logarithmic axis have no lower end.
        self._edges = {
            clip.attrib["id"]: _rect_box(rect)
            for clip in self.root.iter("clipPath")
            for rect in clip.iter("rect")
        }
        self._without_ground()
        self._recolour(self.root)
        self._rename()
        self._say_once()

    def _without_ground(self) -> None:
        """Take out matplotlib's rule for all elements, and the white below figure and axes."""
        for parent in list(self.root.iter()):
            for child in list(parent):
                if child.tag == "defs" and child.find("style") is not None:
                    parent.remove(child)
                elif child.tag == "metadata" or _is_ground(parent, child):
                    parent.remove(child)

    def _recolour(self, element: Element, *, keep: bool = False, edge: Box | None = None) -> None:
        """Walk through the drawing in the order in which it was drawn."""
        if cut := _REFERENCE.search(element.get("clip-path", "")):
            edge = self._edges.get(cut[1])
        if element.tag == "image":
            self._grounds += [box] if (box := _image_box(element)) else []
        elif element.tag == "g" and "scale(" in element.get("transform", ""):
            self._letters(element)
            return  # inside are the shapes of the letters, and no colours
        else:
            style = _style(element)
            self._note_ground(element, style, edge)
            if keep and element.tag in ("path", "use"):
                style.setdefault("fill", "#000000")  # matplotlib does not write black
            for key in ("fill", "stroke", "stop-color"):
                if style.get(key, "").startswith("#") and not keep:
                    style[key] = self._variable(style[key], in_the_dark(style[key]))
            _set_style(element, style)
        lies_on_image = element.get("id", "").startswith("axes_") and any(
            _image_box(image) for image in element.iter("image")
        )
        for child in element:
            kept = keep or (lies_on_image and _is_cut_off(child))
            self._recolour(child, keep=kept, edge=edge)

    def _letters(self, group: Element) -> None:
        """Note how large letters are, and choose their colour by what lies below them."""
        size = 100 * float(_SCALE.search(group.attrib["transform"])[1])  # type: ignore[index]
        if any(child.tag == "use" for child in group):
            self.sizes.append(size)
        style = _style(group)
        colour = style.get("fill", "#000000")
        x, y = _middle(group, size)
        ground = next((box for box in reversed(self._grounds) if box.holds(x, y)), None)
        if ground is not None and ground.colour is None:
            style["fill"] = colour
        else:
            below = PAGE if ground is None else ground.colour
            style["fill"] = self._variable(colour, letters_on(in_the_dark(colour), below or PAGE))
        _set_style(group, style)

    def _variable(self, light: str, dark: str) -> str:
        name = f"--{light[1:]}-{dark[1:]}"
        self.dark[name] = dark
        return f"var({name},{light})"

    def _note_ground(self, element: Element, style: dict[str, str], edge: Box | None) -> None:
        """Remember where something is filled: letters may come to lie there."""
        box = None
        if element.tag == "path":
            box = _path_box(element.get("d", ""))
            if box is not None and "id" in element.attrib:
                self._shapes[element.attrib["id"]] = box
                return
        elif element.tag == "use":
            shape = self._shapes.get(element.attrib[_HREF][1:])
            x, y = float(element.get("x", 0)), float(element.get("y", 0))
            if shape is not None:
                box = Box(shape.left + x, shape.top + y, shape.right + x, shape.bottom + y, None)
        fill = style.get("fill", "#000000")
        opacity = float(style.get("opacity", 1)) * float(style.get("fill-opacity", 1))
        if box is not None and fill.startswith("#") and opacity > 0.3:
            if edge is not None:
                box = box.within(edge)
            self._grounds.append(box._replace(colour=mixed(in_the_dark(fill), opacity)))

    def _rename(self) -> None:
        """Keep only the identifiers that something refers to, and make them this figure's."""
        text = ElementTree.tostring(self.root, encoding="unicode")
        used = {*_REFERENCE.findall(text), *re.findall(r'href="#([^"]+)"', text)}
        new = {old: f"{self.name}-{i}" for i, old in enumerate(sorted(used))}
        for element in self.root.iter():
            for key, value in list(element.attrib.items()):
                if key == "id" and value not in used:
                    del element.attrib[key]
                elif key == "id":
                    element.set(key, new[value])
                elif key == _HREF:
                    del element.attrib[key]
                    element.set("href", f"#{new[value[1:]]}" if value[0] == "#" else value)
                elif "url(#" in value:
                    element.set(key, _REFERENCE.sub(lambda m: f"url(#{new[m[1]]})", value))

    def _say_once(self) -> None:
        """Give the style that all marks of a curve have to their group: a third of some figures."""
        for group in self.root.iter("g"):
            styles = {child.get("style", "") for child in group if child.tag == "use"}
            same = len(styles) == 1 and "" not in styles and all(c.tag == "use" for c in group)
            # Opacity is not inherited: of a group it would be that of all marks together.
            if same and "style" not in group.attrib and not re.search(r"(?<!-)opacity:", *styles):
                group.set("style", styles.pop())
                for child in group:
                    child.attrib.pop("style", None)

    def html(self, alt: str) -> str:
        """Return the figure as a part of a page."""
        least = math.ceil(SMALLEST / min(self.sizes) * self.width) if self.sizes else 0
        inside = "".join(_written(child) for child in self.root)
        dark = "".join(f"{name}:{value};" for name, value in sorted(self.dark.items()))
        ink = self._variable("#000000", in_the_dark("#000000"))
        return (
            f'<div class="drawing"><svg id="{self.name}" role="img" '
            f'aria-label="{escape(alt, quote=True)}" '
            f'viewBox="0 0 {self.width} {self.height}" '
            f'width="{round(_PIXELS * self.width)}" style="min-width:{least}px;fill:{ink}">'
            f'<style>html[data-theme="dark"] #{self.name}{{{dark}}}</style>{inside}</svg></div>'
        )


def _is_ground(parent: Element, child: Element) -> bool:
    """Whether this is the white below a figure or its axes, the first thing drawn there."""
    if not re.match(r"(figure|axes)_\d", parent.get("id", "")) or list(parent).index(child):
        return False
    path = child.find("path")
    if not child.get("id", "").startswith("patch_") or path is None:
        return False
    return _style(path).get("fill") == "#ffffff" and "stroke" not in _style(path)


def _style(element: Element) -> dict[str, str]:
    parts = (part.partition(":") for part in element.get("style", "").split(";") if part.strip())
    return {key.strip(): value.strip() for key, _, value in parts}


def _set_style(element: Element, style: dict[str, str]) -> None:
    if style:
        element.set("style", ";".join(f"{key}:{value}" for key, value in style.items()))


def _rect_box(rect: Element) -> Box:
    x, y, width, height = (float(rect.attrib[key]) for key in ("x", "y", "width", "height"))
    return Box(x, y, x + width, y + height, None)


def _path_box(path: str) -> Box | None:
    points = [(float(x), float(y)) for x, y in _PAIR.findall(path)]
    if not points:
        return None
    xs, ys = zip(*points, strict=True)
    return Box(min(xs), min(ys), max(xs), max(ys), None)


def _is_cut_off(group: Element) -> bool:
    """Whether this is cut off at the edge of its axes: data and marks, not the axes themselves."""
    around = group.get("id", "").startswith(("matplotlib.axis", "legend", "text"))
    return not around and any("clip-path" in element.attrib for element in group.iter())


def _image_box(element: Element) -> Box | None:
    """Return the place of an image, or None if more than half of it can be seen through."""
    data = base64.b64decode(element.attrib[_HREF].partition(",")[2])
    alpha = Image.open(io.BytesIO(data)).convert("RGBA").getchannel("A")
    mean = sum(level * count for level, count in enumerate(alpha.histogram())) / 255
    mean *= float(element.get("opacity", 1)) / (alpha.width * alpha.height)
    if mean < 0.5:
        return None
    x, y = float(element.get("x", 0)), float(element.get("y", 0))
    corners = [(x, y), (x + float(element.attrib["width"]), y + float(element.attrib["height"]))]
    a, b, c, d, e, f = _matrix(element.get("transform", ""))
    xs, ys = zip(*((a * u + c * v + e, b * u + d * v + f) for u, v in corners), strict=True)
    return Box(min(xs), min(ys), max(xs), max(ys), None)


def _matrix(transform: str) -> tuple[float, ...]:
    """Return the six numbers of a transform as matplotlib writes it for images."""
    a, b, c, d, e, f = 1.0, 0.0, 0.0, 1.0, 0.0, 0.0
    for kind, inside in re.findall(r"(\w+)\(([^)]*)\)", transform):
        n = [float(number) for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", inside)]
        if kind == "matrix":
            p, q, r, s, t, u = n
        elif kind == "scale":
            p, q, r, s, t, u = n[0], 0.0, 0.0, n[-1], 0.0, 0.0
        else:
            p, q, r, s, t, u = 1.0, 0.0, 0.0, 1.0, n[0], n[1]
        e, f = a * t + c * u + e, b * t + d * u + f
        a, b, c, d = a * p + c * q, b * p + d * q, a * r + c * s, b * r + d * s
    return a, b, c, d, e, f


def _middle(group: Element, size: float) -> tuple[float, float]:
    """Return about the middle of a line of letters."""
    transform = group.attrib["transform"]
    move, turn = _MOVE.search(transform), _TURN.search(transform)
    x, y = (float(move[1]), float(move[2])) if move else (0.0, 0.0)
    angle = math.radians(float(turn[1])) if turn else 0.0
    last = [_MOVE.search(use.get("transform", "")) for use in group.iter("use")]
    along = 0.5 * max((float(m[1]) for m in last if m), default=0.0) * size / 100 + 0.3 * size
    up = 0.35 * size
    return (
        x + along * math.cos(angle) + up * math.sin(angle),
        y + along * math.sin(angle) - up * math.cos(angle),
    )


def _written(element: Element) -> str:
    """Write an element as HTML, without groups that say nothing."""
    if "href" in element.attrib:
        element.set("href", "".join(element.attrib["href"].split()))
    if "d" in element.attrib:
        element.set("d", _AROUND_COMMAND.sub(r"\1", element.attrib["d"]))
    attributes = "".join(f' {key}="{escape(v, quote=True)}"' for key, v in element.attrib.items())
    inside = "".join(_written(child) for child in element)
    if element.tag == "g" and not element.attrib:
        return inside
    return f"<{element.tag}{attributes}" + (f">{inside}</{element.tag}>" if inside else "/>")


def inlined(body: str, page: str, read: Any) -> str:
    """Return the HTML of a page with the drawings of its notebook in it.

    Parameters
    ----------
    body : str
        With ``<img src=".../_images/HASH.svg">``, as Sphinx writes figures.
    page : str
        The page's name, part of the names of its figures.
    read : Callable
        Takes the name of the file and returns its text.
    """
    count = 0

    def figure(found: re.Match[str]) -> str:
        nonlocal count
        count += 1
        alt = _ALT.search(found[0])
        # Short, as it stands before each letter; different on each page, for the PDF is one page.
        name = f"f{sha256(page.encode()).hexdigest()[:5]}-{count}"
        svg = read(found["src"].rpartition("/")[2])
        return Figure(svg, name).html(unescape(alt[1]) if alt else "")

    return _IMAGE.sub(figure, body)


def _page(app: Any, name: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if "body" not in context or app.builder.format != "html":
        return

    def read(file: str) -> str:
        (source,) = (path for path, copy in app.builder.images.items() if copy == file)
        read_here.add(source)
        return (Path(app.srcdir) / source).read_text("utf-8")

    read_here: set[str] = set()
    context["body"] = inlined(context["body"], name, read)
    for source in read_here:
        del app.builder.images[source]  # it is in the page now: no need to copy it


def setup(app: Any) -> None:
    """Register with Sphinx."""
    app.connect("html-page-context", _page)
