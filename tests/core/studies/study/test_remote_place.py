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
from core.spec.machines.answers import Chunk, DataFacts, Facts, Gpu, RemoteStatus, Submitted, pack_bytes
from core.spec.machines.connection import ConnectionState
from core.spec.machines.machine import Machine
from core.spec.machines.record import RemoteRecord, read_record, write_record
from core.spec.machines.ssh import ConnectionLost, MachineRefused
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, own_status
from core.spec.study import StudyDir
from core.spec.study.folder import StudyRun
from core.studies.study.places import remote_job, remote_place, remote_step
from core.studies.study.places.local_place import LocalPlace
from core.studies.study.places.place import trained_on
from core.studies.study.places.remote_job import JobRequest, RemoteJob, fetch_file
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


def test_a_task_is_resubmitted_until_confirmed_and_then_polled(clock: list[float]) -> None:
    host = Asked()
    work = RemoteJob(host, ORDER)  # type: ignore[arg-type]
    assert work.is_unsent
    assert work.poll() is None
    assert not work.is_unsent
    host.state = ConnectionState("waiting", "No route.")
    assert work.poll() is None
    assert work.trouble == "No route."
    host.state = ConnectionState("ready", "odd")
    work.poll()
    assert work.trouble == ""
    host.future.set_exception(ConnectionLost("It was cut."))
    assert work.poll() is None
    assert (work.trouble, work.is_unsent) == ("It was cut.", True)
    work.poll()
    assert host.heard == [("submit", "s", ["run", "a", "0", "9"], "t", ["1"])] * 2, "with the same token"
    host.future.set_result(Submitted(folder="/there"))
    assert work.poll() is None
    assert (work.trouble, work.folder, work.is_unsent) == ("", "/there", False)
    work.poll()
    stands = RemoteStatus(folder="/there", state=RunState.RUNNING)
    host.future.set_result(stands)
    assert work.poll() is stands
    for error, seconds in ((UserError("No memory."), 1.0), (MachineRefused("Other key."), 30.0)):
        work.poll()
        host.future.set_exception(error)
        assert work.poll() is None
        assert work.trouble == str(error)
        asked = len(host.heard)
        clock[0] += seconds - 0.1
        work.poll()
        assert len(host.heard) == asked, "not at once"
        clock[0] += 0.2
        work.poll()
        assert host.heard[asked:] == [("run_status", "/there")]
        host.future.set_result(stands)
        work.poll()


def test_a_refused_start_is_final(clock: list[float]) -> None:
    work = RemoteJob(Asked(), ORDER)  # type: ignore[arg-type]
    work.poll()
    work.host.future.set_exception(UserError("There is no such arm."))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="no such arm"):
        work.poll()


def reading(*answers: bytes | Exception, size: int = 6) -> Any:
    """A machine that answers the parts of a file one after another."""
    asked: list[int] = []
    left = list(answers)

    def read(folder: str, file: str, offset: int, length: int, timeout: float) -> Future[Any]:
        asked.append(offset)
        future: Future[Any] = Future()
        answer = left.pop(0)
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(Chunk(data=pack_bytes(answer), size=size, stamp=1))  # type: ignore[arg-type]
        return future

    return SimpleNamespace(read=read, asked=asked, machine=FAR)


def test_a_file_is_fetched_across_disconnects_and_within_bounds() -> None:
    host = reading(b"ab", ConnectionLost("cut"), b"cd", b"ef")
    assert fetch_file(host, "/there", "x.json", 6, lambda: False) == b"abcdef"
    assert host.asked == [0, 2, 2, 4]
    assert fetch_file(reading(b"ab", b""), "/there", "x.json", 6, lambda: False) == b"ab", "it was cut off there"
    for host in (reading(b"a", size=7), reading(b"abcdefg", size=6)):
        with pytest.raises(UserError, match=r"x\.json of /there on far has more than 0 MB"):
            fetch_file(host, "/there", "x.json", 6, lambda: False)
    with pytest.raises(ConnectionLost):
        fetch_file(reading(ConnectionLost("cut")), "/there", "x.json", 6, lambda: True)


def place(host: Asked, data: dict[str, str], known: KnownData | None = None) -> RemotePlace:
    """The machine of ``host``, for a study of these data and no arms."""
    remote: Any = SimpleNamespace(machines=SimpleNamespace(host=lambda name: host))
    study: Any = SimpleNamespace(data=data)
    return RemotePlace("far", remote, study, StudyDir(Path("/o")), "s", {} if known is None else known)


def facts(*gpus: Gpu) -> Facts:
    return Facts(host="far", gpus=list(gpus))


