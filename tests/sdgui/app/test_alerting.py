"""Alerts in the window: the message, the notification, and the dialog of the rules."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from types import SimpleNamespace

import pytest
from pytestqt.qtbot import QtBot

from core.spec.alerts.evaluating import Alert
from core.spec.alerts.rules import AlertRules, Rules
from core.spec.alerts.watching import RunAlert
from core.spec.run.events import EventWriter, Metrics, RunStarted
from core.spec.run.processes import start_time
from core.spec.run.status import RunState, RunStatus
from sdgui.app import alerting
from sdgui.app.alerting import Alerts
from sdgui.app.main_window import MainWindow
from sdgui.store.records import Run, StoreUnavailableError
from tests.sdgui.driving import OpenWindow, add, trainable


@pytest.fixture
def window(open_window: OpenWindow) -> MainWindow:
    return open_window()


def dead_run(window: MainWindow, experiment: int) -> Run:
    """A run whose trainer reported a loss that is not finite, and was killed."""
    run = window.services.store.add_run(experiment)
    run.dir.create()
    run.dir.config.write_text(trainable().to_json())
    with closing(EventWriter(run.dir.events)) as writer:
        writer.write(RunStarted(step=0, total_steps=9, config_digest="d"))
        writer.write(Metrics(step=1, values={"train/loss": float("nan")}))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        run.dir.write_status(RunStatus(process.pid, start_time(process.pid), 1.7e9))
        process.kill()
    return run


def test_an_alert_is_shown_with_its_run_and_as_a_desktop_notification(
    window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes, sent, shown = list[str](), list[list[str]](), list[str]()
    monkeypatch.setattr(window._alerting, "_notify", notes.append)
    monkeypatch.setattr(window._alerting, "_show", lambda message: shown.append(message.text))
    run = dead_run(window, add(window, "mine"))
    window.reload()
    window._alerting.alerts.start()
    window.services.follower.state_changed.emit(run.id, RunState.RUNNING)
    qtbot.waitUntil(lambda: len(shown) == 2)
    name = window.experiments.model.name(run.id)
    assert shown == [
        f"{name} train/loss is nan at step 1 (train/loss not finite).",
        f"{name} exited unexpectedly after step 1.",
    ]
    window.show_panel("runs")
    window.experiments.select_run(run.id)
    alert = RunAlert(run.dir, Alert("failed", "exited unexpectedly after step 1", 1, 0.0), AlertRules())
    window._alerting._on_alerted(run.id, alert)
    assert len(shown) == 2, "Runs shows the failure of its run itself"
    window.show_panel("home")
    window._alerting._on_alerted(run.id, alert)
    assert len(shown) == 3
    monkeypatch.undo()
    monkeypatch.setattr(alerting.shutil, "which", lambda program: f"/bin/{program}")
    process = SimpleNamespace(startDetached=lambda program, words: sent.append([program, *words]))
    monkeypatch.setattr(alerting, "QProcess", process)
    window._alerting._notify("<b>bold</b> failed.")
    assert sent == [["/bin/notify-send", "--app-name=sdgui", "--", "sdgui", "&lt;b&gt;bold&lt;/b&gt; failed."]]


def test_a_run_that_starts_during_an_outage_of_the_database_is_watched_afterwards(
    window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = dead_run(window, add(window, "mine"))
    alerts = Alerts(window.services.store, window.services.follower)
    alerts._poll()
    alerts._started.put(run.id)
    watched = list[Run]()
    monkeypatch.setattr(alerts, "_watch", watched.append)

    def refuse(_run_id: int) -> Run:
        raise StoreUnavailableError("The database is locked.")

    with monkeypatch.context() as outage:
        outage.setattr(window.services.store, "run", refuse)
        alerts._poll()
    assert not watched
    alerts._poll()
    assert [other.id for other in watched] == [run.id]


def test_rules_are_edited_saved_and_tested_on_existing_runs(window: MainWindow, qtbot: QtBot) -> None:
    experiment = add(window, "mine")
    run = dead_run(window, experiment)
    window.window_actions["alerts"].trigger()
    dialog, rules = window.dialogs.alerts, Rules(window.services.store.home / "alerts.json")
    assert (dialog.isVisible(), dialog.rules()) == (True, AlertRules())
    dialog.test.click()
    qtbot.waitUntil(lambda: dialog.table.topLevelItemCount() == 2)
    rows = [dialog.table.topLevelItem(at) for at in range(2)]
    assert {row.text(1) for row in rows if row is not None} == {run.folder.name}
    assert not rules.has_own("mine")
    dialog.conditions.setPlainText("train/loss = 3")
    dialog.save.click()
    assert "is not a condition; write METRIC < NUMBER" in dialog.bar.text
    dialog.conditions.setPlainText("train/loss > 3\n\n")
    dialog.command.setText('say "a run"')
    dialog.save.click()
    saved = AlertRules(conditions=("train/loss > 3",), command=("say", "a run"))
    assert (rules.of("mine"), rules.of("other")) == (saved, AlertRules())
    dialog.use_defaults.click()
    assert (rules.has_own("mine"), dialog.rules()) == (False, AlertRules())
