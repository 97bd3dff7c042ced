"""`vitcli data check` and `vitcli data show`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import Ended
from PIL import Image


def test_check_counts_and_names_what_is_broken(vitcli: Callable[..., Ended], folder: Path) -> None:
    settings = ["data=imagefolder", f"data.path={folder}"]
    ended = vitcli("data", "check", *settings)
    assert ended.code == 0, ended.err
    rows = [line.split("│")[1:-1] for line in ended.out.splitlines() if "│" in line]
    cells = {row[0].strip(): [c.strip() for c in row[1:5]] for row in rows}
    assert cells == {"train": ["36", "12 to 12", "0", "0"], "val": ["8", "0 to 4", "1", "0"]}
    assert "val has no images of c2" in ended.out
    (folder / "train/c1/4.jpg").write_text("not an image")
    for i in range(9, 21):
        (folder / f"train/c{i}").mkdir()
    ended = vitcli("data", "check", *settings)
    assert ended.code == 1
    assert "train/c1/4.jpg: not an image" in ended.out
    assert "15 classes" in ended.out
    empty = sorted(f"c{i}" for i in range(9, 21))
    assert f"train has no images of {', '.join(empty[:10])} and 2 more" in ended.out
    assert "0 to 12" in ended.out


def test_an_endless_set_cannot_be_walked(vitcli: Callable[..., Ended]) -> None:
    ended = vitcli("data", "check", "data.size=null")
    assert ended.code == 2
    assert "data.size=null" in ended.err


@pytest.mark.parametrize("data", ["glyphs", "imagefolder"])
@pytest.mark.parametrize(("img_size", "height"), [("32", 34), ("[24,32]", 26)])
def test_show_writes_a_sheet(
    vitcli: Callable[..., Ended],
    folder: Path,
    tmp_path: Path,
    data: str,
    img_size: str,
    height: int,
) -> None:
    place = [f"data.path={folder}"] if data == "imagefolder" else []
    sheet = tmp_path / "sheet.png"
    shown = [f"data={data}", *place, f"data.img_size={img_size}"]
    ended = vitcli("data", "show", *shown, "--out", str(sheet))
    assert ended.code == 0, ended.err
    assert vitcli("data", "check", *shown, "data.size=100").code == (2 if place else 0)
    pixels = np.asarray(Image.open(sheet))
    rows = 6 + (1 if place else 2)  # the folder has 8 images to validate on
    assert pixels.shape[:2] == (rows * height + 2, 8 * 34 + 2)
    assert pixels.std() > 20
