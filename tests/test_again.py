"""Runs that are there: trained again, beside one another, in an archive elsewhere."""

from __future__ import annotations

import io
import json
import math
import shutil
import statistics
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import made_up
import pytest
from helpers import TWO_CELLS, Ended
from scipy import stats

from vitcli.compare import differences, metrics
from vitcli.compose import compose
from vitcli.files import read_record, write_json
from vitcli.reproduce import Again, compared
from vitcli.runner import run
from vitcli.siblings import siblings
from vitcli.study.archive import export, unpack


def edit(folder: Path, metric: str, value: float) -> None:
    """Writes another value of a metric into the run's result."""
    path = folder / "result.json"
    held = json.loads(path.read_text())
    held["metrics"][metric] = value
    write_json(path, held)


def test_a_run_is_reproduced_to_the_bit_and_a_tampered_one_is_not(
    tiny: list[str],
    vitcli: Callable[..., Ended],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = run(compose(tiny), quiet=True).folder
    monkeypatch.chdir(folder)
    words = ("reproduce", ".", "--outputs", str(tmp_path))
    equal = vitcli(*words)
    assert equal.code == 0, equal.err
    assert equal.out.splitlines()[-1] == f"equal: {folder.name}"
    assert (tmp_path / "reproduced/runs" / folder.name / "result.json").exists()
    top1 = read_record(folder / "result.json")["metrics"]["val/top1"]
    edit(folder, "val/top1", top1 + 0.01)
    tampered = vitcli(*words)
    assert tampered.code == 1
    assert f"not equal: {folder.name}" in tampered.out
    assert f"val/top1: {top1 + 0.01:.6g}, now {top1:.6g}" in tampered.out
    (folder / "config.yaml").write_text(
        (folder / "config.yaml").read_text().replace("seed: 0", "seed: 1", 1)
    )
    edited = vitcli(*words)
    assert edited.code == 2
    assert "it is the config of" in edited.err


def test_on_another_machine_the_seeds_decide(tiny: list[str], tmp_path: Path) -> None:
    folders = [
        run(compose([*tiny, f"seed={s}", f"data.seed={s}"]), quiet=True).folder for s in range(4)
    ]
    values = [0.5, 0.52, 0.54, 0.56]
    for folder, value in zip(folders, values, strict=True):
        edit(folder, "val/top1", value)
    found = {seed: run.value("val/top1") for (seed, _), run in siblings(folders[0]).items()}
    assert found == dict(enumerate(values))
    half = stats.t.ppf(0.975, 3) * statistics.stdev(values) * math.sqrt(1.25)
    new = tmp_path / "again" / folders[0].name
    for value, word in [
        (0.53 + 0.99 * half, "within the seeds"),
        (0.53 - 1.01 * half, "not equal"),
    ]:
        shutil.copytree(folders[0], new, dirs_exist_ok=True)
        edit(new, "val/top1", value)
        held = json.loads((new / "result.json").read_text())
        held["env"]["device"] = "cpu (another)"
        write_json(new / "result.json", held)
        (new / "metrics.jsonl").write_text('{"step": 8, "loss": 1.5}\n')
        found = compared(folders[0], new)
        assert found.word == word
        assert ("device", "cpu (another)") in [(what, now) for what, _, now in found.changed]
    assert compared(folders[0], folders[0]).word == "equal"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "equal"),
        ({"same_log": False}, "not equal"),
        ({"differing": {"m": (1.0, 2.0)}, "unknown": ["m"]}, "not equal"),
        ({"differing": {"m": (1.0, 2.0)}, "unknown": ["m"], "same_log": False}, "not equal"),
    ],
)
def test_words(changes: dict[str, object], word: str) -> None:
    assert replace(Again("r", [], {}, True, {}, []), **changes).word == word


