"""Places of a study without a line to any: what is offered, asked again, fetched in parts, and why nothing is begun."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.spec.errors import UserError
from core.spec.machines.answers import DataFacts, Facts, Gpu, RemoteStatus
from core.spec.machines.connection import ConnectionState
from core.spec.machines.machine import Machine
from core.spec.machines.record import RemoteRecord, write_record
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, own_status
from core.spec.study import StudyDir, StudyRun
from core.studies.study.places import remote_job, remote_place, remote_step
from core.studies.study.places.remote_job import JobRequest
from core.studies.study.places.remote_place import KnownData, RemotePlace
from core.studies.study.places.remote_training import RemoteTraining

FAR = Machine(name="far", host="far", at_once=2)


class Asked:
    """A machine that keeps what it is asked; a test settles what it answers."""

    def __init__(self, machine: Machine = FAR) -> None:
        self.machine, self.state = machine, ConnectionState("ready")
        self.heard: list[tuple[Any, ...]] = []
        self.future: Future[Any] = Future()

    def _ask(self, *what: Any) -> Future[Any]:
        self.heard.append(what)
        self.future = Future()
        return self.future

    def submit_study(self, study: str, files: Any, what: Any, token: str, devices: Any) -> Future[Any]:
        return self._ask("submit", study, list(what), token, list(devices))

    def run_status(self, folder: str) -> Future[Any]:
        return self._ask("run_status", folder)

    def data_facts(self, paths: Any) -> Future[Any]:
        return self._ask("data", dict(paths))

    def probe(self) -> Future[Any]:
        return self._ask("probe")

    def end(self, folder: str, how: str) -> Future[Any]:
        return self._ask("end", folder, how)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    for module in (remote_job, remote_place):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(remote_place, "frozen_files", lambda study: {})
    return now


ORDER = JobRequest("s", {}, ["run", "a", "0", "9"], "t", ["1"])


def place(host: Asked, data: dict[str, str], known: KnownData | None = None) -> RemotePlace:
    """The machine of ``host``, for a study of these data and no arms."""
    remote: Any = SimpleNamespace(machines=SimpleNamespace(host=lambda name: host))
    study: Any = SimpleNamespace(data=data)
    return RemotePlace("far", remote, study, StudyDir(Path("/o")), "s", {} if known is None else known)


def facts(*gpus: Gpu) -> Facts:
    return Facts(host="far", gpus=list(gpus))


def test_without_gpus_the_machines_limit_applies_and_slurm_takes_more(clock: list[float]) -> None:
    host = Asked()
    far = place(host, {})
    far.offer()
    host.future.set_result(facts())
    offered = []
    for _ in range(3):
        offered.append(far.offer())
        far._busy.append("")
    assert offered == ["", "", None]
    cluster = place(Asked(FAR.model_copy(update={"launcher": "slurm"})), {})
    cluster._busy = ["" for _ in range(999)]
    assert cluster.offer() == ""
    cluster._busy.append("")
    assert cluster.offer() is None
    assert cluster.host.heard == [], "its scheduler knows what is free"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("answer", "known", "problem"),
    [
        (DataFacts(name="d", pairs=3, digest="x"), {}, ""),
        (DataFacts(name="d", pairs=3, digest="x"), {"d": ("here", DataFacts(name="d", pairs=3, digest="x"))}, ""),
        (
            DataFacts(name="d", pairs=3, digest="x"),
            {"d": ("here", DataFacts(name="d", pairs=4, digest="y"))},
            "the data d on far (3 rows) differs from the data on here (4 rows); copy the data to far, or do not use "
            "this machine.",
        ),
        (
            DataFacts(name="d", problem="It is gone."),
            {},
            "far cannot read the data d: It is gone; copy the data to the same path on far, or do not "
            "use this machine.",
        ),
    ],
)
def test_a_machine_is_used_when_its_data_match_the_study(
    clock: list[float], answer: DataFacts, known: KnownData, problem: str
) -> None:
    host = Asked()
    far = place(host, {"d": "/data/d.csv", "demo": "demo:shapes"}, known)
    far.offer()
    assert host.heard == [("data", {"d": "/data/d.csv"})], "a study renders its own"
    host.future.set_result([answer])
    assert far.offer() is None
    assert far.problem == problem
    if not problem:
        far.offer()
        assert host.heard[1:] == [("probe",)]
        assert known["d"][1].digest == "x"
        assert known["d"][0] in ("far", "here")


@pytest.mark.parametrize(("verdict", "stops"), [("", True), ("running", True), ("stopped", False), ("done", False)])
def test_a_run_left_in_training_by_a_killed_study_is_stopped(
    tmp_path: Path, clock: list[float], verdict: Any, stops: bool
) -> None:
    attached: list[RunDir] = []
    remote: Any = SimpleNamespace(machines=SimpleNamespace(host=lambda name: Asked()), attach=attached.append)
    study: Any = SimpleNamespace(data={})
    out = StudyDir(tmp_path)
    far = RemotePlace("far", remote, study, out, "s", {})
    run, folder = StudyRun(arm="a", seed=0, folder="runs/a-s0"), out.run("a", 0)
    folder.create()
    far.stop(run)
    assert attached == [], "it never started on the machine"
    write_record(folder, RemoteRecord(machine="far", folder="/there/a-s0", study=True))
    folder.write_status(replace(own_status(3, 9, "training"), verdict=verdict))
    far.stop(run)
    assert [run.path for run in attached] == [folder.path] * stops
    assert folder.pending_request() == ("stop" if stops else None)


class Timed:
    """A machine on which a step is timed; ``stands``: how that goes."""

    def __init__(self, *stands: RemoteStatus | UserError, offers: tuple[str | None, ...] = ("",)) -> None:
        self.problem, self.host, self._offers = "", Asked(), list(offers)
        self.stands = list(stands)

    def offer(self) -> str | None:
        return self._offers.pop(0)

    def request(self, what: list[str], device: str) -> JobRequest:
        return JobRequest("s", {}, what, "t", [device] if device else [])


@pytest.mark.parametrize(
    ("stands", "said", "written"),
    [
        ([RemoteStatus(folder="f", state=RunState.RUNNING), RemoteStatus(folder="f", state=RunState.DONE)], "", True),
        ([RemoteStatus(folder="f", state=RunState.FAILED, note="no room")], "no room", False),
        ([RemoteStatus(folder="f", state=RunState.INTERRUPTED)], "measuring the step time ended as interrupted", False),
        ([UserError("There is no such arm.")], "There is no such arm.", False),
    ],
)
def test_a_step_timed_remotely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stands: list[Any], said: str, written: bool
) -> None:
    left = list(stands)

    class Scripted:
        folder = "/there/step"

        def __init__(self, host: Any, order: JobRequest) -> None:
            assert (order.arguments, order.devices) == (["step", "a", "2"], ["1"])

        def poll(self) -> RemoteStatus:
            found = left.pop(0)
            if isinstance(found, UserError):
                raise found
            return found

    monkeypatch.setattr(remote_step, "RemoteJob", Scripted)
    monkeypatch.setattr(remote_step, "fetch_file", lambda *given: b"0.5")
    monkeypatch.setattr(remote_step, "_POLL_SECONDS", 0.0)
    out, ended, waited = StudyDir(tmp_path), threading.Event(), list[int]()
    out.times.mkdir(parents=True, exist_ok=True)
    place: Any = Timed(offers=(None, "1"))
    assert remote_step.measure_remotely(place, out, "a", 2, ended, lambda: waited.append(1)) == said
    assert out.step_time("a", 2).exists() is written
    assert len(waited) == len(stands)
    ended.set()
    left[:] = [RemoteStatus(folder="f", state=RunState.RUNNING)]
    place = Timed(offers=("1",))
    assert remote_step.measure_remotely(place, out, "a", 2, ended, lambda: None) == ""
    assert place.host.heard == [("end", "/there/step", "kill")], "it is ended with the study"
    place = Timed(offers=(None,))
    place.problem = "Another host key."
    assert remote_step.measure_remotely(place, out, "a", 2, threading.Event(), lambda: None) == "Another host key."


def test_a_remote_run_is_complete_locally_when_it_is_called_done(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.create()
    training: Any = SimpleNamespace(_dir=run)
    found = []
    for written, verdict in (
        (b"", ""),
        (b"12345", "done"),
        (b"123456", "running"),
        (b"123456", "done"),
        (b"1234567", "done"),
    ):
        if written:
            run.events.write_bytes(written)
            run.write_status(replace(own_status(), verdict=verdict))
        found.append(RemoteTraining._is_mirrored(training, 6))
    assert found == [False, False, False, True, True]
