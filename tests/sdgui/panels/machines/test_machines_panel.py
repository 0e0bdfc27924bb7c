"""The Machines panel as a user meets it: machines added, changed and removed; the queue dragged and moved by keys."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QLineEdit, QPlainTextEdit, QSpinBox
from pytestqt.qtbot import QtBot

from core.spec.machines.answers import Facts, Finding, Gpu
from core.spec.machines.connection import ConnectionState
from core.spec.machines.machine import LOCAL, Machine
from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.app.main_window import MainWindow
from sdgui.panels.machines.machine_list import QUEUE_KEY
from sdgui.panels.machines.panel import MachinesPanel
from sdgui.runs.machines.hosts import Hosts
from sdgui.runs.machines.slots import MachineSlots
from sdgui.store.changes import Changes
from sdgui.store.records import THIS_COMPUTER, Place, StoreError
from tests.sdgui.conftest import settle

OpenWindow = Callable[..., MainWindow]
REMOTE = Path(__file__).parents[3] / "core" / "remote" / "fake_remote.py"


@pytest.fixture
def window(open_window: OpenWindow, monkeypatch: pytest.MonkeyPatch) -> MainWindow:
    """A window that asks no machine anything by itself, and whose only GPU is another program's."""
    monkeypatch.setattr(Hosts, "probe", lambda hosts, name: None)
    window = open_window("--steps", "3")
    monkeypatch.setattr(window.services.launcher, "_slots", MachineSlots(lambda: [Gpu(index=0, users=["x"])]))
    return window


@pytest.fixture
def panel(window: MainWindow, qtbot: QtBot) -> MachinesPanel:
    panel = window.show_panel("machines")
    assert isinstance(panel, MachinesPanel)
    qtbot.waitUntil(lambda: bool(panel._machines))
    return panel


def queue_three(window: MainWindow, panel: MachinesPanel, qtbot: QtBot) -> list[int]:
    store = window.services.store
    experiment = store.add_experiment(preset_config("clip", "tiny"))
    ids = [window.services.launcher.enqueue(experiment.id).id for _ in range(3)]
    panel.list.choose(QUEUE_KEY)
    qtbot.waitUntil(lambda: panel.queue.table.rows.waiting() == ids)
    return ids


def test_waiting_runs_are_counted_dragged_moved_by_keys_and_removed(
    window: MainWindow, panel: MachinesPanel, qtbot: QtBot
) -> None:
    first, second, third = queue_three(window, panel, qtbot)
    said, changed = list[str](), list[Changes]()
    panel.message_requested.connect(lambda message: said.append(message.text))
    assert panel.list.item(0).data(Qt.ItemDataRole.AccessibleTextRole) == "Queue, 3 waiting"
    store, table = window.services.store, panel.queue.table
    data = table.rows.mimeData([table.rows.index(2, 0)])
    table.rows.dropMimeData(data, Qt.DropAction.MoveAction, 0, 0, QModelIndex())
    settle(window)
    assert [run.id for run in store.queue()] == [third, first, second]
    table.choose([third])
    table.setFocus()
    qtbot.keyClick(table, Qt.Key.Key_Down, Qt.KeyboardModifier.AltModifier)
    settle(window)
    assert [run.id for run in store.queue()] == [first, third, second]
    assert table.selected_waiting_runs() == [third], "what was moved stays selected"
    qtbot.keyClick(table, Qt.Key.Key_End, Qt.KeyboardModifier.AltModifier)
    settle(window)
    assert [run.id for run in store.queue()] == [first, second, third]
    qtbot.keyClick(table, Qt.Key.Key_Delete)
    settle(window)
    assert [run.id for run in store.queue()] == [first, second]
    panel.queue.place_requested.emit([second], "far")
    settle(window)
    assert [run.machine for run in store.queue()] == ["", "far"]
    assert said == ["Removed 1 run from the queue."]
    panel.changed.connect(changed.append)
    table.removal_requested.emit([])
    table.removal_requested.emit([first])
    settle(window)
    assert said[1:] == ["Removed 1 run from the queue."]
    assert [set(change.runs) for change in changed] == [{first}]
    qtbot.waitUntil(lambda: panel.list.item(0).data(Qt.ItemDataRole.AccessibleTextRole) == "Queue, 1 waiting")
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(window.services.launcher, "unqueue", locked)
        table.removal_requested.emit([second])
        settle(window)
    assert (set(changed.pop().runs), said.pop()) == ({second}, "The database is locked.")
    with pytest.MonkeyPatch.context() as broken:
        for name in ("reorder_queue", "alive_runs"):
            broken.setattr(store, name, locked)
        table.rows.reordered.emit([second])
        settle(window)
    assert set(said[2:]) == {"The database is locked."}
    assert len(said) > 3, "of what was not written, and of what cannot be read"
    panel.queue.limit.setValue(3)
    assert window.services.launcher.limit == 3
    assert str(window.services.settings.value("queue/at_once")) == "3"
    panel.list.choose(LOCAL)
    field = panel.page.form.fields["at_once"]
    assert isinstance(field, QSpinBox)
    assert field.value() == 3
    field.setValue(5)
    assert (window.services.launcher.limit, len(window.services.hosts.listing())) == (5, 1)
    panel.page.remove_requested.emit()
    assert len(window.services.hosts.listing()) == 1, "this computer cannot be removed"
    table.run_opened.emit(second)
    assert window.panel_name == "runs"


