"""The command line as a person meets it: help, Hydra's flags, mistakes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import ROOT, Ended, start

from vitcli.study.plan import freeze, make_plan


@pytest.mark.parametrize(
    "arguments",
    [
        ["modle=b"], ["train.steps=abc"], ["model=vit_b"], ["train.steps=-1"], ["+new=1"],
        ["model.num_heads=7"], ["pos_emb=none", "pos_emb.where=shared"], ["stem=resnet"],
        ["train.steps=1", "train.epochs=1"], ["recipe.lr=fast"], ["seed=0,x", "-m"],
        ["--confg", "job"],
        ["model=nano,vit_b", "-m"], ["data.num_classes=99999", "data.size=100000"], ["a=[1"],
    ],
)  # fmt: skip
def test_bad_train_arguments_are_one_line_and_exit_2(
    vitcli: Callable[..., Ended], tmp_path: Path, arguments: list[str]
) -> None:
    ended = vitcli("train", *arguments, f"outputs={tmp_path / 'outputs'}")
    assert ended.code == 2
    assert ended.err.startswith("vitcli: ")
    assert ended.err.count("\n") == 1
    assert not list(tmp_path.glob("outputs/runs/*/*"))


@pytest.mark.parametrize("path", ["https://me:secret@host/x", "a,'https://me:secret@host/x'"])
def test_a_password_enters_no_file_of_a_multirun(
    vitcli: Callable[..., Ended], tmp_path: Path, path: str
) -> None:
    for chosen, key in (("data=wds", "data.path"), ("evals.downstream=wds", "evals.path")):
        words = ["seed=0,1", chosen, f"{key}={path}", f"outputs={tmp_path / 'o'}"]
        ended = vitcli("train", "-m", *words)
        assert ended.code == 2
        assert ended.err.startswith(f"vitcli: {key}: a URL with a password")
        assert "secret" not in ended.err
    assert not (tmp_path / "o").exists()


def test_hydra_s_flags_work(tmp_path: Path) -> None:
    def shown(*arguments: str) -> str:  # in a process of its own: Hydra sets up logging for these
        process = start("train", *arguments, cwd=tmp_path)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        return out

    assert "embed_dim: 384" in shown("--cfg", "job", "model=s")
    assert "vitcli train" in shown("--help")
    assert "conf" in shown("--info", "searchpath")
    (tmp_path / "mine/experiment").mkdir(parents=True)
    text = "# @package _global_\nseed: 7\nrecipe:\n  lr: 0.001\n"
    (tmp_path / "mine/experiment/own.yaml").write_text(text)
    assert "seed: 7" in shown("--config-dir", "mine", "experiment=own", "-c", "job")


def test_multirun_trains_each(
    vitcli: Callable[..., Ended], tiny: list[str], tmp_path: Path
) -> None:
    ended = vitcli("train", "-m", "seed=0,1", *tiny)
    assert ended.code == 0, ended.err
    assert len(list(tmp_path.glob("outputs/runs/*/result.json"))) == 2


def test_multirun_says_when_a_job_failed(vitcli: Callable[..., Ended], tiny: list[str]) -> None:
    few = [o for o in tiny if not o.startswith("train.steps")]
    ended = vitcli(
        "train", "-m", "recipe.lr=1e-3,1e30", "recipe.grad_clip=0", "train.steps=30", *few
    )
    assert ended.code == 1
    assert "FloatingPointError" in ended.err
    assert "Traceback" not in ended.err


def test_a_failed_run_is_one_line_and_exit_1(vitcli: Callable[..., Ended], tiny: list[str]) -> None:
    few = [o for o in tiny if not o.startswith("train.steps")]
    ended = vitcli("train", "recipe.lr=1e30", "recipe.grad_clip=0", "train.steps=30", *few)
    assert ended.code == 1
    assert ended.err.startswith("vitcli: FloatingPointError: the loss is")
    assert ended.err.count("\n") == 1


def test_what_nobody_foresaw_is_one_line_too(
    vitcli: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(overrides: list[str], check: object) -> None:
        raise KeyError("of a library\nin two lines")

    monkeypatch.setattr("vitcli.compose.compose", broken)
    ended = vitcli("data", "check")
    assert ended.code == 1
    assert ended.err.startswith("vitcli: KeyError: 'of a library")
    assert ended.err.count("\n") == 1
    assert f"(at {__file__}:" in ended.err
    monkeypatch.setenv("VITCLI_TRACEBACK", "1")
    with pytest.raises(KeyError):
        vitcli("data", "check")


def test_a_misspelt_command_is_a_usage_error(vitcli: Callable[..., Ended]) -> None:
    ended = vitcli("trian")
    assert ended.code == 2
    assert "trian" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["status", "pos-emb"],
        ["report", "pos-emb"],
        ["report", "--all"],
        ["train", "--cfg", "job"],
    ],
)
def test_no_torch_where_none_is_needed(
    tiny: list[str], tmp_path: Path, arguments: list[str]
) -> None:
    freeze(make_plan("pos-emb", [*tiny, "seeds=1"]))
    code = (
        "import sys\n"
        f"sys.argv = ['vitcli', *{arguments!r}]\n"
        "from vitcli.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules and 'timm' not in sys.modules\n"
        f"assert {arguments!r} != ['--help'] or 'hydra' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)


def test_a_study_of_this_machine_has_no_job_to_cancel(
    vitcli: Callable[..., Ended], tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(make_plan("pos-emb", [*tiny, "seeds=1"]))
    monkeypatch.setattr("shutil.which", lambda name: None)
    ended = vitcli("cancel", "pos-emb", "--outputs", str(tmp_path / "outputs"))
    assert (ended.code, ended.out[:20], ended.err) == (0, "cancelled: 0 jobs\n", "")
    ended = vitcli("logs", "pos-emb", "none-stm", "--outputs", str(tmp_path / "outputs"))
    assert ended.code == 2
    assert ended.err.startswith("vitcli: no cell 'none-stm': there are none-stem, ")
    assert ended.err.endswith("; did you mean 'none-stem'?\n")


def test_data_are_looked_at_without_a_model_that_fits_them(
    vitcli: Callable[..., Ended], tiny: list[str], tmp_path: Path
) -> None:
    words = [*tiny[:3], "data.img_size=30"]  # nano's patches are of 4 pixels
    assert vitcli("data", "check", *words).code == 0
    sheet = tmp_path / "sheet.png"
    assert vitcli("data", "show", *words, "--out", str(sheet)).code == 0
    assert sheet.exists()
    jpeg = vitcli("data", "show", *words, "--out", str(tmp_path / "sheet.jpg"))
    assert (jpeg.code, "sheet.jpg: a PNG is written" in jpeg.err) == (2, True)
    ended = vitcli("data", "check", *words, "data.size=7")
    assert (ended.code, "data.size=7 is below data.num_classes=8" in ended.err) == (2, True)


@pytest.mark.parametrize("arguments", [[], ["pos-emb", "--all"]])
def test_a_report_is_of_one_study_or_of_all(
    vitcli: Callable[..., Ended], arguments: list[str]
) -> None:
    ended = vitcli("report", *arguments)
    assert ended.code == 2
    assert ended.err == "vitcli: report takes a study's name, or --all\n"


def test_an_unreadable_plan_among_all_is_said_by_the_exit_code(
    vitcli: Callable[..., Ended], tiny: list[str], tmp_path: Path
) -> None:
    freeze(make_plan("pos-emb", [*tiny, "seeds=1"]))
    outputs = tmp_path / "outputs"
    assert vitcli("report", "--all", "--outputs", str(outputs)).code == 0
    (outputs / "studies" / "old").mkdir()
    (outputs / "studies" / "old" / "plan.json").write_text("{}")
    ended = vitcli("report", "--all", "--outputs", str(outputs))
    assert ended.code == 1
    assert "title: is missing" in ended.out
    assert (outputs / "studies" / "index.html").exists()


@pytest.mark.slow
def test_the_wheel_works_from_an_empty_folder(tmp_path: Path, tiny: list[str]) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("vitcli-*.whl")
    site = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    code = "import vitcli; assert sys.path[0] in vitcli.__file__; import vitcli.__main__"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(site)!r}); {code}"]
    few = [o for o in tiny if not o.startswith("outputs=")]
    subprocess.run([*command, "train", *few], cwd=empty, check=True, capture_output=True)
    assert len(list(empty.glob("outputs/runs/*/result.json"))) == 1


def test_ctrl_c_while_a_report_is_written_is_one_line(
    vitcli: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vitcli.report.build.write_report", stopped)
    monkeypatch.setattr("vitcli.report.build.write_index", stopped)
    monkeypatch.setattr("vitcli.study.plan.newest", lambda study, outputs: tmp_path)
    one, every = vitcli("report", "pos-emb"), vitcli("report", "--all")
    assert (one.code, one.err) == (130, "vitcli: stopped; the report was not written\n")
    assert (every.code, every.err) == (130, "vitcli: stopped; not all reports were written\n")


def test_no_flag_reads_a_pickle_or_another_config(
    tmp_path: Path, vitcli: Callable[..., Ended]
) -> None:
    """Hydra has flags for both."""
    for flag in ("--experimental-rerun", "--config-name", "-cn", "--config-path", "-cp"):
        ended = vitcli("train", flag, str(tmp_path / "config.pickle"))
        assert ended.code == 2
        assert f"unknown flag {flag}" in ended.err
