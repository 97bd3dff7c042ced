"""Encoded images in rows: data sets of Hugging Face, saved, in parquet or arrow, or of the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vitcli.config import DataConfig
from vitcli.data.labels import Classes
from vitcli.data.names import natural, not_of_split, of_split, some, walk
from vitcli.data.source import Part

_BUILDERS = {".parquet": "parquet", ".arrow": "arrow", ".tar": "webdataset"}  # of datasets


class HuggingFaceReader:
    """One split of what `open_rows` finds."""

    def __init__(self, config: DataConfig, part: Part) -> None:
        """Opens the split; from the Hub only if data.download.

        Raises:
            ValueError: there is no such data set, split or column, or `datasets` is not installed.
        """
        rows = open_rows(config, part)
        train = rows if part == "train" else open_rows(config, "train")  # it says the classes
        image, label = config.columns
        self._split = config.splits[part == "val"]
        self.notes = left_out(config, self._split)

        def said(row: int) -> str:
            return f"data.path={config.path}: {self._split}[{row}]: {label}"

        def names(of: Any) -> list[str] | None:
            return getattr(of.features[label], "names", None)

        labels, own = list(rows[label]), names(rows)
        known = Classes(names(train), train[label], said)
        if own is not None and own != known.names:
            self.notes.append(
                f"{self._split} lists its classes otherwise than {config.splits[0]}: taken by name"
            )
            labels = [own[i] if 0 <= i < len(own) else i for i in labels]
        self.labels, self.classes = known.numbers(labels, said), known.names
        self._images, self._column = rows.select_columns([image]), image

    def read(self, row: int) -> bytes:
        """Returns the image's file."""
        image = self._images[row][self._column]
        return bytes(image["bytes"] or Path(image["path"]).read_bytes())

    def name(self, row: int) -> str:
        """Returns the split and the row."""
        return f"{self._split}[{row}]"


def open_rows(config: DataConfig, part: Part) -> Any:
    """Returns a split's image and label columns, images not decoded: as a stream if data.stream.

    data.path is a folder saved by `datasets`, one of `split_files`, or the name of a set of the
    Hub; data.splits and data.columns name its splits and columns.

    Raises:
        ValueError: there is no such data set, split or column, or `datasets` is not installed.
    """
    try:
        import datasets
    except ImportError:
        raise ValueError("data.name=hfds needs datasets: pip install 'vitcli[data]'") from None
    path, split = str(config.path), config.splits[part == "val"]
    options = {"cache_dir": config.root, "streaming": config.stream}
    try:
        if not Path(path).is_dir():
            if not config.download:
                raise ValueError(
                    f"data.path={path}: no such folder; data.download=true looks for it on the Hub"
                )
            found = datasets.load_dataset(path, **options)
        elif _is_saved(Path(path)):
            found = datasets.load_from_disk(path)
        else:
            files = [str(file) for file in split_files(config, split)[0]]
            kind = _BUILDERS[Path(files[0]).suffix]
            found = datasets.load_dataset(kind, data_files={split: files}, **options)
    except FileNotFoundError as error:
        raise ValueError(f"data.path={path}: {str(error).splitlines()[0]}") from None
    if not isinstance(found, dict) or split not in found:
        have = ", ".join(found) if isinstance(found, dict) else "none"
        raise ValueError(f"data.splits={config.splits}: {path} has no split {split}, but {have}")
    rows = found[split]
    for column in config.columns:
        if column not in (rows.column_names or []):
            have = ", ".join(rows.column_names or ["none that is known"])
            raise ValueError(f"data.columns={config.columns}: {path} has {have}")
    image = config.columns[0]
    return rows.select_columns(config.columns).cast_column(image, datasets.Image(decode=False))


def left_out(config: DataConfig, split: str) -> list[str]:
    """Returns what `open_rows` leaves out of a folder of files."""
    folder = Path(str(config.path))
    return split_files(config, split)[1] if folder.is_dir() and not _is_saved(folder) else []


def _is_saved(folder: Path) -> bool:
    """Returns whether the folder was saved by `datasets`."""
    return any((folder / name).exists() for name in ("dataset_dict.json", "state.json"))


def split_files(config: DataConfig, split: str) -> tuple[list[Path], list[str]]:
    """Returns a split's files of rows, and what is left out.

    They have the split's name and numbers (train-00000-of-00004.parquet), or lie in a folder of its
    name.

    Raises:
        ValueError: there are none, or of several kinds, or in several folders.
    """
    folder = Path(str(config.path))
    found, _ = walk(folder)
    rows = [name for name in sorted(found, key=natural) if Path(name).suffix in _BUILDERS]
    placed = {name: place for name in rows if (place := _place(name, split)) is not None}
    if len({Path(name).suffix for name in placed}) != 1:
        have = f"; there are {some(rows)}" if rows else ""
        raise ValueError(
            f"data.path={folder}: not saved by datasets, and no files {split}-<number> of one "
            f"kind: {', '.join(_BUILDERS)}{have}"
        )
    if len(places := sorted(set(placed.values()))) > 1:
        raise ValueError(
            f"data.path={folder}: {split} is in several folders, {some(places)}: name one, as "
            f"data.path={folder / places[0]}"
        )
    return [folder / name for name in placed], not_of_split(folder, rows, placed, split)


def _place(name: str, split: str) -> str | None:
    """Returns the folder whose split a file belongs to; None: it is of no such split."""
    parts = Path(name).parts
    if split in parts[:-1]:
        return str(Path(*parts[: parts.index(split)]))
    return str(Path(name).parent) if of_split(parts[-1], split) else None
