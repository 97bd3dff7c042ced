"""What a notebook shows of a study: its figure and its verdicts."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from typing import Any

from vitcli.analysis.results import Results
from vitcli.analysis.rows import rows
from vitcli.analysis.verdicts import judge
from vitcli.report import style
from vitcli.report.build import main_figure
from vitcli.report.content import lines


class Runs(list[dict[str, Any]]):
    """A study's runs so far, a dict each; a notebook shows the figure of the report for it."""

    def __init__(self, results: Results) -> None:
        super().__init__(rows(results))
        self._results = results

    def _repr_html_(self) -> str:
        """Returns the study's figure and a line for each claim, as Jupyter asks for it."""
        results = self._results
        drawn = style.save(lambda: main_figure(results), ("svg",))
        said = [
            f"<li><b>{escape(line.word)}</b>: {escape(line.statement)} {escape(line.sentence)}</li>"
            for line in lines(results, judge(results))
        ]
        title = escape(results.study.title)
        source = f"data:image/svg+xml;base64,{b64encode(drawn['svg']).decode()}"
        figure = f'<img alt="{title}" src="{source}">'
        return f"<div><p>{title}</p>{figure}<ul>{''.join(said)}</ul></div>"
