"""The training losses of all of a study's runs in one small figure: who learned, who did not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vitcli.analysis.results import Results
from vitcli.records import read_losses
from vitcli.report.style import COLOURS, RULE, note, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Losses = dict[str, list[list[tuple[int, float]]]]  # of each row, a run's points


def read(results: Results, runs_dir: Path) -> Losses:
    """Returns the logged losses of the cells' runs by row; a run without a log is left out."""
    found: Losses = {}
    for row in results.study.rows:
        ids = dict.fromkeys(run for cell in results.row(row) for run in cell.runs.values())
        logs = [log for run in ids if (log := read_losses(run, runs_dir))]
        if logs:
            found[row] = logs
    return found


def draw(results: Results, losses: Losses) -> Figure:
    """Returns the figure; training is from 0 to 1, so that runs of all lengths share an axis."""
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 2.8))
    ax = figure.subplots()
    rows = list(results.study.rows)
    for row, logs in losses.items():
        colour = COLOURS[rows.index(row) % len(COLOURS)]
        lines = [[(step / log[-1][0], loss) for step, loss in log] for log in logs]
        ax.add_collection(LineCollection(lines, colors=colour, linewidths=0.7, alpha=0.55))
        ax.plot([], [], color=colour, label=short(results.study.rows[row].label, 28))
    ax.autoscale_view()
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    ax.grid(axis="y", color=RULE, linewidth=0.6)
    ax.set_ylabel("training loss (nats)")
    ax.set_xlabel("share of the training")
    note(ax, "a line a run, coloured by row")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure
