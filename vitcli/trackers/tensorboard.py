"""TensorBoard: event files, through tensorboard's own writer, which loads neither torch nor TF."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from vitcli.trackers import About

_FLUSH_SECONDS = 10
_NO_STUDY = "runs"


class Run:
    """A folder with an event file. A run that goes on writes all of its log anew, to a file that
    takes the place of the earlier one: each step is there once, as `metrics.jsonl` has it.
    """

    def start(self, about: About) -> int:
        """Opens the file; it holds no step."""
        folder = about.folder / "tensorboard" / (about.group or _NO_STUDY) / about.id
        earlier = list(folder.glob("events.out.tfevents.*"))
        self._writer: Any = EventFileWriter(str(folder), flush_secs=_FLUSH_SECONDS)
        for path in earlier:
            path.unlink()
        # A TensorBoard that has read the earlier file drops what it read.
        self._add(0, session_log=SessionLog(status=SessionLog.START))
        if about.config:
            rows = [f"    {key}: {json.dumps(value)}" for key, value in about.config.items()]
            self._summary(0, _text("config", "\n".join(rows)))
            started = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
            for key, value in about.config.items():
                _fill(started.hparams[key], value)
            data = plugin_data_pb2.HParamsPluginData(session_start_info=started)
            self._summary(0, _hparams(metadata.SESSION_START_INFO_TAG, data))
        self._writer.flush()
        return -1

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a scalar for each value."""
        self._summary(step, *(Summary.Value(tag=k, simple_value=v) for k, v in values.items()))

    def attach(self, report: Path) -> None:
        """Adds the page as text, and each figure that is a PNG."""
        values = [_text("report", (report / "report.md").read_text("utf-8"))]
        for path in sorted((report / "figures").glob("*.png")):
            png = path.read_bytes()
            width, height = struct.unpack(">II", png[16:24])  # of every PNG's first chunk
            image = Summary.Image(
                height=height, width=width, colorspace=4, encoded_image_string=png
            )
            values.append(Summary.Value(tag=f"figures/{path.stem}", image=image))
        self._summary(0, *values)

    def finish(self, state: str, step: int, final: Mapping[str, float]) -> None:
        """Adds the last numbers and how the run ended; closes the file."""
        self.log(step, final)
        how = api_pb2.STATUS_SUCCESS if state == "done" else api_pb2.STATUS_FAILURE
        ended = plugin_data_pb2.SessionEndInfo(status=how, end_time_secs=time.time())
        data = plugin_data_pb2.HParamsPluginData(session_end_info=ended)
        self._summary(step, _hparams(metadata.SESSION_END_INFO_TAG, data))
        self._writer.close()

    def _summary(self, step: int, *values: Any) -> None:
        self._add(step, summary=Summary(value=values))

    def _add(self, step: int, **what: Any) -> None:
        self._writer.add_event(Event(wall_time=time.time(), step=step, **what))


def _text(tag: str, text: str) -> Any:
    """Returns a value that TensorBoard shows as Markdown."""
    plugin = SummaryMetadata.PluginData(plugin_name="text")
    tensor = TensorProto(dtype="DT_STRING", string_val=[text.encode()])
    return Summary.Value(tag=tag, tensor=tensor, metadata=SummaryMetadata(plugin_data=plugin))


def _hparams(tag: str, data: Any) -> Any:
    """Returns a value of the table of settings."""
    return Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data))


def _fill(cell: Any, value: Any) -> None:
    if isinstance(value, bool):
        cell.bool_value = value
    elif isinstance(value, int | float):
        cell.number_value = value
    else:
        cell.string_value = value if isinstance(value, str) else json.dumps(value)
