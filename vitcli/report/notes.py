"""What a study's curves say beside the verdicts: where two cross, and what law each follows."""

from __future__ import annotations

import numpy as np

from vitcli.report import contrasts, fits
from vitcli.report.collect import Claim, Study
from vitcli.report.contrasts import Crossing, Series
from vitcli.report.effects import (
    Untestable,
    by_flops,
    labels,
    metrics_of,
    paper_series,
    row_series,
)
from vitcli.report.fits import Interval, Law


def laws(study: Study, metrics: tuple[str, ...] = ()) -> dict[str, Law]:
    """Returns the power law of each row that one can be fitted to, by the row's id.

    Args:
        metrics: their mean is fitted; () is the study's metric.
    """
    found = {}
    for row in study.rows:
        series = _whole(study, row.id, metrics or (study.metric,))
        law = None if series is None else fits.fit(series.x, series.y)
        if law is not None:
            found[row.id] = law
    return found


def notes(study: Study, claim: Claim) -> tuple[str, ...]:
    """Returns where the rows of a slope of two cross; of a slope at the end, each row's law."""
    metrics = metrics_of(study, claim)
    if claim.of == "slope" and all(len(pair) == 2 for pair in claim.pairs):
        found = [_crossing_note(study, claim, index) for index in range(len(claim.pairs))]
        return tuple(note for note in found if note)
    if claim.of == "end_slope":
        by_row, names = laws(study, metrics), {row.id: row.label for row in study.rows}
        rows = dict.fromkeys(row for pair in claim.pairs for row in pair)
        return tuple(describe(names[row], by_row[row]) for row in rows if row in by_row)
    return ()


def describe(label: str, law: Law) -> str:
    """Returns the law as a sentence: exponent, floor, and the extrapolated step."""
    text = f"{label}: error = {law.a:.3g} · x^−{law.b:.2f} + {law.c:.3f}"
    step = f"extrapolated one step, to x = {_x(law.next_x)}: {law.next_y:.3f}"
    if law.b_interval and law.c_interval and law.next_interval:
        b, c = _between(law.b_interval, ".2f"), _between(law.c_interval, ".3f")
        text += f" (95 % intervals: exponent {b}, floor {c})"
        step += f" ({_between(law.next_interval, '.3f')})"
    if law.floor is None:
        return f"{text}; {step}."
    better = "fits better than none" if law.floor > 0 else "is not needed"
    return f"{text}; {step}; a floor above 0 {better} (AICc {-law.floor:+.1f} with it)."


def _crossing_note(study: Study, claim: Claim, index: int) -> str | None:
    pair, metrics = claim.pairs[index], metrics_of(study, claim)
    rows = [_whole(study, row, metrics, pair) for row in pair]
    if rows[0] is None or rows[1] is None:
        return None
    gap = contrasts.gap(rows[0], rows[1], by_flops(study))
    if len(gap.x) < 2:
        return None
    first, second = labels(study, claim, pair)
    text = f"{first} − {second} {_crossing_words(gap, contrasts.crossing(gap), len(gap.y))}"
    if claim.paper is None:
        return f"{text}."
    one, other = paper_series(claim, index)
    paper = contrasts.gap(one, other, interpolate=True)
    return (
        f"{text}; the paper's own values: {_crossing_words(paper, contrasts.crossing(paper), 1)}."
    )


def _crossing_words(gap: Series, found: Crossing, n: int) -> str:
    low, high = float(gap.x[0]), float(gap.x[-1])
    if not 0 < found.at < np.inf:
        side = "above" if gap.y.mean(axis=0)[0] >= 0 else "below"
        text = f"has no crossing inside x = {_x(low)} to {_x(high)}: it is {side} 0 at both ends"
    else:
        text = f"crosses 0 at x = {_x(found.at)}"
    if found.interval is None:
        return text
    if found.interval in ((0.0, 0.0), (np.inf, np.inf)):
        return f"{text} (95 % interval: none inside either, {n} seeds)"
    start, end = found.interval
    lower = "below the range" if start == 0 else _x(start)
    upper = "above the range" if end == np.inf else _x(end)
    return f"{text} (95 % interval {lower} to {upper}, {n} seeds)"


def _whole(
    study: Study, row: str, metrics: tuple[str, ...], beside: tuple[str, ...] = ()
) -> Series | None:
    """Returns the row's series of the seeds that have all of its values, and of the rows beside."""
    try:
        series = row_series(study, row, metrics)
        complete = np.isfinite(series.y).all(axis=1)
        for other in beside:
            complete &= np.isfinite(row_series(study, other, metrics).y).all(axis=1)
    except Untestable:
        return None
    return Series(series.x, series.y[complete]) if complete.any() else None


def _between(interval: Interval, form: str) -> str:
    low, high = interval
    return f"{low:{form}} to {high:{form}}"


def _x(value: float) -> str:
    return f"{value:,.0f}" if 100 <= value < 1e7 else f"{value:.3g}"