def test_a_host_is_added_changed_and_removed(window: MainWindow, panel: MachinesPanel, qtbot: QtBot) -> None:
    hosts, said = window.services.hosts, list[str]()
    panel.message_requested.connect(lambda message: said.append(message.text))
    panel.name.setText("-oProxyCommand=x")
    panel.add.click()
    assert "not a valid ssh name" in said.pop()
    assert panel.name.text(), "what was typed is kept"
    panel.name.setText("gpu-box")
    qtbot.keyClick(panel.name, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: panel.list.key() == "gpu-box")
    form = panel.page.form
    launcher, sbatch, runs = form.fields["launcher"], form.fields["sbatch"], form.fields["runs"]
    assert isinstance(sbatch, QPlainTextEdit)
    assert isinstance(runs, QLineEdit)
    runs.setText("/scratch/runs")
    runs.editingFinished.emit()
    launcher.setCurrentIndex(2)  # type: ignore[attr-defined]
    launcher.activated.emit(2)  # type: ignore[attr-defined]
    sbatch.setPlainText("--account=x")
    form._save()
    assert "#SBATCH" in form._errors["sbatch"].text()
    sbatch.setPlainText("#SBATCH --account=x")
    form._save()
    expected = Machine(
        name="gpu-box", host="gpu-box", runs="/scratch/runs", launcher="slurm", sbatch="#SBATCH --account=x"
    )
    qtbot.waitUntil(lambda: hosts.listing()[1:] == [expected])
    assert form._errors["sbatch"].isHidden()
    hosts.set_place(Place("gpu-box"))
    panel.page.remove.click()
    qtbot.waitUntil(lambda: len(hosts.listing()) == 1 and hosts.place == THIS_COMPUTER)
    qtbot.waitUntil(lambda: len(panel._machines) == 1 and bool(said))
    window.bar.press_remedy()
    qtbot.waitUntil(lambda: hosts.listing()[1:] == [expected])


