"""The model chip asked by program and by keys: what is known of the choice, and what opens, renews and refuses it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QPoint, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from core.spec.run.status import RunState
from sdgui.shared.pickers import entries
from sdgui.shared.pickers.entries import (
    ModelChoice,
    ModelEntry,
    Needs,
    choice_entry,
    pretrained_entries,
    recent_choices,
    remember,
    run_entries,
    run_entry,
)
from sdgui.shared.pickers.model_chip import ModelChip
from sdgui.shared.pickers.pretrained import Pretrained
from sdgui.shared.run_texts import when
from sdgui.shared.services import Services
from sdgui.store.records import BestPoint, Progress, StoreError
from tests.sdgui.shared.pickers.test_model_chip import Heard, chip, run_of, save, services

__all__ = ["chip", "services"]  # fixtures


def known(chip: ModelChip) -> tuple[tuple[str, ...], int, tuple[int, ...]]:
    return chip.networks(), chip.step(), chip.steps()


def test_facts_of_the_selection_are_shown_and_unsuitable_models_are_not_selectable(
    services: Services, chip: ModelChip
) -> None:
    assert (known(chip), chip.short_title(), chip.choice()) == (((), 0, ()), "", None)
    assert (chip.toolTip(), chip.accessibleDescription(), chip._muted) == (
        "Press to choose another model", "Choose a model", True
    )  # fmt: skip
    run = run_of(services)
    for step in (20, 1200):
        save(run.dir, step, "student", "teacher")
    (run.dir.checkpoints / "best").write_text("step-00000020")
    heard = Heard(chip)
    assert chip.show_run(run.id)
    assert known(chip) == (("teacher", "student"), 20, (20, 1200))
    title = "clip · run 1 · best, step 20 · teacher"
    assert chip.toolTip() == f"{title}\n{run.folder}@best\nPress to choose another model"
    assert (chip.accessibleDescription(), chip._muted) == (title, False)
    chip.set_network("nobody")
    for checkpoint in (21, "other"):
        chip.set_checkpoint(checkpoint)
    assert len(heard.changed) == 1
    chip.set_checkpoint("last")
    assert chip.step() == 1200
    chip.set_checkpoint(20)
    assert (chip.step(), chip.short_title()) == (20, "clip · run 1 · teacher · step 20")
    chip.set_checkpoint(1200)
    choice = chip.choice()
    assert choice is not None
    assert choice.title == "clip · run 1 · step 1\u2009200 · teacher"
    assert chip.set_choice(ModelChoice("open_clip:RN50,openai", "", "x"))
    assert (known(chip), chip.short_title()) == (((), 0, ()), "RN50 · openai")
    changes_before = len(heard.changed)
    chip.set_network("student")
    chip.set_checkpoint("best")
    assert len(heard.changed) == changes_before, "it has neither"


def test_the_newest_usable_run_is_selected_by_default(qtbot: QtBot, services: Services, chip: ModelChip) -> None:
    runs = [run_of(services, name) for name in ("old", "new", "without")]
    for run in runs[:2]:
        save(run.dir, 10)
    chip.show_default()
    qtbot.waitUntil(lambda: chip.choice() is not None)
    assert chip.short_title() == "new · run 1 · student · best"
    assert chip.show_run(runs[0].id)
    chip.show_default()
    chip._tasks.wait()
    QApplication.processEvents()
    assert chip.short_title() == "old · run 1 · student · best"


def test_only_news_of_the_selected_run_is_handled(services: Services, chip: ModelChip) -> None:
    mine, second = run_of(services, "mine"), run_of(services, "other")
    save(mine.dir, 10)
    services.tailer.state_changed.emit(mine.id, RunState.RUNNING)
    assert not chip._look.isActive(), "nothing is chosen"
    assert chip.show_run(mine.id)
    services.tailer.state_changed.emit(second.id, RunState.RUNNING)
    services.tailer.progress_changed.emit(second.id, None)
    assert not chip._look.isActive()
    for news in (services.tailer.state_changed, services.tailer.progress_changed):
        news.emit(mine.id, None)
        assert chip._look.isActive()
        chip._look.stop()
    heard = Heard(chip)
    save(mine.dir, 20)
    chip._look.timeout.emit()
    assert [choice.title for choice in heard.renewed] == ["mine · run 1 · best, step 20 · student"]


def test_keys_open_the_list_and_shortcuts_do_not(qtbot: QtBot, chip: ModelChip) -> None:
    for key, typed in (
        (Qt.Key.Key_Down, ""), (Qt.Key.Key_Return, ""), (Qt.Key.Key_Enter, ""), (Qt.Key.Key_Space, ""),
        (Qt.Key.Key_V, "v"), (Qt.Key.Key_7, "7"),
    ):  # fmt: skip
        qtbot.keyClick(chip, key)
        assert (chip.popover.isVisible(), chip.popover.line.text()) == (True, typed)
        chip.popover.hide()
    qtbot.keyClick(chip, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClick(chip, Qt.Key.Key_F5)
    assert not chip.popover.isVisible()
    chip._tasks.wait()


def test_missing_and_unreachable_models_are_not_selectable(
    services: Services, chip: ModelChip, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(services)
    save(run.dir, 10)
    assert not chip.show_run(99)
    assert not chip.restore(), "nothing was used yet"

    def gone(*_: object) -> None:
        raise StoreError("It is out of reach.")

    with monkeypatch.context() as patch:
        patch.setattr(services.store, "some_runs", gone)
        assert not chip.show_run(run.id)
    services.store.delete_run(run.id)
    assert not chip.show_run(run.id), "it is in the bin"
    assert chip.choice() is None


def test_the_last_eight_models_are_remembered_once_each(services: Services) -> None:
    for number in (*range(9), 3):
        remember(services.settings, ModelChoice(f"/m/{number}", "", str(number)))
    assert [choice.title for choice in recent_choices(services.settings)] == ["3", "8", "7", "6", "5", "4", "2", "1"]


def test_runs_are_listed_newest_first_as_in_the_tree(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    store = services.store
    first, of_other_experiment = run_of(services, "clip"), run_of(services, "other")
    second = store.add_run(first.experiment_id)
    save(first.dir, 10, captions=True)
    best = BestPoint("val/student/mean_recall", 0.5, 10)
    store.record(first.id, Progress(RunState.DONE, 1, step=10, total_steps=10, best=best))
    entries = run_entries(store, "search")
    assert [(entry.title, entry.run_id, entry.metric) for entry in entries] == [
        ("clip · run 2", second.id, ""), ("other · run 1", of_other_experiment.id, ""),
        ("clip · run 1", first.id, "mean recall 50.0 %"),
    ]  # fmt: skip
    assert [bool(entry.reason) for entry in entries] == [True, True, False]
    assert entries[2].about == f"{when(store.run(first.id).created)} · search, classify, caption"
    assert entries[1].about.endswith(" · search, classify")
    assert run_entry(store, store.run(second.id), "search") == entries[0]
    assert run_entry(store, None, "search") is None
    store.delete_run(second.id)
    assert run_entry(store, store.run(second.id), "search") is None
    store.delete_experiment(of_other_experiment.experiment_id)
    assert run_entry(store, store.run(of_other_experiment.id), "search") is None
    assert [entry.title for entry in run_entries(store, "search")] == ["clip · run 1"]

    def gone(*_: object, **__: object) -> None:
        raise StoreError("It is out of reach.")

    monkeypatch.setattr(store, "runs", gone)
    assert run_entries(store, "search") == []


def test_only_a_file_or_folder_may_be_dropped(chip: ModelChip) -> None:
    def accepted(data: QMimeData) -> bool:
        copy, left, keys = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        event = QDragEnterEvent(QPoint(3, 3), copy, data, left, keys)
        event.ignore()
        chip.dragEnterEvent(event)
        return event.isAccepted()

    files, words = QMimeData(), QMimeData()
    files.setUrls([QUrl.fromLocalFile("/runs/a")])
    words.setText("words")
    assert (chip.acceptDrops(), accepted(files), accepted(words)) == (True, True, False)


@pytest.mark.parametrize(
    ("needs", "first"), [("search", ["here", "known", "unknown"]), ("caption", ["known", "tuned"])]
)
def test_pretrained_weights_show_abilities_and_download_size(
    monkeypatch: pytest.MonkeyPatch, needs: Needs, first: list[str]
) -> None:
    """Those that fit come first, in the order given."""
    listed = [
        Pretrained("ViT", "here", False, True, 605_000_000),
        Pretrained("coca_ViT", "known", True, False, 4_040_000_000),
        Pretrained("ViT", "unknown", False, False, 0),
        Pretrained("coca_ViT", "tuned", True, True, 400_000),
    ]
    monkeypatch.setattr(Pretrained, "only_captions", property(lambda weights: weights.tag == "tuned"))
    monkeypatch.setattr(entries, "pretrained_models", lambda: listed)
    by_tag = {entry.name.partition(",")[2]: entry for entry in pretrained_entries(needs)}
    assert list(by_tag)[: len(first)] == first
    assert [by_tag[tag].about for tag in ("here", "known", "unknown", "tuned")] == [
        "downloaded \u00b7 605 MB \u00b7 search, classify",
        "about 4.0 GB to download \u00b7 search, classify, caption",
        "to download \u00b7 search, classify",
        "downloaded \u00b7 1 MB \u00b7 Captioning model; poor for search",
    ]
    reasons = {tag: entry.reason for tag, entry in by_tag.items() if entry.reason}
    why = "It cannot caption: its architecture is not CoCa."
    assert reasons == ({} if needs == "search" else {"here": why, "unknown": why})
    assert by_tag["known"].title == "coca_ViT \u00b7 known"


def test_a_folder_with_an_at_sign_in_its_name_is_found_again(services: Services, tmp_path: Path) -> None:
    folder = tmp_path / "me@home"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text("{}")
    choice = ModelChoice(str(folder), "", "mine")
    entry = choice_entry(choice, "search")
    assert (entry.kind, entry.name, entry.reason) == ("folder", str(folder), "")
    run = run_of(services)
    save(run.dir, 10)
    moved = run.folder.rename(tmp_path / "run@2")
    entry = choice_entry(ModelChoice(f"{moved}@10", "student", "run"), "search")
    assert (entry.kind, entry.name, entry.reason) == ("run", str(moved), "")


def test_an_outdated_list_is_not_shown(chip: ModelChip, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[tuple[Callable[[], Any], Callable[[Any], object]]] = []
    monkeypatch.setattr(chip._tasks, "run", lambda work, done: reads.append((work, done)))
    chip.open()
    chip.refresh()
    assert len(reads) == 2, "an open list is read again"
    (_, older), (_, newer) = reads
    older([("Runs", [ModelEntry("run", "/r", "before")])])
    assert chip.popover.lines.entries() == []
    newer([("Runs", [ModelEntry("run", "/r", "now")])])
    assert [entry.title for entry in chip.popover.lines.entries()] == ["now"]
    chip.popover.hide()
    chip.refresh()
    assert len(reads) == 2, "nobody looks at it"
