"""Exports runs to TensorBoard, MLflow and W&B with each tool's own library, afterwards or during training.

Flow: ``events.jsonl`` -> ``export_run`` replays it into a ``Mirror``; following a run is the same replay, continued
until the run ends. Each library is a separate extra. W&B is used offline; nothing is sent.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, Protocol

from core.spec.config import RunConfig
from core.spec.errors import UserError
from core.spec.installed import Extra, need
from core.spec.reading import excerpt
from core.spec.run.events import Evaluated, Event, EventReader, Metrics, RunFailed, RunFinished, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.logged import LoggedConfig, experiment_name, read_any_config, settings_of
from core.spec.run.status import derive_state

POLL_SECONDS = 0.5
_BATCH = 1000  # metrics of one call of MLflow, its maximum
_PARAMS_PER_CALL = 100


class Mirror(Protocol):
    """A run in another tool. ``restart``: points after this step are void."""

    def log(self, step: int, wall_time: float, values: Mapping[str, float]) -> None: ...

    def restart(self, step: int, wall_time: float) -> None: ...

    def close(self, failed: bool) -> None: ...


def export_run(run: RunDir, tool: str, output: Path, follow: bool = False) -> str:
    """Export ``run`` to ``tool`` in ``output`` and return the location. With ``follow``, export until the run ends.

    Raises UserError if the library is not installed or fails, or ``run`` cannot be read.
    """
    extra, make = MIRRORS[tool]
    need(extra)
    config = read_any_config(run.config)
    try:
        mirror, place = make(run, config, output)
        failed = False  # an error or Ctrl+C ends the export, not the run
        try:
            failed = _replay(run, mirror, follow)
        finally:
            mirror.close(failed)
    except (UserError, OSError):
        raise
    except Exception as error:  # the libraries have errors of their own, such as for a locked or damaged database
        reason = f"{type(error).__name__}: {excerpt(str(error))}"
        raise UserError(f"{tool} cannot write {excerpt(str(output))} ({reason}); choose another output.") from error
    return place


def _replay(run: RunDir, mirror: Mirror, follow: bool) -> bool:
    """Log every point that no later restart voids. Returns whether the run failed or was interrupted."""
    starts = [event.step for event in _events(run, RunStarted.kind) if isinstance(event, RunStarted)]
    # valid_up_to[k]: points logged after the k-th start are overwritten by a later start if their step is larger.
    valid_up_to = [min(starts[k:], default=1 << 62) for k in range(len(starts) + 1)]
    reader, starts_seen, ended, failed = EventReader(run.events), 0, False, False
    while True:
        is_alive = derive_state(run.read_status(), None).alive  # before reading, so that the last points are read
        while events := reader.read():
            for event in events:
                if isinstance(event, RunStarted):
                    starts_seen, ended, failed = starts_seen + 1, False, False
                    if starts_seen > len(starts):  # the run has started again
                        mirror.restart(event.step, event.time)
                elif isinstance(event, (Metrics, Evaluated)):
                    if event.step <= valid_up_to[min(starts_seen, len(starts))]:
                        mirror.log(event.step, event.time, event.values)
                elif isinstance(event, (RunFinished, RunFailed)):
                    ended, failed = True, isinstance(event, RunFailed)
        if ended or not follow:
            return failed
        if not is_alive:  # a killed trainer has recorded no end
            return True
        time.sleep(POLL_SECONDS)


def _events(run: RunDir, kind: str) -> Iterator[Event]:
    reader = EventReader(run.events, containing=[kind])
    before = -1
    while reader.offset != before:
        before = reader.offset
        yield from reader.read()


def _new_folder(output: Path, run: RunDir) -> Path:
    folder = output / run.path.name
    if folder.exists():
        raise UserError(f"{folder} already exists; remove it, or export to another folder.")
    folder.mkdir(parents=True)
    return folder


class _TensorBoard:
    def __init__(self, folder: Path, config: Mapping[str, Any], started: float) -> None:
        self._event = import_module("tensorboard.compat.proto.event_pb2")
        self._summary = import_module("tensorboard.compat.proto.summary_pb2")
        self._writer = import_module("tensorboard.summary.writer.event_file_writer").EventFileWriter(str(folder))
        hparams = import_module("tensorboard.plugins.hparams.summary_v2").hparams_pb
        plain = {name: v if isinstance(v, (bool, int, float, str)) else str(v) for name, v in config.items()}
        self._add(0, started, summary=hparams(plain, start_time_secs=started))

    def log(self, step: int, wall_time: float, values: Mapping[str, float]) -> None:
        value = self._summary.Summary.Value
        points = [value(tag=name, simple_value=number) for name, number in values.items()]
        self._add(step, wall_time, summary=self._summary.Summary(value=points))

    def restart(self, step: int, wall_time: float) -> None:
        session = self._event.SessionLog(status=self._event.SessionLog.START)
        self._add(step + 1, wall_time, session_log=session)
        self._writer.flush()

    def close(self, failed: bool) -> None:
        self._writer.close()

    def _add(self, step: int, wall_time: float, **what: Any) -> None:
        self._writer.add_event(self._event.Event(step=step, wall_time=wall_time, **what))


def _tensorboard(run: RunDir, config: RunConfig | LoggedConfig, output: Path) -> tuple[Mirror, str]:
    folder = _new_folder(output, run)
    return _TensorBoard(folder, settings_of(config), _start_time(run)), str(folder)


class _MLflow:
    def __init__(self, client: Any, run_id: str) -> None:
        self._client, self._run_id = client, run_id
        self._metric = import_module("mlflow.entities").Metric
        self._names = _MLflowNames()
        self._waiting: list[Any] = []
        self._ended = time.time()

    def log(self, step: int, wall_time: float, values: Mapping[str, float]) -> None:
        self._ended = wall_time
        for name, value in values.items():
            self._waiting.append(self._metric(self._names[name], value, round(wall_time * 1000), step))
        if len(self._waiting) >= _BATCH:
            self._flush()

    def restart(self, step: int, wall_time: float) -> None:
        """Does nothing, since MLflow keeps every logged point."""

    def close(self, failed: bool) -> None:
        self._flush()
        self._client.set_terminated(self._run_id, "FAILED" if failed else "FINISHED", round(self._ended * 1000))

    def _flush(self) -> None:
        while self._waiting:
            self._client.log_batch(self._run_id, metrics=self._waiting[:_BATCH])
            del self._waiting[:_BATCH]


def _mlflow(run: RunDir, config: RunConfig | LoggedConfig, output: Path) -> tuple[Mirror, str]:
    """A run in the store ``output``: a folder of files, or SQLite if the name ends in .db."""
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    store = f"sqlite:///{output.absolute()}" if output.suffix == ".db" else output.absolute().as_uri()
    client = import_module("mlflow.tracking").MlflowClient(tracking_uri=store, registry_uri=store)
    name = experiment_name(config)
    experiment = client.get_experiment_by_name(name)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(name)
    created = client.create_run(experiment_id, start_time=round(_start_time(run) * 1000), run_name=config.name)
    names = _MLflowNames()
    values = {names[name]: excerpt(str(value), 6000) for name, value in settings_of(config).items()}
    params, param = iter(values.items()), import_module("mlflow.entities").Param
    while chunk := list(islice(params, _PARAMS_PER_CALL)):
        client.log_batch(created.info.run_id, params=[param(key, value) for key, value in chunk])
    for tag in config.tags if isinstance(config, LoggedConfig) else ():
        client.set_tag(created.info.run_id, _mlflow_name(tag), "")
    return _MLflow(client, created.info.run_id), f"{output} (run {created.info.run_id})"


def _mlflow_name(name: str) -> str:
    """A name that MLflow accepts: letters, digits and ``_-. :``, in a relative path without ``..``.

    "R@1" becomes "R_1", and "../x" becomes "_/x".
    """
    allowed = re.sub(r"[^\w\-. :/]", "_", name)
    parts = ("_" if part in ("", ".", "..") else part for part in allowed.split("/"))
    path = "/".join(f"_{part}" if part.startswith("..") else part for part in parts)
    return path[:250].rstrip("/")


class _MLflowNames(dict[str, str]):
    """MLflow's name of each of our names. Those that would become equal are numbered: "R_1" and "R_1_2"."""

    def __init__(self) -> None:
        super().__init__()
        self._taken: set[str] = set()

    def __missing__(self, name: str) -> str:
        accepted = _mlflow_name(name)
        numbered = (f"{accepted[:240]}_{number}" for number in count(2))
        self[name] = unique = next(each for each in chain([accepted], numbered) if each not in self._taken)
        self._taken.add(unique)
        return unique


