"""Encoded images in rows: data sets of Hugging Face, saved, in parquet or arrow, or of the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vitcli.config import DataConfig
from vitcli.data.divided import HINT, refuse_second
from vitcli.data.labels import Classes
from vitcli.data.names import natural, not_of_split, of_split, some, walk
from vitcli.data.source import Part

_BUILDERS = {".parquet": "parquet", ".arrow": "arrow", ".tar": "webdataset"}  # of datasets


class HuggingFaceReader:
    """One split of what `open_rows` finds."""

    def __init__(self, config: DataConfig, part: Part, classes: Classes | None) -> None:
        """Opens the split, from the Hub only if data.download; without `classes` finds these too.

        Raises:
            ValueError: there is no such data set, split or column, or `datasets` is not installed.
        """
        rows = open_rows(config, part)
        image, label = config.columns
        self._split = config.splits[part == "val"]
        self.notes = left_out(config, self._split)

        def said(row: int) -> str:
            return f"data.path={config.path}: {self._split}[{row}]: {label}"

        labels, own = list(rows[label]), getattr(rows.features[label], "names", None)
        self.classes = classes or Classes(own, labels, said)
        if own is not None and own != self.classes.names:
            self.notes.append(
                f"{self._split} lists its classes otherwise than {config.splits[0]}: taken by name"
            )
            labels = [own[i] if i in range(len(own)) else i for i in labels]
        self.labels = self.classes.numbers(labels, said)
        self._images, self._column = rows.select_columns([image]), image

    def read(self, row: int) -> bytes:
        """Returns the image's file."""
        return bytes_of(self._images[row][self._column])

    def name(self, row: int) -> str:
        """Returns the split and the row."""
        return f"{self._split}[{row}]"


def open_rows(config: DataConfig, part: Part) -> Any:
    """Returns a split's image and label columns, images not decoded: as a stream if data.stream.

    data.path is a folder saved by `datasets`, one of `split_files`, or the name of a set of the
    Hub; data.splits and data.columns name its splits and columns.

    Raises:
        ValueError: there is no such data set, split or column, it is damaged, or `datasets` is not
            installed.
    """
    path, split = str(config.path), config.splits[part == "val"]
    if not Path(path).is_dir() and not config.download:
        raise ValueError(
            f"data.path={path}: no such folder; data.download=true looks for it on the Hub"
        )
    files = split_files(config, split)[0] if _has_files(path) else []
    try:
        found = _load(config, split, files)
    except Exception as error:  # all kinds, of datasets, pyarrow and the network
        raise ValueError(f"data.path={path}: {first_line(error)}") from None
    if config.val_share is not None and not isinstance(found, dict):
        found = {split: found}  # saved as one
    if not isinstance(found, dict) or split not in found:
        have = ", ".join(found) if isinstance(found, dict) else "none"
        raise ValueError(
            f"data.splits={config.splits}: {path} has no split {split}, but {have}; {HINT}"
        )
    if config.val_share is not None and (config.splits[1] in found or _has_second(config)):
        refuse_second(config, config.splits[1])
    rows, image = found[split], config.columns[0]
    for column in config.columns:
        if column not in (rows.column_names or []):
            have = ", ".join(rows.column_names or ["none that is known"])
            raise ValueError(f"data.columns={config.columns}: {path} has {have}")
    try:
        undecoded = _datasets().Image(decode=False)
        return rows.select_columns(config.columns).cast_column(image, undecoded)
    except Exception as error:
        why = first_line(error)
        raise ValueError(f"data.path={path}: {image} are no images ({why})") from None


def _load(config: DataConfig, split: str, files: list[Path]) -> Any:
    """Returns what `datasets` makes of the files, or of the set at data.path."""
    options = {"cache_dir": config.root, "streaming": config.stream}
    if files:
        paths = {split: [str(file) for file in files]}
        kind = _BUILDERS[files[0].suffix]
        return _datasets().load_dataset(kind, data_files=paths, **options)
    if Path(str(config.path)).is_dir():
        return _datasets().load_from_disk(config.path)
    return _datasets().load_dataset(config.path, **options)


def _datasets() -> Any:
    try:
        import datasets
    except ImportError:
        raise ValueError("data.name=hfds needs datasets: pip install 'vitcli[data]'") from None
    return datasets


def first_line(error: Exception) -> str:
    """Returns what an error says: of one that only tells of another, what that one says."""
    said = str(error.__cause__ or error).strip().splitlines()
    return said[0] if said else type(error).__name__


def bytes_of(image: Any) -> bytes:
    """Returns the file of a row's image. Raises ValueError: there is none; OSError: of its path."""
    if image is None or (image["bytes"] is None and image["path"] is None):
        raise ValueError("no image in this row")
    data = image["bytes"]
    return Path(image["path"]).read_bytes() if data is None else bytes(data)


def left_out(config: DataConfig, split: str) -> list[str]:
    """Returns what `open_rows` leaves out of a folder of files."""
    return split_files(config, split)[1] if _has_files(str(config.path)) else []


def _has_files(path: str) -> bool:
    """Returns whether data.path is a folder of files, and none that was saved by `datasets`."""
    saved = any((Path(path) / name).exists() for name in ("dataset_dict.json", "state.json"))
    return Path(path).is_dir() and not saved


def _has_second(config: DataConfig) -> bool:
    """Returns whether a folder of files has some of the second split."""
    folder = Path(str(config.path))
    names = walk(folder).files if _has_files(str(folder)) else []
    second = config.splits[1]
    return any(Path(n).suffix in _BUILDERS and _place(n, second) is not None for n in names)


def split_files(config: DataConfig, split: str) -> tuple[list[Path], list[str]]:
    """Returns a split's files of rows, and what is left out.

    They have the split's name and numbers (train-00000-of-00004.parquet), or lie in a folder of its
    name.

    Raises:
        ValueError: there are none, or of several kinds, or in several folders.
    """
    folder = Path(str(config.path))
    found = sorted(walk(folder).files, key=natural)
    rows = [name for name in found if Path(name).suffix in _BUILDERS]
    placed = {name: place for name in rows if (place := _place(name, split)) is not None}
    if len({Path(name).suffix for name in placed}) != 1:
        have = f"; there are {some(rows)}" if rows else ""
        raise ValueError(
            f"data.path={folder}: not saved by datasets, and no files {split}-<number> of one "
            f"kind: {', '.join(_BUILDERS)}{have}; {HINT}"
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