def test_elsewhere_without_seeds_nothing_is_decided() -> None:
    moved = Again("r", [("device", "a", "b")], {"m": (1.0, 2.0)}, False, {}, ["m"])
    assert moved.word == "undecided"
    assert replace(moved, same_log=True).word == "not equal"  # the same training, another metric
    assert replace(moved, changed=[("host", "a", "b")]).word == "not equal"


def ids(folder: Path) -> dict[int, str]:
    return {seed: run.id for (seed, _), run in siblings(folder).items()}


def test_siblings_differ_in_the_seed_alone(tiny: list[str]) -> None:
    first = run(compose([*tiny, "train.steps=1"]), quiet=True).folder
    second = run(compose([*tiny, "train.steps=1", "seed=3"]), quiet=True).folder
    run(compose([*tiny, "train.steps=2", "seed=1"]), quiet=True)
    (first.parent / f"{first.name.rpartition('-s')[0]}-s9-broken").mkdir()
    for one in (first, second):
        assert ids(one) == {0: first.name, 3: second.name}
    third = run(compose([*tiny, "train.steps=1", "seed=4"]), quiet=True).folder
    run(compose([*tiny, "train.steps=1", "seed=3", "data.seed=3"]), quiet=True)  # of a study
    assert ids(first) == {0: first.name, 3: second.name, 4: third.name}
    tuning = [word for word in tiny if not word.startswith("data.num_classes")]
    tuning += ["train.steps=1", "data=digits", "evals.downstream=null"]
    tuned = [
        run(
            compose([*tuning, f"seed={s}", f"finetune.source={of}", f"finetune.weights={of.name}"]),
            quiet=True,
        ).folder
        for s, of in ((0, first), (3, second))
    ]
    assert ids(tuned[0]) == {0: tuned[0].name, 3: tuned[1].name}


