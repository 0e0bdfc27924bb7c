"""What is looked at before a run is made: data of this computer, data of another machine, and the stages of a chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QObject
from pytestqt.qtbot import QtBot

from core.spec.config import ConfigError
from core.spec.errors import UserError
from core.spec.machines.answers import Finding
from sdgui.experiments import run_commands
from sdgui.store.records import Place
from tests.sdgui.experiments.commanding import Parts


class Check(QObject):
    """Says what it finds when the test wants."""

    made: list[Check] = []  # noqa: RUF012  emptied for each test

    def __init__(self, _pool: object, parent: QObject) -> None:
        super().__init__(parent)
        self.cancelled = False
        self.made.append(self)

    def check(self, _config: object, done: Callable[[dict[str, str]], object]) -> None:
        self.done = done

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def parts(qapp: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    """The configs name data of the user's own."""
    monkeypatch.setattr(run_commands, "DataCheck", Check)
    Check.made = []
    parts = Parts(tmp_path / "home")
    parts.demo.covering = False
    yield parts
    parts.writer.wait()
    parts.store.close()


def test_a_run_is_created_after_its_data_were_checked(qtbot: QtBot, parts: Parts) -> None:
    number = parts.new()
    parts.runs.launch(number)
    parts.wait(qtbot)
    assert parts.launcher.done == []
    assert (parts.runs.is_waiting(number), parts.runs.is_waiting(number + 1)) == (True, False)
    changes = len(parts.changes)
    assert changes == 1, "Launch is not offered meanwhile"
    (check,) = Check.made
    check.done({})
    parts.wait(qtbot)
    assert parts.launcher.done == [("launch", number)]
    assert check.cancelled
    assert not parts.runs.is_waiting(number)
    assert len(parts.changes) > changes
    check.done({"data.train": "late"})
    parts.wait(qtbot)
    assert (len(parts.launcher.done), parts.data_refused) == (1, [])


def test_unusable_data_create_no_run(qtbot: QtBot, parts: Parts) -> None:
    number = parts.new()
    parts.runs.queue(number)
    parts.wait(qtbot)
    Check.made[0].done({"data.train": "It is empty."})
    parts.wait(qtbot)
    assert parts.launcher.done == []
    assert parts.data_refused == [(number, {"data.train": "It is empty."})]
    assert not parts.runs.is_waiting(number)


def test_a_slow_data_check_does_not_delay_a_launch(qtbot: QtBot, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_commands, "_DATA_CHECK_MS", 1)
    number = parts.new()
    parts.runs.queue(number)
    qtbot.waitUntil(lambda: parts.launcher.done == [("enqueue", number)])
    assert Check.made[0].cancelled


def finding(name: str, works: bool = False) -> Finding:
    return Finding(name=name, works=works, detail="not there.", remedy="Copy it there.")


@pytest.mark.parametrize(
    ("found", "more"),
    [
        ([finding("a.csv")], ""),
        ([finding("a.csv"), finding("b.csv")], " 1 more path is wrong."),
        ([finding("b.csv", works=True), finding("a.csv"), finding("c"), finding("d")], " 2 more paths are wrong."),
    ],
)
def test_missing_parts_of_a_machine_are_reported_and_nothing_is_queued(
    qtbot: QtBot, parts: Parts, found: list[Finding], more: str
) -> None:
    parts.hosts.place = Place("far")
    parts.runs.launch(parts.new())
    parts.wait(qtbot)
    assert parts.messages.pop().text == "Checking the data on far…"
    ((host, _, judge, _),) = parts.hosts.asked
    judge(found)
    qtbot.waitUntil(lambda: bool(parts.messages))
    text = f"far cannot train this: a.csv: not there. Copy it there.{more} Nothing was started."
    assert (host, parts.messages[0].level, parts.messages[0].text) == ("far", "error", text)
    assert (parts.launcher.done, Check.made) == ([], [])


def test_a_machine_with_the_data_trains_and_an_unresponsive_one_is_reported(qtbot: QtBot, parts: Parts) -> None:
    parts.hosts.place = Place("far")
    number = parts.new()
    parts.runs.launch(number)
    parts.wait(qtbot)
    parts.hosts.asked[0][3](UserError("far does not answer."))
    qtbot.waitUntil(lambda: parts.messages[-1].text == "far does not answer.")
    assert parts.launcher.done == []
    parts.hosts.asked[0][2]([finding("a.csv", works=True)])
    qtbot.waitUntil(lambda: parts.launcher.done == [("launch", number)])


def test_incompatible_stages_are_reported(qtbot: QtBot, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise ConfigError("The second stage does not fit.")

    monkeypatch.setattr(run_commands, "staged_chain", refuse)
    parts.runs.launch(parts.new())
    parts.wait(qtbot)
    assert parts.messages[-1].text == "The second stage does not fit."
    assert Check.made == []
