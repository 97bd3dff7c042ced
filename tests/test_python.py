"""vitcli from Python: at a prompt and in a notebook."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import made_up
import nbformat
import numpy as np
import pytest
from helpers import ROOT, Ended
from nbclient import NotebookClient

import vitcli
from vitcli.compose import hydra_main
from vitcli.config import RunConfig

CELLS = [
    "import vitcli",
    "done = vitcli.run({overrides})\ndone.result['metrics']['val/top1']",
    "vitcli.results('made-up', outputs={outputs!r})",
]


def test_a_run_is_that_of_the_command(tiny: list[str]) -> None:
    first = vitcli.run(*tiny)
    assert first.trained
    assert first.result["metrics"].keys() >= {"val/top1"}
    again = vitcli.run(*tiny)
    assert (again.trained, again.folder, again.result) == (False, first.folder, first.result)
    with pytest.raises(ValueError, match="model=nanno: choose from"):
        vitcli.run("model=nanno")


@pytest.mark.parametrize(("given", "spins"), [({}, "3000"), ({"OMP_WAIT_POLICY": "active"}, None)])
def test_threads_spin_little_unless_one_says_so(given: dict[str, str], spins: str | None) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))} | given
    code = "import os, sys, vitcli; print('torch' in sys.modules, os.environ.get('GOMP_SPINCOUNT'))"
    ended = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert ended.stdout == f"False {spins}\n", ended.stderr


def test_results_are_rows_that_a_notebook_shows(tmp_path: Path) -> None:
    found = made_up.results(
        {"A": [[0.1], [0.2]], "B": [[0.3], [0.45]]}, made_up.claim("difference", ["B-c0", "A-c0"])
    )
    folder = made_up.write(found, tmp_path)
    rows = vitcli.results(folder.name, tmp_path)
    assert [row["cell"] for row in rows] == ["A-c0", "A-c0", "B-c0", "B-c0"]
    page = rows._repr_html_()
    assert "data:image/svg+xml;base64," in page
    assert "undecided</b>: A statement." in page


ONE_TEXT = "each setting is a text of its own, such as 'model=b'"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        *(
            (lambda given=given, does=does: does(given), f"{given!r}: {ONE_TEXT}")
            for given in (["model=pico"], {"model": "pico"}, Path("model=pico"), None, 3, b"seed=3")
            for does in (vitcli.run, vitcli.create_model)
        ),
        *(
            (lambda size=size: vitcli.create_model(img_size=size), f"img_size={size!r}: {wanted}")
            for size, wanted in (
                ("16", "a side in pixels, or (height, width)"),
                ((16,), "a side in pixels, or (height, width)"),
                ((16, 16, 3), "a side in pixels, or (height, width)"),
                (16.0, "a whole number of at least 1"),
                (0, "a whole number of at least 1"),
                (None, "a whole number of at least 1"),
            )
        ),
        (lambda: vitcli.create_model(img_size=(16, 2.5)), "img_size=2.5: a whole number of at"),
        (lambda: vitcli.load("x.npz", img_size="16"), "img_size='16': a side in pixels"),
        (lambda: vitcli.load("x.npz", ["model=b"]), f"['model=b']: {ONE_TEXT}"),
        (lambda: vitcli.create_model(num_classes=2.5), "num_classes=2.5: a whole number of at"),
        (lambda: vitcli.create_model(num_classes=0), "num_classes=0: a whole number of at least 1"),
        (lambda: vitcli.results(Path("pos-emb")), "study=PosixPath('pos-emb'): the name of a"),
        (lambda: vitcli.results(None), "study=None: the name of a study"),
        (lambda: vitcli.run("hydra.job.chdir=true"), "hydra.job.chdir=true: a setting of Hydra's"),
    ],
)
def test_what_is_no_setting_is_one_line(call: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_whole_numbers() -> None:
    import torch

    for size in (np.int64(16), (np.int32(16), 16), [16, np.uint8(16)], np.array([16, 16])):
        model = vitcli.create_model("model=pico", img_size=size, num_classes=np.int64(7))
        assert model(torch.zeros(1, 3, 16, 16)).shape == (1, 7)


def test_the_home_of_a_person_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    call: Callable[..., Ended] = request.getfixturevalue("vitcli")
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = made_up.write(made_up.results({"A": [[0.1]], "B": [[0.2]]}), tmp_path / "o")
    assert len(vitcli.results(folder.name, "~/o")) == 2
    with pytest.raises(ValueError, match=f"^{tmp_path}/x: "):
        vitcli.load("~/x")
    assert call("status", folder.name, "--outputs=~/o").code == 0
    (tmp_path / "c" / "model").mkdir(parents=True)
    (tmp_path / "c" / "model" / "mine.yaml").write_text("defaults: [pico]\nname: mine\n")
    assert "mine" in call("list", "models", "--config-dir=~/c").out
    for words in (["--config-dir=~/c"], ["--config-dir", "~/c"], ["-cd", "~/c"]):
        found = list[RunConfig]()
        hydra_main([*words, "model=mine", f"outputs={tmp_path}"], found.append)
        assert found[0].model.name == "mine"


def test_it_is_typed_and_imported_at_once() -> None:
    assert (ROOT / "vitcli/py.typed").exists()
    code = "import sys, vitcli; assert not {'torch', 'hydra', 'numpy', 'rich'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.slow
def test_in_a_notebook(tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    made_up.write(made_up.results({"A": [[0.1], [0.2]], "B": [[0.3], [0.4]]}), tmp_path)
    (study,) = (tmp_path / "studies").iterdir()
    overrides = ", ".join(map(repr, tiny))
    cells = [
        nbformat.v4.new_code_cell(
            cell.format(overrides=overrides, outputs=str(tmp_path)).replace("made-up", study.name)
        )
        for cell in CELLS
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=str(tmp_path))
    ran, shown = notebook.cells[1].outputs, notebook.cells[2].outputs
    kinds = [kind for output in ran for kind in output.get("data", {})]
    assert "application/vnd.jupyter.widget-view+json" in kinds  # the progress bar
    assert 0 <= float(ran[-1]["data"]["text/plain"]) <= 1
    assert "data:image/svg+xml;base64," in shown[0]["data"]["text/html"]
    assert not any(output["output_type"] == "error" for output in [*ran, *shown])
