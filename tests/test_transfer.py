"""Transfer: what is kept, what is new, the rate picked on a dev split, the average of weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Ended
from safetensors.torch import load_file, save_file
from torch import nn

from vitcli.analysis.settled import MOVED
from vitcli.compose import compose
from vitcli.data import DataSource, build_data
from vitcli.data.glyphs import Glyphs
from vitcli.evals import said_by
from vitcli.evals.fewshot import FewShot
from vitcli.evals.inference import top1
from vitcli.evals.zero_shot import ZeroShot
from vitcli.frozen import read_config
from vitcli.identity import run_id
from vitcli.models import build_model
from vitcli.models.convert import read, write
from vitcli.runner import run
from vitcli.transfer import DevSplit, describe_source, digest, transferred


@pytest.fixture
def trained(tiny: list[str]) -> Path:
    """A trained run's folder."""
    return run(compose([*tiny, "model.head_hidden=true"]), quiet=True).folder


def finetune_overrides(tmp_path: Path, *more: str) -> list[str]:
    return [
        "data=digits", "evals=upstream", "recipe=finetune_laptop", "train.steps=6",
        "train.batch_size=16", "data.val_size=100", "train.precision=fp32", "threads=1",
        f"outputs={tmp_path / 'tuned'}", *more,
    ]  # fmt: skip


def newest_result(tmp_path: Path) -> dict[str, Any]:
    (path,) = tmp_path.glob("tuned/runs/*/result.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_finetune_at_twice_the_resolution(
    vitcli: Callable[..., Ended], trained: Path, tmp_path: Path
) -> None:
    ended = vitcli("finetune", str(trained), *finetune_overrides(tmp_path, "data.img_size=32"))
    assert ended.code == 0, ended.err
    assert "4x4 -> 8x8, bilinear_corners" in ended.out
    (folder,) = (tmp_path / "tuned/runs").iterdir()
    weights = load_file(folder / "checkpoints/model.safetensors")
    assert weights["pos_embed"].shape == (1, 65, 64)
    assert weights["head.weight"].shape == (10, 64)
    assert not any(name.startswith("pre_logits") for name in weights)
    result = newest_result(tmp_path)
    assert result["notes"] == [
        *result["transfer"],
        "recipe.warmup_steps=50 in a training of 6 steps: the rate rises to 12% of recipe.lr and "
        "never decays",
    ]
    assert result["notes"][-1] in ended.out


def test_finetune_and_eval_at_a_rectangle(
    vitcli: Callable[..., Ended], trained: Path, tmp_path: Path
) -> None:
    wide = finetune_overrides(tmp_path, "data.img_size=[16,24]")
    ended = vitcli("finetune", str(trained), *wide)
    assert ended.code == 0, ended.err
    assert "4x4 -> 4x6, bilinear_corners" in ended.out
    (folder,) = (tmp_path / "tuned/runs").iterdir()
    weights = load_file(folder / "checkpoints/model.safetensors")
    assert weights["pos_embed"].shape == (1, 25, 64)
    assert read(str(folder)).img_size == (16, 24)
    result = newest_result(tmp_path)
    images = 6.0 * 6 * 16  # of 6 steps of 16; 24 patches, a class token, width 64, one block
    tokens = 25 * (4 * 64 * 64 + 2 * 64 * 256 + 2 * 25 * 64)
    assert result["train_flops"] == images * (24 * 48 * 64 + tokens + 64 * 10)
    # On its own images again, then on narrower ones, few-shot.
    ended = vitcli("eval", str(folder), f"outputs={tmp_path / 'measured'}")
    assert "4x6 -> 4x6, unchanged" in ended.out
    (path,) = (tmp_path / "measured").glob("evals/*/result.json")
    of_training = {MOVED: result["metrics"][MOVED]}
    assert json.loads(path.read_text())["metrics"] | of_training == result["metrics"]
    few = ["data.img_size=[24,8]", "data.val_size=64", "evals=fewshot", "evals.draws=2"]
    ended = vitcli("eval", str(folder), *few, f"outputs={tmp_path / 'narrow'}")
    assert ended.code == 0, ended.err
    assert "4x6 -> 6x2, bilinear_corners" in ended.out
    assert "fewshot/digits/5shot" in ended.out


