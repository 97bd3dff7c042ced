"""A study's file: what it may say, what it is like, and mistakes in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import Ended, claim

from vitcli.analysis.results import read_results
from vitcli.analysis.verdicts import judge
from vitcli.choices import SCALES
from vitcli.study.file import read_study
from vitcli.study.plan import make_plan

PAPER = {"where": "Fig. 8", "metric": "ImageNet 5-shot"}
CURVE = {"table": "table6", "x": "exaflops", "y": "average"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pos-em"], "did you mean 'pos-emb'?"),
        (["pos-emb", "scale=huge"], "scale=huge: pos-emb has laptop, gpu, paper"),
        (["pos-emb", "seeds=0"], "seeds=0: a number of seeds"),
        (["pos-emb", "seeds=[1,1]"], "seeds=[1, 1]: a list of different seeds"),
        (["pos-emb", "seeds=0"], "seeds=0: a number of seeds of at least 1"),
        (["pos-emb", "scale"], "scale: a setting is written key=value"),
        (["pos-emb", "seeds=x"], "seeds=x: a number"),
        (["pos-emb", "seeds=20251130"], "this seed alone is seeds=[20251130]"),
        (["pos-emb", "seeds=1e12"], "so many seeds, 1,000 at most"),
        (["pos-emb", "pos_emb=none"], "pos_emb is what pos-emb varies"),
        (
            ["pos-emb", "pos_emb.kind=learned_2d"],
            "so this can't be fixed: it is none in none-stem, learned_1d in learned_1d-stem",
        ),
        (
            ["compute", "model.depth=2", "model.embed_dim=32"],
            "model.embed_dim=32: compute varies model, so this can't be fixed: it is 32 in vit-p1",
        ),
        (
            ["data-scaling-finetune", "source.model.embed_dim=32"],
            "it is 32 in vit_small-d1, 64 in vit_large-d1",
        ),
        (
            ["shape", "threads=1", "model=pico"],
            "vitcli: model=pico: depth-centre and width-less of shape would be the same runs",
        ),
        (["pos-emb", "+seeds=2"], "+seeds=2: write seeds=2, without +"),
        (["pos-emb", "source.scale=gpu"], "source.scale=gpu: write scale=gpu, without source."),
        (["pos-emb", "seed=3"], "seed is what pos-emb varies, it can't be fixed (seeds=5,"),
        (["pos-emb", "trian.steps=3"], "did you mean 'train.steps'?"),
        (["pos-emb", "seedz=2"], "unknown key 'seedz'; did you mean 'seeds'?"),
        (["pos-emb", "data.seed=3"], "data.seed is what pos-emb varies"),
        (["pos-emb", "mode=patch"], "unknown key 'mode'"),
        (["pos-emb-patch", "model.patch_size=4"], "model.patch_size is what pos-emb-patch varies"),
        (["pos-emb", "flops_per_second=1e12"], "only `vitcli plan` has it"),
        (["pos-emb", "source.train.steps=5"], "pos-emb fine-tunes no runs of its own"),
        (["pos-emb", "finetune.source=x"], "a study fine-tunes only the runs of its own `source`"),
        (["pos-emb", "model=bit_nano"], "with model.family=resnet"),
        (["pos-emb", "hydra/launcher=nope"], "hydra/launcher"),
    ],
)
def test_bad_studies_are_one_line_and_exit_2(
    vitcli: Callable[..., Ended], tmp_path: Path, arguments: list[str], message: str
) -> None:
    ended = vitcli("ablate", *arguments, f"outputs={tmp_path}")
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sedes": [1]}, "sedes: unknown key; did you mean 'seeds'?"),
        ({"seeds": [0, 0]}, "seeds=[0, 0]: a list of different seeds"),
        ({"seeds": [0, "1"]}, "seeds.1='1': "),
        ({"title": 3}, "title=3: "),
        ({"cells": [{"row": "three", "column": "here"}]}, "row=three: choose from one, two"),
        ({"cells": [{"row": "one", "column": "here"}] * 2}, "two cells"),
        ({"claims": [claim(tests="greater")]}, "claims.0.tests: unknown key"),
        (
            {"claims": [claim(mertic="val/top1")]},
            "claims.0.mertic: unknown key; did you mean 'metric'",
        ),
        ({"claims": [claim(test="less")]}, "claims.test=less: write at_least or within"),
        ({"modes": {"more": {}}}, "modes: each is a study file of its own"),
        ({"claims": [claim(of="slop")]}, "claim c: of=slop: choose from difference, interaction"),
        ({"claims": [claim(pairs=[["on-here", "two-here"]])]}, "no cell on-here; did you mean"),
        ({"claims": [claim(of="spread", pairs=[["one", "too"]])]}, "no row too; did you mean"),
        ({"claims": [claim(at_least={"gpu": 0.1})]}, "no size for scale=laptop"),
        ({"claims": [claim(of="slope", pairs=[["one", "two"]])]}, "the study has no x-axis"),
        ({"x": {"of": "row", "label": "x"}}, "x.of=row: choose from column, train_flops"),
        ({"x": {"of": "column", "label": "x"}}, "columns.here.value=None: x.of=column"),
        ({"scales": {"tiny": {}}}, "scales=tiny: choose from laptop, gpu, paper"),
        ({"scales": {}}, "give at least one of laptop, gpu, paper"),
        ({"scales": {"laptop": []}}, "scales.laptop=[]: must be a mapping"),
        ({"scales": {"laptop": {"overrides": ["train.step=3"]}}}, "did you mean 'train.steps'"),
        ({"scales": {"laptop": {"columns": {}}}}, "at scale=laptop: "),
        ({"columns": {"here": {"label": "Here", "overides": []}}}, "columns.here.overides"),
        ({"columns": {"here": {"label": "Here", "value": "big"}}}, "columns.here.value='big'"),
        (
            {"rows": {"one": {"label": "1", "source": ["model=b"]}}},
            "only in a study with a `source`",
        ),
        ({"source": []}, "model.depth=1: the model is that of the source"),
        (
            {"columns": {"here": {"label": "H", "overrides": ["finetune.source=x"]}}},
            "only the runs of its own `source`",
        ),
        ({"paper": PAPER | {"n": 0}}, "paper.n=0: must be at least 1"),
        ({"paper": {"where": "Fig. 8"}}, "paper.metric: is missing"),
        ({"paper": PAPER | {"curve": {"table": "table9", "x": "a", "y": "b"}}}, "table=table9"),
        (
            {"paper": PAPER | {"curve": CURVE | {"y": "avrage"}}},
            "paper.curve: table6 has no column avrage",
        ),
        ({"differences": [{"Ours": "small"}]}, "differences.0: "),
        (
            {"rows": {"one": {"label": "R"}, "two": {"label": "R"}}},
            "rows: two have the label R",
        ),
        *(
            (
                {"rows": {"one": {"label": "1", "overrides": [word]}}},
                f"{word}: the same for all runs",
            )
            for word in ("outputs=/elsewhere", "tracker=wandb")
        ),
        *(
            ({"scales": {"laptop": {"overrides": [word]}}}, f"{word}: a setting of Hydra's own")
            for word in ("hydra.job.chdir=true", "hydra/launcher=joblib", "+hydra.x=1")
        ),
        (
            {"seeds": [2**63]},
            "seeds=[9223372036854775808]: whole numbers of at least 0, below 2^63",
        ),
        *(
            ({key: value}, f"{key}={value!r}: planning fills it in")
            for key, value in (
                ("name", "x"),
                ("scale", "laptop"),
                ("overrides", ["seed=1"]),
                ("setting", "x"),
                ("methods", {}),
                ("metrics", {}),
                ("sources", {}),
            )
        ),
        *(
            ({"cells": [{"row": "one", "column": "here", key: {"0": "x"}}]}, "planning fills it in")
            for key in ("runs", "scratch", "settings")
        ),
        ({"tables": ["val/nope"]}, "tables=val/nope: no run measures it"),
        ({"metric": "val/nope"}, "metric=val/nope: no run measures it"),
        *(
            (
                {"rows": {"one": {"label": "1"}, "two": {"label": "2", "overrides": [word]}}},
                f"cell two-here: {said}",
            )
            for word, said in (
                ("model.depth=four", "model.depth: Value 'four' of type 'str'"),
                ("model.depth=1,2", "Ambiguous value for argument 'model.depth=1,2'"),
                ("model.depth=${nope}", "model.depth: Interpolation key 'nope' not found"),
                ("model.num_heads=7", "model.num_heads=7 does not divide"),
            )
        ),
        ({"like": "pos-emp"}, "did you mean 'pos-emb'"),
        ({"like": "pos-emb", "rows": ["nonne"]}, "rows=nonne: choose from none"),
        ({"claims": [claim(at_least={"laptop": 0.1, "gpuu": 0.5})]}, "at_least=gpuu: choose from"),
    ],
)
def test_a_study_file_with_a_mistake_is_named(
    own: Callable[..., Path], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=r"^own_depth\.yaml: ") as raised:
        make_plan("own-depth", [], own(**changes))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_mistake_of_the_user_s_is_not_the_file_s(own: Callable[..., Path]) -> None:
    for word, said in (
        ("model.embed_dim=x", r"^cell one-here: model\.embed_dim: Value 'x'"),
        ("model.num_heads=7", r"^cell one-here: model\.num_heads=7 does not divide"),
        ("hydra.x=1", r"^hydra\.x=1: only `vitcli ablate` has it"),
        ("seeds=[9223372036854775808]", r"^seeds=\[9223372036854775808\]: .* below 2\^63$"),
    ):
        with pytest.raises(ValueError, match=said):
            make_plan("own-depth", [word], own())


def test_all_runs_of_a_study_go_to_one_place(own: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match=r"^outputs=at-1, at-2: the same for all runs of a study"):
        make_plan("own-depth", ["outputs=at-${model.depth}"], own())


def test_a_table_that_only_the_user_s_settings_do_without_is_left_out() -> None:
    study = make_plan("equivariance", ["evals.shifts=[1,4]", "seeds=2"]).study
    assert study.tables == ["shift/4/error", "shift/1/invariance"]


def test_a_table_that_one_row_alone_measures_is_kept(own: Callable[..., Path]) -> None:
    few = ["evals=fewshot", "evals.downstream=[digits]"]
    rows = {"one": {"label": "1"}, "two": {"label": "2", "overrides": few}}
    folder = own(
        rows=rows,
        tables=["fewshot/digits/5shot"],
        scales={"laptop": {"overrides": ["evals=upstream"]}},
    )
    assert make_plan("own-depth", [], folder).study.tables == ["fewshot/digits/5shot"]


def test_a_metric_that_takes_another_s_place_is_said(
    own: Callable[..., Path], vitcli: Callable[..., Ended]
) -> None:
    folder = own(
        metric="fewshot/{downstream}/5shot", scales={"laptop": {"overrides": ["evals=upstream"]}}
    )
    said = "val/top1 is judged in place of few-shot top-1: there is no few-shot set"
    planned = vitcli("plan", "own-depth", "--config-dir", str(folder))
    assert said in " ".join(planned.out.split())
    methods = make_plan("own-depth", [], folder).study.methods
    assert methods["In place of another metric"] == said
    assert "In place of another metric" not in make_plan("pos-emb", ["seeds=2"]).study.methods


def test_without_few_shot_no_metric_is_compared_with_itself() -> None:
    words = ["data=fashion_mnist", "data.img_size=16"]
    study = make_plan("data-scaling-finetune", words).study
    left_out = {claim.id for claim in read_study("data-scaling-finetune")[0].claims}
    left_out -= {claim.id for claim in study.claims}
    assert left_out == {"few-shot-ranks-as-fine-tuning"}
    assert study.methods["In place of another metric"].endswith(
        "; left out, as it compares the two: few-shot-ranks-as-fine-tuning"
    )


def test_rows_may_be_named_as_the_field_names_models(own: Callable[..., Path]) -> None:
    four = {"label": "four", "overrides": ["model.depth=2"]}
    rows: dict[object, object] = {"ViT-B/16": {"label": "B"}, 4: four}
    folder = own(rows=rows, claims=[claim(pairs=[["ViT-B/16-here", "4-here"]])])
    assert list(make_plan("own-depth", [], folder).study.rows) == ["ViT-B/16", "4"]


def test_the_key_that_was_meant_is_one_of_its_own_place(own: Callable[..., Path]) -> None:
    with pytest.raises(
        ValueError, match=r"claims\.0\.seeds: unknown key$"
    ):  # the study has such a key
        make_plan("own-depth", [], own(claims=[claim(seeds=[0])]))


def test_claims_from_before_they_had_sizes_are_read_and_said(own: Callable[..., Path]) -> None:
    greater, within = (
        claim(test="greater"),
        claim(id="d", test="equivalent", margin={"laptop": 0.2}),
    )
    for one in (greater, within):
        del one["at_least"]
    folder = own(claims=[greater, within], metric_label="how often it is right", modes=None)
    study = make_plan("own-depth", [], folder).study
    assert study.claims[0].at_least == dict.fromkeys(SCALES, 0.0)
    assert study.claims[1].within == {"laptop": 0.2}
    assert study.metrics["val/top1"].label == "how often it is right"
    first = judge(read_results(study, folder))[0]
    assert first.tested == "how often it is right: 1 layer is any amount above 2 layers."


def test_a_file_that_is_no_study_is_named(own: Callable[..., Path]) -> None:
    folder = own()
    for text in ("- a list", "title: [unclosed", ""):
        (folder / "study" / "own_depth.yaml").write_text(text)
        with pytest.raises(ValueError, match=r"^own_depth\.yaml: ") as raised:
            make_plan("own-depth", [], folder)
        assert "\n" not in str(raised.value)


def test_a_study_like_another_has_its_runs_and_none_of_its_claims() -> None:
    """`equivariance` is like `data-scaling`, with claims and a metric of its own."""
    own, other = make_plan("equivariance"), make_plan("data-scaling")
    assert list(own.configs) == list(other.configs)
    assert own.study.metric == "shift/1/consistency" != other.study.metric
    ids = [{claim.id for claim in plan.study.claims} for plan in (own, other)]
    assert ids[0]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize("scale", SCALES)
def test_a_study_like_another_may_pick_rows(scale: str) -> None:
    """`hybrid` is `compute` with the ViTs and the hybrids."""
    own, other = (make_plan(name, [f"scale={scale}"]) for name in ("hybrid", "compute"))
    assert set(own.configs) < set(other.configs)
    assert {cell.row for cell in own.study.cells} == {"vit", "hybrid"}
    runs = {cell.id: cell.runs for cell in other.study.cells}
    assert all(cell.runs == runs[cell.id] for cell in own.study.cells)
    assert len(own.study.cells) < len(runs)


def test_a_study_like_one_without_scales_has_its_own(own: Callable[..., Path]) -> None:
    folder = own(scales=None)
    (folder / "study" / "mine.yaml").write_text("like: own-depth\nrows: [two]\nscales: {laptop: }")
    with pytest.raises(ValueError, match=r"^mine\.yaml: scales\.laptop=None: must be a mapping"):
        make_plan("mine", [], folder)
    (folder / "study" / "mine.yaml").write_text(
        "like: own-depth\nrows: [two]\nscales: {laptop: {}}"
    )
    assert [cell.id for cell in make_plan("mine", [], folder).study.cells] == ["two-here"]


def test_a_study_like_another_has_differences_of_its_own() -> None:
    """The paper measured Table 8, and nothing of what it says about the grid."""
    study = make_plan("pos-emb-patch", ["seeds=1"]).study
    assert not any("ran each cell once" in line for line in study.differences)
    assert "measures nothing of it" in study.differences[0]


def test_a_column_of_more_images_than_the_user_s_set_has_is_all_there_are() -> None:
    study = make_plan("data-scaling", ["data=fashion_mnist"]).study
    assert [axis.label for axis in study.columns.values()] == ["1,000", "7,000", "45,000", "60,000"]
    assert study.columns["d5"].value == 60_000
    assert study.differences[-1] == (
        "fashion_mnist has 60,000 training images: all of them stand where the study has 300,000."
    )
    plan = make_plan("data-scaling", ["data=fashion_mnist", "seeds=1"])
    sizes = {plan.configs[cell.runs["0"]].data.size for cell in plan.study.cells}
    assert sizes == {1000, 7000, 45_000, 60_000}


def test_columns_that_would_be_the_same_are_refused() -> None:
    with pytest.raises(ValueError, match="digits: it has 1,297 training images, and more than one"):
        make_plan("data-scaling", ["data=digits"])


def test_so_it_is_with_the_images_of_a_source() -> None:
    own = ["source.data=fashion_mnist", "source.evals.downstream=null", "seeds=1"]
    plan = make_plan("data-scaling-finetune", own)
    assert [a.label for a in plan.study.columns.values()] == ["1,000", "10,000", "60,000"]
    sizes = {plan.configs[run].data.size for run in plan.study.sources}
    assert sizes == {1000, 10_000, 60_000}
