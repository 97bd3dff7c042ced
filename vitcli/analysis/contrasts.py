"""The kinds of contrast: one record says what a kind takes, computes, is called and needs.

A kind of your own is one more record in `CONTRASTS`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from vitcli.analysis import estimators
from vitcli.analysis.estimators import Estimator

_MOST_DOUBLINGS = 40.0
_NOTHING = 1e-9  # what sums of numbers near 1 are off by


@dataclass(frozen=True)
class Contrast:
    """A kind of contrast.

    Texts may name: {a} {b} {c} {d}, its arms; {all}, {minus}, {and}: all of them, joined so; {x},
    the x-axis; {size}; and by the effect's sign {side} (above, below), {more} (more, less),
    {rises} (rises, falls), {grows} (grows, shrinks), {dear} and {cheap} (b and a, or a and b).

    Attributes:
        estimate: of a pair's arms; raises Unformed if they have no such contrast.
        name: the contrast in short.
        says: its effect in a sentence; `alone`: of one arm, where it may have two.
        within: a sentence that it is no larger than some size; `level`: of one arm.
        takes: `cells` or `rows`; least and most: how many of them.
        over_x: whether its rows need an x-axis.
        end: of its rows, where alone they are compared: 0, the first x, or -1; None: elsewhere.
        whole: whether each x of its rows counts.
        needs: the claim's key of a second metric: `pick`, `against`, or none.
        factor: whether 2 to the power of the effect is what a person reads.
        digits: of the number.
        published: whether it can be taken of the paper's own points.
    """

    estimate: Estimator
    name: str
    says: str
    within: str
    alone: str = ""
    level: str = ""
    takes: str = "rows"
    least: int = 2
    most: int | None = 2
    over_x: bool = True
    end: int | None = None
    whole: bool = False
    needs: str | None = None
    factor: bool = False
    digits: int = 3
    published: bool = True

    def number(self, effect: float) -> str:
        """Returns the effect as a person reads it: `+0.367`, `×10.9`, `×1/10.9`."""
        if self.factor:
            return f"×{2.0**effect:.3g}" if effect >= 0 else f"×1/{2.0**-effect:.3g}"
        return self._rounded(effect, "+")

    def size(self, effect: float) -> str:
        """Returns the effect's size without its sign: `0.367`, `0.0120`, `10.9`."""
        return f"{2.0 ** abs(effect):.3g}" if self.factor else self._rounded(abs(effect), "")

    def _rounded(self, value: float, sign: str) -> str:
        """Returns the value with the kind's digits, or up to its first if they would all be 0."""
        digits, shown = self.digits, round(value, self.digits) + 0.0  # no -0.000
        if not shown and abs(value) > _NOTHING:
            digits, shown = math.ceil(-math.log10(abs(value))), value
        return f"{shown:{sign}.{digits}f}"

    def between(self, low: float, high: float) -> str:
        """Returns an interval: `+0.251 to +0.483`; one without an end is `above` or `below`."""
        if self.factor:  # ends beyond any factor that could be meant
            low, high = (
                end if abs(end) <= _MOST_DOUBLINGS else math.copysign(math.inf, end)
                for end in (low, high)
            )
        if math.isinf(low) and math.isinf(high):
            return "unbounded"
        if math.isinf(high):
            return f"above {self.number(low)}"
        if math.isinf(low):
            return f"below {self.number(high)}"
        return f"{self.number(low)} to {self.number(high)}"

    def text(self, template: str, arms: Sequence[str], x: str, size: str, above: bool) -> str:
        """Returns one of the record's texts, of arms with these names."""
        named = {key: arm or "" for key, arm in zip_longest("abcd", arms[:4])}
        by_sign = {"side": "above below", "more": "more less", "rises": "rises falls"}
        by_sign["grows"] = "grows shrinks"
        words = {key: of.split()[not above] for key, of in by_sign.items()}
        dear, cheap = (named["b"], named["a"]) if above else (named["a"], named["b"])
        joined = {"all": ", ".join(arms), "minus": " − ".join(arms), "and": " and ".join(arms)}
        of_one = {self.says: self.alone, self.within: self.level} if len(arms) == 1 else {}
        chosen = of_one.get(template) or template
        return chosen.format(x=x, size=size, dear=dear, cheap=cheap, **named, **words, **joined)


_SLOPE = "{a} rises by {size} {more} than {b} with each doubling of the {x}"
_ALONE = "{a} {rises} by {size} with each doubling of the {x}"
_LEVEL = "{a} rises or falls by at most {size} with each doubling of the {x}"
_SAME = "{and} rise equally, to within {size}, with each doubling of the {x}"
_END = "at the end of the range, "
_DIFFER = "{a} and {b} differ by at most {size}"
_ABOVE = "{a} is {size} {side} {b}"

CONTRASTS: dict[str, Contrast] = {
    "difference": Contrast(
        estimators.linear(1, -1), "{a} − {b}", _ABOVE, _DIFFER, takes="cells", over_x=False
    ),
    "interaction": Contrast(
        estimators.linear(1, -1, -1, 1),
        "({a} − {b}) − ({c} − {d})",
        "{a} − {b} is {size} {more} than {c} − {d}",
        "{a} − {b} and {c} − {d} differ by at most {size}",
        takes="cells",
        least=4,
        most=4,
        over_x=False,
    ),
    "slope": Contrast(
        estimators.of_series(estimators.slope),
        "slope of {minus}",
        _SLOPE,
        _SAME,
        _ALONE,
        _LEVEL,
        least=1,
        whole=True,
        digits=4,
    ),
    "end_slope": Contrast(
        estimators.of_series(estimators.end_slope),
        "last slope of {minus}",
        _END + _SLOPE,
        _END + _SAME,
        _END + _ALONE,
        _END + _LEVEL,
        least=1,
        digits=4,
    ),
    "low_end": Contrast(
        estimators.of_series(estimators.end(0)),
        "{a} − {b} at the smallest {x}",
        f"at the smallest {{x}} that both have, {_ABOVE}",
        f"at the smallest {{x}} that both have, {_DIFFER}",
        end=0,
    ),
    "high_end": Contrast(
        estimators.of_series(estimators.end(-1)),
        "{a} − {b} at the largest {x}",
        f"at the largest {{x}} that both have, {_ABOVE}",
        f"at the largest {{x}} that both have, {_DIFFER}",
        end=-1,
    ),
    "log_ratio": Contrast(
        estimators.log_ratio,
        "{x} of {b} over those of {a} at equal values",
        "for equal values {dear} needs {size} times the {x} of {cheap}",
        "for equal values {a} and {b} need {x} within a factor of {size}",
        factor=True,
    ),
    "best": Contrast(
        estimators.best,
        "best of {a} − best of {b}",
        f"each at its best, {_ABOVE}",
        f"each at its best, {_DIFFER}",
        over_x=False,
        needs="pick",
        published=False,
    ),
    "spread": Contrast(
        estimators.of_series(estimators.spread, lost=2),  # 93 % covered with n - 1 degrees
        "growth of the variance between {all}",
        "the variance between {all} {grows} by {size} with each doubling of the {x}",
        "the variance between {all} changes by at most {size} with each doubling of the {x}",
        most=None,
        whole=True,
        digits=5,
        published=False,
    ),
    "tau": Contrast(
        estimators.tau,
        "Kendall's tau over {all}",
        "Kendall's tau over {all} is {size} {side} 0",
        "Kendall's tau over {all} is at most {size} from 0",
        least=1,
        most=None,
        over_x=False,
        needs="against",
        published=False,
    ),
}
