"""What the queue is told of other machines: how old an answer may be, who is asked when, and images that are away."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from core.spec.machines.answers import Facts, Gpu
from core.spec.machines.connection import ConnectionState
from core.spec.machines.machine import LOCAL, Machine
from core.spec.machines.record import RemoteRecord, write_record
from core.spec.run.folder import RunDir
from sdgui.runs.machines import hosts as hosts_module
from sdgui.runs.machines.hosts import Hosts
from sdgui.runs.machines.slots import UNLIMITED, MachineSlots
from sdgui.store.queue import Slots
from sdgui.store.records import THIS_COMPUTER, Place

MACHINES = {
    one.name: one
    for one in (
        Machine(name="near", host="near", at_once=4),
        Machine(name="team", host="team", launcher="torchrun", processes=2),
        Machine(name="cluster", host="cluster", launcher="slurm"),
    )
}


def answered(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    if isinstance(value, Exception):
        future.set_exception(value)
    else:
        future.set_result(value)
    return future


class Pretended:
    """Machines that answer at once with ``facts``, or with an error."""

    def __init__(self) -> None:
        self.facts: Any = Facts(host="h", gpus=[Gpu(index=0), Gpu(index=1, users=["python (7)"]), Gpu(index=2)])
        self.kinds: dict[str, ConnectionState] = {}
        self.asked: list[str] = []
        self.sent: dict[str, Any] = {}
        self.list = SimpleNamespace(find=self._find, remove=lambda name: None, put=lambda machine: None)

    def _find(self, name: str) -> Machine:
        if name not in MACHINES:
            raise UserError(f"there is no machine {name}")
        return MACHINES[name]

    def states(self) -> dict[str, ConnectionState]:
        return self.kinds

    def host(self, name: str) -> Any:
        def probe() -> Future[Any]:
            self.asked.append(name)
            return answered(self.facts)

        def answer(*asked: Any, **more: Any) -> Future[Any]:
            self.asked.append(f"{name}{asked}{more}")
            return answered(self.sent)

        if name == "nobody":
            raise UserError("there is no machine nobody")
        return SimpleNamespace(probe=probe, check=answer, check_data=answer, script=answer)


@pytest.fixture
def machines() -> Pretended:
    return Pretended()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(hosts_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def hosts(tmp_path: Path, machines: Pretended, clock: list[float], qtbot: QtBot) -> Hosts:
    made = Hosts(tmp_path)
    made.machines = machines  # type: ignore[assignment]
    return made


def heard(signal: Any) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    signal.connect(lambda *what: found.append(what))
    return found


@pytest.mark.parametrize(
    ("name", "slots"),
    [
        ("near", Slots(("0", "1", "2"), 4, frozenset({"1"}), 1)),
        ("team", Slots(("0", "1", "2"), 1, frozenset({"1"}), 2)),
        ("cluster", Slots(at_once=UNLIMITED)),
        ("nobody", None),
    ],
)
def test_slots_of_machines(hosts: Hosts, machines: Pretended, name: str, slots: Slots | None) -> None:
    assert hosts.slots(name) == slots
    assert machines.asked == ([name] if name in ("near", "team") else []), "a scheduler keeps a queue of its own"
    machines.facts = UserError("it does not answer")
    hosts._facts.clear()
    assert hosts.slots(name) == (slots if name == "cluster" else None)
    machines.facts = Facts(host="h")
    if name == "team":
        assert hosts.slots(name) == Slots((), 1, frozenset(), 1), "without a GPU, one process"


def test_a_machine_is_asked_again_when_its_answer_is_old(hosts: Hosts, machines: Pretended, clock: list[float]) -> None:
    for seconds, asked in ((0.0, 1), (1.9, 1), (2.0, 2), (3.9, 2), (4.0, 3)):
        clock[0] = 1000.0 + seconds
        assert hosts.slots("near") is not None
        assert len(machines.asked) == asked
    assert hosts.facts("near") == machines.facts
    assert hosts.facts("team") is None


@pytest.mark.parametrize("kind", ["waiting", "refused"])
def test_an_unreachable_machine_is_retried_seldom_and_never_waited_for(
    hosts: Hosts, machines: Pretended, clock: list[float], kind: str
) -> None:
    machines.kinds["near"] = ConnectionState(kind)
    refused = heard(hosts.refused)
    machines.facts = UserError("no route")
    for seconds, asked in ((0.0, 1), (5.0, 1), (10.0, 1), (10.1, 2), (20.1, 2), (20.2, 3)):
        clock[0] = 1000.0 + seconds
        assert hosts.slots("near") is None
        assert len(machines.asked) == asked
    assert refused == [("near", "no route")] * 3
    machines.kinds["near"] = ConnectionState("ready")
    machines.facts = Facts(host="h")
    assert hosts.slots("near") == Slots((), 4, frozenset(), 1)


def test_local_gpus_are_queried_where_there_may_be_any(hosts: Hosts, machines: Pretended) -> None:
    hosts._has_gpus = False
    assert hosts.local_gpus() == ()
    assert machines.asked == []
    hosts._has_gpus = True
    assert [gpu.index for gpu in hosts.local_gpus()] == [0, 1, 2]
    assert machines.asked == [LOCAL]
    machines.facts = UserError("nvml is broken")
    hosts._facts.clear()
    assert hosts.local_gpus() == ()


def test_a_removed_machine_is_no_place_any_longer(hosts: Hosts) -> None:
    hosts.slots("near")
    places = heard(hosts.place_changed)
    hosts.set_place(Place("near", "1"))
    hosts.remove("team")
    assert hosts.place == Place("near", "1")
    hosts.remove("near")
    assert hosts.place == THIS_COMPUTER
    assert places == [(Place("near", "1"),), (THIS_COMPUTER,)]
    assert hosts.facts("near") is None


def test_every_request_is_answered_or_refused_with_its_machine(hosts: Hosts, machines: Pretended) -> None:
    told = [heard(signal) for signal in (hosts.probed, hosts.checked, hosts.scripted, hosts.refused)]
    machines.sent = "an answer"  # type: ignore[assignment]
    for name in ("near", "nobody"):
        hosts.probe(name)
        hosts.check(name, "a config")
        hosts.script(name)
    assert told[:3] == [[("near", machines.facts)], [("near", machines.sent)], [("near", machines.sent)]]
    assert told[3] == [("nobody", "there is no machine nobody")] * 3
    assert machines.asked[1] == "near('a config',){}"
    assert hosts.facts("near") is machines.facts
    assert hosts.facts("nobody") is None
    data: list[Any] = []
    for name in ("near", "nobody"):
        hosts.check_data(name, "{}", data.append, lambda error: data.append(str(error)))
    assert data == [machines.sent, "there is no machine nobody"]


def test_a_run_known_to_its_machine_is_resumed_and_another_launched(
    hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []
    for name in ("resume", "launch", "attach_unsettled", "attach"):
        monkeypatch.setattr(hosts.runs, name, lambda *given, name=name: asked.append((name, *given)))
    run = SimpleNamespace(
        dir=RunDir(tmp_path / "one"), folder=tmp_path / "one", machine="near", devices="0,2", is_local=True
    )
    plain = SimpleNamespace(
        dir=RunDir(tmp_path / "plain"), folder=tmp_path / "plain", machine="", devices="", is_local=True
    )
    for one in (run, plain):
        one.dir.create()
    hosts.start(run, "{}")  # type: ignore[arg-type]
    write_record(run.dir, RemoteRecord(machine="near", waiting=True))
    hosts.start(run, "{}")  # type: ignore[arg-type]
    write_record(run.dir, RemoteRecord(machine="near", folder="/there/one"))
    hosts.start(run, "{}")  # type: ignore[arg-type]
    launched = ("launch", run.dir, "near", "{}", ["0", "2"])
    assert asked == [launched, launched, ("resume", run.dir, ["0", "2"])]
    asked.clear()
    elsewhere = SimpleNamespace(**{**vars(run), "is_local": False})
    hosts.attach([run, plain, elsewhere])  # type: ignore[list-item]
    assert asked == [("attach_unsettled", [run.folder, plain.folder])]


@pytest.mark.parametrize(("tool", "there"), [("/usr/bin/nvidia-smi", True), (None, Path("/dev/nvidiactl").exists())])
def test_local_gpus_exist_where_their_driver_or_tool_is(
    tool: str | None, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: tool if name == "nvidia-smi" else None)
    made = Hosts(tmp_path)
    try:
        assert made._has_gpus == there
    finally:
        made.close()


def test_silent_gpus_are_unknown_and_a_late_answer_counts(
    hosts: Hosts, machines: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: Future[Any] = Future()
    monkeypatch.setattr(hosts_module, "_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(
        machines, "host", lambda name: SimpleNamespace(probe=lambda: machines.asked.append(name) or late)
    )
    hosts._has_gpus = True
    slots = MachineSlots(hosts.local_gpus)
    assert hosts.local_gpus() is None
    assert (slots.local(), slots.all([""])) == (None, {}), "not a computer without GPUs"
    late.set_result(Facts(host="h", gpus=[Gpu(index=0)]))
    assert slots.local() == Slots(("0",))
    assert machines.asked == [LOCAL], "the first answer is waited for, however often it is wanted"
