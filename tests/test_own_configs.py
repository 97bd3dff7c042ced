"""A user's own folder of configs: what is wrong in it is one line that names the file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from helpers import TWO_CELLS, Ended

from vitcli.catalog import options
from vitcli.evals.real import RealLabels
from vitcli.files import conf_dir
from vitcli.study.file import read_study


@pytest.mark.parametrize("command", [["plan", "tiny"], ["ablate", "tiny"], ["train"]])
def test_the_folder_itself(
    command: list[str], vitcli: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    for name in ("file", "nowhere"):
        ended = vitcli(*command, "--config-dir", str(tmp_path / name))
        assert ended.code == 2
        assert ended.err == f"vitcli: --config-dir {tmp_path / name}: no such folder\n"


def study(**changes: Any) -> bytes:
    """TWO_CELLS with changes."""
    return yaml.safe_dump(yaml.safe_load(TWO_CELLS) | changes).encode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"title: [1\n", "not valid YAML (while parsing"),
        (b"title:\tTwo\n\tmetric: x\n", "not valid YAML"),
        (b"title: Gr\xf6\xdfe\n", "not valid YAML"),
        (b"title: x\0\n", "not valid YAML"),
        (b"title: a\ntitle: b\n", "found duplicate key title"),
        (b"a: &a\n  b: *a\n", "not valid YAML (Circular reference"),
        (b"a: &a [*a]\n", "not valid YAML (Circular reference"),
        (b"", "a study is a mapping"),
        (b"- 1\n", "a study is a mapping"),
        (b"5\n", "a study is a mapping"),
        (b"like: own\n", "like=own: no study is like itself"),
        (b"like: other\n", "like=own: no study is like itself"),
        (b"like: half\n", "like=half: title: is missing"),
        (b"like: half\nrows: [a]\n", "like=half: title: is missing"),
        (b"like: {a: 1}\n", "choose from"),
        (study(title="${nope}"), "title=${nope}: only overrides and sources"),
        (study(rows={"a": {"label": "${metric}"}}), "rows.a.label=${metric}: only"),
        (study(differences=["a", "${x}"]), "differences[1]=${x}: only"),
        (study(rows={"a": {"label": "A", "overrides": [f"data.root={'${nope}'}"]}}), "'nope' not"),
        (study(columns={"c": {"label": "C", "value": float("nan")}}), "columns.c.value=nan: "),
        (study(rows=None), "rows"),
        (study(wings=2), "wings: unknown key"),
    ],
)
def test_a_study_is_refused_in_one_line(
    text: bytes, message: str, vitcli: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "own.yaml").write_bytes(text)
    (tmp_path / "study" / "other.yaml").write_bytes(b"like: own\n")
    (tmp_path / "study" / "half.yaml").write_bytes(b"rows: [1]\n")
    ended = vitcli("plan", "own", "--config-dir", str(tmp_path))
    assert ended.code == 2, ended.out
    assert message in ended.err
    assert ended.err.startswith("vitcli: own.yaml: ")
    assert ended.err.count("\n") == 1


def test_a_study_may_refer_to_other_keys_in_overrides(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    rows = {"a": {"label": "A", "overrides": ["data.root=${data.name}", "data.size=1e3"]}}
    (tmp_path / "study" / "own.yaml").write_bytes(study(rows=rows))
    _, found = read_study("own", tmp_path)
    assert found.rows["a"].overrides == rows["a"]["overrides"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"name: [1\n", 'odd.yaml", line 2'),
        (b"name: Gr\xf6\xdfe\n", "odd.yaml: not valid YAML"),
        ("name: a\n".encode("utf-16"), "odd.yaml: not valid YAML ('utf-8' codec can't decode"),
        (b"- 1\n", "model/odd.yaml: Merge error: list is not a subclass of ModelConfig"),
        (b"name: &a\n  b: *a\n", "odd.yaml: not valid YAML (Circular"),
        (b"wings: 1\n", "model/odd.yaml: Key 'wings' not in 'ModelConfig'"),
        (
            b"depth: deep\n",
            "of type 'str' could not be converted to Integer (model.depth)",
        ),
        (b"name: ${nope}\n", "Interpolation key 'nope' not found"),
        (b"defaults: [nope]\n", "Could not load 'model/nope'"),
        (b"defaults: [odd]\n", "model/odd.yaml: its defaults lead back to itself"),
    ],
)
@pytest.mark.parametrize("command", ["train", "plan"])
def test_a_model_is_refused_in_one_line(
    command: str, text: bytes, message: str, vitcli: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "odd.yaml").write_bytes(text)
    (tmp_path / "model" / "unused.yaml").write_bytes(b"name: &a\n  b: *a\n")
    words = ["--cfg", "job", "--resolve"] if command == "train" else ["pos-emb"]
    ended = vitcli(command, *words, "--config-dir", str(tmp_path), "model=odd")
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert vitcli("train", "--cfg", "job", "--config-dir", str(tmp_path), "model=b").code == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("study/pos-emb.yaml", "there is a study pos-emb already, rename yours"),
        ("study/pos_emb.yaml", "study=pos_emb exists already, rename yours"),
        ("model/b.yaml", "model=b exists already, rename yours"),
        ("hydra/launcher/slurm.yaml", "hydra/launcher=slurm exists already, rename yours"),
        (
            "config.yaml",
            "vitcli has a file of this name and reads that one; rename yours, or move its "
            "settings to experiment/NAME.yaml",
        ),
    ],
)
@pytest.mark.parametrize("command", ["train", "plan"])
def test_what_would_not_be_read_is_refused(
    command: str, name: str, message: str, vitcli: Callable[..., Ended], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("title: [")
    words = ["--cfg", "job"] if command == "train" else ["pos-emb"]
    ended = vitcli(command, *words, "--config-dir", str(tmp_path))
    assert (ended.code, ended.err) == (2, f"vitcli: {path}: {message}\n")


def test_two_studies_of_one_name_are_refused(vitcli: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    for name in ("a-b", "a_b"):
        (tmp_path / "study" / f"{name}.yaml").write_bytes(study())
    ended = vitcli("plan", "a-b", "--config-dir", str(tmp_path))
    assert ended.code == 2
    assert "study/a_b.yaml: there is a study a-b already" in ended.err


def test_what_editors_and_systems_leave_is_passed_by(
    vitcli: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text((conf_dir() / "model/nano.yaml").read_text())
    (tmp_path / "model" / ".#mine.yaml").symlink_to("nobody@host.1")  # Emacs, while it is edited
    (tmp_path / "model" / "._mine.yaml").write_bytes(
        b"\0\5\x16\7"
    )  # macOS, on another system's disk
    (tmp_path / "model" / "up").symlink_to("..")
    assert "mine" in options("model", tmp_path)
    assert not any(name.startswith(".") for name in options("model", tmp_path))
    for words in (["train", "--cfg", "job", "model=mine"], ["list", "models"]):
        ended = vitcli(*words, "--config-dir", str(tmp_path))
        assert ended.code == 0, ended.err


@pytest.mark.parametrize("held", [{}, [1, 2], [["a"]], None, [[0], [1.5]]])
def test_labels_of_another_shape_are_refused(held: Any, tmp_path: Path) -> None:
    names = ["ILSVRC2012_val_00000001.JPEG"]
    data: Any = SimpleNamespace(names=lambda part: names, num_classes=3)
    path = tmp_path / "real.json"
    path.write_text(json.dumps(held))
    with pytest.raises(ValueError, match="not a list of lists of class numbers"):
        RealLabels(data, path, torch.device("cpu"))
    path.write_text("[[1")
    with pytest.raises(ValueError, match=r"real\.json: not valid JSON"):
        RealLabels(data, path, torch.device("cpu"))
    path.write_text("[[1, 2], []]")
    RealLabels(data, path, torch.device("cpu"))


def test_a_new_study_runs_as_it_is(
    vitcli: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written = vitcli("new", "study", "my-depth")
    assert written.code == 0, written.err
    assert written.out.splitlines()[0] == "my_conf/study/my_depth.yaml"
    words = re.search(r"`vitcli (.*)`", written.out)
    assert words is not None
    fast = ["train.images=64", "train.batch_size=8", "data.val_size=32", "threads=1"]
    ended = vitcli(*words[1].split(), *fast, "seeds=2", "hydra/launcher=basic")
    assert ended.code == 0, ended.out + ended.err
    (report,) = tmp_path.glob("outputs/studies/my-depth-*/report/report.md")
    assert "Four layers are better than two." in report.read_text()
    for name, said in [("my-depth", "one already"), ("pos-emb", "one already"), ("../x", "small")]:
        refused = vitcli("new", "study", name)
        assert (refused.code, said in refused.err) == (2, True), refused.err
    assert len(list(tmp_path.glob("my_conf/**/*.yaml"))) == 1
