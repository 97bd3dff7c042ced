"""Studies on one's own images, whole and through the real launcher, whose workers start workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from archive_files import write_hfds, write_wds
from helpers import Ended
from PIL import Image

from vitcli.files import read_json
from vitcli.frozen import read_config
from vitcli.study.plan import freeze, make_plan

STUDY = {
    "title": "Depth",
    "metric": "val/top1",
    "rows": {"one": "1 layer"},
    "columns": {"here": "Here"},
    "paper": {"where": "Fig. 8", "metric": "ImageNet 5-shot"},
    "scales": {"laptop": {}},
    "seeds": [0, 1],
}
SMALL = ["model.depth=1", "train.steps=3", "train.batch_size=4", "evals=upstream"]
SMALL += ["data.img_size=16", "data.val_size=6"]
WDS = ["data.size=12", "data.num_classes=3", 'data.splits=["train","val"]']


def write_folder(path: Path) -> None:
    for part, each in (("train", 6), ("val", 3)):
        for c in range(2):
            (path / part / f"c{c}").mkdir(parents=True)
            for i in range(each):
                colour = (90 * c, 20 * i, 0)
                Image.new("RGB", (20, 20), colour).save(path / part / f"c{c}" / f"{i}.jpg")


SOURCES: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "folder": (write_folder, ["data=imagefolder"]),
    "hfds": (write_hfds, ["data=hfds"]),
    "wds": (write_wds, ["data=wds", *WDS]),
    "hfds-stream": (write_hfds, ["data=hfds", "data.stream=true"]),
    "wds-stream": (write_wds, ["data=wds", "data.stream=true", *WDS]),
}


@pytest.fixture
def config_dir(tmp_path: Path) -> str:
    """A folder with a study of two runs."""
    path = tmp_path / "conf" / "study" / "own_data.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(STUDY))
    return str(tmp_path / "conf")


@pytest.mark.parametrize("source", SOURCES)
def test_a_study_of_one_s_own_images_runs_with_the_default_workers(
    vitcli: Callable[..., Ended], config_dir: str, tmp_path: Path, source: str
) -> None:
    write, overrides = SOURCES[source]
    write(tmp_path / "set")
    own = [*overrides, f"data.path={tmp_path / 'set'}", *SMALL, f"outputs={tmp_path / 'out'}"]
    ended = vitcli("ablate", "own-data", "--config-dir", config_dir, *own)
    assert ended.code == 0, ended.out + ended.err
    runs = list((tmp_path / "out" / "runs").iterdir())
    assert len(runs) == 2
    for run in runs:
        assert read_config(run / "config.yaml").data.workers == 2
        assert read_json(run / "result.json")["metrics"]["val/loss"] > 0


def test_where_and_how_a_run_is_executed_follows_the_latest_command(
    vitcli: Callable[..., Ended], config_dir: str, tmp_path: Path
) -> None:
    """Workers, threads and the like are no part of a run's identity: its frozen config is not old.

    The set is not there at first, so both runs fail; a run with a result keeps its config.
    """
    path = tmp_path / "set"
    own = ["data=imagefolder", "data.alias=mine", *SMALL, f"outputs={tmp_path / 'out'}"]
    command = ["own-data", "--config-dir", config_dir, *own]
    first = vitcli("ablate", *command, "data.path=/nowhere")
    assert first.code == 1
    write_folder(path)
    (path / "train" / ".git").mkdir()
    later = {"data.workers": 0, "data.max_bad": 3, "threads": 1, "checkpoint.every": 2}
    changed = [f"{key}={value}" for key, value in later.items()]
    again = vitcli("ablate", *command, *changed, f"data.path={path}", "data.root=elsewhere")
    assert again.code == 0, again.out + again.err
    reports = (tmp_path / "out" / "studies").glob("own-data-*/report/report.md")
    said = f"- Left out or assumed: {path}/train: left out, by their names no data: .git"
    assert any(said in report.read_text().replace("\\", "") for report in reports)
    folders = list((tmp_path / "out" / "runs").iterdir())
    assert len(folders) == 2
    for folder in folders:
        config: Any = read_config(folder / "config.yaml")
        assert (config.data.workers, config.data.max_bad, config.data.path) == (0, 3, str(path))
        assert (config.threads, config.checkpoint.every, config.data.root) == (1, 2, "elsewhere")
        assert read_json(folder / "env.json")["threads"] == 1
    plan = make_plan("own-data", [*own, "data.path=/nowhere"], Path(config_dir))
    freeze(plan)
    assert [read_config(f / "config.yaml").data.path for f in folders] == [str(path)] * 2


def test_clothes_are_judged_by_their_own_validation_images(tmp_path: Path) -> None:
    place = f"outputs={tmp_path}"
    study = make_plan("pos-emb", ["data=fashion_mnist", place]).study
    assert study.metric == "val/top1"
    assert study.overrides[-1] == "evals.downstream=null"
    assert not any("this study on" in sentence for sentence in study.differences)
    asked = make_plan("pos-emb", ["data=fashion_mnist", "evals=fewshot", place]).study
    assert asked.metric == "fewshot/digits/5shot"
    scaling = make_plan("data-scaling", ["data=kmnist", place]).study
    assert scaling.metric == "val/top1"
    assert "fewshot/letters/5shot" not in scaling.metrics
