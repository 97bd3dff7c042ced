"""The study's figure: bars laid out as the paper's table, or curves over a log x-axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vitcli.report import bars, curves, style
from vitcli.report.collect import Study


def render(
    study: Study, kind: str, fits: Mapping[str, Callable[[float], float]] | None = None
) -> bytes:
    """Returns the figure as `png`, `svg` or `pdf`: the same bytes for the same study.

    Args:
        fits: of a curve, by row: the metric as a function of x, drawn one step beyond the last x.
    """
    if study.figure == "bars":
        return style.save(lambda: bars.draw(study), kind)
    return style.save(lambda: curves.draw(study, fits or {}), kind)


def describe(study: Study) -> str:
    """Returns what the figure shows, for who cannot see it."""
    rows = ", ".join(row.label for row in study.rows)
    if study.figure == "bars":
        columns = ", ".join(column.label for column in study.columns)
        return f"Bars of {study.metric_label}, by column ({columns}) and row ({rows})."
    assert study.axis is not None
    return f"Curves of {study.metric_label} against {study.axis.label}, one for each of {rows}."
