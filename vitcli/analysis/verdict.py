"""What the runs say of one claim, as a record: its pairs, their intervals, the word."""

from __future__ import annotations

from dataclasses import dataclass

from vitcli.analysis.intervals import Estimate, Interval
from vitcli.schema import Claim

WORDS = ("reproduced", "contradicted", "negligible", "undecided", "not judged")


@dataclass(frozen=True)
class Pair:
    """A contrast of a claim's cells or rows, in units of the metric, or those per doubling of x.

    Attributes:
        arms: their labels.
        n: seeds that have all of its values; seeds: which ones.
        interval: at the level of its claim; `wide`: at that of what speaks against the claim.
        p_for, p_against: adjusted, below 0.05 exactly where the interval lies for or against.
        paper: the same contrast of the paper's numbers.
        problem: why it is not judged.
        blocked: seeds that failed in the cells it is of, in words.
    """

    name: str
    arms: tuple[str, ...]
    n: int = 0
    seeds: tuple[str, ...] = ()
    estimate: Estimate | None = None
    interval: Interval | None = None
    wide: Interval | None = None
    p_for: float = 1.0
    p_against: float = 1.0
    paper: float | None = None
    problem: str | None = None
    blocked: str = ""

    @property
    def effect(self) -> float | None:
        """Returns the mean over the seeds, None if there is none."""
        return None if self.estimate is None else self.estimate.effect


@dataclass(frozen=True)
class Verdict:
    """What the runs say of one claim.

    Attributes:
        word: one of `WORDS`.
        size: the threshold, in units of the contrast.
        level: of the intervals.
        tested: the sentence that was tested, to be read beside the claim's own statement.
        reason: why this word, in a sentence or two.
        decisive: the pair that it hangs on.
        touched: seeds that failed in the claim's cells, in words.
        nulls: what its metric is worth without training, in words.
        notes: what is known beside: where curves cross, how far apart rows are, what still moved.
    """

    claim: Claim
    word: str
    size: float
    level: float
    tested: str
    reason: str
    decisive: Pair
    pairs: tuple[Pair, ...]
    touched: str = ""
    nulls: str = ""
    notes: tuple[str, ...] = ()

    @property
    def p_for(self) -> float:
        """Returns the claim's adjusted p: the largest of its pairs."""
        return max(pair.p_for for pair in self.pairs)

    @property
    def p_against(self) -> float:
        """Returns the adjusted p against the claim: the smallest of its pairs."""
        return min(pair.p_against for pair in self.pairs)

    @property
    def speaks_against(self) -> bool:
        """Returns whether what is said is how far the runs speak against the claim, not for it."""
        interval = self.decisive.interval
        below = (
            self.claim.at_least is not None and interval is not None and interval[1] <= self.size
        )
        return self.word in ("contradicted", "negligible") or (self.word == "undecided" and below)

    @property
    def shown_level(self) -> float:
        """Returns the level of the intervals that are shown: of what is said of the claim."""
        many = len(self.pairs) if self.speaks_against else 1
        return 1 - (1 - self.level) / many

    def shown(self, pair: Pair) -> Interval | None:
        """Returns the interval of a pair at that level."""
        return pair.wide if self.speaks_against else pair.interval

    @property
    def blocked(self) -> bool:
        """Returns whether it would be reproduced, but for seeds that failed."""
        found = self.decisive.interval
        return self.word == "undecided" and (
            found is not None and lies(self.claim, found, self.size) == "reproduced"
        )


def lies(claim: Claim, interval: Interval | None, size: float) -> str:
    """Returns the word for where an interval lies, against plus and minus the size."""
    assert interval is not None
    low, high = interval
    if claim.within is not None:
        if low > -size and high < size:
            return "reproduced"
        return "contradicted" if low > size or high < -size else "undecided"
    if low > -size and high < size:
        return "negligible"
    return "reproduced" if low > size else "contradicted" if high < -size else "undecided"
