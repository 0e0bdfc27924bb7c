"""Following a run on a machine and mirroring it, without a connection in between."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.remote import following as following_module
from core.remote.following import Follower, _FollowedRun
from core.remote.run_progress import WatchedRun
from core.remote.slurm import Slurm
from core.spec.errors import UserError
from core.spec.machines import mirror as mirror_module
from core.spec.machines.answers import Bytes, RemoteStatus, pack_bytes
from core.spec.machines.mirror import Mirror, digest_before
from core.spec.machines.record import RemoteRecord
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, RunStatus
from tests.core.remote.conftest import wait_for

RECORD = RemoteRecord(machine="far", folder="/there/one", token="t")
STATUS = RunStatus(pid=4, started=2.0, heartbeat=9.0, step=3, total_steps=9, doing="training", seconds_left=7.0)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "one")
    run.create()
    return run


def test_problems_of_following_are_reported_once(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(following_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    sent: list[dict[str, Any]] = []
    following = Follower(sent.append, Slurm())
    followed = _FollowedRun(WatchedRun(run, Slurm()), {})
    problem: list[Exception] = []

    def progress() -> RemoteStatus:
        if problem:
            raise problem[0]
        return RemoteStatus(folder="f", state=RunState.RUNNING)

    monkeypatch.setattr(followed.watched, "progress", progress)
    reported = []
    problems: list[Exception | None] = [
        UserError("no disk."), UserError("no disk."), OSError(5, "Input/output error"), None, ValueError("a bug")
    ]  # fmt: skip
    for now in problems:
        problem[:] = [now] if now else []
        clock[0] += 2.0
        sent.clear()
        following._poll(followed)
        reported.append([(one["event"], one.get("message")) for one in sent])
    assert reported == [
        [("trouble", "no disk.")],
        [],
        [("trouble", f"{run.path} cannot be read: Input/output error.")],
        [("run_status", None)],
        [("trouble", "ValueError: a bug")],
    ]
    following.stop()


# What is kept here
def part(at: int, data: bytes, restart: bool = False) -> Bytes:
    return Bytes(folder="f", file="events.jsonl", offset=at, data=pack_bytes(data), restart=restart)  # type: ignore[arg-type]


def test_a_mirror_reports_what_it_has_and_what_is_missing(run: RunDir) -> None:
    mirror = Mirror(run, RECORD)
    run.events.write_bytes(b"abc")
    mirror.gap = True
    offsets = mirror.offsets()["files"]
    assert offsets["events.jsonl"] == {"offset": 3, "digest": digest_before(run.events, 3)}
    assert offsets["stderr.log"] == {"offset": 0, "digest": ""}
    assert not mirror.gap, "following begins again from there"
    mirror.has_unlisted_checkpoints = False
    mirror.append(part(0, b"abcde"))  # what is here already is not written again
    mirror.append(part(2, b"cdef"))
    assert (run.events.read_bytes(), mirror.gap, mirror.has_unlisted_checkpoints) == (b"abcdef", False, False)
    mirror.append(part(6, b'{"kind":"checkpoint_saved"}\n'))
    assert mirror.has_unlisted_checkpoints, "the new checkpoint must be listed"
    mirror.append(part(0, b"new", restart=True))
    assert run.events.read_bytes() == b"new"
    mirror.append(part(3, b"er", restart=True))
    assert run.events.read_bytes() == b"newer", "its first bytes arrived before"
    mirror.append(part(9, b"later"))
    assert (run.events.read_bytes(), mirror.gap) == (b"newer", True)
    run.events.unlink()
    run.events.symlink_to(run.path / "elsewhere")
    mirror.gap = False
    mirror.append(part(0, b"x"))
    assert mirror.gap
    why = "Too many levels of symbolic links; make it writable, and following continues."
    assert mirror.problem == f"{run.events} cannot be written: {why}"
    assert not (run.path / "elsewhere").exists()
    run.events.unlink()
    mirror.append(part(0, b"x"))
    assert mirror.problem == ""
    mirror.close()


@pytest.mark.parametrize(
    ("remote_status", "shown"),
    [
        ({"state": "running", "age": 4.0, "status": STATUS}, ("training", 3, 9, 7.0, 4.0)),
        ({"state": "lost contact", "age": 50.0, "status": STATUS}, ("training", 3, 9, None, 50.0)),
        ({"state": "running", "age": 50.0, "status": STATUS, "scheduler": "RUNNING"}, ("training", 3, 9, 7.0, 0.0)),
        ({"state": "running", "age": -3.0, "status": STATUS}, ("training", 3, 9, 7.0, 0.0)),
        ({"state": "paused", "age": 50.0, "status": STATUS}, ("", 3, 9, None, 0.0)),
        ({"state": "starting", "note": "job 7 waits", "step": 2}, ("job 7 waits", 2, 0, None, 0.0)),
        ({"state": "starting", "status": STATUS}, ("starting", 3, 9, None, 0.0)),
        ({"state": "running", "step": 2}, ("", 2, 0, None, 0.0)),
    ],
)
def test_remote_progress_is_shown_by_the_local_clock(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, remote_status: dict[str, Any], shown: tuple[Any, ...]
) -> None:
    monkeypatch.setattr(mirror_module, "time", SimpleNamespace(time=lambda: 5000.0, monotonic=lambda: 1.0))
    mirror = Mirror(run, RECORD)
    found = RemoteStatus(folder="f", **remote_status)
    mirror.update_status(found)
    status = run.read_status()
    assert status is not None
    assert (status.doing, status.step, status.total_steps, status.seconds_left, 5000 - status.heartbeat) == shown
    assert (status.verdict, status.note, status.host) == (found.state.value, found.note, "far (remote)")
    assert (status.pid, status.started) == ((4, 2.0) if found.status else (0, 0.0))
    assert mirror.done == (found.state is RunState.DONE)
    mirror.close()


def test_an_invalid_job_file_does_not_end_the_following_of_other_runs(run: RunDir, tmp_path: Path) -> None:
    other = RunDir(tmp_path / "two")
    other.create()
    (run.path / "job.json").write_text('{"token": "t", "pid": -5, "started": 1.0, "result": "x"}')
    sent: list[dict[str, Any]] = []
    follower = Follower(sent.append, Slurm())
    follower.follow(str(run.path), {})
    wait_for(lambda: any(message["event"] == "trouble" for message in sent))
    follower.follow(str(other.path), {})
    wait_for(lambda: any(message["folder"] == str(other.path) for message in sent))
    follower.stop()
