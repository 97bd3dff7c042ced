"""Encoded images in rows: data sets of Hugging Face, saved, in parquet or arrow, or of the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vitcli.config import DataConfig
from vitcli.data.divided import HINT, refuse_second, seconds
from vitcli.data.labels import Classes
from vitcli.data.names import kind, natural, no_folder, of_no_split, of_split, some, walk
from vitcli.data.numbered import check_numbers
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
        if own is not None:
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
            f"data.path={path}: {no_folder(Path(path))}; data.download=true looks for it on the Hub"
        )
    if config.config_name is not None and Path(path).is_dir():
        raise ValueError(
            f"data.config_name={config.config_name}: only for sets of the Hub; {path} is a folder"
        )
    files = split_files(config, split)[0] if _has_files(path) else []
    check_alike(files, config.columns)
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
    if config.val_share is not None:
        for name in seconds(config):
            if name in found or _has_files_of(config, name):
                refuse_second(config, name)
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
    with _silent():
        if files:
            paths = {split: [str(file) for file in files]}
            builder = _BUILDERS[kind(files[0].name)]
            return _datasets().load_dataset(builder, data_files=paths, **options)
        if Path(str(config.path)).is_dir():
            return _datasets().load_from_disk(config.path)
        return _datasets().load_dataset(config.path, config.config_name, **options)


@contextmanager
def _silent() -> Iterator[None]:
    """Keeps the log of `datasets` out of the block: its errors are raised, too."""
    log = _datasets().utils.logging
    before = log.get_verbosity()
    log.set_verbosity(log.CRITICAL)
    try:
        yield
    finally:
        log.set_verbosity(before)


def _datasets() -> Any:
    try:
        import datasets
    except ImportError:
        raise ValueError("data.name=hfds needs datasets: pip install 'vitcli[data]'") from None
    return datasets


def first_line(error: Exception) -> str:
    """Returns what an error says: of one that only tells of another, what that one says."""
    said = str(error.__cause__ or error).strip().splitlines()
    if said and said[0].startswith("Config name is missing"):  # the next line lists them
        return f"{' '.join(said[:2])} (data.config_name=NAME)"
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


def _has_files_of(config: DataConfig, split: str) -> bool:
    """Returns whether data.path is a folder of files, and some are of this split."""
    folder = Path(str(config.path))
    names = walk(folder).files if _has_files(str(folder)) else []
    return any(_place(name, split) is not None for name in names)


def split_files(config: DataConfig, split: str) -> tuple[list[Path], list[str]]:
    """Returns a split's files of rows, and what is left out or missing.

    They have the split's name and numbers (train-00000-of-00004.parquet), or lie in a folder of its
    name.

    Raises:
        ValueError: there are none, or of several kinds, or in several folders, or one twice.
    """
    folder = Path(str(config.path))
    found = walk(folder)
    files = sorted(found.files, key=natural)
    splits = config.splits if config.val_share is None else config.splits[:1]
    placed = {name: {file: at for file in files if (at := _place(file, name))} for name in splits}
    own = placed[split]
    if len({kind(file) for file in own}) != 1:
        rows = [file for file in files if kind(file) in _BUILDERS]
        have = f"; there are {some(rows)}" if rows else ""
        raise ValueError(
            f"data.path={folder}: not saved by datasets, and no files {split}-<number> of one "
            f"kind: {', '.join(_BUILDERS)}{have}; {HINT}"
        )
    places = sorted({place for part in placed.values() for place in part.values()})
    if len(places) > 1:
        raise ValueError(
            f"data.path={folder}: {' and '.join(splits)} are in several folders, {some(places)}: "
            f"name one, as data.path={folder / places[0]}"
        )
    notes = check_numbers(f"data.path={folder}: {split}", list(own))
    if split == splits[0]:  # said once, of both parts
        taken = {file for part in placed.values() for file in part}
        notes += of_no_split(folder, found, taken, splits, _BUILDERS)
    return [folder / file for file in own], notes


def check_alike(files: list[Path], columns: list[str]) -> None:
    """Raises ValueError: a file is damaged, lacks one of the columns, or lists other classes.

    `datasets` would read its numbers as the first file's classes.
    """
    first: dict[str, Any] | None = None
    for file in files:
        if kind(file.name) not in _SCHEMAS:
            return
        try:
            schema = _SCHEMAS[kind(file.name)](file)
            features = _datasets().Features.from_arrow_schema(schema)
        except Exception as error:  # all kinds, of datasets and pyarrow
            raise ValueError(f"{file}: {first_line(error)}") from None
        if not set(columns) <= set(features):
            raise ValueError(f"{file}: data.columns={columns}: it has {', '.join(features)}")
        classes = {name: getattr(features[name], "names", None) for name in columns}
        first = first or classes
        if classes != first:
            ours, theirs = (found[columns[1]] for found in (classes, first))
            raise ValueError(
                f"{file} has the classes {ours}, but {files[0].name} has {theirs}: save them with "
                "the same"
            )


def _parquet_schema(file: Path) -> Any:
    from pyarrow import parquet

    return parquet.read_schema(file)


def _arrow_schema(file: Path) -> Any:
    import pyarrow

    with pyarrow.memory_map(str(file)) as memory:
        try:
            return pyarrow.ipc.open_stream(memory).schema
        except pyarrow.ArrowInvalid:
            return pyarrow.ipc.open_file(memory).schema


_SCHEMAS = {".parquet": _parquet_schema, ".arrow": _arrow_schema}


def _place(name: str, split: str) -> str | None:
    """Returns the folder whose split a file belongs to; None: it is of no such split."""
    parts = Path(name).parts
    if kind(name) not in _BUILDERS or parts[-1].startswith("cache-"):  # as `datasets` calls its own
        return None
    if split in parts[:-1]:
        return str(Path(*parts[: parts.index(split)]))
    return str(Path(name).parent) if of_split(parts[-1], split) else None
