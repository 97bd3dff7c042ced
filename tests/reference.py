"""python tests/reference.py STUDY FOLDER: keeps the newest report of the study in FOLDER.

Beside the report and the plan, `study.tar.gz` is what `vitcli export` writes: `vitcli report` opens
it, and then the same study reports its runs again, or adds seeds.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from vitcli.study.archive import export
from vitcli.study.plan import newest


def keep(study: Path, runs: Path, folder: Path) -> int:
    """Copies the study's report, plan and finished runs to `folder`; returns how many runs."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(study / "report", folder)
    shutil.copy(study / "plan.json", folder)
    return export(study, runs, folder / "study.tar.gz")


if __name__ == "__main__":
    name, place = sys.argv[1:]
    outputs = Path("outputs")
    count = keep(newest(name, outputs), outputs / "runs", Path(place))
    print(f"{place}: the report and {count} runs")
