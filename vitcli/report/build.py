"""Writes a study's report from its runs' files, and the index of all studies; always anew."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from markupsafe import Markup

from vitcli.analysis.intervals import Estimate
from vitcli.analysis.load import load
from vitcli.analysis.results import Results
from vitcli.analysis.rows import to_csv
from vitcli.analysis.verdict import Verdict
from vitcli.analysis.verdicts import judge
from vitcli.files import write_bytes, write_record, write_text
from vitcli.output import console, plain
from vitcli.report import bars, curves, forest, losses, style
from vitcli.report.content import NO_CLAIM, VerdictLine, about, content
from vitcli.report.render import inline, render
from vitcli.report.tables import table, terminal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {
    "reproduced": "green", "contradicted": "red", "negligible": "magenta", "undecided": "yellow",
    "not judged": "dim",
}  # fmt: skip
_FORMATS = {"main": ("svg", "png", "pdf"), "forest": ("svg",), "losses": ("svg",)}
_REFRESH = Markup('<meta http-equiv="refresh" content="10">')
_LIVE, _STOPPED = "This page reloads every ten seconds.", "The study is no longer running."


@dataclass(frozen=True)
class Figures:
    """The figures of a page: by stem their SVG, their captions, and how many runs they are of."""

    svgs: dict[str, Markup]
    captions: dict[str, str]
    finished: int


@dataclass(frozen=True)
class Listed:
    """A study in the index; of one whose plan cannot be read, its `problem`."""

    folder: str  # name
    title: str = ""
    about: str = ""
    verdicts: list[VerdictLine] = field(default_factory=list)
    problem: str = ""


def write_report(study_dir: Path, runs_dir: Path) -> Path:
    """Writes `report/` into the study's folder from what its runs have found; returns the folder.

    Raises:
        FileNotFoundError: there is no plan.json.
        ValueError: plan.json does not describe a study; names the file and the key.
    """
    results = load(study_dir, runs_dir)
    _write(results, judge(results), study_dir / "report", runs_dir)
    return study_dir


def write_live(
    results: Results, study_dir: Path, runs_dir: Path, drawn: Figures | None, draw: bool
) -> Figures | None:
    """Writes report.html alone, of a study that still runs; returns the figures in it.

    Args:
        drawn: the figures of an earlier call, shown where there are to be no new ones.
        draw: make new ones: a second of work, all else takes 0.02 to 0.4 s.
    """
    verdicts = judge(results)
    if draw:
        captions, kinds = _draw(results, verdicts, runs_dir, dict.fromkeys(_FORMATS, ("svg",)))
        drawn = Figures(_inlined(captions, kinds), captions, results.finished)
    of = f" Its figures are of the first {drawn.finished}." if drawn else " Its figures follow."
    said = (
        f"This study is running: {results.finished} of {len(results.runs)} runs have a result."
        f"{'' if drawn and drawn.finished == results.finished else of} "
        f"Written at {time.strftime('%H:%M:%S')}. {_LIVE}"
    )
    figures = drawn or Figures({}, {}, 0)
    _write_page(results, verdicts, study_dir / "report", figures, said)
    return drawn


def end_live(study_dir: Path) -> None:
    """Has a page of `write_live` load itself anew no more: nobody writes it again."""
    path = study_dir / "report" / "report.html"
    if path.exists() and _REFRESH in (text := path.read_text("utf-8")):
        write_text(path, text.replace(_REFRESH, "", 1).replace(_LIVE, _STOPPED, 1))


def write_index(outputs: Path) -> list[Listed]:
    """Writes every study's report, then `studies/index.html`; returns its list.

    Raises:
        ValueError: nothing is planned in `outputs`.
    """
    listed, runs_dir = [], outputs / "runs"
    for plan in sorted((outputs / "studies").glob("*/plan.json")):
        folder = plan.parent
        try:
            results = load(folder, runs_dir)
            printed = _write(results, judge(results), folder / "report", runs_dir)
        except ValueError as error:
            problem = str(error).replace(f"{folder}/", "")
            listed.append(Listed(folder.name, problem=problem))
            continue
        listed.append(Listed(folder.name, results.study.title, about(results), printed))
    if not listed:
        raise ValueError(f"nothing is planned in {outputs / 'studies'}")
    page = render("index.html", listed=listed, none=NO_CLAIM)
    write_text(outputs / "studies" / "index.html", page)
    return listed


def show(study_dir: Path) -> None:
    """Prints the table, the verdicts and where the report is; the runs lie in `../../runs`."""
    from rich.padding import Padding
    from rich.text import Text

    results, out = load(study_dir, study_dir.parent.parent / "runs"), console()
    out.print(terminal(table(results, results.study.metric), results.study.title), "")
    for verdict in judge(results):
        word = (f"{verdict.word}: ", f"bold {_COLOURS[verdict.word]}")
        out.print(Text.assemble(word, verdict.claim.statement))
        said = " ".join([verdict.reason, *verdict.notes])
        out.print(Padding(Text(said, "dim"), (0, 0, 1, 2)))
    out.print(Text(str(study_dir / "report" / "report.html")), soft_wrap=True)


def show_index(listed: list[Listed], outputs: Path) -> None:
    """Prints every study's claims with their verdicts, and where the index is."""
    from rich.text import Text

    out = console()
    for one in listed:
        out.print(Text(one.folder, "bold"))
        if not one.verdicts:
            out.print(Text(f"  {one.problem or NO_CLAIM}"))
        for line in one.verdicts:
            word = (f"  {line.word}: ", _COLOURS[line.word])
            out.print(Text.assemble(word, line.statement, (f" {line.sentence}", "dim")))
    out.print(Text(str(outputs / "studies" / "index.html")), soft_wrap=True)


