"""A study's folder, read: its plan, checked for the analysis, and what its runs have found."""

from __future__ import annotations

from pathlib import Path

from vitcli.analysis.check import check_form
from vitcli.analysis.results import Results, read_results
from vitcli.schema import Study


def load(study_dir: Path, runs_dir: Path) -> Results:
    """Returns the study planned in `study_dir`, with what its runs in `runs_dir` have found so far.

    A run that failed, has not finished or has no finite value of a metric is kept as that.

    Raises:
        FileNotFoundError: there is no plan.json.
        ValueError: plan.json is not a study's; names the file and the key.
    """
    return read_results(Study.from_plan(study_dir / "plan.json", check_form), runs_dir)
