"""The window driven by keys, as a user and as people's scripts do."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QLineEdit,
    QTabBar,
    QWidget,
)
from pytestqt.qtbot import QtBot

import core
from core.spec.files import write_whole
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from sdgui.app.main_window import MainWindow
from sdgui.panels.define.panel import DefinePanel
from sdgui.panels.search.panel import SearchPanel
from sdgui.runs.demo import DEMO_QUERY
from sdgui.runs.models import included_models
from tests.sdgui.conftest import settle
from tests.sdgui.driving import CTRL, SHIFT, OpenWindow, add, press


def shown_experiment(window: MainWindow) -> str:
    define = window.panels["define"]
    assert isinstance(define, DefinePanel)
    return define.head.title.text()


def test_the_demo_opens_on_a_search_with_the_included_model(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window()
    assert not window.window_actions["launch"].isEnabled()
    press(qtbot, window, Qt.Key.Key_D, CTRL | SHIFT)
    qtbot.waitUntil(lambda: window.services.demo.complete and window.panel_name == "search")
    search = window.panels["search"]
    assert isinstance(search, SearchPanel)
    qtbot.waitUntil(lambda: search.view.source.target(0) is not None)
    target = search.view.source.target(0)
    assert target is not None
    assert (Path(target.model), Path(target.data)) == (included_models()[0], window.services.demo.search_table)
    assert search.view.query.query().words == DEMO_QUERY
    window.show_panel("define")
    assert shown_experiment(window) == "sd-clip demo"
    assert [e.name for e in window.services.store.experiments()] == ["clip demo", "sd-clip demo"]
    window.experiment_commands.add_demo("search")
    settle(window)
    assert len(window.services.store.experiments()) == 2


def test_an_imported_run_is_shown_with_its_curves(qtbot: QtBot, open_window: OpenWindow, tmp_path: Path) -> None:
    window = open_window()
    folder = RunDir(tmp_path / "elsewhere")
    folder.create()
    write_whole(folder.config, preset_config("clip", "tiny").to_json().encode())
    window.experiment_commands.import_run(folder.path)
    qtbot.waitUntil(lambda: window.bar.text.startswith("Imported run"))
    assert window.panel_name == "runs"
    assert window.selection.run_id == window.services.store.runs()[0].id


def test_an_invalid_field_prevents_a_launch_and_is_kept(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window()
    experiment = add(window)
    define = window.panels["define"]
    assert isinstance(define, DefinePanel)
    define.form.set_draft(define.form.draft() | {"optim.batch_size": "25x"})
    press(qtbot, window, Qt.Key.Key_Return)
    assert window.services.store.runs() == []
    assert "Batch size" in define.bar.text
    window.close()
    again = open_window()
    define = again.panels["define"]
    assert isinstance(define, DefinePanel)
    assert define.form.draft()["optim.batch_size"] == "25x", "an invalid draft survives a restart"
    define.form.set_draft(define.form.draft() | {"optim.batch_size": "24"})
    assert define.save()
    settle(again)
    stored = again.services.store.experiment(experiment).config
    assert stored is not None
    assert stored.optim.batch_size == 24


def test_shortcuts_find_settings_errors_and_the_tree(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window()
    experiment = add(window)
    define = window.panels["define"]
    assert isinstance(define, DefinePanel)
    form = define.form

    def in_field(name: str) -> bool:
        return form.row(name).editor.control.hasFocus()

    form.focus_field("seed")
    qtbot.waitUntil(lambda: in_field("seed"))
    press(qtbot, window, Qt.Key.Key_F)
    assert form._search.hasFocus()
    form.set_draft({"seed": "x"})
    press(qtbot, window, Qt.Key.Key_F8, Qt.KeyboardModifier.NoModifier)
    assert in_field("seed")
    press(qtbot, window, Qt.Key.Key_E)
    assert window.experiments.tree.hasFocus()
    press(qtbot, window, Qt.Key.Key_Delete, Qt.KeyboardModifier.NoModifier)
    settle(window)
    assert window.services.store.experiments() == []
    window.bar.press_remedy()
    settle(window)
    assert [each.id for each in window.services.store.experiments()] == [experiment]


def test_the_palette_finds_actions_experiments_and_panels(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window()
    add(window, "first one")
    add(window, "second")
    palette = window.dialogs.palette
    press(qtbot, window, Qt.Key.Key_K)
    qtbot.keyClicks(palette.line, "first")
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    assert shown_experiment(window) == "first one"
    press(qtbot, window, Qt.Key.Key_K)
    qtbot.keyClicks(palette.line, "search")
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    assert window.panel_name == "search"
    press(qtbot, window, Qt.Key.Key_K)
    qtbot.keyClicks(palette.line, "duplicate")
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    settle(window)
    assert "first one copy" in [each.name for each in window.services.store.experiments()]


def test_every_action_and_button_is_described(open_window: OpenWindow) -> None:
    window = open_window()
    keys = [key.toString() for action in window.window_actions for key in action.shortcuts()]
    assert len(keys) == len(set(keys))
    for action in window.window_actions:
        assert not action.shortcut().isEmpty(), action.text()
        assert action.statusTip(), action.text()
        assert action.toolTip().startswith(action.statusTip())
    add(window)
    qts_own = (QLineEdit, QTabBar, QAbstractItemView)  # clear buttons, arrows of tabs, corners of tables
    own: set[QAbstractButton] = set()
    for place in ("define", "runs", "search"):
        window.show_panel(place)
        own |= {each for each in window.findChildren(QAbstractButton) if each.isVisible()}
    own = {each for each in own if not isinstance(each.parent(), qts_own)}
    assert len(own) > 10
    assert [_path(each) for each in own if not (each.accessibleName() or each.text())] == []


def test_a_switch_to_the_tree_does_not_widen_the_window(open_window: OpenWindow) -> None:
    window = open_window()
    add(window)
    window.show_panel("machines").setMinimumWidth(1050)
    window.resize(1280, 720)
    settle(window)
    assert window.width() == 1280
    window.show_panel("runs")
    settle(window)
    assert (window.width(), window.experiments.isVisible()) == (1280, True)
    assert window.page.minimumWidth() == 0, "the panel has its own minimum again"


def _path(widget: QWidget | None) -> str:
    names: list[str] = []
    while widget is not None:
        names.append(type(widget).__name__)
        widget = widget.parentWidget()
    return " < ".join(names)


def test_a_run_logged_while_no_window_was_open_is_listed(qtbot: QtBot, home: Path, open_window: OpenWindow) -> None:
    run = core.start_run("nightly", home=home, project="cifar", system_seconds=0, record_code=False)
    run.log({"train/loss": 1.0}, step=1)
    run.finish()
    window = open_window()
    qtbot.waitUntil(lambda: bool(window.experiments.model.runs()))
    (listed,) = window.experiments.model.runs()
    assert (listed.folder.name, listed.is_logged) == (run.folder.name, True)


def test_the_window_remembers_selection_ticks_and_panel(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window()
    run = window.services.store.add_run(add(window, "a")).id
    window.services.store.mark_failed(run, "It ended.")
    window.reload()
    window.experiments.set_ticked((run,))
    add(window, "b")
    window.show_panel("search")
    window.close()
    again = open_window()
    assert again.selection.ticked == (run,)
    assert again.panel_name == "search"
    assert not again.experiments.isVisible(), "the tree has no say there"
    again.show_panel("define")
    assert again.experiments.isVisible()
    assert shown_experiment(again) == "b"
