"""What others did in a shared registry is told; in one's own nobody looks."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pytestqt.qtbot import QtBot

from sdgui.shared import registry_changes as module
from sdgui.shared.registry_changes import RegistryChanges
from sdgui.store.changes import Changes
from sdgui.store.records import StoreError


class Registry:
    """Two changes of others after the row 7, then trouble, then one more."""

    def __init__(self) -> None:
        self.shared, self.asked, self.last = True, list[int](), 7
        self._answers: list[Any] = [
            [self.row(8, 1, None), self.row(9, 1, 5)],
            StoreError("gone"),
            [self.row(10, None, 6)],
        ]

    @staticmethod
    def row(number: int, experiment: int | None, run: int | None) -> Any:
        return SimpleNamespace(id=number, experiment_id=experiment, run_id=run)

    def last_activity(self) -> int:
        return self.last

    def activity_of_others(self, after: int) -> list[Any]:
        self.asked.append(after)
        rows = self._answers.pop(0) if self._answers else []
        if isinstance(rows, StoreError):
            raise rows
        return cast(list[Any], rows)


def test_changes_by_others_are_reported_from_the_last_row_on(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.001)
    registry, changes = Registry(), list[Changes]()
    registry_changes = RegistryChanges(cast(Any, registry))
    registry_changes.changed.connect(changes.append)
    registry.last = 8  # a change while the window reads the registry
    registry_changes.start()
    registry_changes.start()
    assert [thread.name for thread in threading.enumerate()].count("registry changes") == 1, "one looks"
    qtbot.waitUntil(lambda: len(changes) == 2)
    qtbot.waitUntil(lambda: len(registry.asked) > 3)
    registry_changes.close()
    assert not registry_changes.poller.is_alive()
    assert registry.asked[:4] == [7, 9, 9, 10]
    assert changes == [Changes(frozenset({1}), frozenset({5})), Changes(frozenset(), frozenset({6}))]


def test_a_private_registry_is_not_polled(qapp: object) -> None:
    registry = Registry()
    registry.shared = False
    registry_changes = RegistryChanges(cast(Any, registry))
    registry_changes.start()
    assert "registry changes" not in {thread.name for thread in threading.enumerate()}
    registry_changes.close()
