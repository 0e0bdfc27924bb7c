"""The Data panel with the worker itself: a table opened, filtered, checked, excluded from, saved; its views redrawn."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QProcess, Qt
from PySide6.QtWidgets import QApplication, QFileDialog, QMenu
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from sdgui.app.start import make_application, make_services
from sdgui.panels.data.layout import BROKEN, GROUPS, VIEWS
from sdgui.panels.data.panel import DataPanel
from sdgui.panels.search.panel import SearchPanel
from tests.core.data.samples import write_image, write_pairs
from tests.sdgui.conftest import OpenWindow


@pytest.fixture
def panel(qtbot: QtBot, tmp_path: Path) -> Iterator[DataPanel]:
    """On an experiment whose training data are ten images, three of which are one, and val.csv shares another."""
    make_application()
    train, val = write_pairs(tmp_path / "train", 10, captions=2), write_pairs(tmp_path / "val", 2)
    images = tmp_path / "train" / "images"
    for number in (5, 6):
        shutil.copy(images / "004.png", images / f"{number:03}.png")
    (images / "009.png").write_bytes(b"broken")
    with train.open("a") as file:
        file.write("images/gone.png,nothing,c1\n")
    services = make_services(tmp_path / "home")
    settings = [f"data.train={train}", f"data.val={val}", "optim.batch_size=4", "teacher.kind=ema"]
    services.store.add_experiment(override(preset_config("clip", "tiny"), settings), "mine")
    panel = DataPanel(services)
    qtbot.addWidget(panel)
    panel.resize(1100, 760)
    panel.show()
    panel.on_enter()
    panel.show_source(str(train))
    qtbot.waitUntil(lambda: panel.facts is not None)
    yield panel
    panel.work.wait()
    panel.view.gallery.close_threads()
    panel.view.groups.gallery.close_threads()
    services.pool.shutdown()
    qtbot.waitUntil(lambda: not services.pool.findChildren(QProcess))
    services.launcher.close()


@pytest.mark.slow
def test_a_source_is_inspected_and_saved_again(panel: DataPanel, qtbot: QtBot, tmp_path: Path) -> None:
    view, saved = panel.view, tmp_path / "train" / "kept.csv"
    assert (len(panel.rows), panel.facts is not None and panel.facts["bad"]) == (10, 1)
    assert view.gallery.items()[0].caption == "image 0 caption 0"
    view.filter_box.setText("7 caption 1")
    qtbot.waitUntil(lambda: panel.gallery_rows.numbers == [7])
    view.filter_box.clear()
    qtbot.waitUntil(lambda: len(panel.gallery_rows.numbers) == 10)
    panel._on_value_chosen("kind", "c1")
    assert panel.gallery_rows.numbers == [1, 5, 9]
    view.set_filter("", "")
    panel.show_rows()
    # The check finds the copies, what val.csv has too, and the file that is no image.
    view.tabs.setCurrentIndex(GROUPS)
    view.groups.empty.activated.emit()
    qtbot.waitUntil(lambda: panel.checked is not None)
    assert [group.rows for group in view.groups._groups] == [(0,), (1,), (4, 5, 6)]
    assert "(3)" in view.tabs.tabText(GROUPS)
    assert "(2)" in view.tabs.tabText(BROKEN)
    assert "not an image" in view.broken.rows.rows[0][1]
    view.groups.exclude_copies.click()
    assert panel.rows.excluded == {5, 6}
    view.gallery.set_selected([9])
    qtbot.keyClick(view.gallery.view, Qt.Key.Key_X)
    view.gallery.set_selected([8])
    qtbot.keyClick(view.gallery.view, Qt.Key.Key_X)
    qtbot.keyClick(view.gallery.view, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert panel.rows.excluded == {5, 6, 9}
    assert view.gallery.items()[9].faint
    panel.save(saved)
    qtbot.waitUntil(lambda: saved.exists() and not view.strip.isVisible())
    assert saved.with_name("kept.provenance.json").exists()
    with qtbot.waitSignal(panel.new_experiment_requested) as signal:
        view.bar.press_remedy()
    config: RunConfig = signal.args[0]
    assert (config.data.train, config.data.val) == (str(saved), str(tmp_path / "val" / "pairs.csv"))
    panel.work.wait()
    panel.open(panel.rows.source)  # what was excluded is so again
    qtbot.waitUntil(lambda: panel.rows.excluded == {5, 6, 9})
    panel.exclude([9], False)
    qtbot.keyClick(view.gallery.view, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    panel.exclude([6], False)
    panel.exclude([7])
    qtbot.wait(1)
    panel.undo()
    qtbot.wait(1)
    panel.work.wait()
    panel.open(panel.rows.source)  # and what was taken back is not
    qtbot.waitUntil(lambda: panel.rows.excluded == {5, 9})
    views_follow_the_form_the_step_and_the_selection(panel, qtbot)


def views_follow_the_form_the_step_and_the_selection(panel: DataPanel, qtbot: QtBot) -> None:
    """Beside the above, for whose workers to be started once."""
    view = panel.view
    page, preview = view.views, view.views.preview
    view.gallery.set_selected([2, 7])
    view.tabs.setCurrentIndex(VIEWS)
    qtbot.waitUntil(lambda: preview.views() is not None)
    before = preview.views()
    assert before is not None
    assert [image["row"] for image in before.images] == [2, 7]
    assert [row.title for row in before.rows] == ["Clean", "Teacher"]
    assert before.rows[0].images[0].width() == 32
    with qtbot.waitSignal(preview.drawn):
        page.form.set_values({"views.student.count": 1, "views.student.mask": 1.0})
    views = preview.views()
    assert views is not None
    assert [(row.heading, row.title) for row in views.rows] == [
        ("The student sees", "Clean"), ("", "Student"), ("The teacher sees", "Teacher"),
    ]  # fmt: skip
    assert "1" in views.rows[1].cells[0]["mask"]
    with qtbot.waitSignal(preview.drawn):
        preview.again.click()
    again = preview.views()
    assert again is not None
    assert again.epoch == 1
    assert again.rows[0].images[0] != views.rows[0].images[0]
    with qtbot.waitSignal(preview.drawn):
        preview.seed.setValue(99)
    assert page.run_config("") is not None
    with qtbot.waitSignal(panel.new_experiment_requested) as signal:
        page.use.click()
    assert (signal.args[0].seed, signal.args[0].views.student.mask) == (99, 1.0)
    page.form.set_values({"views.student.crop_min": 2.0})
    assert preview.canvas._stale


def test_a_folder_is_searched_from_data_by_keys(
    open_window: OpenWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "mine" / "a.png", 1)
    window = open_window()
    qtbot.keyClick(window, Qt.Key.Key_5, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: window.panel_name == "data")
    data = window.panels["data"]
    assert isinstance(data, DataPanel)
    button = data.view.empty._button
    visible = (button, data.view.demo_button, data.view.save_button, data.view.subset)
    assert [widget.isVisible() for widget in visible] == [True, True, False, False]
    assert data.view.demo_button.text() == "Create the demo images"
    monkeypatch.setattr(type(window.services.demo), "complete", property(lambda _demo: True))
    data.view.show_controls(False)
    data.view.demo_button.click()
    assert data.view.source.source() == str(window.services.demo.folder / "train.csv")
    assert not data.view.demo_button.isVisible()
    data.view.source.set_source("")
    data.view.show_controls(False)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "mine"))
    qtbot.keyClick(button, Qt.Key.Key_Space)
    opening = QApplication.activePopupWidget()
    assert isinstance(opening, QMenu)
    qtbot.keyClick(opening, Qt.Key.Key_O)  # a folder
    assert data.view.source.source() == str(tmp_path / "mine")
    assert data.view.save_button.isVisible()
    data.view.show_controls(True)
    qtbot.keyClick(data.view.more_button, Qt.Key.Key_Space)
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, QMenu)
    assert menu.actions()[0].text() == "Search &these images"
    qtbot.keyClick(menu, Qt.Key.Key_T)
    qtbot.waitUntil(lambda: window.panel_name == "search")
    search = window.panels["search"]
    assert isinstance(search, SearchPanel)
    assert search.view.source.kind == "data"
    assert search.view.source.collection.data.source() == str(tmp_path / "mine")
    qtbot.waitUntil(lambda: search.view.query.line.hasFocus())
    qtbot.keyClicks(search.view.query.line, "a red kite")
    assert search.view.query.line.text() == "a red kite"
