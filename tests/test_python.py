"""vitcli from Python: at a prompt and in a notebook."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import made_up
import nbformat
import pytest
from helpers import ROOT
from nbclient import NotebookClient

import vitcli

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
