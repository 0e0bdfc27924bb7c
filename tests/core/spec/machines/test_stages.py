"""What follows when a run elsewhere is done, and that a run is handed over once at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.spec.machines import remote_runs
from core.spec.machines.answers import Submitted
from core.spec.machines.record import write_record
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.run.folder import RunDir
from core.spec.run.status import RunStatus
from tests.core.spec.machines.test_remote_run_requests import RECORD, answering, far, follow, remote, run

__all__ = ["remote", "run"]  # the fixtures


def test_the_next_stage_is_followed_and_the_ensemble_fetched(
    remote: RemoteRuns, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, begun, fetched = RunDir(tmp_path / "stage"), list[Path](), list[Path]()
    stage.create()
    write_record(stage, RECORD)
    remote._begun = begun.append
    monkeypatch.setattr(remote_runs, "next_stage", lambda one: stage if one.path == run.path else None)
    monkeypatch.setattr(remote_runs, "fetch_ensemble", lambda host, one: fetched.append(one.path))
    write_record(run, RECORD)
    run.write_status(RunStatus(pid=0, started=0.0, heartbeat=0.0, verdict="done"))
    remote.attach_unsettled([run.path])
    assert set(remote._attached) == {stage.path}, "nothing more is expected of the first"
    assert begun == [stage.path]
    one = follow(remote, run)
    remote.detach(stage)
    remote._finish(one)
    assert one.is_finished
    assert begun == [stage.path, stage.path]
    assert stage.path in remote._attached
    assert fetched == [run.path]
    remote._finish(remote._attached[stage.path])
    assert len(begun) == 2, "it is the last"
    remote.close()


def test_a_run_is_handed_over_by_one_caller_at_a_time(remote: RemoteRuns, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "new")
    meanwhile: list[int] = []

    def answer() -> Submitted:
        one = remote._attached[run.path]
        remote._maintain(one)
        meanwhile.append(len(far(remote).heard))
        return Submitted(folder="/there/new")

    answering(far(remote), answer)
    remote.launch(run, "far", "{}")
    assert meanwhile == [1], "its machine was asked once"
    assert not remote._attached[run.path].is_submitting
    remote.close()
    assert remote._closing.is_set()


def test_invalid_requests_are_not_sent(remote: RemoteRuns, run: RunDir) -> None:
    one = follow(remote, run)
    asked = len(far(remote).heard)
    run.control.write_text("dance")
    remote._forward_request(one)
    assert len(far(remote).heard) == asked
    run.ask("stop")
    remote._forward_request(one)
    assert far(remote).heard[asked:] == [("control", "/there/one", "stop")]
    remote.close()
