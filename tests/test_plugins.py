"""What other packages add: the examples of docs/extending.md, installed as one."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from helpers import ROOT, Ended
from torch import nn

from vitcli import plugins
from vitcli.compose import compose
from vitcli.files import read_record
from vitcli.identity import run_id
from vitcli.perf import count
from vitcli.runner import run

METADATA = "Metadata-Version: 2.1\nName: vitcli-mine\nVersion: 0.3\n"
TINY = ["model.depth=0", "pos_emb=none"]


def example(title: str) -> str:
    """Returns the Python below a heading of the document."""
    section = (ROOT / "docs/extending.md").read_text().partition(f"\n## {title}\n")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None, title
    return found[1]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of the document's three examples, installed as pip does it."""
    site = tmp_path / "site"
    (site / "vitcli_mine-0.3.dist-info").mkdir(parents=True)
    (site / "vitcli_mine.py").write_text(
        "\n".join(map(example, ("A model", "A data set", "An evaluator")))
    )
    (site / "vitcli_mine-0.3.dist-info/METADATA").write_text(METADATA)
    text = (ROOT / "docs/extending.md").read_text()
    declared = dict(re.findall(r'entry-points\."(vitcli\.\w+)"\]\n(\w+ = "[^"]+")', text))
    assert declared.keys() == {plugins.MODELS, plugins.DATA, plugins.EVALS}
    lines = [f"[{group}]\n{line.replace(chr(34), '')}" for group, line in declared.items()]
    (site / "vitcli_mine-0.3.dist-info/entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(site))
    for cached in (plugins.found, plugins.load):
        cached.cache_clear()
    yield site
    sys.modules.pop("vitcli_mine", None)
    for cached in (plugins.found, plugins.load):
        cached.cache_clear()


def test_examples_are_short() -> None:
    for title in ("A model", "A data set", "An evaluator"):
        body = [line for line in example(title).splitlines() if line and "import" not in line]
        assert len(body) <= 14, title


@pytest.mark.usefixtures("installed")
def test_all_three_in_one_run(
    tiny: list[str], vitcli: Callable[..., Ended], tmp_path: Path
) -> None:
    own = [
        "model.family=mixer", "model.name=mixer", "model.embed_dim=16", "model.options={mlp: 32}",
        "data.name=stripes", "data.num_classes=4", "evals.own=[entropy]", "evals.downstream=null",
    ]  # fmt: skip
    words = [word for word in tiny if not word.startswith(("model.depth", "data.num"))]
    ended = vitcli("train", *words, *own)
    assert ended.code == 0, ended.err
    (folder,) = (tmp_path / "outputs/runs").iterdir()
    result = read_record(folder / "result.json")
    assert result["metrics"].keys() >= {"val/top1", "val/entropy"}
    names = {"vitcli.models:mixer", "vitcli.data:stripes", "vitcli.evals:entropy"}
    assert {k for k, v in result["env"].items() if v == "vitcli-mine 0.3"} == names
    model = plugins.load(plugins.MODELS, "mixer")(compose([*words, *own]), (16, 16), 4)
    assert result["params"] == sum(p.numel() for p in model.parameters())
    again = vitcli("eval", str(folder), f"outputs={tmp_path / 'outputs'}")
    assert again.code == 0, again.err
    measured = re.search(r"^val/top1 +(\S+)", again.out, re.MULTILINE)
    assert measured is not None
    assert float(measured[1]) == pytest.approx(result["metrics"]["val/top1"], abs=1e-4)
    larger = vitcli("eval", str(folder), "data.img_size=24", f"outputs={tmp_path / 'outputs'}")
    assert larger.code == 0, larger.err  # its pos_emb is not none, but there is no table of ours
    for path in (tmp_path / "outputs/evals").glob("*/result.json"):
        env = read_record(path)["env"]
        assert (env["precision"], env["vitcli.models:mixer"]) == ("fp32", "vitcli-mine 0.3")
    fewer = vitcli("eval", str(folder), "data.num_classes=3", f"outputs={tmp_path / 'outputs'}")
    assert fewer.code != 0
    said = "the head has 4 classes, stripes has 3; not measured: classification, entropy"
    assert said in fewer.err


@pytest.mark.usefixtures("installed")
def test_a_data_set_may_be_at_a_path_and_augmented() -> None:
    words = ["data.name=stripes", "evals=upstream"]
    more = ["data.augment.crop=inception", "data.augment.randaugment=rand-m9", "data.alias=mine"]
    ids = {run_id(compose([*words, f"data.path={path}"])) for path in ("a", "b")}
    assert len(ids) == 2
    assert compose([*words, "data.path=a", *more]).data.augment.randaugment == "rand-m9"


@pytest.mark.usefixtures("installed")
def test_costs_are_counted_on_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def two(config: object, img_size: tuple[int, int], num_classes: int) -> nn.Module:
        conv = nn.Conv2d(3, 5, 4, 4)
        return nn.Sequential(conv, nn.Flatten(), nn.Linear(5 * 16, num_classes))

    monkeypatch.setattr("vitcli.counted.load", lambda group, name: two)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    config = compose(["model.family=mixer", "pos_emb=none"])
    assert count(config, (16, 16), 7) == (3 * 5 * 16 + 5 + 80 * 7 + 7, 16 * 5 * 48 + 80 * 7)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.usefixtures("installed")
def test_what_is_wrong_is_one_line(
    vitcli: Callable[..., Ended], installed: Path, tmp_path: Path
) -> None:
    near = vitcli("train", "model.family=mixxer", f"outputs={tmp_path}")
    assert (near.code, "did you mean 'mixer'?" in near.err) == (2, True), near.err
    unknown = vitcli("train", "evals.own=[entropi]", f"outputs={tmp_path}")
    assert (unknown.code, "did you mean 'entropy'?" in unknown.err) == (2, True), unknown.err
    ours = vitcli("train", "model.options={a: 1}", f"outputs={tmp_path}")
    assert (ours.code, "with model.family=vit: it has none" in ours.err) == (2, True), ours.err
    (installed / "vitcli_mine.py").write_text("import nothing_of_that_name\n")
    broken = vitcli("train", "evals.own=[entropy]", f"outputs={tmp_path}")
    assert broken.code == 2
    assert "entropy of vitcli-mine 0.3: ModuleNotFoundError" in broken.err
    other = installed / "other-1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text(METADATA.replace("vitcli-mine", "other"))
    (other / "entry_points.txt").write_text("[vitcli.evals]\nentropy = x:y\n")
    plugins.found.cache_clear()
    plugins.load.cache_clear()
    twice = vitcli("train", "evals.own=[entropy]", f"outputs={tmp_path}")
    assert (twice.code, "entropy is of" in twice.err) == (2, True), twice.err


def test_without_any_it_says_so(vitcli: Callable[..., Ended], tmp_path: Path) -> None:
    ended = vitcli("train", "evals.own=[x]", f"outputs={tmp_path}")
    assert ended.err == "vitcli: vitcli.evals: no 'x': no installed package has any\n"
    small = ["train.steps=1", "data.size=64", "data.val_size=16", "evals=upstream", "threads=1"]
    assert run(compose([*small, f"outputs={tmp_path}"]), quiet=True).trained
