"""What parts of the window tell it, and what it does with that: messages, panels, the selection, its title."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from core.spec.run.status import RunState
from sdgui.app.main_window import MainWindow
from sdgui.panels.caption.panel import CaptionsPanel
from sdgui.panels.define.panel import DefinePanel
from sdgui.store.records import Progress, StoreUnavailableError
from sdgui.widgets.message import Message
from tests.sdgui.conftest import settle
from tests.sdgui.driving import OpenWindow, add


@pytest.fixture
def window(open_window: OpenWindow) -> MainWindow:
    return open_window()


def test_background_errors_are_shown_in_the_message_bar(window: MainWindow) -> None:
    services, bar = window.services, window.bar
    tells = (
        (lambda: services.follower.trouble.emit(0, "The database is locked."), "warning", "The database is locked."),
        (lambda: services.writer.trouble.emit("It is full."), "error", "It is full."),
        (lambda: services.hosts.trouble.emit("far is gone."), "warning", "far is gone."),
        (lambda: services.studies.trouble.emit("It cannot be read."), "warning", "It cannot be read."),
        (lambda: services.hosts.fetches.fetched.emit(1, Path("/runs/a")), "info", "Fetched: /runs/a"),
        (lambda: services.hosts.fetches.failed.emit(1, "No room."), "error", "No room."),
        (lambda: window.run_commands.message_requested.emit(Message("info", "one")), "info", "one"),
        (lambda: window.experiment_commands.message_requested.emit(Message("info", "two")), "info", "two"),
        (lambda: window.demo_report.message_requested.emit(Message("info", "three")), "info", "three"),
        (lambda: window.panels[window.panel_name].message_requested.emit(Message("info", "four")), "info", "four"),
    )
    for tell, level, text in tells:
        bar.clear()
        tell()
        assert bar.message is not None, text
        assert (bar.message.level, bar.message.text) == (level, text)
    bar.clear()
    services.hosts.fetches.failed.emit(1, "")
    assert bar.message is None, "who cancelled knows it"


def test_a_finished_run_is_announced_with_a_link_to_search(window: MainWindow) -> None:
    store = window.services.store
    experiment = add(window, "mine")
    run, imported = store.add_run(experiment), store.add_run(experiment, queued=True)
    for one in (run, imported):
        store.record(one.id, Progress(RunState.DONE, 1, step=5, total_steps=5, ending="done"))
    window.reload()
    window.bar.clear()
    tell = window.services.follower.state_changed
    tell.emit(imported.id, RunState.DONE)
    assert window.bar.message is None, "it was never launched here"
    tell.emit(run.id, RunState.DONE)
    assert window.bar.text == "mine · run 1 finished. Not validated yet."
    window.bar.press_remedy()
    assert window.panel_name == "search"
    assert window.bar.message is None
    tell.emit(run.id, RunState.RUNNING)
    tell.emit(99, RunState.DONE)
    assert window.bar.message is None


def test_runs_added_or_removed_elsewhere_are_read(window: MainWindow) -> None:
    store, follower, model = window.services.store, window.services.follower, window.experiments.model
    run = store.add_run(add(window, "mine"))
    follower.run_added.emit(run.id)
    settle(window)
    assert model.run(run.id) is not None
    store.delete_run(run.id)
    follower.run_removed.emit(run.id)
    settle(window)
    assert model.run(run.id) is None
    follower.run_removed.emit(run.id)
    assert not window._refresh_timer.isActive(), "it is known"
    store.restore_run(run.id)
    window.services.studies.runs_added.emit(frozenset((run.id,)))
    settle(window)
    assert model.run(run.id) is not None
    follower.run_added.emit(run.id)
    assert not window._refresh_timer.isActive()


def test_unusable_data_are_shown_at_their_field(window: MainWindow) -> None:
    first = add(window, "first")
    add(window, "second")
    window.show_panel("search")
    window.run_commands.data_refused.emit(first, {"data.train": "It is empty."})
    define = window.panels["define"]
    assert isinstance(define, DefinePanel)
    assert (window.panel_name, window.selection.experiment_id) == ("define", first)
    assert "It is empty." in define.bar.text


@pytest.mark.parametrize("by_the_button", [True, False])
def test_the_window_closes_on_the_second_request_though_every_write_fails(
    qtbot: QtBot, open_window: OpenWindow, monkeypatch: pytest.MonkeyPatch, by_the_button: bool
) -> None:
    window = open_window()
    experiment = add(window, "mine")
    window.show_panel("define")
    define = window.panels["define"]
    assert isinstance(define, DefinePanel)

    def refuse(*_: object) -> None:
        raise StoreUnavailableError("The disk is full.")

    monkeypatch.setattr(window.services.store, "edit_experiment", refuse)
    define.form.set_value("seed", 99)
    window.close()
    qtbot.waitUntil(lambda: "could not be saved" in window.bar.text)
    assert window.isVisible(), "what failed can be tried again"
    assert "disk is full" in define.bar.text
    if by_the_button:
        window.bar.press_remedy()
    else:
        window.close()
    qtbot.waitUntil(lambda: not window.isVisible())
    assert '"seed": "99"' in str(window.services.settings.value(f"drafts/{experiment}")), "it is there the next time"


def test_the_window_closes_after_captions_are_written_and_reports_a_failure(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = window.show_panel("caption")
    assert isinstance(panel, CaptionsPanel)
    qtbot.waitUntil(lambda: panel._held_paths is None)
    store, full, may_write = window.services.store, [True], threading.Event()
    write = store.save_captions

    def keep(*what: Any) -> None:
        may_write.wait(10)
        if full[0]:
            raise StoreUnavailableError("The disk is full.")
        write(*what)

    monkeypatch.setattr(store, "save_captions", keep)
    panel.add_paths(["/images/a.png"])
    assert not window.close()
    assert window.isVisible()
    may_write.set()
    qtbot.waitUntil(lambda: not panel.is_saving())
    qtbot.wait(20)
    assert window.isVisible(), "what could not be written is not given up unseen"
    full[0] = False
    may_write.clear()
    panel.persistence.flush()
    assert not window.close()
    may_write.set()
    qtbot.waitUntil(lambda: not window.isVisible())
    assert [entry.path for entry in store.captions()[0]] == ["/images/a.png"], "before the window was gone"
