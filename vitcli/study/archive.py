"""A study in one file: its plan, its report and its runs without weights, opened elsewhere."""

from __future__ import annotations

import gzip
import re
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path

from vitcli.files import is_name, read_record, replacing, write_record
from vitcli.frozen import read_config
from vitcli.identity import run_id
from vitcli.schema import REMEDY
from vitcli.study.board import states
from vitcli.study.plan import read_plan

RECORDS = ("config.yaml", "env.json", "metrics.jsonl", "result.json", "status.json")
_MOST = 1 << 28  # bytes of a file in an archive; the log of a million steps has a tenth of it
_MEMBER = re.compile(rf"studies/[^/]+/plan\.json|runs/[^/]+/({'|'.join(map(re.escape, RECORDS))})")


def export(folder: Path, runs_dir: Path, target: Path) -> int:
    """Writes the study's archive and returns how many runs it has: those with a result.

    The same files make the same archive.
    """
    done = sorted(run.id for run in states(folder).values() if run.state == "done")
    files = {f"studies/{folder.name}/plan.json": folder / "plan.json"}
    for path in sorted((folder / "report").rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            files[f"studies/{folder.name}/{path.relative_to(folder).as_posix()}"] = path
    for run in done:
        present = (name for name in RECORDS if (runs_dir / run / name).exists())
        files |= {f"runs/{run}/{name}": runs_dir / run / name for name in present}
    with (
        replacing(target) as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for name, path in files.items():
            member = tarfile.TarInfo(name)  # without the owner and times of this machine
            member.size = path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(member, file)
    return len(done)


def unpack(archive: Path, outputs: Path) -> Path:
    """Puts an exported study into `outputs` and returns its folder; its report is left out.

    Runs that are there already stay as they are.

    Raises:
        ValueError: it is no archive of a study, or a run or plan that is there differs from its.
    """
    outputs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".opening-", dir=outputs) as name:
        opened = Path(name)
        try:
            _check_sum(archive)
            _extract(archive, opened)
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{archive}: not the archive of a study ({error})") from None
        plans = sorted(opened.glob("studies/*/plan.json"))
        if len(plans) != 1:
            raise ValueError(f"{archive}: {len(plans)} plans; `vitcli export` writes one")
        study = plans[0].parent
        try:
            planned = read_plan(study)
        except ValueError as error:
            why = str(error).replace(f"{study}/", "").removesuffix(REMEDY)
            raise ValueError(f"{archive}: {why}") from None
        folders = sorted((opened / "runs").glob("*"))
        for run in folders:
            _check(archive, run, outputs / "runs" / run.name)
        there = outputs / "studies" / study.name
        if (there / "plan.json").exists() and read_plan(there) != planned:
            raise ValueError(
                f"{archive}: another plan is in {there}; choose another place by --outputs"
            )
        for run in folders:
            target = outputs / "runs" / run.name
            if not (target / "result.json").exists():
                target.mkdir(parents=True, exist_ok=True)
                for path in sorted(run.iterdir(), key=lambda path: path.name == "result.json"):
                    path.replace(target / path.name)  # the result last: then it is a whole run
        write_record(there / "plan.json", read_record(study / "plan.json"))
    return there


def _check_sum(archive: Path) -> None:
    """Reads all of the archive; raises what gzip does if a byte of it is not what was written.

    Without it a damaged header of a file would count as the archive's end.
    """
    with gzip.open(archive) as whole:
        while whole.read(1 << 20):
            pass


def _extract(archive: Path, opened: Path) -> None:
    """Writes the plan and the runs' records; all else, the report among it, is left out."""
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            if not (member.isfile() and _MEMBER.fullmatch(member.name)):
                continue
            if member.size > _MOST:
                raise ValueError(f"{archive}: {member.name} has {member.size:,} bytes")
            parts = member.name.split("/")
            if not all(map(is_name, parts)):
                raise ValueError(f"{archive}: {member.name} leads elsewhere")
            source, path = tar.extractfile(member), opened.joinpath(*parts)
            assert source is not None
            path.parent.mkdir(parents=True, exist_ok=True)
            with source, path.open("wb") as file:
                shutil.copyfileobj(source, file)


def _check(archive: Path, run: Path, there: Path) -> None:
    """Raises ValueError if the run is not what its name says, or not the one that is there."""
    try:
        name = run_id(read_config(run / "config.yaml"))
        result = read_record(run / "result.json")
    except (ValueError, OSError) as error:
        why = str(error).replace(f"{run}/", "")
        raise ValueError(f"{archive}: {run.name}: {why}") from None
    if name != run.name:
        raise ValueError(f"{archive}: {run.name} has the config of {name}")
    if not (there / "result.json").exists():
        return
    if read_record(there / "result.json").get("metrics") != result.get("metrics"):
        raise ValueError(
            f"{archive}: {there} has other metrics than its; choose another place by --outputs"
        )
