"""The training losses of all of a study's runs in one small figure: who learned, who did not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vitcli.analysis.results import Results
from vitcli.records import read_losses
from vitcli.report.style import COLOURS, RULE, note, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of each row, a run's points: share of its training, loss.
Losses = dict[str, list[list[tuple[float, float]]]]


def read(results: Results, runs_dir: Path) -> Losses:
    """Returns the logged losses of the cells' runs by row; a run without a log is left out."""
    found: Losses = {}
    for row in results.study.rows:
        ids = dict.fromkeys(run for cell in results.row(row) for run in cell.runs.values())
        logs = [log for run in ids if (log := _shares(results, run, runs_dir))]
        if logs:
            found[row] = logs
    return found


def _shares(results: Results, run: str, runs_dir: Path) -> list[tuple[float, float]]:
    """Returns a run's points over the share of its training; one without a result ends before 1."""
    log = read_losses(run, runs_dir)
    steps = results.runs[run].status.get("num_steps")
    if results.runs[run].state == "done" or not isinstance(steps, int) or steps < 1:
        steps = max((step for step, _ in log), default=0) or 1
    return [(step / steps, loss) for step, loss in log]


def draw(results: Results, losses: Losses) -> Figure:
    """Returns the figure; training is from 0 to 1, so that runs of all lengths share an axis."""
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 2.8))
    ax = figure.subplots()
    rows = list(results.study.rows)
    for row, logs in losses.items():
        colour = COLOURS[rows.index(row) % len(COLOURS)]
        ax.add_collection(LineCollection(logs, colors=colour, linewidths=0.7, alpha=0.55))
        ax.plot([], [], color=colour, label=short(results.study.rows[row].label, 28))
    ax.autoscale_view()
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    ax.grid(axis="y", color=RULE, linewidth=0.6)
    ax.set_ylabel("training loss (nats)")
    ax.set_xlabel("share of the training")
    note(ax, "a line a run, coloured by row")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure
