"""python tests/reference.py STUDY FOLDER: keeps the newest report of the study in FOLDER.

Beside the report and the plan, `runs.tar.gz` has the runs themselves, without weights: unpacked in
outputs/runs they are finished runs, so that the same study reports them again, or adds seeds.
"""

from __future__ import annotations

import io
import shutil
import sys
import tarfile
from pathlib import Path

from vitcli.files import write_bytes
from vitcli.study.board import states
from vitcli.study.plan import newest

RECORDS = ("config.yaml", "env.json", "metrics.jsonl", "result.json", "status.json")


def keep(study: Path, runs: Path, folder: Path) -> int:
    """Copies the study's report, plan and finished runs to `folder`; returns how many runs."""
    done = sorted(run.id for run in states(study).values() if run.state == "done")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(study / "report", folder)
    shutil.copy(study / "plan.json", folder)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for run in done:
            for name in RECORDS:
                tar.add(runs / run / name, f"{run}/{name}")
    write_bytes(folder / "runs.tar.gz", packed.getvalue())
    return len(done)


if __name__ == "__main__":
    name, place = sys.argv[1:]
    outputs = Path("outputs")
    count = keep(newest(name, outputs), outputs / "runs", Path(place))
    print(f"{place}: the report and {count} runs")
