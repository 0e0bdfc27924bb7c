"""Fetching from a machine that is made up here: how it ends, how often it is told, and images that do not come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from core.spec.machines.answers import Chunk, pack_bytes
from core.spec.machines.connection import ConnectionState
from core.spec.machines.record import RemoteRecord, write_record
from core.spec.run.folder import RunDir
from sdgui.runs.machines import fetching
from sdgui.runs.machines.fetching import Fetches
from sdgui.runs.machines.remote_access import SIDE, RemoteImages


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "one")
    run.create()
    write_record(run, RemoteRecord(machine="far", folder="/there/one"))
    return run


@pytest.mark.parametrize(
    ("error", "why"),
    [(UserError("The line is down."), "The line is down."), (OSError("no disk"), "OSError: no disk")],
)
def test_the_end_of_a_fetch_is_reported_and_another_may_start(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, run: RunDir, error: Exception, why: str
) -> None:
    asked: list[tuple[Any, ...]] = []

    def fetch(host: str, run: RunDir, which: str, show: object, cancelled: Callable[[], bool]) -> Path:
        asked.append((host, run.path, which, cancelled()))
        if len(asked) == 1:
            raise error
        return run.checkpoints / "it"

    monkeypatch.setattr(fetching, "fetch_checkpoint", fetch)
    machines: Any = SimpleNamespace(host=lambda name: f"host {name}")
    fetches = Fetches(machines)
    with qtbot.waitSignal(fetches.failed) as signal:
        fetches.start(3, run.path)
    assert signal.args == [3, why]
    assert not fetches.active(3)
    with qtbot.waitSignal(fetches.fetched) as signal:
        fetches.start(3, run.path, "best")
    assert signal.args == [3, run.checkpoints / "it"]
    assert asked == [("host far", run.path, "last", False), ("host far", run.path, "best", False)]


def test_progress_is_reported_a_few_times_a_second_and_at_the_end(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, run: RunDir
) -> None:
    now = [100.0]
    monkeypatch.setattr(fetching, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def fetch(host: object, run: RunDir, which: str, show: Callable[[int, int], None], cancelled: object) -> Path:
        for done, seconds in ((0, 0.0), (1, 0.05), (2, 0.06), (3, 0.09), (9 << 31, 0.0)):
            now[0] += seconds
            show(done, 9 << 31)
        return run.path

    monkeypatch.setattr(fetching, "fetch_checkpoint", fetch)
    machines: Any = SimpleNamespace(host=lambda name: name)
    fetches, told = Fetches(machines), list[tuple[int, int, int]]()
    fetches.progressed.connect(lambda *one: told.append(one))
    with qtbot.waitSignal(fetches.fetched):
        fetches.start(3, run.path)
    assert told == [(3, 0, 9 << 31), (3, 2, 9 << 31), (3, 9 << 31, 9 << 31)]


class Far:
    """A machine with images, or with trouble."""

    def __init__(self, answer: dict[str, Chunk] | Exception, kind: str = "ready") -> None:
        self.answer, self.kind, self.asked = answer, kind, list[Any]()

    def states(self) -> dict[str, ConnectionState]:
        return {"far": ConnectionState(self.kind)} if self.kind else {}

    def host(self, name: str) -> Far:
        self.asked.append(name)
        return self

    def images(self, paths: list[str], side: int) -> Far:
        self.asked.append((paths, side))
        return self

    def result(self, seconds: float) -> dict[str, Chunk]:
        assert seconds > 0
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


CHUNK = Chunk(data=pack_bytes(b"jpeg"), size=4, stamp=1)


@pytest.mark.parametrize("kind", ["waiting", "refused"])
def test_an_unreachable_machine_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    far: Any = Far({"/data/a.png": CHUNK}, kind)
    RemoteImages(tmp_path, far).fetch(tmp_path / "remote-images" / "far" / "data" / "a.png")
    assert far.asked == []


@pytest.mark.parametrize("kind", ["ready", ""])
def test_an_image_is_stored_once(tmp_path: Path, kind: str) -> None:
    far: Any = Far({"/data/a.png": CHUNK}, kind)
    path = tmp_path / "remote-images" / "far" / "data" / "a.png"
    images = RemoteImages(tmp_path, far)
    images.fetch(path)
    assert path.read_bytes() == b"jpeg"
    assert far.asked == ["far", (["/data/a.png"], SIDE)]
    images.fetch(path)
    images.fetch(tmp_path / "data" / "a.png")
    assert len(far.asked) == 2, "what is here, and what is of this computer, is not asked for"


@pytest.mark.parametrize("answer", [{}, {"/other.png": CHUNK}, UserError("no"), OSError("no"), TimeoutError()])
def test_an_image_that_does_not_arrive_stays_missing(tmp_path: Path, answer: dict[str, Chunk] | Exception) -> None:
    far: Any = Far(answer)
    path = tmp_path / "remote-images" / "far" / "data" / "a.png"
    RemoteImages(tmp_path, far).fetch(path)
    assert not path.exists()
    assert len(far.asked) == 2