def main_figure(results: Results) -> Figure:
    """Returns the study's metric as curves over its x-axis, or as bars."""
    drawn: Figure = (curves if results.study.x else bars).draw(results)
    return drawn


def _write(
    results: Results, verdicts: list[Verdict], out: Path, runs_dir: Path
) -> list[VerdictLine]:
    """Writes the report into `out`; returns the verdicts in print."""
    captions, drawn = _draw(results, verdicts, runs_dir, _FORMATS)
    for stem, kinds in drawn.items():
        for kind, data in kinds.items():
            write_bytes(out / "figures" / f"{stem}.{kind}", data)
    svgs = _inlined(captions, drawn)
    page = _write_page(results, verdicts, out, Figures(svgs, captions, results.finished))
    write_text(out / "report.md", re.sub(r"\n{3,}", "\n\n", render("report.md", page=page)))
    write_text(out / "table.tex", render("table.tex", page=page))
    write_text(out / "runs.csv", to_csv(results))
    write_record(out / "claims.json", _claims_json(results, verdicts))
    printed: list[VerdictLine] = page["verdicts"]
    return printed


def _write_page(
    results: Results,
    verdicts: list[Verdict],
    out: Path,
    figures: Figures,
    running: str = "",
) -> dict[str, Any]:
    """Writes report.html, of a study that runs with a line on that; returns its content."""
    page = content(results, verdicts, figures.captions)
    refresh = _REFRESH if running else ""
    html = render("report.html", page=page, svgs=figures.svgs, running=running, refresh=refresh)
    write_text(out / "report.html", html)
    return page


def _draw(
    results: Results, verdicts: list[Verdict], runs_dir: Path, formats: Mapping[str, Sequence[str]]
) -> tuple[dict[str, str], dict[str, dict[str, bytes]]]:
    """Returns the figures' captions by stem, and the figures by stem and format."""
    study, logs = results.study, losses.read(results, runs_dir)
    rows = ", ".join(row.label for row in study.rows.values())
    over = study.x.label if study.x else ", ".join(c.label for c in study.columns.values())
    label = study.of_metric(study.metric).label
    captions = {"main": f"{label[:1].upper()}{label[1:]} of {rows}, over {over}"}
    draws: dict[str, Callable[[], Figure]] = {
        "main": lambda: main_figure(results),
        "forest": lambda: forest.draw(sized),
        "losses": lambda: losses.draw(results, logs),
    }
    if sized := [verdict for verdict in verdicts if verdict.size]:
        captions["forest"] = "Effects of all claims, divided by their thresholds"
    if logs:
        captions["losses"] = f"Training losses of all runs of {rows}"
    return captions, {stem: style.save(draws[stem], formats[stem]) for stem in captions}


def _inlined(captions: dict[str, str], drawn: dict[str, dict[str, bytes]]) -> dict[str, Markup]:
    return {stem: inline(drawn[stem]["svg"], f"{stem}-", text) for stem, text in captions.items()}


def _numbers(estimate: Estimate | None) -> list[float]:
    """Returns the effect of each seed; none where it is only known to be beyond a limit."""
    return [] if estimate is None or estimate.limit is not None else estimate.numbers.tolist()


def _decisive(verdict: Verdict) -> int:
    """Returns the index of the pair that decides."""
    return next(i for i, pair in enumerate(verdict.pairs) if pair is verdict.decisive)


def _claims_json(results: Results, verdicts: list[Verdict]) -> dict[str, Any]:
    """Returns the verdicts as JSON values; an interval without an end has null there."""
    study, claims = results.study, []
    for verdict in verdicts:
        pairs = [
            {
                **{key: value for key, value in vars(pair).items() if key != "estimate"},
                "effect": pair.effect,
                "numbers": _numbers(pair.estimate),
            }
            for pair in verdict.pairs
        ]
        facts = dict(vars(verdict)) | {"claim": asdict(verdict.claim), "pairs": pairs}
        facts |= {"p_for": verdict.p_for, "p_against": verdict.p_against}
        facts |= {"verdict": facts.pop("word"), "decisive": _decisive(verdict)}
        claims.append({"id": verdict.claim.id, **facts})
    found = {"study": study.name, "scale": study.scale, "metric": study.metric, "claims": claims}
    return cast(dict[str, Any], plain(found))
