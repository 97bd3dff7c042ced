"""Every study, end to end and tiny: each cell gives what is tabulated and what claims test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from helpers import Ended

from vitcli.compose import compose
from vitcli.files import conf_dir, read_json
from vitcli.runner import run
from vitcli.study.file import read_study
from vitcli.study.plan import newest, read_plan

TINY = ["seeds=1", "data.val_size=32", "evals.draws=1", "threads=1", "train.batch_size=8"]
SHORT = [*TINY, "train.steps=2"]
STUDIES = {
    "pos-emb": SHORT,
    "pos-emb-patch": SHORT,
    "data-scaling": SHORT,
    "data-scaling-finetune": [*SHORT, "source.train.steps=2", "source.data.val_size=32"],
    "model-size": SHORT,
    "compute-tiny": TINY,
    "hybrid-tiny": TINY,
    "resolution": [*SHORT, "source.train.steps=2", "source.data.val_size=32"],
    "class-token": SHORT,
    "shape": SHORT,
    "optimizer": SHORT,
    "equivariance": SHORT,
}


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    """A folder with `compute` and `hybrid` at 16 to 64 images: their lengths are what they vary."""
    folder = tmp_path / "own" / "study"
    folder.mkdir(parents=True)
    for name in ("compute", "hybrid"):
        study = yaml.safe_load((conf_dir() / "study" / f"{name}.yaml").read_text())
        if "like" in study:
            study["like"] = "compute-tiny"
        for cell in study.get("scales", {}).get("laptop", {}).get("cells", []):
            own = [o for o in cell["overrides"] if not o.startswith("train.images")]
            cell["overrides"] = [*own, f"train.images={16 * int(cell['column'][1])}"]
        (folder / f"{name}_tiny.yaml").write_text(yaml.safe_dump(study))
    return folder.parent


def test_each_claim_of_the_list_is_some_study_s() -> None:
    """Those of the paper's claims that its tables and curves are about."""
    studies = [read_study(name.removesuffix("-tiny"))[1] for name in STUDIES]
    numbers = {claim.number for study in studies for claim in study.claims}
    assert {1, 2, 3, 4, *range(7, 17), 18, 19, 20, 27} == numbers - {None}


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_ends_with_a_report(
    name: str, vitcli: Callable[..., Ended], config_dir: Path, tmp_path: Path
) -> None:
    outputs = tmp_path / "outputs"
    own = ["--config-dir", str(config_dir)] if name.endswith("-tiny") else []
    ended = vitcli("ablate", name, *STUDIES[name], f"outputs={outputs}", *own)
    assert ended.code == 0, ended.out + ended.err
    folder = newest(name, outputs)
    study = read_plan(folder)
    wanted = {study.metric, *study.tables}
    for claim in study.claims:
        wanted |= {*claim.metric, *filter(None, (claim.pick, claim.against))}
    for cell in study.cells:
        for run_id in cell.runs.values():
            found = read_json(outputs / "runs" / run_id / "result.json")["metrics"]
            assert wanted <= set(found), f"{cell.id}: {wanted - set(found)}"
            assert set(study.metrics) == set(found)
    verdicts = read_json(folder / "report" / "claims.json")["claims"]
    assert len(verdicts) == len(study.claims)
    assert {v["verdict"] for v in verdicts} <= {"undecided", "not judged"}  # one seed
    assert study.title in (folder / "report" / "report.html").read_text()
    assert (folder / "report" / "figures" / "losses.svg").exists()


@pytest.mark.slow
def test_a_cell_of_the_paper_s_scale_makes_a_step(tmp_path: Path) -> None:
    """ViT-B/16 at 224 pixels with its recipe, on made-up images."""
    overrides = ["scale=paper", "data=glyphs_224", "evals=upstream", "data.val_size=2"]
    overrides += ["train.steps=1", "train.batch_size=2", f"outputs={tmp_path}"]
    result = run(compose(overrides), quiet=True).result
    assert result["steps"] == 1
    assert result["params"] > 86e6
