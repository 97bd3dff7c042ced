"""What all figures share: colours, sizes, and the same bytes for the same study."""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito 2008: told apart with any colour vision. The darkest first: lines are thin.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
GREY, INK, FAINT, RULE, PAGE = "#A3A3A3", "#222222", "#6B6B6B", "#E4E4E4", "#FFFFFF"
KINDS = ("png", "svg", "pdf")
OTHER_DATA = "other data: compare patterns, not lengths"
_DPI = 160
_STYLE: Any = {
    "font.family": "DejaVu Sans",  # shipped with matplotlib, so it looks alike everywhere
    "font.size": 9,
    "text.parse_math": False,  # a $ in a label is a $
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "svg.hashsalt": "vitcli",
}
_UNDATED = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}


def save(draw: Callable[[], Figure], kind: str) -> bytes:
    """Returns what `draw` draws as `png`, `svg` or `pdf`, with no date in it."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    out = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure = draw()
        FigureCanvasAgg(figure)
        figure.savefig(out, format=kind, dpi=_DPI, metadata=_UNDATED[kind])
    return out.getvalue()


def wrapped(text: str, inches: float) -> str:
    """Returns `text` in lines that fit `inches` at 9 points."""
    return "\n".join(textwrap.wrap(text, int(inches * 13)))


def short(label: str, characters: int = 40) -> str:
    """Returns a label of at most so many characters."""
    return textwrap.shorten(label, characters, placeholder="…")


def width_of(labels: list[str]) -> float:
    """Returns the inches that the longest of these labels takes at 9 points, at most."""
    return 0.075 * max((len(label) for label in labels), default=0)


def bare(ax: Axes, title: str, note: str, below: float) -> None:
    """Gives a panel its title and a note `below` it, in points; takes the frame's top and right."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)
    ax.set_title(title, loc="left", fontsize=9)
    ax.annotate(
        note,
        (0, 0),
        (0, -below),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=8,
        color=FAINT,
        va="top",
    )
