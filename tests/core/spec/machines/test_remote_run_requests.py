"""Launching and resuming runs on fake machines: pending, refused and repeated requests."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.spec.errors import UserError
from core.spec.machines.answers import Submitted
from core.spec.machines.connection import ConnectionState
from core.spec.machines.mirror import Mirror
from core.spec.machines.record import RemoteRecord, read_record, write_record
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.machines.ssh import ConnectionLost
from core.spec.run.folder import RunDir

RECORD = RemoteRecord(machine="far", folder="/there/one", token="t")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "one")
    run.create()
    return run


class FakeHost:
    """A fake machine that records requests; the test settles the answers."""

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


class FakeMachines:
    """Machines that include "far"."""

    def __init__(self) -> None:
        self.far = FakeHost("far")

    def host(self, name: str) -> FakeHost:
        if name != "far":
            raise UserError(f"there is no machine {name}.")
        return self.far

    def close(self) -> None:
        self.far.heard.append(("close",))


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> RemoteRuns:
    """Runs on fake machines, without a thread: tests call its work."""
    monkeypatch.setattr(RemoteRuns, "_work", lambda self: None)
    messages: list[tuple[Path, str]] = []
    remote_runs = RemoteRuns(FakeMachines(), lambda folder, sentence: messages.append((folder, sentence)))  # type: ignore[arg-type]
    remote_runs.messages = messages  # type: ignore[attr-defined]
    return remote_runs


def far(remote: RemoteRuns) -> FakeHost:
    return remote.machines.far  # type: ignore[attr-defined,no-any-return]


def follow(remote: RemoteRuns, run: RunDir, record: RemoteRecord = RECORD) -> Any:
    write_record(run, record)
    remote.attach(run)
    return remote._attached[run.path]


def test_a_launch_refused_later_is_no_longer_pending(remote: RemoteRuns, run: RunDir) -> None:
    run.config.write_text("{}")
    one = follow(remote, run, RECORD.model_copy(update={"waiting": True}))
    remote._maintain(one)
    assert far(remote).heard == [("submit", "one", False, [], "")], "the run exists, so it is resumed"
    far(remote).asked[-1].set_exception(UserError("It is no longer there."))
    record, status = read_record(run), run.read_status()
    assert record is not None
    assert status is not None
    assert not record.waiting
    assert (status.verdict, status.note) == ("interrupted", "It is no longer there.")
    remote.close()


def test_a_run_that_cannot_be_resumed_remotely_gives_the_reason(remote: RemoteRuns, run: RunDir) -> None:
    with pytest.raises(UserError, match="is not a remote run; resume it on this computer"):
        remote.resume(run)
    with pytest.raises(UserError, match="has not been submitted to its machine yet"):
        remote.resume_without_following(run)
    write_record(run, RECORD.model_copy(update={"folder": ""}))
    with pytest.raises(UserError, match="has not been submitted to its machine yet"):
        remote.resume_without_following(run)
    write_record(run, RECORD.model_copy(update={"study": True}))
    for resume in (remote.resume, remote.resume_without_following):
        with pytest.raises(UserError, match="one is a run of a study; resume the study"):
            resume(run)
    assert far(remote).heard == []


def answering(host: FakeHost, answer: Callable[[], Submitted]) -> None:
    """Answer submissions immediately from now on."""

    def submit(name: str, token: str, config: str, devices: Any, script: str, timeout: float, code: Any) -> Future[Any]:
        asked = host._ask("submit", name, bool(config), list(devices), script)
        try:
            asked.set_result(answer())
        except UserError as error:
            asked.set_exception(error)
        return asked

    host.submit = submit  # type: ignore[method-assign]


def test_a_resumed_run_keeps_its_script_and_its_devices_unless_others_are_given(
    remote: RemoteRuns, run: RunDir
) -> None:
    host = far(remote)
    answering(host, lambda: Submitted(folder="/there/one"))
    write_record(run, RECORD.model_copy(update={"devices": ["3"], "script": "#!old"}))
    run.ask("pause")
    remote.resume(run)
    assert run.pending_request() is None
    assert host.heard == [("submit", "one", False, ["3"], "#!old"), ("follow", "/there/one")]
    remote.resume(run, ["0", "1"])
    assert host.heard[2:] == [
        ("unfollow", "/there/one"),
        ("submit", "one", False, ["0", "1"], "#!old"),
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
        assert not remote._attached[run.path].is_submitting, "the request is repeated"
    remote.close()