class _WandB:
    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, step: int, wall_time: float, values: Mapping[str, float]) -> None:
        self._run.log({**values, "_timestamp": wall_time}, step=step)

    def restart(self, step: int, wall_time: float) -> None:
        """Does nothing: an offline run cannot go back, and W&B warns about points that it omits."""

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=1 if failed else 0)


def _wandb(run: RunDir, config: RunConfig | LoggedConfig, output: Path) -> tuple[Mirror, str]:
    library = import_module("wandb")
    output.mkdir(parents=True, exist_ok=True)
    settings = library.Settings(mode="offline", console="off", silent=True, x_disable_stats=True, disable_git=True)
    created = library.init(
        dir=str(output),
        project=_wandb_name(experiment_name(config)),
        name=config.name,
        tags=config.tags[:20] if isinstance(config, LoggedConfig) else None,
        config=config.config if isinstance(config, LoggedConfig) else config.model_dump(mode="json"),
        settings=settings,
    )
    return _WandB(created), str(Path(created.dir).parent)


def _wandb_name(name: str) -> str:
    """A project name without ``/\\#?%:``, which W&B does not allow."""
    return re.sub(r"[/\\#?%:]", "-", name)[:128]


def _start_time(run: RunDir) -> float:
    return next((event.time for event in _events(run, RunStarted.kind)), time.time())


MIRRORS: dict[str, tuple[Extra, Callable[[RunDir, RunConfig | LoggedConfig, Path], tuple[Mirror, str]]]] = {
    "tensorboard": ("tensorboard", _tensorboard),
    "mlflow": ("mlflow", _mlflow),
    "wandb": ("wandb", _wandb),
}