def test_a_table_of_no_square_is_for_the_images_to_come(tmp_path: Path) -> None:
    config = compose(["model.depth=1", "data.img_size=[16,32]"])
    save_file(build_model(config, (16, 32), 5).state_dict(), tmp_path / "wide.safetensors")
    source = f"finetune.source={tmp_path / 'wide.safetensors'}"
    tuned = describe_source(compose(finetune_overrides(tmp_path, source, "data.img_size=[16,32]")))
    model, said = transferred(tuned, 10)
    assert model.pos_embed.shape == (1, 33, 64)
    assert said[0] == "position embedding learned_1d: 4x8 -> 4x8, unchanged"


def test_a_fresh_head_is_zero_and_the_body_is_the_source_s(trained: Path, tmp_path: Path) -> None:
    overrides = finetune_overrides(tmp_path, f"finetune.source={trained}")
    config = describe_source(compose(overrides))
    config.recipe.lr, config.recipe.warmup_steps = 0.0, 0
    folder = run(config, quiet=True).folder
    tuned = load_file(folder / "checkpoints/model.safetensors")
    source = load_file(trained / "checkpoints/model.safetensors")
    assert tuned["head.weight"].abs().max() == 0
    body = [name for name in tuned if not name.startswith("head")]
    assert len(body) > 10
    assert all(torch.equal(tuned[name], source[name]) for name in body)


def test_other_preprocessing_is_said(trained: Path) -> None:
    checkpoint = read(str(trained))
    config = read_config(trained / "config.yaml")
    assert checkpoint.preprocess.differences(config.data) == []
    theirs = replace(checkpoint.preprocess, crop_pct=0.9, interpolation="bicubic")
    assert theirs.differences(config.data) == []  # glyphs are not resized
    config.data.name = "imagefolder"
    assert theirs.differences(config.data) == [
        "preprocessing: interpolation bicubic in the source, bilinear here",
        "preprocessing: crop_pct 0.9 in the source, 0.875 here",
    ]
    assert theirs.differences(theirs.applied(config.data)) == []


def test_identity_is_the_weights_not_their_place(trained: Path, tmp_path: Path) -> None:
    def named(source: Path, *more: str) -> str:
        return run_id(
            describe_source(
                compose(finetune_overrides(tmp_path, f"finetune.source={source}", *more))
            )
        )

    elsewhere = tmp_path / "a copy"
    elsewhere.mkdir()
    for path in trained.rglob("*"):
        if path.is_file():
            target = elsewhere / path.relative_to(trained)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    assert named(trained) == named(elsewhere)
    assert named(trained, "finetune.lr_grid=[0.1]") != named(trained)
    # Of a file also how it takes pixels and how its table is resized: both change what it does.
    ours = read(str(trained))
    names = set[str]()
    for base, mean in (("timm", 0.5), ("timm", 0.4), ("google", 0.5)):
        preprocess = replace(ours.preprocess, mean=(mean,) * 3)
        path = tmp_path / f"{base}{mean}.safetensors"
        write(replace(ours, code_base=base, preprocess=preprocess), path)
        names.add(named(path, "data.img_size=24"))
    assert len(names) == 3


def test_the_same_weights_in_other_models_are_other_evaluations(
    vitcli: Callable[..., Ended], trained: Path, tmp_path: Path
) -> None:
    ours = read(str(trained))
    for heads in (1, 2):
        model = replace(ours.config.model, num_heads=heads)
        other = replace(ours, config=replace(ours.config, model=model))
        write(other, tmp_path / f"{heads}.safetensors")
        words = ["data=digits", "data.val_size=50", f"outputs={tmp_path}", "evals.draws=2"]
        ended = vitcli("eval", str(tmp_path / f"{heads}.safetensors"), *words)
        assert ended.code == 0, ended.err
    assert len(list(tmp_path.glob("evals/*/result.json"))) == 2


def test_what_contradicts_the_file_is_said(trained: Path) -> None:
    found = read(str(trained), ["model.num_heads=2"])
    assert found.config.model.num_heads == 2
    assert "model.num_heads=2, where the file says 4" in found.assumed
    assert not any("the file says" in line for line in read(str(trained)).assumed)


