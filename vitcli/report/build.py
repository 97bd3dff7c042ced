"""Writes a study's report from its runs' files, and the index of all studies."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vitcli.files import write_bytes, write_json, write_text
from vitcli.report import figures, markdown, page, parts, style, tables
from vitcli.report.claims import Verdict, judge
from vitcli.report.collect import Study, load
from vitcli.report.fits import Law
from vitcli.report.notes import laws

_COLOURS = {"reproduced": "green", "contradicted": "red", "undecided": "yellow"}


def write_report(study_dir: Path, runs_dir: Path) -> Path:
    """Writes `report/` into the study's folder from what its runs have found; returns report.html.

    Raises:
        FileNotFoundError: there is no plan.json.
        ValueError: plan.json does not describe a study; names the file and the key.
    """
    study = load(study_dir, runs_dir)
    # Looked at before the files are read: what changes meanwhile makes the report old.
    seen = _newest_input(study, study_dir, runs_dir)
    study = load(study_dir, runs_dir)
    verdicts, out = judge(study), study_dir / "report"
    for stem, one in _tables(study).items():
        write_text(out / f"{stem}.md", tables.markdown(one))
        write_text(out / f"{stem}.csv", tables.to_csv(one))
        write_text(out / f"{stem}.tex", tables.latex(one))
    write_json(out / "claims.json", _claims_json(study, verdicts))
    write_text(out / "claims.md", markdown.claims(verdicts))
    drawn = {kind: figures.render(study, kind, _fits(study)) for kind in style.KINDS}
    for kind, data in drawn.items():
        write_bytes(out / "figures" / f"{study.figure}.{kind}", data)
    write_text(out / "report.md", markdown.report(study, verdicts, runs_dir))
    report = out / "report.html"
    write_text(report, page.report(study, verdicts, runs_dir, drawn["svg"]))
    os.utime(report, ns=(seen, seen))
    return report


def is_current(study_dir: Path, runs_dir: Path) -> bool:
    """Returns whether the report is whole, and has read all that the plan and its runs now say."""
    study, out = load(study_dir, runs_dir), study_dir / "report"
    names = ["claims.json", "claims.md", "report.md", "report.html"]
    names += [f"{stem}.{kind}" for stem in _tables(study) for kind in ("md", "csv", "tex")]
    names += [f"figures/{study.figure}.{kind}" for kind in style.KINDS]
    if not all((out / name).exists() for name in names):
        return False
    written = (out / "report.html").stat().st_mtime_ns
    return written >= _newest_input(study, study_dir, runs_dir)


def write_index(outputs: Path) -> list[page.Listed]:
    """Writes every study's report that is not current, then `studies/index.html`; returns its list.

    Raises:
        ValueError: nothing is planned in `outputs`.
    """
    listed, runs_dir = [], outputs / "runs"
    for plan in sorted((outputs / "studies").glob("*/plan.json")):
        folder = plan.parent
        try:
            if not is_current(folder, runs_dir):
                write_report(folder, runs_dir)
            study = load(folder, runs_dir)
            listed.append(page.Listed(folder.name, study, judge(study)))
        except ValueError as error:
            listed.append(page.Listed(folder.name, None, [], str(error).replace(f"{folder}/", "")))
    if not listed:
        raise ValueError(f"nothing is planned in {outputs / 'studies'}")
    write_text(outputs / "studies" / "index.html", page.index(listed))
    return listed


def show(study_dir: Path) -> None:
    """Prints the table, the verdicts and where the report is; the runs lie in `../../runs`."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    study, console = load(study_dir, study_dir.parent.parent / "runs"), Console()
    console.print(tables.terminal(study), "")
    for verdict in judge(study):
        word = (f"{verdict.verdict}: ", f"bold {_COLOURS[verdict.verdict]}")
        console.print(Text.assemble(word, verdict.claim.statement))
        said = " ".join([verdict.reason, *verdict.notes])
        console.print(Padding(Text(said, "dim"), (0, 0, 1, 2)))
    console.print(Text(str(study_dir / "report" / "report.html")), soft_wrap=True)


def show_index(listed: list[page.Listed], outputs: Path) -> None:
    """Prints every study's claims with their verdicts, and where the index is."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("study", "verdict", "effect", "claim")
    for one in listed:
        name = Text(one.folder)
        if one.study is None or not one.verdicts:
            table.add_row(name, "", "", Text(one.problem or parts.NO_CLAIM))
        for verdict in one.verdicts:
            word = Text(verdict.verdict, _COLOURS[verdict.verdict])
            effect = parts.numbers(verdict)["effect"]
            table.add_row(name, word, effect, Text(verdict.claim.statement))
            name = Text("")
    console = Console()
    console.print(table)
    console.print(Text(str(outputs / "studies" / "index.html")), soft_wrap=True)


def _fits(study: Study) -> dict[str, Callable[[float], float]]:
    """Returns the metric as a function of x, of each row that a law can be fitted to.

    Only of a study that claims something of the end of its curves: a law is of data or compute.
    """
    found = laws(study) if any(claim.of == "end_slope" for claim in study.claims) else {}
    return {row: partial(_at, law) for row, law in found.items()}


def _at(law: Law, x: float) -> float:
    return float(law.top1(np.array(x)))


def _tables(study: Study) -> dict[str, Study]:
    """Returns the study by each of its metrics, under its table's file name."""
    found = {"table": study}
    for metric, label in study.tables.items():
        slug = re.sub(r"[^a-z0-9]+", "-", metric.lower()).strip("-")
        found[f"table-{slug}"] = study.measured_by(metric, label)
    return found


def _newest_input(study: Study, study_dir: Path, runs_dir: Path) -> int:
    """Returns the newest modification time among the files that the report is made from, in ns."""
    runs = [run.id for run in [*study.runs, *(run for run, _ in study.sources)]]
    files = [runs_dir / run / name for run in runs for name in ("status.json", "result.json")]
    plan = study_dir / "plan.json"
    return max(file.stat().st_mtime_ns for file in [plan, *files] if file.exists())


def _claims_json(study: Study, verdicts: list[Verdict]) -> dict[str, Any]:
    return {
        "study": study.study,
        "scale": study.scale,
        "metric": study.metric,
        "correction": f"Holm over {len(verdicts)} claims",
        "claims": [asdict(verdict) for verdict in verdicts],
    }
