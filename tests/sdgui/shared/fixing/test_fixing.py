"""The data loop from Clean to the page: marked, put in the basket, reviewed, undone, saved, retrained, compared."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMenu
from pytestqt.qtbot import QtBot

from core.spec.config import read_config
from core.spec.data.fixes import Fix, read_record
from core.spec.run.status import RunState
from sdgui.shared.basket import Finding, basket_action, offer_in_menu
from sdgui.shared.fixing.dialog import BasketDialog
from sdgui.shared.services import Services
from sdgui.widgets.gallery.gallery import Gallery
from sdgui.worker.replies import Failure
from tests.sdgui.panels.clean.cleaning import make_run


def captions(dialog: BasketDialog) -> list[str]:
    return [item.caption for item in dialog.view.gallery.items()]


def test_entries_are_removed_one_by_one_or_all_and_restored(qtbot: QtBot, dialog: BasketDialog) -> None:
    view, basket = dialog.view, dialog._services.basket
    assert captions(dialog) == ["a a", "a b", "all captions → a hat"]
    assert view.counts.text() == "3 changes: 2 wrong · 1 new caption"
    view.gallery.set_selected([1])
    qtbot.keyClick(view.gallery.view, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: captions(dialog) == ["a a", "all captions → a hat"])
    view.clear_all.click()
    qtbot.waitUntil(lambda: view.stack.currentWidget() is view.empty)
    assert not view.retrain.isEnabled()
    view.undo.click()
    view.undo.click()
    qtbot.waitUntil(lambda: basket.count == 3 and len(dialog.visible_entries) == 3)
    assert sorted(captions(dialog)) == ["a a", "a b", "all captions → a hat"]


def test_the_pair_is_queued_on_the_data_before_and_after(
    qtbot: QtBot, dialog: BasketDialog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = dialog._services
    monkeypatch.setattr(services.launcher, "check_queue", lambda: None)
    monkeypatch.setattr(services.launcher, "_tick", lambda: None)  # they stay in the queue
    services.launcher._timer.stop()
    with qtbot.waitSignal(dialog.changed):
        dialog.view.retrain.click()
    fixed = services.store.home / "data" / "pairs-fixed" / "pairs-fixed.csv"
    with fixed.open(newline="") as file:
        assert [tuple(row.values()) for row in csv.DictReader(file)] == [("images/c.png", "a hat")]
    record = read_record(fixed)
    assert record is not None
    assert [(fix.kind, fix.panel) for fix in record.fixes] == [
        ("wrong", "Clean"), ("wrong", "Clean"), ("recaptioned", "Caption"),
    ]  # fmt: skip
    (pair,) = dialog.work.pairs()
    configs = [read_config(run.dir.config) for run in (pair.before, pair.after)]
    assert [config.data.train for config in configs] == [str(tmp_path / "pairs.csv"), str(fixed)]
    same = [config.model_copy(update={"data": configs[0].data}) for config in configs]
    assert same[0] == same[1], "nothing differs but the data"
    assert pair.title == "clip with fixes"
    assert not pair.ready
    dialog.save_page(pair, tmp_path / "page.html")
    qtbot.waitUntil(lambda: "comparison is in" in dialog.view.bar.text)
    compared = json.loads((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert compared == [[str(pair.before.folder)], [str(pair.after.folder)]]
    *_, trained = dialog.work.trained_on(str(tmp_path / "pairs.csv"))
    for _ in range(2):
        with qtbot.waitSignal(dialog.work.retrained):
            dialog.work.retrain(trained, str(fixed), 1)
    titles = [each.title for each in dialog.work.pairs()]
    assert titles == ["clip with fixes 3", "clip with fixes 2", "clip with fixes"], "the newest first"


def test_several_seeds_are_pairs_of_one_experiment_and_finished_ones_are_compared(
    qtbot: QtBot, dialog: BasketDialog, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = dialog._services
    monkeypatch.setattr(services.launcher, "check_queue", lambda: None)
    services.launcher._timer.stop()  # they stay in the queue
    dialog.view.seeds.setValue(3)
    with qtbot.waitSignal(dialog.changed):
        dialog.view.retrain.click()
    assert "6 runs are queued, before and after the fixes, with 3 seeds" in dialog.view.bar.text
    (pair,) = dialog.work.pairs()
    every = [(pair.before, pair.after), *pair.further_seeds]
    configs = [[read_config(run.dir.config) for run in both] for both in every]
    assert [[config.seed for config in both] for both in configs] == [[0, 0], [1, 1], [2, 2]]
    assert len({(both[0].data.train, both[1].data.train) for both in configs}) == 1
    last = tuple(replace(run, state=RunState.DONE) for run in pair.further_seeds[1])
    some = replace(pair, further_seeds=(pair.further_seeds[0], (last[0], last[1])))
    assert (pair.ready, some.ready, some.state_text()) == (False, True, "1 of 3 seeds done")
    assert [run.id for run in some.done[0]] == [run.id for run in pair.further_seeds[1]]


def test_a_fix_that_no_longer_fits_is_reported_in_the_dialog_and_nothing_is_queued(
    qtbot: QtBot, dialog: BasketDialog, tmp_path: Path
) -> None:
    (tmp_path / "pairs.csv").write_text("filepath,title\na.png,another\nc.png,a c\n", encoding="utf-8")
    dialog.view.retrain.click()
    qtbot.waitUntil(lambda: "remove the fix" in dialog.view.bar.text.lower())
    assert dialog.work.pairs() == []
    assert dialog.view.retrain.isEnabled()


def test_a_panel_takes_part_through_one_record(qtbot: QtBot, services: Services) -> None:
    """In its table of actions, or for a gallery in its context menu; where nothing is found nothing is put."""
    findings: list[Finding | None] = [None, Finding("/d.csv", (Fix(kind="excluded", path="/a.png"),))]
    record = basket_action("x", "X", "tip", lambda _panel: findings[0], lambda _panel: services.basket)
    record.run(None)
    gallery = Gallery()
    qtbot.addWidget(gallery)
    offer_in_menu(gallery, services.basket, "Leave out", "tip", lambda rows: findings[1] if rows else None)
    menu = QMenu()
    gallery.menu_opening.emit(menu, [])
    assert not menu.actions()[-1].isEnabled()
    gallery.menu_opening.emit(menu, [0])
    menu.actions()[-1].trigger()
    qtbot.waitUntil(lambda: services.basket.count == 1)
    assert [(entry.source, entry.fix.kind) for entry in services.store.fixes()] == [("/d.csv", "excluded")]
    findings[0] = Finding("/d.csv", (Fix(kind="relabelled", path="/a.png", label="kind", value="x"),))
    record.run(None)
    qtbot.waitUntil(lambda: services.basket.count == 2)


def test_a_failed_retraining_is_not_started_by_the_next_save(
    qtbot: QtBot, dialog: BasketDialog, tmp_path: Path
) -> None:
    dialog.view.retrain.click()
    dialog.work.failed.emit(Failure("the disk is full"))
    assert dialog.view.bar.text == "the disk is full"
    fixed = dialog._services.store.home / "data" / "pairs-fixed" / "pairs-fixed.csv"
    qtbot.waitUntil(lambda: fixed.exists() and not dialog.view.strip.isVisible())
    dialog._save(tmp_path / "again.csv", replace=False)
    qtbot.waitUntil(lambda: "saved as" in dialog.view.bar.text and "again.csv" in dialog.view.bar.text)
    assert dialog.work.pairs() == []


def test_runs_on_the_data_are_offered_with_the_one_that_found_the_fixes_first(
    qtbot: QtBot, dialog: BasketDialog, tmp_path: Path
) -> None:
    services, data = dialog._services, tmp_path / "pairs.csv"
    content = data.read_text()
    (tmp_path / "other.csv").symlink_to(data)
    for name in ("newer", "newest"):  # the second by another way to the same data
        make_run(services, tmp_path / name, data if name == "newer" else tmp_path / "other.csv", name)
        data.write_text(content)
    make_run(services, tmp_path / "elsewhere", tmp_path / "elsewhere.csv")
    dialog._read_runs()
    dialog._read_runs()  # whose answer counts alone
    qtbot.waitUntil(lambda: dialog.view.runs.count() == 3)
    dialog.work.tasks.wait()
    dialog._show_runs(dialog._runs_request - 1, [])
    assert [dialog.view.runs.itemData(row).run.folder.name for row in range(3)] == ["run", "newest", "newer"]
    assert dialog.view.runs.currentIndex() == 0