def test_a_run_trains_on_another_machine_and_missing_parts_are_reported_before(
    open_window: OpenWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program on the machine is a child of this process; the trainer there is the one in miniature."""
    monkeypatch.setenv("FAKE_TRAINER", "--steps 5 --delay 0.02")
    far_home = tmp_path / "there"
    window = open_window()
    hosts, store, said = window.services.hosts, window.services.store, list[str]()
    remote = [sys.executable, str(REMOTE), "remote", "--runs", str(far_home)]
    monkeypatch.setattr(hosts.machines, "_command", lambda machine: None if machine.is_local else remote)
    hosts.put(Machine(name="far", host="far", runs=str(far_home)))
    hosts.set_place(Place("far"))
    window.run_commands.message_requested.connect(lambda message: said.append(message.text))
    config = preset_config("clip", "tiny")
    missing = config.model_copy(update={"data": config.data.model_copy(update={"train": str(tmp_path / "no.csv")})})
    window.run_commands.queue(store.add_experiment(missing, "lacks data").id)
    qtbot.waitUntil(lambda: any("Nothing was started" in text for text in said))
    assert store.runs() == [], "nothing is queued that cannot train"
    QImage(8, 8, QImage.Format.Format_RGB32).save(str(tmp_path / "a.png"))
    (tmp_path / "pairs.csv").write_text("filepath,title\na.png,a cat\n")
    fits = config.model_copy(update={"data": config.data.model_copy(update={"train": str(tmp_path / "pairs.csv")})})
    window.run_commands.queue(store.add_experiment(fits, "has data").id)
    ended = (RunState.DONE, 5)  # the status may arrive before the last events
    qtbot.waitUntil(lambda: [(run.state, run.step) for run in store.runs()] == [ended])
    (run,) = store.runs()
    assert run.machine == "far"
    assert (far_home / run.folder.name / "events.jsonl").read_bytes() == run.dir.events.read_bytes()


def test_a_known_host_is_selected_and_an_empty_one_is_not_contacted(
    panel: MachinesPanel, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = panel._hosts
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host gpu-box other\n")
    panel.on_enter()
    completer = panel.name.completer()
    completer.setCompletionPrefix("BOX")
    assert completer.currentCompletion() == "gpu-box", "names of the ssh configuration, by any part of them"
    for name in ("box", "other"):
        panel.name.setText(f" {name} ")
        panel.add.click()
        qtbot.waitUntil(lambda name=name: panel.list.key() == name)  # type: ignore[misc]
        assert panel.name.text() == ""
    put: list[Machine] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hosts, "put", put.append)
        panel.name.setText("box")
        panel.add.click()
        assert (panel.list.key(), put) == ("box", [])
        panel.name.setText("  ")
        panel.list.setFocus()
        panel.add.click()
        assert panel.name.hasFocus(), "it says where a name is typed"
    assert [machine.name for machine in hosts.listing()][1:] == ["box", "other"]
    panel.focus_search()
    assert panel.name.hasFocus()
    assert panel.name.placeholderText() == "Add a host…"
    places = [("", "This computer"), ("box", "box"), ("other", "other")]
    assert list(panel.queue._machines) == places, "what waits can be sent there at once"
    panel.page.verticalScrollBar().setValue(9)
    panel.list.choose("other")
    assert panel.page.verticalScrollBar().value() == 0, "another machine is read from its top"
    form = panel.page.form.fields["runs"]
    assert isinstance(form, QLineEdit)
    form.setText("/scratch")
    form.editingFinished.emit()
    panel._on_listed([], panel._edits - 1)
    assert [machine.runs for machine in panel._machines if machine.name == "other"] == ["/scratch"], (
        "an older list is no news"
    )
    assert not panel._update_timer.isActive()
    panel.refresh()
    assert panel._update_timer.isActive()


def test_a_machine_is_polled_while_the_panel_is_shown(
    panel: MachinesPanel, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[str] = []
    monkeypatch.setattr(panel._hosts, "probe", requests.append)
    panel._machines = [*panel._machines, Machine(name="far", host="far"), Machine(name="known", host="known")]
    panel._hosts._facts["known"] = (time.monotonic(), Facts(host="known"))
    panel._machines += [Machine(name="cut", host="cut")]
    state = panel._hosts.state
    monkeypatch.setattr(
        panel._hosts, "state", lambda name: ConnectionState("waiting") if name == "cut" else state(name)
    )
    panel._show()
    assert panel._probe_timer.isActive()
    panel.list.choose(LOCAL)
    requests.clear()
    panel._probe_shown()
    assert sorted(requests) == ["far", LOCAL], "the one that is shown, and those of which nothing is known yet"
    requests.clear()
    window.show_panel("home")
    assert not panel._probe_timer.isActive()
    panel._probe_shown()
    panel._schedule_update()
    assert (requests, panel._update_timer.isActive()) == ([], False)


def test_an_installation_is_followed_reported_and_used_and_a_machine_is_checked_once(
    panel: MachinesPanel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts, begun, probed = panel._hosts, list[str](), list[str]()
    hosts.put(Machine(name="far", host="far", python="/old/python"))
    qtbot.waitUntil(lambda: len(panel._machines) == 2)
    panel.list.choose("far")
    monkeypatch.setattr(panel.installation, "start", lambda machine: begun.append(machine.name))
    monkeypatch.setattr(hosts, "probe", probed.append)
    said: list[tuple[str, str]] = []
    panel.message_requested.connect(lambda message: said.append((message.level, message.text)))
    panel.page.install.click()
    assert (begun, panel.page.output.toPlainText()) == (["far"], "Connecting…")
    panel.installation.lines["far"] = []
    panel.installation.line.emit("far", "Collecting torch")
    panel.installation.lines["other"] = []
    panel.installation.line.emit("other", "of another")
    assert panel.page.output.toPlainText() == "Connecting…\nCollecting torch"
    panel.installation.ended.emit("far", "No room.")
    assert said == [("error", "No room.")]
    panel._tasks.wait()
    assert hosts.machines.list.find("far").python == "/old/python"
    panel.installation.ended.emit("far", "")
    assert said[1:] == [("info", "sdgui is installed on far.")]
    qtbot.waitUntil(lambda: hosts.machines.list.find("far").python != "/old/python")
    assert probed[:2] == ["far", "far"]
    panel.list.choose(LOCAL)
    assert not panel.page.output.isVisible()
    panel.list.choose("far")
    assert panel.page.output.toPlainText() == "Collecting torch"

    # A check runs once, and its results are kept per machine.
    checks: list[str] = []
    monkeypatch.setattr(hosts, "check", checks.append)
    panel.page.check.click()
    assert (checks, panel.page.check.isEnabled()) == (["far"], False)
    panel.list.choose(LOCAL)
    hosts.checked.emit("far", [Finding(name="Disk", works=True)])
    assert not panel.page.findings.isVisible(), "of another machine"
    hosts.refused.emit(LOCAL, "It does not answer.")
    assert LOCAL not in panel._findings, "nobody asked"
    panel.list.choose("far")
    assert panel.page.findings.isVisible()
    assert panel.page.check.isEnabled()


def locked(*_: object) -> None:
    raise StoreError("The database is locked.")
