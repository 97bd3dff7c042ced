"""report.html and index.html: self-contained pages, made of the report's parts by templates.

Jinja escapes every text. The figure is matplotlib's SVG, taken apart as XML and put back without
what a page cannot have twice (ids) or at all (a document's head), its ink in the page's colours.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vitcli.report import figures, parts, style, tables
from vitcli.report.claims import Verdict
from vitcli.report.collect import Study
from vitcli.report.methods import methods

# The figure's colours that follow the page into the dark; see templates/style.css.
_THEMED = {
    style.INK: "var(--ink)",
    style.FAINT: "var(--faint)",
    style.GREY: "var(--grey)",
    style.RULE: "var(--rule)",
    style.PAGE: "var(--page)",
}


@dataclass(frozen=True)
class Listed:
    """A study in the index. `study`: None where its plan cannot be read, for that `problem`."""

    folder: str  # name
    study: Study | None
    verdicts: list[Verdict]
    problem: str = ""


def report(study: Study, verdicts: list[Verdict], runs_dir: Path, svg: bytes) -> str:
    """Returns report.html; `svg` is its figure, the runs lie in `../../../runs`."""
    further = [study.measured_by(metric, label) for metric, label in study.tables.items()]
    return _render(
        "report.html",
        study=study,
        verdicts=verdicts,
        parts=parts,
        tables=tables,
        measured=[study, *further],
        methods=methods(study, runs_dir),
        figure=inline(svg, "figure-", figures.describe(study)),
        downloads=[f"figures/{study.figure}.{kind}" for kind in style.KINDS],
    )


def index(listed: list[Listed]) -> str:
    """Returns index.html, of studies whose folders lie beside it."""
    return _render("index.html", listed=listed, parts=parts)


def inline(svg: bytes, prefix: str, label: str) -> str:
    """Returns an SVG document as an element of a page, every id of it after `prefix`."""
    root = ElementTree.fromstring(svg)  # without comments, doctype and declaration
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith("}metadata"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for name, value in list(element.attrib.items()):
            del element.attrib[name]
            text = f"{prefix}{value}" if name == "id" else value.replace("url(#", f"url(#{prefix}")
            if name.endswith("href"):
                text = value.replace("#", f"#{prefix}", 1)
            for colour, variable in _THEMED.items():
                text = text.replace(colour.lower(), variable)
            element.set(name.rpartition("}")[2], text)
        if element.tag == "style" and element.text:
            element.text = element.text.replace("*", "figure svg *")
    for size in ("width", "height"):  # the page's; the viewBox keeps the shape
        root.attrib.pop(size, None)
    root.set("role", "img")
    root.set("aria-label", label)
    return ElementTree.tostring(root, encoding="unicode")


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _render(name: str, **values: object) -> str:
    return _environment().get_template(name).render(**values)
