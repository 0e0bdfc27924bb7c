"""The basket's dialog: what its buttons, boxes and messages do in each state."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from core.spec.config import read_config
from core.spec.data.fixes import Fix
from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.shared.basket import Finding
from sdgui.shared.fixing.dialog import BasketDialog
from sdgui.shared.fixing.retraining import RunPair
from sdgui.worker.replies import Cancelled
from tests.sdgui.panels.scripted_workers import Workers


@pytest.fixture
def requests(dialog: BasketDialog, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the dialog asks to be saved or compared; nothing is."""
    recorded: list[tuple[Any, ...]] = []
    monkeypatch.setattr(dialog.work, "save", lambda *arguments: recorded.append(arguments))
    monkeypatch.setattr(dialog.work, "page", lambda *arguments: recorded.append(arguments))
    return recorded


def test_a_name_is_suggested_completed_and_replaced_only_after_confirmation(
    dialog: BasketDialog, requests: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suggested: list[str] = []
    typed = ["", str(tmp_path / "new"), str(tmp_path / "there.csv"), str(tmp_path / "there"), str(tmp_path / "New.CSV")]
    answers = iter(typed)

    def choose(_parent: object, _title: str, start: str, _kinds: str) -> tuple[str, str]:
        suggested.append(start)
        return next(answers), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    (tmp_path / "there.csv").touch()
    (tmp_path / "pairs-fixed.csv").touch()
    for _ in typed:
        dialog.view.save.setEnabled(True)
        dialog.view.save.click()
    assert set(suggested) == {str(tmp_path / "pairs-fixed-2.csv")}
    assert [(to.name, over) for _, _, to, over in requests] == [
        ("new.csv", False), ("there.csv", True), ("there.csv", False), ("New.CSV", False)
    ]  # fmt: skip


def test_each_source_has_its_entries(qtbot: QtBot, dialog: BasketDialog, tmp_path: Path) -> None:
    view, second_source = dialog.view, str(tmp_path / "other.csv")
    dialog._services.basket.add(Finding(second_source, (Fix(kind="excluded", path="/x.png"),)))
    qtbot.waitUntil(lambda: view.sources.count() == 2)
    assert [view.sources.itemText(row) for row in range(2)] == ["pairs.csv (3)", "other.csv (2)"]
    assert view.sources.itemData(1, 3) == second_source
    assert (dialog.source(), len(dialog.visible_entries), view.runs.count()) == (str(tmp_path / "pairs.csv"), 3, 1)
    view.sources.setCurrentIndex(1)
    view.sources.activated.emit(1)
    assert view.counts.text() == "2 changes: 1 new caption · 1 left out"
    assert view.runs.count() == 0
    dialog.work.tasks.wait()
    qtbot.waitUntil(lambda: view.runs.placeholderText() == "No run on this data: save the data, then define one")
    assert (view.save.isEnabled(), view.retrain.isEnabled()) == (True, False)
    dialog.refresh()
    dialog._services.writer.wait()
    qtbot.waitUntil(lambda: view.sources.count() == 2)
    assert dialog.source() == second_source, "what was chosen stays"


def test_entries_without_data_belong_to_the_chosen_source(
    qtbot: QtBot, dialog: BasketDialog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = dialog.view
    dialog.remove_rows([0, 1])
    qtbot.waitUntil(lambda: len(dialog.entries) == 1)
    assert [view.sources.itemText(row) for row in range(2)] == [
        "any data with the image (1)", "Choose the data…"
    ]  # fmt: skip
    assert (view.save.isEnabled(), view.retrain.isEnabled()) == (False, False)
    answers = ["", str(tmp_path / "pairs.csv")]
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (answers.pop(0), ""))
    view.sources.setCurrentIndex(1)
    view.sources.activated.emit(1)
    assert (dialog.source(), view.sources.count()) == ("", 2), "none was chosen"
    view.sources.setCurrentIndex(1)
    view.sources.activated.emit(1)
    assert (dialog.source(), view.sources.currentText()) == (str(tmp_path / "pairs.csv"), "pairs.csv (1)")
    assert len(dialog.visible_entries) == 1
    qtbot.waitUntil(lambda: view.runs.count() == 1 and view.retrain.isEnabled())


def test_the_page_of_a_finished_pair_is_saved_and_opened(
    qtbot: QtBot, dialog: BasketDialog, requests: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view, store = dialog.view, dialog._services.store
    experiment = store.add_experiment(preset_config("clip", "tiny"), "mine").id
    runs = [replace(store.add_run(experiment), state=RunState.DONE) for _ in range(2)]
    dialog.ask_page()
    assert requests == [], "there is no pair"
    dialog._show_pairs([])
    assert view.pairs.placeholderText() == "Retrained runs are listed here, each with its original"
    pair = RunPair("mine", runs[0], runs[1])
    dialog._show_pairs([pair])
    names = ["", str(tmp_path / "a.HTML"), str(tmp_path / "b")]
    starts: list[str] = []

    def choose(_parent: object, _title: str, start: str, _kinds: str) -> tuple[str, str]:
        starts.append(start)
        return names.pop(0), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    for _ in range(3):
        view.page.setEnabled(True)
        view.page.click()
    assert [to.name for _, to in requests] == ["a.HTML", "b.html"]
    assert {Path(start).name for start in starts} == {"before-and-after.html"}
    assert (view.strip.text, view.page.isEnabled()) == ("Loading the models", False)
    dialog.work.page_saved.emit({"path": "/b.html", "differences": {}})
    assert (view.bar.text, view.strip.isHidden(), view.page.isEnabled()) == (
        "The comparison is in /b.html.", True, True
    )  # fmt: skip
    opened_urls: list[QUrl] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", opened_urls.append)
    view.bar.press_remedy()
    assert opened_urls == [QUrl.fromLocalFile("/b.html")]


def test_an_entry_of_a_later_version_stays_in_the_basket_when_data_are_saved(
    dialog: BasketDialog, requests: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    later = [replace(dialog.entries[0], unknown_kind="cropped"), *dialog.entries[1:]]
    dialog._show_entries(later)
    assert dialog.view.save.isEnabled()
    dialog._save(tmp_path / "new.csv", replace=False)
    assert [entry.id for entry in requests[0][1]] == [entry.id for entry in later[1:]]
    dialog.work.failed.emit(Cancelled())
    dialog._show_entries(later[:1])
    assert not dialog.view.save.isEnabled(), "nothing of it can be applied"


def test_additional_seeds_count_from_the_runs_own(qtbot: QtBot, dialog: BasketDialog) -> None:
    store, launcher = dialog._services.store, dialog._services.launcher
    launcher._timer.stop()  # they stay in the queue
    launcher.check_queue = lambda: None  # type: ignore[method-assign]
    trained = dialog.view.runs.currentData()
    seeded = replace(trained, config=trained.config.model_copy(update={"seed": 5}))
    with qtbot.waitSignal(dialog.work.retrained):
        dialog.work.retrain(seeded, "/fixed.csv", 2)
    (pair,) = dialog.work.pairs()
    every = [(pair.before, pair.after), *pair.further_seeds]
    configs = [[read_config(run.dir.config) for run in both] for both in every]
    assert [[(config.seed, config.data.train) for config in both] for both in configs] == [
        [(seed, trained.config.data.train), (seed, "/fixed.csv")] for seed in (5, 6)
    ]
    stored_config = store.experiment(pair.before.experiment_id).config
    assert stored_config is not None
    assert (stored_config.seed, stored_config.data.train) == (5, "/fixed.csv"), (
        "what is defined is the data with the fixes"
    )


def test_only_finished_runs_are_compared_and_comparing_can_be_cancelled(
    dialog: BasketDialog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, workers = dialog._services.store, Workers()
    monkeypatch.setattr(dialog._services.pool, "client", workers.client)
    experiment = store.add_experiment(preset_config("clip", "tiny"), "mine").id
    runs = [store.add_run(experiment) for _ in range(6)]
    done_runs = [replace(run, state=RunState.DONE) for run in runs]
    pair = RunPair("mine", runs[0], done_runs[1], ((done_runs[2], done_runs[3]), (done_runs[4], runs[5])))
    dialog.work.page(pair, tmp_path / "page.html")
    worker = workers[str(runs[3].folder)]
    (do, arguments), *further_requests = worker.asked
    assert (do, arguments["before"], arguments["after"], further_requests) == (
        "before_after", [str(runs[2].folder)], [str(runs[3].folder)], []
    )  # fmt: skip
    dialog.work.cancel()
    assert worker.given_up == ["before_after"]
    worker.fail("before_after", Cancelled())
    dialog.work.page(pair, tmp_path / "page.html")
    dialog.work.page(RunPair("mine", runs[0], runs[1]), tmp_path / "other.html")
    assert len(worker.given_up) == 2, "one page at a time"
    assert workers[str(runs[1].folder)].last("before_after")["before"] == [str(runs[0].folder)]


def test_a_pair_that_finished_while_the_dialog_was_closed_can_be_compared(
    qtbot: QtBot, dialog: BasketDialog, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = dialog._services.store
    experiment = store.add_experiment(preset_config("clip", "tiny"), "mine").id
    runs = [store.add_run(experiment) for _ in range(2)]
    dialog._show_pairs([RunPair("mine", runs[0], runs[1])])
    dialog.close()
    finished = RunPair("mine", *(replace(run, state=RunState.DONE) for run in runs))
    monkeypatch.setattr(dialog.work, "pairs", lambda: [finished])
    dialog.open_current()
    qtbot.waitUntil(lambda: dialog.view.pairs.currentText() == "mine: done")
    assert dialog.view.page.isEnabled()
