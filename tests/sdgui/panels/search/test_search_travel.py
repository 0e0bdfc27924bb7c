"""Time travel in Search: one query at every kept step, both networks beside each other, neighbours opened ahead."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QProcess
from pytestqt.qtbot import QtBot

from sdgui.panels.search.panel import SearchPanel
from tests.sdgui.panels.search.conftest import OpenSearch, add_checkpoint, requests, type_words


def open_with_steps(qtbot: QtBot, open_search: OpenSearch, home: Path) -> SearchPanel:
    """A run with checkpoints after 3, 6 and 9 steps, searched for words."""
    search = open_search()
    (run,) = search._services.store.runs()
    for step in (6, 9):
        add_checkpoint(run.dir.checkpoints / f"step-{step:08d}")
    search.view.source.pickers[0].refresh()
    search.view.source.pickers[1].refresh()
    qtbot.waitUntil(lambda: search.view.source.pickers[0].steps() == (3, 6, 9))
    type_words(qtbot, search, "a star")
    search.travel.follow()
    return search


def test_one_worker_opens_both_networks_of_a_step_and_prefetches_its_neighbours(
    qtbot: QtBot, open_search: OpenSearch, home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = open_with_steps(qtbot, open_search, home)
    slider = search.view.time
    assert slider.isVisible()
    assert slider.steps == (3, 6, 9)
    before = len(requests(folder, "search_open"))
    slider.slider.setValue(1)
    qtbot.waitUntil(lambda: len(requests(folder, "search_open")) >= before + 6)
    asked = [
        (Path(request["model"]).name.rpartition("@")[2], request["weights"])
        for request in requests(folder, "search_open")
    ]
    assert asked[before : before + 2] == [("6", "student"), ("6", "teacher")]
    assert sorted(asked[before + 2 : before + 6]) == [
        ("3", "student"), ("3", "teacher"), ("9", "student"), ("9", "teacher"),
    ]  # fmt: skip
    qtbot.waitUntil(lambda: search.queries.answered)
    assert [side.query.words for side in search.view.sides] == ["a star", "a star"]
    (run,) = search._services.store.runs()
    assert search._services.time_travel.step(run.folder) == 6
    qtbot.waitUntil(lambda: not search.view.strip.isVisible(), timeout=10000)
    working = [one for one in search._services.pool.states() if one.key == str(run.folder)]
    assert len(working) == 1, "one worker for all steps"
    search._services.time_travel.go(run.folder, 9)  # by another panel
    qtbot.waitUntil(lambda: slider.step() == 9 and search.sessions[0].facts is not None)
    assert search._services.pool.findChildren(QProcess)
    search._services.time_travel.go(home / "another run", 6)
    assert slider.step() == 9, "that is not this run's step"
    qtbot.waitUntil(lambda: search.queries.answered)
    results = [side.gallery.items() for side in search.view.sides]
    search.view.source.go_to_step(3)
    assert all(session.facts is None for session in search.sessions)
    assert [side.gallery.items() for side in search.view.sides] == results, "until the new ones arrive"
