"""The machine on which a colleague's run is looked for: asked by likeness, mirrored, let go, or why there is none."""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.spec.errors import UserError
from core.spec.machines.machine import Machine
from core.spec.machines.record import read_record
from core.spec.run.folder import RunDir
from sdgui.runs.machines.colleagues import ColleagueRuns, colleague_dir


def answered(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    if isinstance(value, Exception):
        future.set_exception(value)
    else:
        future.set_result(value)
    return future


class Lab:
    """Machines by name: what each calls itself, or why it does not answer; ``known`` have greeted already."""

    def __init__(self, **computers: str | Exception) -> None:
        self.computers, self.known = computers, set[str]()
        self.heard: list[tuple[str, ...]] = []
        self.reads: Any = b"{"
        machines = [Machine(name=name, host=f"{name}-host") for name in computers]
        self.list = SimpleNamespace(machines=lambda: machines)

    def host(self, name: str) -> Any:
        computer = self.computers[name]

        def probe() -> Future[Any]:
            self.heard.append(("probe", name))
            return answered(computer if isinstance(computer, Exception) else SimpleNamespace(host=computer))

        def read(folder: str, file: str, offset: int, length: int) -> Future[Any]:
            self.heard.append(("read", name, folder, file))
            assert (offset, length) == (0, 1)
            return answered(self.reads)

        hello = SimpleNamespace(host=computer) if name in self.known else None
        return SimpleNamespace(hello=hello, probe=probe, read=read)


class Mirrors:
    def __init__(self) -> None:
        self.did: list[tuple[str, str]] = []

    def attach(self, run: RunDir) -> None:
        self.did.append(("attach", run.path.name))

    def detach(self, run: RunDir) -> None:
        self.did.append(("detach", run.path.name))


def a_run(number: int = 1, there: tuple[str, str] | None = ("box.lab", "/there/one")) -> Any:
    return SimpleNamespace(
        id=number, key=f"k{number}", remote_folder=there, owner_host="laptop", folder=Path("/own/one")
    )


class Parts:
    def __init__(self, home: Path, lab: Lab) -> None:
        self.home, self.lab, self.mirrors = home, lab, Mirrors()
        self.runs = ColleagueRuns(home, lab, self.mirrors)  # type: ignore[arg-type]
        self.told: list[tuple[int, str]] = []
        self.runs.status_changed.connect(lambda run_id, sentence: self.told.append((run_id, sentence)))

    def look(self, *runs: Any) -> None:
        """As its thread does."""
        self.runs._watched = {run.id: run for run in runs}
        self.runs._work([], list(runs))


def test_the_machine_with_the_same_name_is_asked_first_and_a_connected_one_is_not(qapp: object, tmp_path: Path) -> None:
    lab = Lab(other="other.lab", near=UserError("away"), box="box.lab", last="box.lab")
    parts = Parts(tmp_path, lab)
    parts.look(a_run())
    assert parts.told == [(1, "")]
    assert lab.heard == [("probe", "box"), ("read", "box", "/there/one", "events.jsonl")]
    record = read_record(colleague_dir(tmp_path, a_run()))
    assert record is not None
    assert (record.machine, record.folder, record.computer) == ("box", "/there/one", "box.lab")
    assert parts.mirrors.did == [("attach", "k1")]
    lab.heard.clear()
    lab.known = {"box"}
    parts.look(a_run())
    assert [heard[0] for heard in lab.heard] == ["read"]
    lab.heard.clear()
    parts.look(a_run(there=("other-host", "/x")))
    assert lab.heard[0] == ("probe", "other"), "by its name for ssh"


def test_a_run_on_an_unknown_computer_is_reported(qapp: object, tmp_path: Path) -> None:
    lab = Lab(box=UserError("away"), near=TooLate(), other="other.lab")
    parts = Parts(tmp_path, lab)
    parts.look(a_run(), a_run(2, there=None))
    assert [sentence.partition(", which")[0] for _, sentence in parts.told] == [
        "The curves of this run are on box.lab", "The curves of this run are on laptop",
    ]  # fmt: skip
    assert [heard for heard in lab.heard if heard[0] == "read"] == []
    assert parts.mirrors.did == []


def test_each_run_is_looked_up_once_and_released_when_hidden(
    qapp: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, worked = Parts(tmp_path, Lab()), list[tuple[list[int], list[int]]]()

    class AtOnce:
        def __init__(self, target: Any, args: Any, name: str, daemon: bool) -> None:
            worked.append(tuple([one.id for one in runs] for runs in args))  # type: ignore[arg-type]

        def start(self) -> None:
            pass

    monkeypatch.setattr("sdgui.runs.machines.colleagues.threading.Thread", AtOnce)
    for runs in ([a_run(1), a_run(2)], [a_run(1), a_run(2)], [a_run(2), a_run(3)], [], []):
        parts.runs.watch(runs)
    assert worked == [([], [1, 2]), ([1], [3]), ([2, 3], [])]
