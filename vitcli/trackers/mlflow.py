"""MLflow, through its own client: the server of MLFLOW_TRACKING_URI, else SQLite in outputs/."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from vitcli.trackers import ALONE, About

# Its defaults wait for minutes, tell others that it is used, and us each table that it makes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # each try would be a line
_TAG = "vitcli.run_id"  # MLflow gives its runs ids of its own; ours finds them
_ENDED = {"done": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
_PARAMS = 100  # in one call; MLflow takes no more


class Run:
    """A run of MLflow with our id as its name and a tag; its study is the experiment."""

    def start(self, about: About) -> int:
        """Begins the run or goes on with it; returns the last step that it holds, -1: none."""
        with _store(about.folder) as (uri, artifacts):
            self._client = MlflowClient(uri)
            experiment = self._experiment(about.group or ALONE, artifacts)
        query = f"tags.`{_TAG}` = '{about.id}'"
        if found := self._client.search_runs([experiment], query, max_results=1):
            self._id, known = found[0].info.run_id, found[0].data.params
            self._client.update_run(self._id, status="RUNNING")
        else:
            made = self._client.create_run(experiment, run_name=about.id, tags={_TAG: about.id})
            self._id, known = made.info.run_id, {}
        params = [Param(k, str(v)) for k, v in about.config.items() if k not in known]
        for first in range(0, len(params), _PARAMS):
            self._client.log_batch(self._id, params=params[first : first + _PARAMS])
        held = self._client.get_metric_history(self._id, "lr")  # every line has it
        return max((metric.step for metric in held), default=-1)

    def _experiment(self, name: str, artifacts: str | None) -> str:
        """Returns the id of the experiment; another process may make it at the same time."""
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, artifact_location=artifacts))
            except MlflowException:
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to each metric."""
        now = int(1000 * time.time())
        metrics = [Metric(key, value, now, step) for key, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def attach(self, report: Path) -> None:
        """Adds all of the folder as artifacts."""
        self._client.log_artifacts(self._id, str(report), "report")

    def finish(self, state: str, step: int, final: Mapping[str, float]) -> None:
        """Adds the last numbers, and how the run ended."""
        if final:
            self.log(step, final)
        self._client.set_terminated(self._id, _ENDED[state])


@contextmanager
def _store(folder: Path) -> Iterator[tuple[str | None, str | None]]:
    """Gives the store's URI and where its artifacts go, None: as MLflow itself finds them.

    Runs of a study begin together, and a SQLite store can be made by one process only.
    """
    if os.environ.get("MLFLOW_TRACKING_URI"):
        yield None, None
        return
    place = (folder / "mlflow").absolute()
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".lock", timeout=60):
        yield f"sqlite:///{place / 'mlflow.db'}", (place / "artifacts").as_uri()
