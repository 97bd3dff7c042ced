"""Writes a study's report from its runs' files, and the index of all studies; always anew."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitcli.analysis.results import Results, load
from vitcli.analysis.rows import to_csv
from vitcli.analysis.verdicts import Verdict, judge
from vitcli.files import write_bytes, write_record, write_text
from vitcli.report import bars, curves, forest, losses, style
from vitcli.report.content import NO_CLAIM, VerdictLine, about, content, lines
from vitcli.report.render import inline, render
from vitcli.report.tables import table, terminal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {
    "reproduced": "green", "contradicted": "red", "negligible": "magenta", "undecided": "yellow",
    "not judged": "dim",
}  # fmt: skip
_FORMATS = {"main": ("svg", "png", "pdf"), "forest": ("svg",), "losses": ("svg",)}


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
        except ValueError as error:
            problem = str(error).replace(f"{folder}/", "")
            listed.append(Listed(folder.name, problem=problem))
            continue
        verdicts = judge(results)
        _write(results, verdicts, folder / "report", runs_dir)
        printed = lines(results, verdicts)
        listed.append(Listed(folder.name, results.study.title, about(results), printed))
    if not listed:
        raise ValueError(f"nothing is planned in {outputs / 'studies'}")
    page = render("index.html", listed=listed, none=NO_CLAIM)
    write_text(outputs / "studies" / "index.html", page)
    return listed


def show(study_dir: Path) -> None:
    """Prints the table, the verdicts and where the report is; the runs lie in `../../runs`."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    results, console = load(study_dir, study_dir.parent.parent / "runs"), Console()
    console.print(terminal(table(results, results.study.metric), results.study.title), "")
    for verdict in judge(results):
        word = (f"{verdict.word}: ", f"bold {_COLOURS[verdict.word]}")
        console.print(Text.assemble(word, verdict.claim.statement))
        said = " ".join([verdict.reason, *verdict.notes])
        console.print(Padding(Text(said, "dim"), (0, 0, 1, 2)))
    console.print(Text(str(study_dir / "report" / "report.html")), soft_wrap=True)


def show_index(listed: list[Listed], outputs: Path) -> None:
    """Prints every study's claims with their verdicts, and where the index is."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for one in listed:
        console.print(Text(one.folder, "bold"))
        if not one.verdicts:
            console.print(Text(f"  {one.problem or NO_CLAIM}"))
        for line in one.verdicts:
            word = (f"  {line.word}: ", _COLOURS[line.word])
            console.print(Text.assemble(word, line.statement, (f" {line.sentence}", "dim")))
    console.print(Text(str(outputs / "studies" / "index.html")), soft_wrap=True)


def _write(results: Results, verdicts: list[Verdict], out: Path, runs_dir: Path) -> None:
    study, logs = results.study, losses.read(results, runs_dir)
    rows = ", ".join(row.label for row in study.rows.values())
    over = study.x.label if study.x else ", ".join(c.label for c in study.columns.values())
    label = study.of_metric(study.metric).label
    figures = {"main": f"{label[:1].upper()}{label[1:]} of {rows}, over {over}"}
    draws: dict[str, Callable[[], Figure]] = {
        "main": lambda: (curves if study.x else bars).draw(results),
        "forest": lambda: forest.draw(sized),
        "losses": lambda: losses.draw(results, logs),
    }
    if sized := [verdict for verdict in verdicts if verdict.size]:
        figures["forest"] = "Effects of all claims against the sizes that matter"
    if logs:
        figures["losses"] = f"Training losses of all runs of {rows}"
    svgs = {}
    for stem, caption in figures.items():
        drawn = style.save(draws[stem], _FORMATS[stem])
        for kind, data in drawn.items():
            write_bytes(out / "figures" / f"{stem}.{kind}", data)
        svgs[stem] = inline(drawn["svg"], f"{stem}-", caption)
    page = content(results, verdicts, figures)
    write_text(out / "report.html", render("report.html", page=page, svgs=svgs))
    write_text(out / "report.md", re.sub(r"\n{3,}", "\n\n", render("report.md", page=page)))
    write_text(out / "table.tex", render("table.tex", page=page))
    write_text(out / "runs.csv", to_csv(results))
    write_record(out / "claims.json", _claims_json(results, verdicts))


def _claims_json(results: Results, verdicts: list[Verdict]) -> dict[str, Any]:
    """Returns the verdicts as JSON values; an interval without an end has null there."""
    study, claims = results.study, []
    for verdict in verdicts:
        pairs = [
            {
                **{key: _plain(value) for key, value in vars(pair).items() if key != "estimate"},
                "effect": _plain(pair.effect),
                "numbers": [] if pair.estimate is None else pair.estimate.numbers.tolist(),
            }
            for pair in verdict.pairs
        ]
        facts = dict(vars(verdict)) | {"claim": asdict(verdict.claim), "pairs": pairs}
        facts |= {"p_for": verdict.p_for, "p_against": verdict.p_against}
        facts |= {"verdict": facts.pop("word"), "decisive": verdict.pairs.index(verdict.decisive)}
        claims.append({"id": verdict.claim.id, **facts})
    return {"study": study.name, "scale": study.scale, "metric": study.metric, "claims": claims}


def _plain(value: Any) -> Any:
    """Returns a value without what JSON has not: infinities are null."""
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and math.isinf(value) else value
