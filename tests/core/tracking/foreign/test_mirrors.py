import posixpath
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import core
from core.spec.errors import UserError
from core.spec.run.folder import RunDir
from core.spec.run.status import own_status
from core.tracking.foreign import mirrors, wandb
from core.tracking.foreign.mirrors import _mlflow_name, _MLflowNames, _replay, export_run
from core.tracking.foreign.runs import ForeignRun

POINTS = {"train/loss": [(1, 0.1), (2, 0.2)], "val/R@1": [(2, 0.5), (3, float("inf"))]}


def run_with_a_restart(folder: Path) -> RunDir:
    """A run whose points after step 2 are void."""
    run = core.start_run("first", {"lr": 0.1, "model": {"width": 8}}, project="p", folder=folder, system_seconds=0)
    run.log({"train/loss": 0.1}, step=1)
    run.log({"train/loss": 0.2, "val": {"R@1": 0.5}}, step=2)
    run.log({"train/loss": 9.0}, step=3)
    run.finish()
    again = core.start_run("first", run.config, project="p", folder=folder, resume_step=2, system_seconds=0)
    again.log({"val/R@1": float("inf")}, step=3)
    again.finish(failed="diverged")
    return RunDir(folder)


def test_tensorboard_reads_every_point(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    place = export_run(run_with_a_restart(tmp_path / "run"), "tensorboard", tmp_path / "out")
    events = accumulator.EventAccumulator(place)
    events.Reload()
    shown = {name: [(one.step, one.value) for one in events.Scalars(name)] for name in events.Tags()["scalars"]}
    assert shown == {name: [(step, float32(value)) for step, value in line] for name, line in POINTS.items()}
    with pytest.raises(UserError, match="already exists"):
        export_run(RunDir(tmp_path / "run"), "tensorboard", tmp_path / "out")


class Points(dict[int, float]):
    """A mirror that keeps the losses."""

    def log(self, step: int, wall_time: float, values: Mapping[str, float]) -> None:
        self[step] = values["loss"]

    def restart(self, step: int, wall_time: float) -> None: ...

    def close(self, failed: bool) -> None:
        self.closed_as_failed = failed


def test_following_ends_when_the_trainer_was_killed(tmp_path: Path) -> None:
    logged = core.start_run("killed", folder=tmp_path / "run", system_seconds=0, record_code=False)
    logged.log({"loss": 0.5}, step=1)
    logged.finish()
    run = RunDir(tmp_path / "run")
    *lines, _ending = run.events.read_bytes().splitlines(keepends=True)
    run.events.write_bytes(b"".join(lines))
    run.write_status(replace(own_status(), pid=2**31 - 9))
    points = Points()
    assert _replay(run, points, follow=True)
    assert points == {1: 0.5}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_ctrl_c_or_an_error_ends_an_export_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def interrupt(seconds: float) -> None:
        raise error

    run, points = core.start_run("going on", folder=tmp_path / "run", system_seconds=0, record_code=False), Points()
    monkeypatch.setattr(mirrors, "need", lambda extra: None)
    monkeypatch.setitem(mirrors.MIRRORS, "tensorboard", ("tensorboard", lambda *_arguments: (points, "")))
    monkeypatch.setattr(mirrors, "time", SimpleNamespace(sleep=interrupt))
    with pytest.raises(error):
        export_run(RunDir(run.folder), "tensorboard", tmp_path / "out", follow=True)
    run.finish()
    assert not points.closed_as_failed


def test_an_error_of_the_other_tool_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(*_arguments: object) -> Any:
        raise RuntimeError("the database is damaged")

    monkeypatch.setattr(mirrors, "need", lambda extra: None)
    monkeypatch.setitem(mirrors.MIRRORS, "mlflow", ("mlflow", make))
    with pytest.raises(UserError, match=r"mlflow cannot write .*out \(RuntimeError: the database is damaged\)"):
        export_run(run_with_a_restart(tmp_path / "run"), "mlflow", tmp_path / "out")


def float32(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("store", ["mlruns", "mlflow.db"])
def test_mlflow_reads_every_point(tmp_path: Path, store: str) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    run = run_with_a_restart(tmp_path / "run")
    place = export_run(run, "mlflow", tmp_path / store)
    uri = f"sqlite:///{tmp_path / store}" if store.endswith(".db") else (tmp_path / store).as_uri()
    client = tracking.MlflowClient(uri, uri)
    run_id = place.split()[-1].rstrip(")")
    assert (client.get_run(run_id).info.status, client.get_run(run_id).data.params["model.width"]) == ("FAILED", "8")
    for name, line in POINTS.items():
        history = client.get_metric_history(run_id, name.replace("@", "_"))
        assert [(one.step, one.value) for one in history] == [
            (step, min(value, 1.7976931348623157e308) if store.endswith(".db") else value) for step, value in line
        ]


def test_names_for_mlflow_are_paths_that_it_accepts() -> None:
    """Its file store writes a file for each name, and refuses a path that is not normal or leads outside."""
    names = ["R@1", "a/b", "../../x", "/etc/x", "a//b", "./a", "a/", "a/..", ""]
    assert [_mlflow_name(name) for name in names] == [
        "R_1", "a/b", "_/_/x", "_/etc/x", "a/_/b", "_/a", "a/_", "a/_", "_",
    ]  # fmt: skip
    assert all(posixpath.normpath(_mlflow_name(name)) == _mlflow_name(name) for name in names)


def test_names_that_mlflow_cannot_tell_apart_are_numbered() -> None:
    names = _MLflowNames()
    long = 249 * "x" + "@"
    logged = ["R@1", "R_1", "R_1_2", "R#1", "R@1", long + "1", long + "2"]
    sent = [names[name] for name in logged]
    assert sent[:5] == ["R_1", "R_1_2", "R_1_2_2", "R_1_3", "R_1"]
    assert len(set(sent)) == len(set(logged))
    assert max(map(len, sent)) <= 250


@pytest.mark.filterwarnings("ignore")
def test_wandb_reads_every_point(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    place = export_run(run_with_a_restart(tmp_path / "run"), "wandb", tmp_path / "out")
    (file,) = Path(place).glob("*.wandb")
    read: dict[str, list[Any]] = {}
    for part in wandb.read(ForeignRun("W&B", file, file.parent, "x", "y"), {}):
        for event in part.events:
            for name, value in event.values.items():  # type: ignore[attr-defined]
                read.setdefault(name, []).append((event.step, value))  # type: ignore[attr-defined]
    assert read == POINTS
