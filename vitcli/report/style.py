"""What all figures share: colours, words cut to size, and the same bytes for the same study."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vitcli.schema import Paper

# Okabe & Ito 2008: told apart with any colour vision. The darkest first: lines are thin.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY, INK, FAINT, RULE, PAGE = "#A3A3A3", "#222222", "#6B6B6B", "#E4E4E4", "#FFFFFF"
OF_WORD = {
    "reproduced": "#1B6E3C", "contradicted": "#B3261E", "negligible": "#5B4B8A",
    "undecided": "#7A5600", "not judged": FAINT,
}  # fmt: skip
_DPI = 120
_STYLE: Any = {
    "font.family": "DejaVu Sans",  # shipped with matplotlib, so it looks alike everywhere
    "font.size": 9,
    "text.parse_math": False,  # a $ in a label is a $
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "vitcli",
}
_UNDATED = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}


def save(draw: Callable[[], Figure], kinds: Sequence[str]) -> dict[str, bytes]:
    """Returns what `draw` draws, by kind: `png`, `svg`, `pdf`, with no date in it."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    found = {}
    with mpl.rc_context(_STYLE):
        figure = draw()
        FigureCanvasAgg(figure)
        for kind in kinds:
            out = io.BytesIO()
            figure.savefig(out, format=kind, dpi=_DPI, metadata=_UNDATED[kind])
            found[kind] = out.getvalue()
            figure.set_layout_engine("none")  # laid out by now
    return found


def wrapped(text: str, characters: int) -> str:
    """Returns `text` in lines of at most so many characters."""
    return "\n".join(textwrap.wrap(text, characters))


def short(label: str, characters: int = 40) -> str:
    """Returns a label of at most so many characters."""
    text = " ".join(label.split())
    return text if len(text) <= characters else text[: characters - 1].rstrip() + "…"


def of_paper(ax: Axes, paper: Paper, characters: int) -> None:
    """Says of a panel that it is the paper's, and of other data than ours."""
    ax.set_title(wrapped(f"The paper, {paper.where}, n = {paper.n}: {paper.metric}", characters))
    note(ax, "other data: compare the pattern, not the values")


def note(ax: Axes, text: str) -> None:
    """Writes what is drawn below a panel, the labels of its ticks and its x-label, small."""
    lines = max((t.get_text().count("\n") for t in ax.get_xticklabels()), default=0)
    below = (38 if ax.get_xlabel() else 22) + 11 * lines  # points
    ax.annotate(
        text,
        (0, 0),
        (0, -below),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=8,
        color=FAINT,
        va="top",
    )
