"""Machines: a list of the queue, this computer and other machines, and the page of the selected entry.

Flow: ``Hosts`` (connections and answers) and the store's queue -> ``model`` -> the pages. Edits of a
machine are saved to the machine list, the queue's order to the store; both in a background thread.
"""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QStringListModel, Qt, QTimer
from PySide6.QtWidgets import QCompleter, QLineEdit, QSplitter, QStackedWidget, QWidget

from core.spec.errors import UserError
from core.spec.machines.answers import Facts, Finding
from core.spec.machines.install import without_configured_python
from core.spec.machines.machine import LOCAL, Machine
from core.spec.reading import UnreadableError, validate
from sdgui.panels.machines.installation import Installation
from sdgui.panels.machines.machine_list import QUEUE_KEY, Entry, MachineList
from sdgui.panels.machines.machine_page import MachinePage
from sdgui.panels.machines.model import queue_rows, ssh_names, summary
from sdgui.panels.machines.queue_page import QueuePage
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.shared.panel import Panel
from sdgui.shared.services import Services
from sdgui.store.changes import Changes
from sdgui.store.records import Place, StoreError
from sdgui.widgets.actions import Actions
from sdgui.widgets.formats import count_with_unit
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.message import Remedy, error, info
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE

_PROBE_MS = 3000  # interval of probes of the shown machine
_BATCH_MS = 250  # changes within this time cause one update
_STATES = {  # state of the connection -> icon and its colour
    "ready": ("ph.desktop-tower", "good"),
    "waiting": ("ph.wifi-slash", "warning"),
    "refused": ("ph.warning-circle", "error"),
}