def test_the_rate_is_picked_on_a_dev_split_then_trained_on_all(
    vitcli: Callable[..., Ended], trained: Path, tmp_path: Path
) -> None:
    grid = ["finetune.lr_grid=[1e-6,0.03]", "train.steps=40", "finetune.dev_share=0.2"]
    ended = vitcli("finetune", str(trained), *finetune_overrides(tmp_path, *grid))
    assert ended.code == 0, ended.err
    found = newest_result(tmp_path)["lr_grid"]
    assert isinstance(found, dict)
    assert found["lr"] == 0.03  # a rate of 1e-6 can't move a head of zeros in 40 steps
    assert [entry["lr"] for entry in found["tried"]] == [1e-6, 0.03]
    assert found["dev_size"] == 259  # of 1,297
    (folder,) = tmp_path.glob("tuned/runs/*")
    assert read(str(folder)).num_classes == 10  # its weights are known to be its own


def test_a_rate_that_diverges_is_said(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    grid = ["finetune.lr_grid=[1e30,0.03]", "recipe.grad_clip=0", "recipe.warmup_steps=0"]
    config = describe_source(
        compose(finetune_overrides(tmp_path, f"finetune.source={trained}", *grid))
    )
    assert run(config).result["lr_grid"]["lr"] == 0.03
    assert "rate 1e+30: diverged\n" in capfd.readouterr().out


def test_a_dev_split_is_disjoint_and_whole() -> None:
    data = build_data(compose(["data=digits"]).data, torch.device("cpu"))
    most = DevSplit(data, 0.9999, seed=0)
    assert (most.train_size, most.val_size) == (1, 1296)
    split = DevSplit(data, 0.1, seed=0)
    assert (split.train_size, split.val_size) == (1167, 130)
    images = torch.cat(
        [split.train_batch(torch.arange(1167))[0], split.val_batch(torch.arange(130))[0]]
    )
    whole = data.train_batch(torch.arange(1297))[0]
    assert torch.equal(
        images.flatten(1).sum(1).sort().values, whole.flatten(1).sum(1).sort().values
    )


def test_a_rate_is_judged_by_the_best_weights_if_they_are_kept(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[tuple[int, float]] = []

    def watched(model: nn.Module, data: DataSource, *rest: Any) -> float:
        looks.append((data.val_size, top1(model, data, *rest)))
        return looks[-1][1]

    monkeypatch.setattr("vitcli.looks.top1", watched)
    grid = ["finetune.lr_grid=[0.5]", "train.steps=40", "train.keep=best", "recipe.polyak=0.5"]
    config = describe_source(
        compose(finetune_overrides(tmp_path, f"finetune.source={trained}", *grid))
    )
    result = run(config, quiet=True).result
    assert [size for size, _ in looks] == [130] * 10 + [100] * 10  # the dev split, then validation
    of_dev = [value for size, value in looks if size == 130]
    assert result["lr_grid"]["tried"][0]["top1"] == max(of_dev) > of_dev[-1]
    assert result["metrics"]["val/top1"] == max(value for size, value in looks if size == 100)


@pytest.mark.parametrize("size", [16, 32])
def test_zero_shot_is_the_source_at_the_new_resolution(
    trained: Path, tmp_path: Path, size: int
) -> None:
    asked = [f"finetune.source={trained}", "evals.zero_shot=true", f"data.img_size={size}"]
    asked += ["finetune.resize=nearest", "evals=fewshot", "evals.draws=2"]
    config = describe_source(compose(finetune_overrides(tmp_path, *asked)))
    metrics = run(config, quiet=True).result["metrics"]
    own = json.loads((trained / "result.json").read_text())["metrics"]
    assert metrics["zero_shot/source_top1"] == own["val/top1"]
    if size == 16:
        assert metrics["zero_shot/val/top1"] == own["val/top1"]
        # Untrained is the source itself: the run's seed and size change nothing in its weights.
        plain = compose([f"outputs={tmp_path}", "data=digits", "evals.draws=2"])
        data = build_data(plain.data, torch.device("cpu"))
        model = read(str(trained)).with_new_head(10).build()
        few = FewShot(plain.evals, "digits", data, 0, torch.device("cpu"))
        expected = dict(few.run(model))["fewshot/digits/5shot"]
        assert metrics["untrained/digits/5shot"] == expected
        return
    source = read_config(trained / "config.yaml")
    resized, _ = read(str(trained)).resize((32, 32), "nearest")
    data = build_data(replace(source.data, img_size=32), torch.device("cpu"))
    images, labels = data.val_batch(torch.arange(64))
    with torch.inference_mode():
        expected = (resized.build()(images).argmax(1) == labels).double().mean().item()
    assert metrics["zero_shot/val/top1"] == pytest.approx(expected)


def test_zero_shot_has_the_table_that_training_begins_with(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Glyphs, "notes", lambda self: ["a letter is left out"])
    asked = [f"finetune.source={trained}", "evals.zero_shot=true", "data.img_size=32", "seed=3"]
    config = describe_source(
        compose(finetune_overrides(tmp_path, *asked, "finetune.resize=reinit"))
    )
    torch.manual_seed(config.seed)
    table = transferred(config, 10)[0].pos_embed
    tables = []

    def kept(model: nn.Module, *rest: Any) -> float:
        tables.append(model.pos_embed)
        return top1(model, *rest)

    monkeypatch.setattr("vitcli.evals.inference.top1", kept)
    evaluator = ZeroShot(config, torch.device("cpu"))
    before = torch.get_rng_state()
    assert len(dict(evaluator.references(nn.Identity()))) == 2
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(tables[0], table)
    assert said_by([evaluator]) == ["zero_shot: a letter is left out"]


def test_zero_shot_needs_a_run(trained: Path, tmp_path: Path) -> None:
    alone = trained / "checkpoints/model.safetensors"
    overrides = [f"finetune.source={alone}", "evals.zero_shot=true"]
    config = describe_source(compose(finetune_overrides(tmp_path, *overrides)))
    with pytest.raises(ValueError, match=r"evals.zero_shot=true with finetune.source=.*folder"):
        run(config, quiet=True)
    assert not (tmp_path / "tuned").exists()


def test_polyak_averages_the_weights(tiny: list[str], tmp_path: Path) -> None:
    decay = 0.5
    few = [*tiny, "recipe.optimizer=sgd", "recipe.lr=0.5", "recipe.warmup_steps=0", "train.steps=3"]
    averaged = run(compose([*few, f"recipe.polyak={decay}"]), quiet=True)
    # The same three steps by hand.
    from vitcli.bench import trainer_of

    torch.manual_seed(0)
    trainer = trainer_of(compose(few))
    trainer.model.train()
    expected: torch.Tensor | None = None
    for _ in range(3):
        trainer.train_step()
        trainer.step += 1
        now = trainer.model.get_parameter("head.weight").detach().clone()
        expected = now if expected is None else decay * expected + (1 - decay) * now
    found = load_file(averaged.folder / "checkpoints/model.safetensors")["head.weight"]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere"),
        (["{run}", "model=b"], "model=b: the model is that of"),
        (["{run}", "data.img_size=30"], "model.patch_size=4 does not divide data.img_size=30"),
        (["{run}", "data.img_size=[16,30]"], "does not divide data.img_size=[16, 30]"),
        (["{run}", "data.img_size=[16]"], "data.img_size=[16]: a side or [height, width]"),
        (["{run}", "finetune.resize=cubic"], "finetune.resize=cubic"),
        (["{run}", "finetune.lr_grid=[0.1]", "finetune.dev_share=1.5"], "finetune.dev_share=1.5"),
    ],
)
def test_mistakes_are_one_line(
    vitcli: Callable[..., Ended], trained: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    arguments = [a.format(run=trained) if a == "{run}" else a for a in arguments]
    ended = vitcli("finetune", *arguments, f"outputs={tmp_path / 'tuned'}")
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not list(tmp_path.glob("tuned/runs/*/*"))


def test_training_on_a_source_names_the_command_for_it(
    vitcli: Callable[..., Ended], trained: Path, tmp_path: Path
) -> None:
    ended = vitcli("train", f"finetune.source={trained}", f"outputs={tmp_path / 'o'}")
    assert ended.code == 2
    said = f"vitcli: finetune.source={trained}: use `vitcli finetune {trained}` instead"
    assert ended.err.splitlines() == [said]
    assert not list(tmp_path.glob("o/runs/*"))


def test_eval_measures_any_checkpoint(
    vitcli: Callable[..., Ended], trained: Path, tmp_path: Path
) -> None:
    ended = vitcli("eval", str(trained), f"outputs={tmp_path / 'measured'}")
    assert ended.code == 0, ended.err
    (path,) = (tmp_path / "measured").glob("evals/*/result.json")
    whole = json.loads(path.read_text())
    assert [each["name"] for each in whole["evals"]] == ["classification", "fewshot"]
    found, weights = whole["metrics"], digest(read(str(trained)))
    assert whole["weights"] == weights
    own = json.loads((trained / "result.json").read_text())["metrics"]
    references = ("pixels/", "untrained/", MOVED)  # of a run only
    assert found == {k: v for k, v in own.items() if not k.startswith(references)}
    fewer = ["data.val_size=32", f"outputs={tmp_path / 'fewer'}"]  # the rest is the run's own
    ended = vitcli("eval", str(trained), *fewer)
    (path,) = (tmp_path / "fewer").glob("evals/*/result.json")
    data = json.loads(path.read_text())["data"]
    assert (data["val_size"], data["num_classes"], data["size"]) == (32, 8, 256)
    few = ["data=digits", "data.img_size=32", f"outputs={tmp_path / 'digits'}"]
    ended = vitcli("eval", str(trained), *few)
    said = "the head has 8 classes, digits has 10; not measured: classification"
    assert said in ended.out.splitlines()
    (path,) = (tmp_path / "digits").glob("evals/*/result.json")
    metrics = json.loads(path.read_text())["metrics"]
    assert json.loads(path.read_text())["weights"] == weights  # of the file, before the resize
    assert [name for name in metrics if not name.endswith("_sd")] == [
        "fewshot/digits/5shot", "fewshot/digits/10shot"
    ]  # fmt: skip
    for wrong, message in (
        ("evals.downstream=letters", "letters are classes of glyphs"),
        ("evals.downstream=cifar", "evals.downstream=cifar: choose from"),
        ("evals.shifts=[29]", "evals.shifts=[29]: at most 28 pixels"),
        ("data.crop_pct=0", "data.crop_pct=0.0: above 0, at most 1"),
        ("recipe.polyak=0.5", "recipe.polyak=0.5: `vitcli eval` trains nothing"),
        ("seed=7", "seed=7: `vitcli eval` trains nothing"),
        ("scale=paper", "scale=paper: a run has its own data and evals; give data=, evals="),
        ("experiment=r50_b_16", "experiment=r50_b_16: a run has its own data and evals"),
    ):
        assert message in vitcli("eval", str(trained), *few, wrong).err
    nothing = vitcli("eval", str(trained), *few, "evals=upstream")
    assert nothing.code == 2
    assert f"{said}; evals.downstream=null: nothing to measure" in nothing.err


def test_a_checkpoint_without_a_head_predicts_no_class(
    vitcli: Callable[..., Ended], trained: Path, tmp_path: Path
) -> None:
    state = load_file(trained / "checkpoints/model.safetensors")
    body = {n: t for n, t in state.items() if not n.startswith(("head.", "pre_logits."))}
    save_file(body, tmp_path / "body.safetensors")
    words = ["data=digits", "data.img_size=16", "evals=upstream", "evals.shifts=[2]"]
    ended = vitcli(
        "eval", str(tmp_path / "body.safetensors"), *words, "model.num_heads=1",
        f"outputs={tmp_path / 'o'}",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    said = {
        "the file has no head; not measured: classification",
        "no head, and so no shift/<s>/consistency",
    }
    assert said <= set(ended.out.splitlines())
    measured = [line.split()[0] for line in ended.out.splitlines() if line.startswith("shift/")]
    assert measured == ["shift/2/error", "shift/2/invariance"]
