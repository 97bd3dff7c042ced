"""Lays the report's content out by templates: html, markdown and LaTeX, each escaped its own way.

The figures in html are matplotlib's SVG, taken apart as XML and put back without what a page cannot
have twice (ids) or at all (a document's head), their ink in the page's colours.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vitcli.report import style

# The figures' colours that follow the page into the dark; see templates/style.css.
_THEMED = {
    style.INK: "var(--ink)",
    style.FAINT: "var(--faint)",
    style.GREY: "var(--grey)",
    style.RULE: "var(--rule)",
    style.PAGE: "var(--page)",
    **{colour: f"var(--{word})" for word, colour in style.OF_WORD.items() if " " not in word},
}


def render(template: str, **values: object) -> str:
    """Returns a template's text; its last suffix says how what is put in is escaped."""
    return _environment(template.rsplit(".", 1)[1]).get_template(template).render(**values)


def escape_markdown(text: str) -> str:
    """Returns `text` on one line, with what markdown (or its html) would read as markup escaped."""
    escaped = re.sub(r"([\\`*_\[\]<>|~$&])", r"\\\1", " ".join(text.split()))
    return re.sub(r"^(\d{0,9})([#+.)-])(?=[#-]*( |$))", r"\1\\\2", escaped)  # # 1. - ---


def escape_latex(text: str) -> str:
    """Returns `text` on one line, with what LaTeX would read as markup escaped."""
    special = {c: rf"\{c}" for c in "&%$#_{}"}
    special |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    special |= {"±": r"$\pm$", "−": r"$-$", "×": r"$\times$", "[": "{[}", "]": "{]}"}
    return "".join(special.get(c, c) for c in " ".join(text.split()))


def inline(svg: bytes, prefix: str, label: str) -> Markup:
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
    return Markup(ElementTree.tostring(root, encoding="unicode"))


@cache
def _environment(kind: str) -> Environment:
    escape = {"md": escape_markdown, "tex": escape_latex}.get(kind)

    def escaped(value: object) -> object:
        return value if escape is None or isinstance(value, Markup) else escape(str(value))

    latex = kind == "tex"  # which has braces and percent signs of its own
    return Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=kind == "html",
        finalize=escaped if escape else None,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        variable_start_string="<<" if latex else "{{",
        variable_end_string=">>" if latex else "}}",
        block_start_string="<%" if latex else "{%",
        block_end_string="%>" if latex else "%}",
    )
