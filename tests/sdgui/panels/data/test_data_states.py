"""What the Data panel asks and shows, answer by answer: they are given here, in whatever order they may come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from sdgui.panels.data import exclusions
from sdgui.panels.data.layout import BROKEN, GROUPS
from sdgui.panels.data.panel import DataPanel
from sdgui.panels.data.work import DataWork
from sdgui.worker.replies import Cancelled, Failure
from tests.sdgui.panels.data.conftest import Asked, captions, checked, facts, opened, part


def test_rows_of_a_closed_source_are_never_shown(qtbot: QtBot, panel: DataPanel, requests: Asked) -> None:
    panel.open("/one.csv")
    panel.work.part.emit(part("a", "b"))
    panel.work.opened.emit(facts("/one.csv", 2))
    panel.open("/two.csv")  # before what came was shown
    panel.work.part.emit(part("c"))
    panel.work.part.emit(part("d"))
    qtbot.waitUntil(lambda: captions(panel) == ["a c", "a d"])
    assert (panel.facts, panel.rows.source) == (None, "/two.csv")
    assert panel.view.strip.isVisible()
    assert requests == [("open", "/one.csv"), ("open", "/two.csv")]
    panel.work.checked.emit(checked("/one.csv", exact=[[0, 1]], exact_groups=1))
    assert panel.checked is None, "of another source"


def test_a_cancelled_read_keeps_its_rows_and_a_failure_can_be_retried(
    qtbot: QtBot, panel: DataPanel, requests: Asked
) -> None:
    panel.open("/one.csv")
    panel.work.part.emit(part("a", "b"))
    qtbot.waitUntil(lambda: len(panel.rows) == 2)
    panel.work.open_failed.emit(Cancelled())
    assert "The images read so far are shown" in panel.view.bar.text
    assert captions(panel) == ["a a", "a b"]
    assert panel.view.strip.isHidden()
    panel.open("/two.csv")
    panel.work.open_failed.emit(Failure("/two.csv is gone"))
    assert panel.view.bar.text == "/two.csv is gone"
    assert panel.view.empty.accessibleName() == "The data could not be opened", "it is not being opened any more"
    panel.view.bar.press_remedy()
    assert requests[-1] == ("open", "/two.csv")
    panel.work.part.emit(part("c"))
    qtbot.waitUntil(lambda: len(panel.rows) == 1)
    count = len(requests)
    panel.work.open_failed.emit(Failure("Its end cannot be read."))
    panel.view.bar.press_remedy()
    assert requests[count:] == [("open", "/two.csv")], "some rows are there, and the source is not open"


def test_a_check_compares_with_other_splits_or_by_the_label_that_names_them(
    qtbot: QtBot, panel: DataPanel, requests: Asked
) -> None:
    opened(qtbot, panel, "/one.csv", "a", "b", "c")
    panel.check()
    assert requests[-1] == ("check", "/one.csv", {}, "split")
    panel.compare_with({"val": "/val.csv"})
    assert requests[-1] == ("check", "/one.csv", {"val": "/val.csv"}, "")
    leaks = [{"row": row, "file": "", "split": "this", "other_split": "val", "path": "/v.png", "kind": "same bytes"}
             for row in (2, 0, 2)]  # fmt: skip
    broken = [{"row": 1, "why": "cut off"}]
    assert panel.view.strip.isVisible()
    panel.work.checked.emit(checked("/one.csv", leaks=leaks, leak_count=3, broken=broken))
    assert panel.view.strip.isHidden()
    assert ("(3)" in panel.view.tabs.tabText(GROUPS), "(1)" in panel.view.tabs.tabText(BROKEN)) == (True, True)
    assert panel.view.broken.rows.rows[0][0] == "/p/b.png"
    assert (
        panel.view.groups.exclude_copies.isEnabled(),
        panel.view.groups.exclude_leaks.isEnabled(),
    ) == (False, True)
    panel.view.groups.exclude_leaks.click()
    assert panel.rows.excluded_paths() == ["/p/a.png", "/p/c.png"]
    panel.view.groups.exclude_leaks.click()
    assert panel.rows.excluded_paths() == ["/p/a.png", "/p/c.png"], "they stay out"
    opened(qtbot, panel, "/two.csv", "d")
    panel.check()
    assert requests[-1] == ("check", "/two.csv", {}, "split"), "the splits are another source's"
    panel.work.checked.emit(checked("/two.csv"))
    assert not panel.view.groups.exclude_leaks.isEnabled()


def test_exclusions_apply_at_once_and_to_the_saved_data(
    qtbot: QtBot, panel: DataPanel, requests: Asked, tmp_path: Path
) -> None:
    view, to = panel.view, tmp_path / "kept.csv"
    opened(qtbot, panel, "/one.csv", "a", "b", "c", "d")
    view.subset.setCurrentIndex(view.subset.findData("kept"))
    panel.show_rows()
    view.gallery.set_selected([1, 3])
    panel._run_action("exclude")
    assert captions(panel) == ["a a", "a c"]
    assert view.counts.text() == "2 of 4 · 2 excluded"
    panel.save(to)
    assert requests[-1] == ("save", "/one.csv", to, ["/p/b.png", "/p/d.png"], [], False)
    view.gallery.set_selected([1])
    panel.save(to, selection=True, replace=True)
    assert requests[-1] == ("save", "/one.csv", to, ["/p/b.png", "/p/d.png"], ["/p/c.png"], True)
    panel._run_action("undo")
    assert captions(panel) == ["a a", "a b", "a c", "a d"]
    panel._run_action("exclude")  # nothing is selected any more
    view.gallery.set_selected([2])
    panel._run_action("exclude")
    panel._run_action("basket")
    qtbot.waitUntil(lambda: panel._services.basket.count == 1)
    (entry,) = panel._services.store.fixes()
    assert (entry.source, entry.fix.kind, entry.fix.path) == ("/one.csv", "excluded", "/p/c.png")
    panel.work.wait()
    opened(qtbot, panel, "/two.csv", "c")
    opened(qtbot, panel, "/one.csv", "a", "b", "c", "d")
    qtbot.waitUntil(lambda: panel.rows.excluded == {2})
    assert view.counts.text() == "1 excluded"
    assert [item.badge for item in view.gallery.items()] == ["", "", "excluded", ""]
    panel._run_action("undo")
    assert panel.rows.excluded == {2}, "what an earlier window excluded is no step of this one"


def test_an_exclusion_while_rows_are_still_read_keeps_the_stored_ones(
    qtbot: QtBot, panel: DataPanel, tmp_path: Path
) -> None:
    home = panel._services.store.home
    exclusions.update(home, "/one.csv", ["/p/b.png", "/p/c.png", "/p/z.png"])
    panel.open("/one.csv")
    panel.work.part.emit(part("a", "b"))
    qtbot.waitUntil(lambda: len(panel.rows) == 2)
    panel.exclude([0])
    qtbot.waitUntil(lambda: panel.rows.excluded == {0, 1})
    panel.work.part.emit(part("c"))
    panel.work.opened.emit(facts("/one.csv", 3))
    qtbot.waitUntil(lambda: panel.rows.excluded == {0, 1, 2})
    qtbot.waitUntil(lambda: len(exclusions.read(home, "/one.csv")) == 4)
    panel.exclude([1], excluded=False)
    qtbot.waitUntil(lambda: exclusions.read(home, "/one.csv") == ["/p/c.png", "/p/z.png", "/p/a.png"])


def test_stored_exclusions_of_the_source_before_are_not_applied(
    qtbot: QtBot, panel: DataPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Callable[[list[str]], object]] = []
    monkeypatch.setattr(DataWork, "read_exclusions", lambda _self, _source, done: answers.append(done))
    opened(qtbot, panel, "/one.csv", "a")
    panel.open("/two.csv")
    panel.work.part.emit(part("a"))
    qtbot.waitUntil(lambda: len(panel.rows) == 1)
    answers[0](["/p/a.png"])
    assert panel.rows.excluded == set()


def test_a_check_of_more_images_than_are_listed_is_shown(qtbot: QtBot, panel: DataPanel) -> None:
    opened(qtbot, panel, "/one.csv", "a", "b", "c")
    panel.work.checked.emit(
        checked("/one.csv", images=5, broken=[{"row": 1, "why": "cut off"}, {"row": 4, "why": "empty"}],
                exact=[[0, 2, 3]], exact_groups=1)
    )  # fmt: skip
    assert [place for place, _ in panel.view.broken.rows.rows] == ["/p/b.png", "row 5"]
    panel.view.groups.exclude_copies.click()
    assert panel.rows.excluded_paths() == ["/p/c.png"]
    assert panel.view.bar.text == "Not excluded: 1 unlisted image."


def test_new_experiments_validate_on_what_the_data_were_compared_with_or_are_trained_with(
    qtbot: QtBot, panel: DataPanel, tmp_path: Path
) -> None:
    configs: list[RunConfig] = []
    panel.new_experiment_requested.connect(configs.append)
    opened(qtbot, panel, "/alone.csv", "a")
    panel.compare_with({"val": "/held.csv"})
    panel.use_in_experiment()
    mine = preset_config("clip", "tiny").model_copy(update={"name": "mine"})
    data = mine.data.model_copy(update={"train": "/one.csv", "val": "/val.csv"})
    panel._services.store.add_experiment(mine.model_copy(update={"data": data}), "mine")
    panel.refresh()
    opened(qtbot, panel, "/one.csv", "a")
    panel._run_action("use")
    panel._on_saved({"path": "/kept.csv", "images": 1, "captions": 1})
    panel.view.bar.press_remedy()
    panel._on_held_out("/one-train.csv", "/one-held-out.csv")
    panel.view.bar.press_remedy()
    assert [(config.data.train, config.data.val) for config in configs] == [
        ("/alone.csv", "/held.csv"), ("/one.csv", "/val.csv"), ("/kept.csv", "/val.csv"),
        ("/one-train.csv", "/one-held-out.csv"),
    ]  # fmt: skip
    assert configs[2].name.endswith("on kept")


def test_a_new_experiment_does_not_validate_on_the_splits_of_other_data(qtbot: QtBot, panel: DataPanel) -> None:
    other = override(preset_config("clip", "tiny"), ["data.train=/one.csv", "data.val=/val.csv", "data.test=/test.csv"])
    panel.view.views.add_config("Run of another", other)
    opened(qtbot, panel, "/two.csv", "a")
    with qtbot.waitSignal(panel.new_experiment_requested) as signal:
        panel.use_in_experiment()
    data = signal.args[0].data
    assert (data.train, data.val, data.test) == ("/two.csv", "", "")
    opened(qtbot, panel, "/one.csv", "a")
    with qtbot.waitSignal(panel.new_experiment_requested) as signal:
        panel.use_in_experiment("/kept.csv")
    data = signal.args[0].data
    assert (data.train, data.val, data.test) == ("/kept.csv", "/val.csv", "/test.csv")


def test_each_listed_config_shows_its_own_views(panel: DataPanel) -> None:
    page = panel.view.views
    of = {preset: preset_config(preset, "tiny") for preset in ("clip", "sd-clip", "silc", "dino")}
    page.set_experiments([("zero", of["dino"])])
    page.set_experiments([("one", of["clip"]), ("two", of["sd-clip"])])
    page.add_config("Run of three", of["silc"])
    views_by_name: dict[str, str] = {}
    for row in range(3):
        page.configs.setCurrentIndex(row)
        page.configs.activated.emit(row)
        config = page.form.config()
        assert config is not None
        views_by_name[page.configs.currentText()] = config.preset
    assert views_by_name == {"Run of three": "silc", "one": "clip", "two": "sd-clip"}


def test_the_config_in_the_form_stays_selected_when_the_list_of_experiments_changes(panel: DataPanel) -> None:
    page = panel.view.views
    page.add_config("Run of three", preset_config("silc", "tiny"))
    page.set_experiments([("one", preset_config("clip", "tiny"))])
    config = page.form.config()
    assert config is not None
    assert (page.configs.currentText(), config.preset) == ("Run of three", "silc")


def test_a_file_dropped_anywhere_on_the_page_is_opened(panel: DataPanel, tmp_path: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / "pairs.csv"))])
    none, keys, copy = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.DropAction.CopyAction
    entering = QDragEnterEvent(QPoint(5, 5), copy, data, none, keys)
    QApplication.sendEvent(panel, entering)
    QApplication.sendEvent(panel, QDropEvent(QPointF(5, 5), copy, data, none, keys))
    assert (panel.acceptDrops(), entering.isAccepted()) == (True, True)
    assert panel.view.source.source() == str(tmp_path / "pairs.csv")
