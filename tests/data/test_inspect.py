"""`vitcli data check` and `vitcli data show`."""

from __future__ import annotations

import json
import re
import shutil
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


def test_check_says_how_images_are_stored_and_which_are_there_twice(
    vitcli: Callable[..., Ended], folder: Path
) -> None:
    shutil.copy(folder / "train/c0/0.jpg", folder / "train/c0/[red]0.jpg")
    shutil.copy(folder / "train/c0/1.jpg", folder / "val/c1/1.jpg")
    Image.new("LA", (90, 50), (9, 9)).save(folder / "val/c0/la.png")
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", (4, 3), (9, 9, 200)).save(folder / "val/c0/turned.png", exif=exif)
    first, second = (Image.new("RGB", (4, 3), (9, grey, 9)) for grey in (9, 200))
    first.save(folder / "val/c0/0.webp", save_all=True, append_images=[second])
    for workers in (0, 2):
        settings = ["data=imagefolder", f"data.path={folder}", f"data.workers={workers}"]
        ended = vitcli("data", "check", *settings)
        assert ended.code == 0, ended.err
        said = ended.out[ended.out.index("val has no images of c2") :].splitlines()[1:]
        assert said[:7] == [
            "modes: RGB (48), LA (1)",
            "width x height: 4 x 3 to 90 x 50, median 40 x 30, 3 different",
            "turned upright by their EXIF orientation: 8 (1)",
            "with transparency, under which their colours are shown: 1",
            "of several frames, of which the first is taken: 1",
            "images of val that are in train too: 1 (val/c1/1.jpg = train/c0/1.jpg)",
            "images that have another label elsewhere: 1 (val/c1/1.jpg (c1) = train/c0/1.jpg (c0))",
        ]
        assert said[7].startswith("images of train that are copies of others: 1 (train/c0/")
        # Those of the fixture: the same pictures as PNG in val and as JPEG in train.
        assert re.match(r"images of val that look like one of train: [678] \(val/c0/\d\.p", said[8])
        assert said[-1] == "images of one colour, compared by their pixels alone: 3"
        assert "[red]0.jpg" in ended.out


def test_check_says_once_what_was_left_out(vitcli: Callable[..., Ended], folder: Path) -> None:
    (folder / "train/c0/notes.txt").write_text("")
    settings = ["data=imagefolder", f"data.path={folder}"]
    said = f"{folder}/train: 1 files of kinds that are not read: .txt (1)"
    ended = vitcli("data", "check", *settings)
    assert (ended.out + ended.err).splitlines().count(said) == 1
    assert "classes without a" not in ended.out + ended.err  # "val has no images of c2"
    notes = json.loads(vitcli("data", "check", *settings, "--json").out)["notes"]
    assert notes[0] == said


@pytest.mark.parametrize("data", ["digits", "glyphs"])
def test_check_of_a_set_without_files(data: str, vitcli: Callable[..., Ended]) -> None:
    ended = vitcli("data", "check", f"data={data}", "data.size=100", "data.val_size=50")
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[-1] == "no image is there twice"
    assert "modes" not in ended.out


def test_an_image_of_a_held_set_that_is_there_twice(
    vitcli: Callable[..., Ended], idx: Path
) -> None:
    raw = idx / "MNIST" / "raw"
    images = bytearray((raw / "t10k-images-idx3-ubyte").read_bytes())
    images[16 : 16 + 784] = (raw / "train-images-idx3-ubyte").read_bytes()[16 : 16 + 784]
    (raw / "t10k-images-idx3-ubyte").write_bytes(images)
    ended = vitcli("data", "check", "data=mnist", f"data.root={idx}")
    assert ended.code == 0, ended.err
    assert "images of val that are in train too: 1 (val[" in ended.out


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
