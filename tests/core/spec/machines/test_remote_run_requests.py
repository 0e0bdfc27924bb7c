"""Runs on other machines without a line between: what is followed, passed on, handed over later and refused."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.spec.errors import UserError
from core.spec.machines.answers import CheckpointFacts, RemoteStatus, Submitted
from core.spec.machines.connection import ConnectionState
from core.spec.machines.mirror import Mirror
from core.spec.machines.record import RemoteRecord, read_record, remote_checkpoint, write_record
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.machines.ssh import ConnectionLost
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, RunStatus

RECORD = RemoteRecord(machine="far", folder="/there/one", token="t")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "one")
    run.create()
    return run


class Pretended:
    """A machine that keeps what it is asked; what it answers is settled by the test."""

    def __init__(self, name: str) -> None:
        self.machine, self.hello = SimpleNamespace(name=name, host="user@far"), SimpleNamespace(host="far-01")
        self.state = ConnectionState("ready")
        self.heard: list[tuple[Any, ...]] = []
        self.asked: list[Future[Any]] = []

    def _ask(self, *what: Any) -> Future[Any]:
        self.heard.append(what)
        self.asked.append(Future())
        return self.asked[-1]

    def submit(self, name: str, token: str, config: str, devices: Any, script: str, *_more: Any) -> Future[Any]:
        return self._ask("submit", name, bool(config), list(devices), script)

    def control(self, folder: str, what: str) -> Future[Any]:
        return self._ask("control", folder, what)

    def end(self, folder: str, how: str) -> Future[Any]:
        return self._ask("end", folder, how)

    def checkpoints(self, folder: str) -> Future[Any]:
        return self._ask("checkpoints", folder)

    def follow(self, folder: str, sink: Mirror) -> None:
        self.heard.append(("follow", folder))

    def unfollow(self, folder: str) -> None:
        self.heard.append(("unfollow", folder))


class Known:
    """Machines of which "far" is one."""

    def __init__(self) -> None:
        self.far = Pretended("far")

    def host(self, name: str) -> Pretended:
        if name != "far":
            raise UserError(f"there is no machine {name}.")
        return self.far

    def close(self) -> None:
        self.far.heard.append(("close",))


WORK = RemoteRuns._work


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> RemoteRuns:
    """Runs on pretended machines; what its thread does, the test does."""
    monkeypatch.setattr(RemoteRuns, "_work", lambda self: None)
    told: list[tuple[Path, str]] = []
    found = RemoteRuns(Known(), lambda folder, sentence: told.append((folder, sentence)))  # type: ignore[arg-type]
    found.told = told  # type: ignore[attr-defined]
    return found


def far(remote: RemoteRuns) -> Pretended:
    return remote.machines.far  # type: ignore[attr-defined,no-any-return]


def follow(remote: RemoteRuns, run: RunDir, record: RemoteRecord = RECORD) -> Any:
    write_record(run, record)
    remote.attach(run)
    return remote._attached[run.path]


def test_only_runs_known_to_the_machine_are_followed(remote: RemoteRuns, run: RunDir, tmp_path: Path) -> None:
    follow(remote, run)
    remote.attach(run)
    assert far(remote).heard == [("follow", "/there/one")], "once"
    for number, record in enumerate(
        (RECORD.model_copy(update={"waiting": True}), RECORD.model_copy(update={"folder": ""}))
    ):
        other = RunDir(tmp_path / str(number))
        other.create()
        follow(remote, other, record)
    plain = RunDir(tmp_path / "plain")
    plain.create()
    remote.attach(plain)
    assert plain.path not in remote._attached
    assert far(remote).heard == [("follow", "/there/one")]
    remote.detach(run)
    remote.detach(run)
    assert far(remote).heard == [("follow", "/there/one"), ("unfollow", "/there/one")]
    Mirror(run, RECORD).close()  # another program may follow it now
    remote.close()
    assert far(remote).heard[-1] == ("close",)


@pytest.mark.parametrize(
    ("verdict", "followed"),
    [("", True), ("running", True), ("interrupted", True), ("paused", True), ("failed", False), ("stopped", False)],
)
def test_unfinished_runs_are_followed(
    remote: RemoteRuns, run: RunDir, tmp_path: Path, verdict: str, followed: bool
) -> None:
    write_record(run, RECORD)
    run.write_status(RunStatus(pid=0, started=0.0, heartbeat=0.0, verdict=verdict))
    remote.attach_unsettled([tmp_path / "none", run.path])
    assert (run.path in remote._attached) is followed
    remote.close()


def test_a_request_is_sent_once_and_again_after_a_disconnect(remote: RemoteRuns, run: RunDir) -> None:
    one, host = follow(remote, run), far(remote)
    host.heard.clear()
    remote._forward_request(one)
    run.ask("pause")
    for _ in range(2):
        remote._forward_request(one)
    assert host.heard == [("control", "/there/one", "pause")]
    host.asked[-1].set_exception(ConnectionLost("The line is down."))
    assert run.asked() == "pause"
    remote._forward_request(one)
    assert len(host.heard) == 2
    host.asked[-1].set_result(RemoteStatus(folder="f", state=RunState.PAUSED))
    assert run.asked() is None, "it was heard"
    assert one.mirror.remote_status.state is RunState.PAUSED
    run.ask("stop")
    remote._forward_request(one)
    host.asked[-1].set_exception(UserError("There is no such run."))
    assert run.asked() is None
    assert remote.told == [(run.path, "There is no such run.")]  # type: ignore[attr-defined]
    remote.close()


def test_repeated_stop_requests_terminate_and_then_kill(remote: RemoteRuns, run: RunDir) -> None:
    one, host = follow(remote, run), far(remote)
    host.heard.clear()
    for number, answer in enumerate((None, ConnectionLost("down"), None, None, None)):
        run.ask("stop")
        os.utime(run.control, ns=(number, number))
        remote._forward_request(one)
        if answer is None:
            host.asked[-1].set_result(RemoteStatus(folder="f", state=RunState.RUNNING))
        else:
            host.asked[-1].set_exception(answer)
    assert [one[0] for one in host.heard] == ["control", "end", "end", "end", "end"]
    assert [one[2] for one in host.heard] == ["stop", "terminate", "terminate", "kill", "kill"]
    remote.close()


def test_an_answer_to_an_older_request_keeps_a_newer_one(remote: RemoteRuns, run: RunDir) -> None:
    one, host = follow(remote, run), far(remote)
    run.ask("pause")
    os.utime(run.control, ns=(5, 5))
    remote._forward_request(one)
    run.ask("stop")
    host.asked[-1].set_result(RemoteStatus(folder="f", state=RunState.RUNNING))
    assert run.asked() == "stop"
    remote._forward_request(one)
    assert host.heard[-1] == ("control", "/there/one", "stop")
    remote.close()


def test_pending_launches_are_sent_when_the_connection_is_up(remote: RemoteRuns, run: RunDir) -> None:
    one = follow(remote, run, RECORD.model_copy(update={"folder": "", "waiting": True, "devices": ["1"]}))
    host = far(remote)
    with pytest.raises(FileNotFoundError):  # what could not be asked is asked again
        remote._maintain(one)
    run.config.write_text("{}")
    remote._maintain(one)
    remote._maintain(one)
    assert host.heard == [("submit", "one", True, ["1"], "")], "once while no answer is there"
    host.asked[-1].set_exception(ConnectionLost("No route."))
    status = run.read_status()
    assert status is not None
    assert (status.verdict, status.note) == ("starting", "waiting for far: No route.")
    remote._maintain(one)
    host.asked[-1].set_result(Submitted(folder="/there/1"))
    record = read_record(run)
    assert record is not None
    assert (record.folder, record.computer, record.waiting) == ("/there/1", "far-01", False)
    assert host.heard[-1] == ("follow", "/there/1")
    remote._maintain(one)
    assert [what[0] for what in host.heard[-2:]] == ["follow", "checkpoints"]
    remote.close()


def test_a_launch_refused_later_is_no_longer_pending(remote: RemoteRuns, run: RunDir) -> None:
    run.config.write_text("{}")
    one = follow(remote, run, RECORD.model_copy(update={"waiting": True}))
    remote._maintain(one)
    assert far(remote).heard == [("submit", "one", False, [], "")], "it is there: it is resumed"
    far(remote).asked[-1].set_exception(UserError("It is no longer there."))
    record, status = read_record(run), run.read_status()
    assert record is not None
    assert status is not None
    assert not record.waiting
    assert (status.verdict, status.note) == ("interrupted", "It is no longer there.")
    remote.close()


def test_following_restarts_where_data_is_missing_and_lists_checkpoints(remote: RemoteRuns, run: RunDir) -> None:
    one, host = follow(remote, run), far(remote)
    host.heard.clear()
    one.mirror.gap = True
    remote._maintain(one)
    assert host.heard == [("follow", "/there/one")]
    one.mirror.gap = False
    host.state = ConnectionState("connecting")
    remote._maintain(one)
    assert len(host.heard) == 1, "nobody is there to list them"
    host.state = ConnectionState("ready")
    remote._maintain(one)
    remote._maintain(one)
    assert host.heard[1:] == [("checkpoints", "/there/one")], "once"
    host.asked[-1].set_exception(ConnectionLost("down"))
    remote._maintain(one)
    assert len(host.heard) == 3, "they are asked for again"
    found = [CheckpointFacts(name=f"step-{step:08d}", files=[]) for step in (2, 4)]
    host.asked[-1].set_result([found[0].model_copy(update={"pointers": ["best"]}), found[1]])
    remote._maintain(one)
    assert len(host.heard) == 3
    names = {which: remote_checkpoint(run, which) for which in ("best", "last", "", "2", "step-00000004", "3")}
    assert names == {
        "best": "step-00000002",
        "last": "step-00000004",
        "": "step-00000004",
        "2": "step-00000002",
        "step-00000004": "step-00000004",
        "3": "",
    }
    machines: Any = remote.machines
    machines.far = Pretended("far")
    remote._maintain(one)
    assert far(remote).heard == [("follow", "/there/one")], "its settings changed: it is another connection"
    remote.close()


def test_a_run_that_cannot_be_resumed_remotely_gives_the_reason(remote: RemoteRuns, run: RunDir) -> None:
    with pytest.raises(UserError, match="is not a remote run; resume it here"):
        remote.resume(run)
    with pytest.raises(UserError, match="has not reached its machine yet"):
        remote.resume_unfollowed(run)
    write_record(run, RECORD.model_copy(update={"folder": ""}))
    with pytest.raises(UserError, match="has not reached its machine yet"):
        remote.resume_unfollowed(run)
    write_record(run, RECORD.model_copy(update={"study": True}))
    for resume in (remote.resume, remote.resume_unfollowed):
        with pytest.raises(UserError, match="one is a run of a study; resume the study"):
            resume(run)
    assert far(remote).heard == []


def answering(host: Pretended, answer: Callable[[], Submitted]) -> None:
    """From now on it answers a submission at once."""

    def submit(name: str, token: str, config: str, devices: Any, script: str, timeout: float, code: Any) -> Future[Any]:
        asked = host._ask("submit", name, bool(config), list(devices), script)
        try:
            asked.set_result(answer())
        except UserError as error:
            asked.set_exception(error)
        return asked

    host.submit = submit  # type: ignore[method-assign]


def test_a_resumed_run_keeps_devices_and_script_unless_others_are_given(remote: RemoteRuns, run: RunDir) -> None:
    host = far(remote)
    answering(host, lambda: Submitted(folder="/there/one"))
    write_record(run, RECORD.model_copy(update={"devices": ["3"], "script": "#!old"}))
    run.ask("pause")
    remote.resume(run)
    assert run.asked() is None
    assert host.heard == [("submit", "one", False, ["3"], "#!old"), ("follow", "/there/one")]
    remote.resume(run, ["0", "1"], "")
    assert host.heard[2:] == [
        ("unfollow", "/there/one"),
        ("submit", "one", False, ["0", "1"], ""),
        ("follow", "/there/one"),
    ]
    tokens = {read_record(run).token}  # type: ignore[union-attr]
    remote.resume(run)
    assert read_record(run).token not in tokens | {"t"}, "a new request"  # type: ignore[union-attr]
    remote.close()


@pytest.mark.parametrize(("down", "error"), [(True, ConnectionLost("No route.")), (False, UserError("No room there."))])
def test_a_launch_waits_for_the_connection_and_a_refusal_undoes_it(
    remote: RemoteRuns, tmp_path: Path, down: bool, error: UserError
) -> None:
    def fails() -> Submitted:
        raise error

    answering(far(remote), fails)
    run = RunDir(tmp_path / "new")
    if down:
        remote.launch(run, "far", "{}", ["2"])
    else:
        with pytest.raises(UserError, match=r"No room there\."):
            remote.launch(run, "far", "{}", ["2"])
    assert (run.path in remote._attached) is down
    record, status = read_record(run), run.read_status()
    assert record is not None
    assert status is not None
    assert (record.waiting, record.devices, record.host) == (down, ["2"], "user@far")
    assert status.verdict == "starting"
    assert status.note == ("waiting for far: No route." if down else "sending to far")
    if down:
        assert not remote._attached[run.path].is_submitting, "it is tried again"
    remote.close()


def test_a_timeout_is_reported_with_its_machine(remote: RemoteRuns, run: RunDir, tmp_path: Path) -> None:
    write_record(run, RECORD)
    other = RunDir(tmp_path / "other")
    other.create()
    write_record(other, RECORD.model_copy(update={"machine": "gone", "waiting": True}))
    host = far(remote)
    host.state = ConnectionState("waiting", "No route to far.")
    assert remote.catch_up([run.path, other.path]) == {
        "far": "No route to far.",
        "gone": "there is no machine gone.",
    }
    host.state = ConnectionState("connecting")
    assert remote.catch_up([run.path], seconds=-1.0)["far"] == "it did not answer in time."
    remote.detach(other)
    done = RemoteStatus(folder="", state=RunState.DONE)
    threading.Timer(0.05, lambda: remote._attached[run.path].mirror.update_status(done)).start()
    assert remote.catch_up([run.path]) == {}, "it has answered"
    remote.close()
    assert json.loads(run.status.read_text())["verdict"] == "done"


def test_a_problem_with_one_run_is_reported_once_and_the_others_continue(
    remote: RemoteRuns, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = RunDir(tmp_path / "other")
    other.create()
    first, second = follow(remote, run), follow(remote, other)
    did: list[tuple[str, str]] = []

    def pass_on(one: Any) -> None:
        did.append(("passed on", one.mirror.run.path.name))
        if one is first:
            raise OSError("no disk")

    monkeypatch.setattr(remote, "_forward_request", pass_on)
    for name in ("_finish", "_maintain"):
        monkeypatch.setattr(remote, name, lambda one, name=name: did.append((name, one.mirror.run.path.name)))
    second.mirror.trouble = "no room."
    second.mirror.remote_status = RemoteStatus(folder="f", state=RunState.DONE)
    turns = iter([False] * 20 + [True])
    monkeypatch.setattr(remote._closing, "wait", lambda seconds: next(turns))
    WORK(remote)
    assert remote.told == [(run.path, "no disk"), (other.path, "no room.")]  # type: ignore[attr-defined]
    assert [did.count((what, "other")) for what in ("passed on", "_finish", "_maintain")] == [20, 20, 2]
    did.clear()
    second.is_finished = True
    turns = iter([False, True])
    WORK(remote)
    assert ("_finish", "other") not in did
    remote.close()