def test_compare(
    tiny: list[str],
    vitcli: Callable[..., Ended],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pairs = [
        [
            run(compose([*tiny, f"seed={seed}", f"data.seed={seed}", lr]), quiet=True).folder
            for seed in range(3)
        ]
        for lr in ("recipe.lr=0.001", "recipe.lr=0.004")
    ]
    for of, values in zip(pairs, ((0.1, 0.2, 0.3), (0.2, 0.4, 0.45)), strict=True):
        for folder, value in zip(of, values, strict=True):
            edit(folder, "val/top1", value)
    a, b = pairs[0][0], pairs[1][0]
    assert differences(a, b) == {"recipe.lr": (0.001, 0.004)}
    (top1,) = (each for each in metrics(a, b) if each.metric == "val/top1")
    paired = stats.ttest_rel([0.2, 0.4, 0.45], [0.1, 0.2, 0.3]).confidence_interval(0.95)
    assert top1.interval == pytest.approx(tuple(paired))
    assert (top1.means, top1.difference) == (pytest.approx((0.2, 0.35)), pytest.approx(0.15))
    ended = vitcli("compare", str(a), str(b), "--outputs", str(tmp_path))
    assert ended.code == 0, ended.err
    assert "0.2000 (3)" in ended.out
    assert f"{paired[0]:+.4f} to {paired[1]:+.4f} (3 seeds)" in ended.out
    assert Path(ended.out.splitlines()[-1]).read_bytes().startswith(b"\x89PNG")
    (own,) = (each for each in metrics(pairs[0][0], pairs[0][1]) if each.metric == "val/top1")
    assert (own.means, own.seeds, own.n) == (pytest.approx((0.1, 0.2)), (1, 1), 0)
    assert own.difference == pytest.approx(0.1)  # of two seeds of one config: as they are
    monkeypatch.chdir(a)
    here = vitcli("compare", ".", str(b), "--outputs", str(tmp_path))
    assert here.out == ended.out
    wrong = vitcli("compare", str(a), str(tmp_path))
    assert wrong.code == 2
    assert "not the folder of a finished run" in wrong.err
    config, edited = pairs[1][1] / "config.yaml", b / "config.yaml"
    config.write_text(config.read_text().replace("depth: 1", "depth: 2"))  # not believed
    assert "0.3250 (2)" in vitcli("compare", str(a), str(b), "--outputs", str(tmp_path)).out
    for old, new, said in (
        ("depth: 1", "depth: 2", "it is the config of nano-"),
        ("\nseed: 0", "\nseed: 0\nseed: 5", "not valid YAML (the key seed is there twice)"),
    ):
        text = edited.read_text()
        edited.write_text(text.replace(old, new))
        wrong = vitcli("compare", str(a), str(b), "--outputs", str(tmp_path))
        assert (wrong.code, wrong.err.count("\n")) == (2, 1)
        assert f"{edited}: {said}" in wrong.err
        edited.write_text(text)


def test_only_runs_of_the_same_data_are_paired(tiny: list[str]) -> None:
    """A study's seed draws the data anew, that of `vitcli train` does not."""
    few = [*tiny, "train.steps=1"]
    a, b = (
        [
            run(compose([*few, f"seed={s}", f"data.seed={s * moves}", lr]), quiet=True).folder
            for s in range(3)
        ]
        for moves, lr in ((1, "recipe.lr=0.001"), (0, "recipe.lr=0.004"))
    )
    (top1,) = (each for each in metrics(a[1], b[2]) if each.metric == "val/top1")
    assert (top1.seeds, top1.n, top1.interval) == ((3, 3), 1, None)  # seed 0 is on data 0 in both
    for seed in (1, 2):  # now as many as b's own kind has are there that a has too
        run(compose([*few, f"seed={seed}", f"data.seed={seed}", "recipe.lr=0.004"]), quiet=True)
    (top1,) = (each for each in metrics(a[0], b[0]) if each.metric == "val/top1")
    assert (top1.seeds, top1.n) == ((3, 3), 3)


@pytest.mark.slow
def test_a_study_there_and_back(
    tiny: list[str], vitcli: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my/study").mkdir(parents=True)
    (tmp_path / "my/study/two.yaml").write_text(TWO_CELLS)
    assert vitcli("ablate", "two", *tiny, "--config-dir", "my").code == 0
    (study,) = (tmp_path / "outputs/studies").iterdir()
    exported = vitcli("export", "two", "--out", "two.tar.gz")
    assert exported.code == 0, exported.err
    (tmp_path / "a place").mkdir()
    named = vitcli("export", "two", "--out", "a place")
    assert f"`vitcli report 'a place/{study.name}.tar.gz'` opens" in named.out
    refused = vitcli("export", "two", "--out", "two.zip")
    assert (refused.code, "--out two.zip: a name that ends in .tar.gz" in refused.err) == (2, True)
    unread = vitcli("status", "two.tar.gz")
    assert (unread.code, "an exported file; `vitcli report" in unread.err) == (2, True)
    opened = vitcli("report", "two.tar.gz", "--outputs", "elsewhere")
    assert opened.code == 0, opened.err
    there = tmp_path / "elsewhere/studies" / study.name / "report"
    for name in ("report.html", "report.md", "runs.csv", "claims.json"):
        assert (there / name).read_bytes() == (study / "report" / name).read_bytes(), name
    assert vitcli("export", "two", "--outputs", "elsewhere", "--out", "again.tar.gz").code == 0
    assert Path("again.tar.gz").read_bytes() == Path("two.tar.gz").read_bytes()
    again = vitcli("reproduce", "two.tar.gz", "--outputs", "third")
    assert again.code == 0, again.out + again.err
    runs = len(list((tmp_path / "outputs/runs").iterdir()))
    assert again.out.splitlines()[-1] == f"{runs} runs: {runs} equal"


def packed(files: dict[str, bytes], path: Path, kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.type = len(data), kind
            member.linkname = "/etc/passwd"
            tar.addfile(member, io.BytesIO(data))
    return path


def test_archives_of_strangers(tmp_path: Path, vitcli: Callable[..., Ended]) -> None:
    results = made_up.results({"A": [[0.1]], "B": [[0.2]]})
    folder = made_up.write(results, tmp_path / "outputs")
    plan = (folder / "plan.json").read_bytes()
    elsewhere = tmp_path / "elsewhere"
    bad = {
        "not the archive": (tmp_path / "text.tar.gz"),
        "0 plans": packed({"studies/x/../../plan.json": plan, "other": b""}, tmp_path / "a.tar.gz"),
        "leads elsewhere": packed({"studies/../plan.json": plan}, tmp_path / "b.tar.gz"),
        "plan.json": packed({"studies/x/plan.json": b"{}"}, tmp_path / "c.tar.gz"),
        "config.yaml": packed({"studies/x/plan.json": plan, "runs/r/result.json": b"{}"},
                              tmp_path / "d.tar.gz"),
    }  # fmt: skip
    (tmp_path / "text.tar.gz").write_text("no archive")
    for said, archive in bad.items():
        ended = vitcli("report", str(archive), "--outputs", str(elsewhere))
        assert (ended.code, len(ended.err.splitlines())) == (2, 1), ended.err
        assert said in ended.err
        assert ended.err.startswith(f"vitcli: {archive}: ")
        assert ".opening-" not in ended.err
        assert "`vitcli ablate` writes it anew" not in ended.err
    link = packed({"studies/x/plan.json": b""}, tmp_path / "e.tar.gz", tarfile.SYMTYPE)
    assert "0 plans" in vitcli("report", str(link), "--outputs", str(elsewhere)).err
    assert [path for path in elsewhere.rglob("*") if path.is_file()] == []


def test_a_damaged_archive_is_one_line_and_leaves_nothing(
    tmp_path: Path, vitcli: Callable[..., Ended]
) -> None:
    folder = made_up.write(made_up.results({"A": [[0.1]], "B": [[0.2]]}), tmp_path / "outputs")
    export(folder, tmp_path / "outputs" / "runs", tmp_path / "whole.tar.gz")
    whole = (tmp_path / "whole.tar.gz").read_bytes()
    for place in range(len(whole) // 20, len(whole), len(whole) // 20):
        damaged = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        (tmp_path / "x.tar.gz").write_bytes(damaged)
        elsewhere = tmp_path / "elsewhere"
        ended = vitcli("report", str(tmp_path / "x.tar.gz"), "--outputs", str(elsewhere))
        assert (ended.code, len(ended.err.splitlines())) == (2, 1), ended.err
        assert "not the archive of a study" in ended.err
        assert [path for path in elsewhere.rglob("*") if path.is_file()] == []


def test_what_is_there_stays(tiny: list[str], tmp_path: Path) -> None:
    folder = run(compose(tiny), quiet=True).folder
    found = made_up.results({"A": [[0.1]], "B": [[0.2]]})
    study = made_up.write(found, tmp_path / "outputs")
    held = json.loads((study / "plan.json").read_text())
    for cell in held["cells"]:
        cell["runs"] = {"0": folder.name}
    write_json(study / "plan.json", held)
    archive = tmp_path / "x.tar.gz"
    assert export(study, folder.parent, archive) == 1
    assert unpack(archive, tmp_path / "outputs") == study
    there = tmp_path / "there"
    unpack(archive, there)
    edit(there / "runs" / folder.name, "val/top1", 0.123)
    with pytest.raises(ValueError, match="other metrics than its; choose another place"):
        unpack(archive, there)
    held["title"] = "Another"
    write_json(there / "studies" / study.name / "plan.json", held)
    edit(
        there / "runs" / folder.name,
        "val/top1",
        read_record(folder / "result.json")["metrics"]["val/top1"],
    )
    with pytest.raises(ValueError, match="another plan is in"):
        unpack(archive, there)