def test_a_machine_offers_an_idle_gpu_once_it_has_answered(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    host = Asked()
    far = place(host, {})
    assert far.offer() is None
    assert host.heard == [("probe",)]
    host.future.set_result(facts(Gpu(index=0, users=["x"]), Gpu(index=1), Gpu(index=2)))
    assert far.offer() == "1"
    clock[0] += 1.0
    assert far.offer() == "1"
    assert host.heard == [("probe",)], "what is known is fresh"
    monkeypatch.setattr(remote_place, "RemoteTraining", lambda *given: given)
    run = SimpleNamespace(arm="a", seed=3)
    first = far.begin(run, 90, "1")  # type: ignore[arg-type]
    order, freed = first[5], first[6]  # type: ignore[index]
    assert (order.study, order.arguments, order.devices) == ("s", ["run", "a", "3", "90"], ["1"])
    assert order.token != far.request(["step"]).token
    assert far.request(["step"]).devices == []
    assert far.offer() == "2"
    far.begin(run, 90, "2")  # type: ignore[arg-type]
    assert far.offer() is None
    freed()
    assert far.offer() == "1"
    clock[0] += 1.0
    far.offer()
    assert len(host.heard) == 2, "it is asked again before what is known is old"
    clock[0] += 1.5
    assert far.offer() is None, "what is known is too old"


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


def test_an_unreachable_machine_is_retried_and_a_refusing_one_is_not(clock: list[float]) -> None:
    host = Asked()
    far = place(host, {})
    far.offer()
    host.state = ConnectionState("waiting", "No route.")
    far.offer()
    assert far.trouble == "No route."
    host.future.set_exception(ConnectionLost("It was cut."))
    far.offer()
    assert far.trouble == "It was cut."
    clock[0] += 4.9
    far.offer()
    assert len(host.heard) == 1
    clock[0] += 0.2
    far.offer()
    assert len(host.heard) == 2
    host.future.set_result(facts(Gpu(index=0)))
    assert far.offer() == "0"
    assert far.trouble == ""
    clock[0] += 2.0
    far.offer()
    host.future.set_exception(MachineRefused("Another host key."))
    assert far.offer() is None
    assert far.problem == "Another host key."


@pytest.mark.parametrize(
    ("answer", "known", "problem"),
    [
        (DataFacts(name="d", pairs=3, digest="x"), {}, ""),
        (DataFacts(name="d", pairs=3, digest="x"), {"d": ("here", DataFacts(name="d", pairs=3, digest="x"))}, ""),
        (
            DataFacts(name="d", pairs=3, digest="x"),
            {"d": ("here", DataFacts(name="d", pairs=4, digest="y"))},
            "the data d on far (3 rows) differ from those on here (4 rows); copy the data there, or leave far out.",
        ),
        (
            DataFacts(name="d", problem="It is gone."),
            {},
            "far cannot read the data d: It is gone; copy the data to the same path there, or leave far out.",
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


def test_local_devices_are_taken_and_returned(tmp_path: Path) -> None:
    out = StudyDir(tmp_path)
    run: Any = SimpleNamespace(arm="a", seed=0)
    assert (LocalPlace(out, 3).jobs, LocalPlace(out, 0).jobs, LocalPlace(out, 1, ["4", "6"]).jobs) == (3, 1, 2)
    here = LocalPlace(out, 5, ["4", "6"])
    assert here.offer() == "4"
    here._free.clear()
    assert here.offer() is None
    folder = out.run("a", 0)
    folder.create()
    assert here.finish(run, "6", 3).problem == "the trainer exited unexpectedly with status 3"
    assert here.offer() == "6"
    folder.stderr.write_text("first\nlast\n")
    assert here.finish(run, "4", 0).problem == "last", "it left no measures"
    out.measures("a", 0).parent.mkdir(parents=True, exist_ok=True)
    out.measures("a", 0).write_text("{}")
    assert here.finish(run, "4", 0).problem == ""
    assert here.finish(run, "4", 1).problem == "last"
    trained = []
    for step, total, doing in ((3, 9, "saving"), (9, 9, "training"), (9, 9, "saving"), (0, 0, "saving")):
        folder.write_status(replace(own_status(), step=step, total_steps=total, doing=doing))
        trained.append(here.is_trained(run))
    assert trained == [False, False, True, False]


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


def test_a_local_run_is_one_that_left_files(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.create()
    assert trained_on(run) is None
    for path in (run.events, run.checkpoints / "x", run.exports / "measures.json"):
        path.write_text("")
        assert trained_on(run) == ""
        path.unlink()
    write_record(run, RemoteRecord(machine="far"))
    assert trained_on(run) == "far"


def test_an_earlier_request_to_a_run_is_not_repeated(tmp_path: Path) -> None:
    out, run = StudyDir(tmp_path / "out"), StudyRun(arm="a", seed=0, folder="runs/a-s0")
    mirror = out.run("a", 0)
    mirror.create()
    mirror.control.write_text("stop")
    begun: Any = RemoteTraining
    begun(SimpleNamespace(), Asked(), SimpleNamespace(), out, run, ORDER, lambda: None)
    assert not mirror.control.exists()
    record = read_record(mirror)
    assert record is not None
    assert (record.machine, record.token, record.waiting, record.study) == ("far", ORDER.token, True, True)


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