class MachinesPanel(Panel):
    """The list on the left; the queue or a machine on the right."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services, self._hosts = services, services.hosts
        self._machines: list[Machine] = []
        self._findings: dict[str, list[Finding]] = {}  # machine -> results of its last check
        self._checking: set[str] = set()  # names of machines whose check is running
        self._edits = 0  # number of edits of the machine list in this window
        self._tasks = BackgroundTasks(self)
        self.installation = Installation(self)
        self.list = MachineList(self)
        self.name = QLineEdit(self, placeholderText="Add a host…")
        self.add = IconButton("ph.plus", "Add this host (Enter)", parent=self)
        self.queue = QueuePage(self)
        self.pages = QStackedWidget(self)
        self.page = MachinePage(self.pages)
        self._names = QStringListModel(self)
        self._build()
        self._probe_timer = QTimer(self, interval=_PROBE_MS)
        self._update_timer = QTimer(self, singleShot=True, interval=_BATCH_MS)
        self._connect()
        self.list.show_entries(self._entries())
        self._read_list()

    def _build(self) -> None:
        self.name.setToolTip(plain_tip("An alias in ~/.ssh/config, or USER@HOST; press Enter to add"))
        self.name.setAccessibleName("Host to add: an alias in your ssh config, or USER@HOST")
        completer = QCompleter(self._names, self)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.name.setCompleter(completer)
        row = hbox((self.name, 1), self.add, spacing=SPACE // 2)
        side = QWidget(self)
        vbox((self.list, 1), row, into=side, margins=(2 * SPACE, SPACE, SPACE, 2 * SPACE))
        self.pages.addWidget(self.queue)
        self.pages.addWidget(self.page)
        split = QSplitter(Qt.Orientation.Horizontal, self, childrenCollapsible=False)
        split.addWidget(side)
        split.addWidget(self.pages)
        split.setStretchFactor(1, 1)
        split.setSizes([32 * SPACE, 80 * SPACE])
        self.set_view(split)

    def _connect(self) -> None:
        services, hosts = self._services, self._hosts
        self._probe_timer.timeout.connect(self._probe_shown)
        self._update_timer.timeout.connect(self._show)
        self.list.entry_chosen.connect(lambda _key: self._on_chosen())
        self.name.returnPressed.connect(self._add)
        self.add.clicked.connect(self._add)
        self.page.check_requested.connect(self._check)
        self.page.install_requested.connect(self._install)
        self.page.remove_requested.connect(self._remove)
        self.page.changed.connect(self._save_machine)
        self.page.script.script_requested.connect(hosts.script)
        hosts.scripted.connect(self.page.script.show_generated)
        self.queue.limit_changed.connect(self._set_limit)
        self.queue.place_requested.connect(self._place_runs)
        self.queue.table.rows.reordered.connect(self._reorder)
        self.queue.table.removal_requested.connect(self._remove_from_queue)
        self.queue.table.run_opened.connect(self.run_requested)
        self.installation.line.connect(self._on_output)
        self.installation.ended.connect(self._on_installed)
        hosts.listed.connect(self._read_list)
        hosts.state_changed.connect(lambda _name, _state: self._schedule_update())
        hosts.probed.connect(lambda _name, _facts: self._schedule_update())
        hosts.checked.connect(self._on_checked)
        hosts.refused.connect(self._on_refused)
        services.launcher.queue_changed.connect(self._schedule_update)
        services.follower.state_changed.connect(self._schedule_update)
        services.follower.progress_changed.connect(self._schedule_update)

    # The panel
    def set_actions(self, actions: Actions) -> None:
        """The button of the empty queue shows the experiments."""
        self.queue.empty.activated.connect(actions["define"].trigger)

    def on_enter(self) -> None:
        self._names.setStringList(ssh_names(Path.home() / ".ssh" / "config"))
        self._probe_timer.start()
        self._probe_shown()
        QTimer.singleShot(0, self, self._show)  # deferred: the panel may have just been built

    def on_leave(self) -> None:
        self._probe_timer.stop()

    def refresh(self) -> None:
        self._schedule_update()

    def focus_search(self) -> None:
        self.name.setFocus()

    def _schedule_update(self) -> None:
        if self.isVisible() and not self._update_timer.isActive():
            self._update_timer.start()

    def _read_list(self) -> None:
        edits = self._edits
        self._tasks.run(self._hosts.listing, lambda machines: self._on_listed(machines, edits), self._on_failed)

    def _on_listed(self, machines: list[Machine], edits: int) -> None:
        if edits != self._edits:  # the list was edited after this listing began; another listing follows
            return
        self._set_machines(machines)
        self._show()
        self._probe_shown()

    def _set_machines(self, machines: list[Machine]) -> None:
        self._machines = machines
        self.queue.show_machines([("" if machine.is_local else machine.name, _title(machine)) for machine in machines])

    def _on_failed(self, sentence: str) -> None:
        self.message_requested.emit(error(sentence))

    # Display
    def _machine(self) -> Machine | None:
        return next((machine for machine in self._machines if machine.name == self.list.key()), None)

    def _on_chosen(self) -> None:
        if (machine := self._machine()) is not None:
            self.page.show_findings(self._findings.get(machine.name, []))
            self.page.show_output(self.installation.lines.get(machine.name, []))
            self.page.verticalScrollBar().setValue(0)
        if self.isVisible():
            self._show()
        self._probe_shown()

    def _probe_shown(self) -> None:
        """Ask the shown machine for its facts, and each machine that has not been connected yet."""
        if not self.isVisible():
            return
        for machine in self._machines:
            has_facts = self._hosts.facts(machine.name) is not None
            if machine.name == self.list.key() or (not has_facts and self._hosts.state(machine.name).kind == "off"):
                self._hosts.probe(machine.name)

    def _show(self) -> None:
        self.list.show_entries(self._entries())
        machine = self._machine()
        if machine is None:
            self.pages.setCurrentWidget(self.queue)
            self._show_queue()
            return
        self.pages.setCurrentWidget(self.page)
        if machine.is_local:
            machine = machine.model_copy(update={"at_once": self._services.launcher.limit})
        self.page.show_machine(machine, self._hosts.facts(machine.name), self._hosts.state(machine.name))
        checking = machine.name in self._checking
        self.page.check.setEnabled(not checking)
        self.page.check.setText("Checking…" if checking else "Chec&k")
        self.page.install.setEnabled(not self.installation.busy(machine.name))

    def _entries(self) -> list[Entry]:
        waiting = len(self.queue.table.rows.waiting())
        entries = [Entry(QUEUE_KEY, "Queue", f"{waiting} waiting" if waiting else "No queued runs", "ph.queue")]
        for machine in self._machines:
            state, facts = self._hosts.state(machine.name), self._hosts.facts(machine.name)
            icon, role = (
                ("ph.laptop", "text") if machine.is_local else _STATES.get(state.kind, ("ph.desktop-tower", "muted"))
            )
            entries.append(Entry(machine.name, _title(machine), summary(facts, state, machine.is_local), icon, role))
        return entries

    def _show_queue(self) -> None:
        store, follower = self._services.store, self._services.follower
        try:
            alive, waiting = store.alive_runs(), store.queue()
            labels = store.run_labels([run.id for run in (*alive, *waiting)])
        except StoreError as problem:
            self._on_failed(str(problem))
            return
        progress = {run.id: run_progress for run in alive if (run_progress := follower.progress(run.id)) is not None}
        names = {run_id: label.name for run_id, label in labels.items()}
        self.queue.show_rows(queue_rows(alive, waiting, names, progress, _LOCAL_TITLE))
        facts: Facts | None = self._hosts.facts(LOCAL)
        self.queue.show_limit(self._services.launcher.limit, 0 if facts is None else len(facts.gpus))
        self.list.show_entries(self._entries())

    # Machines
    def _add(self) -> None:
        host = self.name.text().strip()
        if not host:
            self.name.setFocus()
            return
        try:
            machine = validate(Machine, {"name": host, "host": host}, f"the host {host}")
        except UnreadableError as problem:
            self._on_failed(str(problem))
            return

        def done(_: object) -> None:
            self._edits += 1
            self.name.clear()
            self._set_machines([*self._machines, machine])
            self._show()
            self.list.choose(host)

        if any(existing.name == host for existing in self._machines):
            self.list.choose(host)
        else:
            self._tasks.run(lambda: self._hosts.put(machine), done, self._on_failed)

    def _save_machine(self, machine: Machine) -> None:
        if machine.is_local:
            self._set_limit(machine.at_once)
            return
        self._edits += 1
        self._machines = [machine if existing.name == machine.name else existing for existing in self._machines]
        self._tasks.run(lambda: self._hosts.put(machine), None, self._on_failed)

    def _remove(self) -> None:
        machine = self._machine()
        if machine is None or machine.is_local:
            return

        def done(_: object) -> None:
            undo = Remedy("Undo", lambda: self._tasks.run(lambda: self._hosts.put(machine), None, self._on_failed))
            text = f"{machine.name} was removed from the list. Its runs and folders stay on the machine."
            self.message_requested.emit(info(text, remedy=undo))

        self._tasks.run(lambda: self._hosts.remove(machine.name), done, self._on_failed)

    def _check(self) -> None:
        if (machine := self._machine()) is not None:
            self._checking.add(machine.name)
            self._hosts.check(machine.name)
            self._show()

    def _on_checked(self, name: str, findings: list[Finding]) -> None:
        self._checking.discard(name)
        self._findings[name] = findings
        if name == self.list.key():
            self.page.show_findings(findings)
        self._schedule_update()

    def _on_refused(self, name: str, sentence: str) -> None:
        if name in self._checking:
            self._on_checked(name, [Finding(name="Connection", works=False, detail="not reachable", remedy=sentence)])
        self._schedule_update()

    def _install(self) -> None:
        if (machine := self._machine()) is not None:
            self.page.show_output(["Connecting…"])
            self.installation.start(machine)
            self._show()

    def _on_output(self, name: str, line: str) -> None:
        if name == self.list.key():
            self.page.add_output(line)

    def _on_installed(self, name: str, reason: str) -> None:
        self.message_requested.emit(error(reason) if reason else info(f"sdgui is installed on {name}."))
        if not reason:
            self._tasks.run(lambda: self._use_installed(name), None, self._on_failed)
        self._hosts.probe(name)
        self._schedule_update()

    def _use_installed(self, name: str) -> None:
        machine = self._hosts.machines.list.find(name)
        if machine.python:
            self._hosts.put(without_configured_python(machine))

    # The queue
    def _set_limit(self, limit: int) -> None:
        self._services.launcher.set_limit(limit)
        self._services.settings.setValue("queue/at_once", limit)

    def _reorder(self, ids: list[int]) -> None:
        store = self._services.store
        self._services.writer.submit(
            lambda: store.reorder_queue(ids), lambda _: self._schedule_update(), self._on_write_failed
        )

    def _remove_from_queue(self, ids: list[int]) -> None:
        launcher = self._services.launcher

        def work() -> None:
            for run_id in ids:
                launcher.unqueue(run_id)

        changes = Changes(runs=frozenset(ids))

        def done(_: object) -> None:
            self.changed.emit(changes)
            self.message_requested.emit(info(f"Removed {count_with_unit(len(ids), 'run')} from the queue."))

        def failed(problem: UserError) -> None:
            self.changed.emit(changes)  # the runs before the refused one were removed
            self._on_write_failed(problem)

        if ids:
            self._services.writer.submit(work, done, failed)

    def _place_runs(self, ids: list[int], host: str) -> None:
        store = self._services.store

        def work() -> None:
            for run_id in ids:
                store.request_place(run_id, Place(host))

        self._services.writer.submit(work, lambda _: self._schedule_update(), self._on_write_failed)

    def _on_write_failed(self, problem: UserError) -> None:
        self._on_failed(str(problem))
        self._show()


_LOCAL_TITLE = "This computer"


def _title(machine: Machine) -> str:
    return _LOCAL_TITLE if machine.is_local else machine.name
