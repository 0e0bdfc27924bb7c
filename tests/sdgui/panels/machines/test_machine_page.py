"""The page of a machine by itself: what is shown in each state, the form by its way of launching, checks and output."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QFocusEvent, QPixmap, QWheelEvent
from PySide6.QtWidgets import QApplication, QComboBox, QLabel, QLineEdit, QPlainTextEdit, QSpinBox
from pytestqt.qtbot import QtBot

from core.spec.machines.answers import Facts, Finding, Gpu, Partition
from core.spec.machines.connection import ConnectionState
from core.spec.machines.machine import Machine, this_computer
from sdgui.panels.machines.launch_form import LaunchForm
from sdgui.panels.machines.machine_list import QUEUE, Entry, MachineList
from sdgui.panels.machines.machine_page import FindingList, MachinePage
from sdgui.panels.machines.model import fact_rows, gibibytes, state_line, summary

FAR = Machine(name="far", host="far")
SLURM = Machine(name="cluster", host="cluster", launcher="slurm", partition="long", gpus=4)
READY = ConnectionState("ready")


@pytest.fixture
def page(qtbot: QtBot) -> MachinePage:
    page = MachinePage()
    qtbot.addWidget(page)
    page.resize(900, 700)
    page.show()
    return page


@pytest.fixture
def form(qtbot: QtBot) -> LaunchForm:
    form = LaunchForm()
    qtbot.addWidget(form)
    form.show()
    return form


def texts(page: MachinePage) -> dict[str, str]:
    """Label and value of each fact."""
    texts = {}
    for row in range(page._grid.rowCount()):
        cells = [item.widget() for column in range(2) if (item := page._grid.itemAtPosition(row, column)) is not None]
        if len(cells) == 2 and all(isinstance(cell, QLabel) for cell in cells):
            texts[cells[0].text()] = cells[1].text()  # type: ignore[union-attr]
    return texts


def test_a_machine_is_shown_with_its_known_facts(page: MachinePage) -> None:
    page.show_machine(FAR, None, ConnectionState("connecting"))
    assert (page.title.text(), page.line.text()) == ("far", "Connecting to far …")
    assert (page.waiting.text(), page.waiting.isVisible()) == ("Checking hardware …", True)
    assert (page.facts.isVisible(), page.gpus.isVisible(), page._script_card.isVisible()) == (False, False, False)
    assert (page.install.isVisible(), page.remove.isVisible()) == (True, True)
    page.show_machine(FAR, None, ConnectionState("refused", "Set up a key."))
    assert (page.waiting.text(), page.line.text()) == ("Not checked yet.", "Set up a key.")
    assert page.line.property("role") == "error"
    page.show_machine(FAR, None, ConnectionState("refused", "It is not known why. " * 20))
    QApplication.processEvents()
    assert page.line.height() >= 2 * page.line.fontMetrics().height(), "a long reason is whole"
    assert page.line.width() <= page.viewport().width()
    facts = Facts(host="x", cores=8, load=2.0, memory=2048, memory_free=1024, runs="/r", disk_free=2**40, gpus=[
        Gpu(index=0, name="A100", memory=81920, used=71000, load=0.97, users=["ann"]), Gpu(index=1, name="A100"),
    ])  # fmt: skip
    page.show_machine(FAR, facts, READY)
    assert page.line.property("role") == "muted"
    assert (page.waiting.isVisible(), page.facts.isVisible(), page.gpus.isVisible()) == (False, True, True)
    assert texts(page)["Processor"] == "8 cores, load 2.0"
    assert texts(page)["Runs folder"] == "/r (1024 GiB free)"
    cells = [page.gpus.model().index(0, column) for column in range(5)]
    assert [cell.data() for cell in cells] == ["0", "A100", "69.3 GiB of 80.0 GiB", "97 %", "ann"]
    assert cells[4].data(Qt.ItemDataRole.ToolTipRole) == "ann"
    heads = [page.gpus.horizontalHeaderItem(column).text() for column in range(5)]
    assert heads == ["GPU", "Name", "Memory", "Load", "Used by"]
    bar = page.gpus.verticalScrollBar()
    assert bar.maximum() == 0, "there is room for both"
    values = [page._grid.itemAtPosition(row, 1).widget() for row in range(page._grid.rowCount())]  # type: ignore[union-attr]
    assert all(
        value.textInteractionFlags() & Qt.TextInteractionFlag.TextSelectableByMouse
        for value in values
        if isinstance(value, QLabel)
    )
    page.show_machine(FAR, facts.model_copy(update={"load": 3.0}), READY)
    again = [page._grid.itemAtPosition(row, 1).widget() for row in range(page._grid.rowCount())]  # type: ignore[union-attr]
    assert again == values, "what is selected in a fact stays selected"
    lone = facts.model_copy(update={"gpus": facts.gpus[1:], "load": 3.0, "slurm": "23"})
    page.show_machine(FAR, lone, READY)
    assert page.gpus.rowCount() == 1
    assert page.gpus.model().index(0, 4).data() == "free"
    assert (texts(page)["Processor"], texts(page)["Slurm"]) == ("8 cores, load 3.0", "23")
    page.show_machine(this_computer(), lone, READY)
    assert page.title.text() == "This computer"
    assert (page.install.isVisible(), page.remove.isVisible()) == (False, False)
    page.show_machine(SLURM, lone.model_copy(update={"partitions": [Partition(name="short")]}), READY)
    assert page._script_card.isVisible()
    box = page.form.fields["partition"]
    assert isinstance(box, QComboBox)
    assert ([box.itemText(row) for row in range(box.count())], box.currentText()) == (["short"], "long")


def test_the_buttons_of_a_machine_send_requests(qtbot: QtBot, page: MachinePage) -> None:
    received: list[object] = []
    for name in ("check", "install", "remove"):
        getattr(page, f"{name}_requested").connect(lambda name=name: received.append(name))
    page.changed.connect(received.append)
    page.show_machine(SLURM, None, READY)
    for button in (page.check, page.install, page.remove):
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    nodes = page.form.fields["nodes"]
    assert isinstance(nodes, QSpinBox)
    nodes.setValue(3)
    page.script.changed.emit(FAR)
    assert received == ["check", "install", "remove", SLURM.model_copy(update={"nodes": 3}), FAR]


def test_the_wheel_over_a_number_scrolls_the_page_and_changes_nothing(page: MachinePage) -> None:
    received: list[Machine] = []
    page.changed.connect(received.append)
    page.show_machine(SLURM, None, READY)
    nodes, position = page.form.fields["nodes"], QPointF(5, 5)
    wheel = QWheelEvent(
        position, nodes.mapToGlobal(position), QPoint(), QPoint(0, 120), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(nodes, wheel)
    assert (received, wheel.isAccepted()) == ([], False)


def test_output_and_findings_are_shown_while_there_are_any(page: MachinePage) -> None:
    assert not page.output.isVisible()
    page.show_output(["one", "two"])
    assert (page.output.isVisible(), page.output.toPlainText()) == (True, "one\ntwo")
    page.show_output([f"line {number}" for number in range(100)])
    bar = page.output.verticalScrollBar()
    assert bar.value() == bar.maximum() > 0
    page.show_output([f"line {number}" for number in range(2100)])
    assert page.output.toPlainText().splitlines()[0] == "line 100", "the last 2000 are kept"
    page.show_output([])
    assert not page.output.isVisible()
    page.add_output("three")
    assert (page.output.isVisible(), page.output.toPlainText()) == (True, "three")
    page.show_findings([Finding(name="Disk", works=True)])
    assert page.findings.isVisible()
    page.show_findings([])
    assert (page.findings.isVisible(), page._findings_card.isVisible()) == (False, False)


def test_a_failed_check_shows_its_remedy(qtbot: QtBot) -> None:
    findings = FindingList()
    qtbot.addWidget(findings)
    findings.show_findings([
        Finding(name="Disk", works=True, detail="enough", remedy="never shown"),
        Finding(name="GPU", works=False, detail="none"),
        Finding(name="sdgui", works=False, detail="not there", remedy="Press Install there."),
    ])  # fmt: skip

    def shown() -> list[str]:
        items = [findings._grid.itemAt(index) for index in range(findings._grid.count())]
        labels = [item.widget() for item in items if item is not None]
        return [label.text() or label.accessibleName() for label in labels if isinstance(label, QLabel)]

    assert shown() == ["works", "Disk", "enough", "does not work", "GPU", "none", "does not work", "sdgui",
                       "not there", "Press Install there."]  # fmt: skip
    assert findings.accessibleName() == "Check: 3 items, 2 to fix"
    image = findings._grid.itemAtPosition(0, 0).widget()  # type: ignore[union-attr]
    assert isinstance(image, QLabel)
    assert isinstance(image.pixmap(), QPixmap)
    assert not image.pixmap().isNull()
    remedy = findings._grid.itemAtPosition(3, 1).widget()  # type: ignore[union-attr]
    assert isinstance(remedy, QLabel)
    assert remedy.textInteractionFlags() & Qt.TextInteractionFlag.TextSelectableByMouse
    findings.show_findings([Finding(name="Disk", works=True)])
    assert shown() == ["works", "Disk", ""] or shown()[:2] == ["works", "Disk"]


def rows(form: LaunchForm) -> list[str]:
    return [name for name, box in form._boxes.items() if not box.isHidden()]


def test_the_form_has_the_fields_of_the_launch_method(form: LaunchForm) -> None:
    far = ["host", "python", "setup", "runs", "launcher"]
    ways = {
        "direct": ["at_once"],
        "torchrun": ["gpus"],
        "slurm": ["gpus", "cpus", "nodes", "partition", "time", "warning", "sbatch"],
    }
    for launcher, fields in ways.items():
        form.show_machine(FAR.model_copy(update={"name": launcher, "launcher": launcher}))
        assert rows(form) == [*far, *fields]
    form.show_machine(this_computer())
    assert rows(form) == ["at_once"]


def test_each_field_is_saved_on_leaving_it(form: LaunchForm) -> None:
    received: list[Machine] = []
    form.changed.connect(received.append)
    spins = ("at_once", "gpus", "cpus", "nodes", "warning")
    numbers = [field for name in spins if isinstance(field := form.fields[name], QSpinBox)]
    assert [(number.minimum(), number.maximum()) for number in numbers] == [
        (1, 1000),
        (0, 1024),
        (0, 1024),
        (1, 10_000),
        (10, 36_000),
    ]
    python = form.fields["python"]
    assert isinstance(python, QLineEdit)
    assert python.placeholderText() == "Default: installed environment"
    form._save()
    assert received == [], "no machine is shown"
    form.show_machine(FAR)
    expected: dict[str, object] = {"host": "b", "python": "/p", "runs": "/r", "time": "1:00:00"}
    for name, text in expected.items():
        field = form.fields[name]
        assert isinstance(field, QLineEdit)
        field.setText(f" {text} ")
        field.editingFinished.emit()
        assert getattr(received[-1], name) == text
    for name in spins:
        field = form.fields[name]
        assert isinstance(field, QSpinBox)
        field.setValue(field.value() + 1)
        assert getattr(received[-1], name) == field.value()
    for name, text in (("setup", "module load cuda"), ("sbatch", "#SBATCH --x")):
        field = form.fields[name]
        assert isinstance(field, QPlainTextEdit)
        field.setPlainText(f"\n{text}\n")
        field.focus_lost.emit()  # type: ignore[attr-defined]
        assert getattr(received[-1], name) == text
    box = form.fields["partition"]
    assert isinstance(box, QComboBox)
    form.show_partitions([Partition(name="short"), Partition(name="long")])
    box.setCurrentText(" own ")
    line = box.lineEdit()
    assert line is not None
    line.editingFinished.emit()
    assert received[-1].partition == "own"
    form.show_partitions([Partition(name="short")])
    assert (box.count(), box.currentText()) == (1, " own ")
    box.setCurrentIndex(0)
    box.activated.emit(0)
    assert received[-1].partition == "short"
    lines = form.fields["setup"]
    assert isinstance(lines, QPlainTextEdit)
    lines.setPlainText("module load python")
    QApplication.sendEvent(lines, QFocusEvent(QEvent.Type.FocusOut))
    assert received[-1].setup == "module load python", "kept when the cursor leaves it"
    number = len(received)
    form._save()
    assert len(received) == number, "what did not change is not kept again"


def test_an_invalid_field_is_reported_and_not_saved(form: LaunchForm) -> None:
    received: list[Machine] = []
    form.changed.connect(received.append)
    form.show_machine(SLURM)
    host, sbatch = form.fields["host"], form.fields["sbatch"]
    assert isinstance(host, QLineEdit)
    assert isinstance(sbatch, QPlainTextEdit)
    host.setText("-oProxy=x")
    host.editingFinished.emit()
    visible_errors = {name: label.text() for name, label in form._errors.items() if not label.isHidden()}
    assert all(label.wordWrap() for label in form._errors.values()), "a sentence is longer than a field"
    assert visible_errors == {"host": "This is not a valid ssh name; give an alias of ~/.ssh/config, or USER@HOST"}
    host.setText("cluster")
    sbatch.setPlainText("--x")
    form._save()
    assert [name for name, label in form._errors.items() if not label.isHidden()] == ["sbatch"]
    assert received == []
    form.show_machine(FAR)
    assert [name for name, label in form._errors.items() if not label.isHidden()] == [], "of another machine"


def test_typing_survives_a_refresh_of_the_machine(qtbot: QtBot, form: LaunchForm) -> None:
    form.show_machine(FAR)
    form.activateWindow()
    qtbot.waitUntil(form.isActiveWindow)
    runs = form.fields["runs"]
    assert isinstance(runs, QLineEdit)
    runs.setFocus()
    runs.setText("/half")
    script = "#!/bin/bash\ntrue\n"
    form.show_machine(FAR.model_copy(update={"gpus": 2, "script": script}))
    assert runs.text() == "/half"
    received: list[Machine] = []
    form.changed.connect(received.append)
    runs.editingFinished.emit()
    assert (received[-1].runs, received[-1].script) == ("/half", script), "with what was changed elsewhere meanwhile"
    form.show_machine(SLURM)
    assert runs.text() == SLURM.runs, "another machine's"


def test_the_list_keeps_its_selection_and_reports_only_user_choices(qtbot: QtBot) -> None:
    machine_list, received = MachineList(), list[str]()
    qtbot.addWidget(machine_list)
    machine_list.entry_chosen.connect(received.append)
    entries = [Entry(QUEUE, "Queue", "2 waiting", "ph.queue"), *(Entry(n, n, "off", "ph.laptop") for n in "ab")]
    assert machine_list.key() == ""
    machine_list.show_entries(entries)
    assert machine_list.key() == QUEUE
    machine_list.choose("b")
    assert (received[-1], machine_list.key()) == ("b", "b")
    number = len(received)
    machine_list.show_entries([*entries[:2], Entry("b", "b", "1 GPU, 1 free", "ph.laptop", "good")])
    assert (machine_list.key(), len(received)) == ("b", number)
    item = machine_list.currentItem()
    assert (item.toolTip(), item.data(Qt.ItemDataRole.AccessibleTextRole)) == ("b\n1 GPU, 1 free", "b, 1 GPU, 1 free")
    machine_list.show_entries(entries[:2])
    assert (machine_list.count(), machine_list.key()) == (2, QUEUE), "what was chosen is gone"
    machine_list.choose("nobody")
    assert machine_list.key() == QUEUE
    image = machine_list.grab().toImage()
    machine_list.choose("a")
    assert machine_list.grab().toImage() != image, "what is chosen is seen"


def test_further_machine_texts() -> None:
    assert [gibibytes(1024 * 99.96), gibibytes(100 * 1024), gibibytes(512)] == ["100.0 GiB", "100 GiB", "0.5 GiB"]
    assert [summary(None, ConnectionState(kind), False) for kind in ("connecting", "off", "closed")] == [
        "Connecting …", "Not asked yet", ""
    ]  # fmt: skip
    facts = Facts(host="x", cores=2)
    assert summary(facts, ConnectionState("refused"), False) == "Needs attention"
    assert summary(facts, ConnectionState("waiting"), True) == "2 cores, no GPU", "this computer is never out of reach"
    assert state_line(this_computer(), None, ConnectionState("off")).startswith("Runs start here")
    assert state_line(FAR, None, ConnectionState("off")) == "Connecting to far …"
    assert state_line(FAR, None, ConnectionState("closed")) == "ssh far"
    assert state_line(FAR, facts, ConnectionState("ready", "said once")) == "Connected by ssh far."
    more = Facts(host="x", cores=2, system="Linux", slurm="23", python="3.12", version="1", torch="2", partitions=[
        Partition(name="a", default=True), Partition(name="b"),
    ])  # fmt: skip
    rows = fact_rows(more)
    assert rows[0] == ("System", "Linux")
    assert dict(rows)["Slurm"] == "23; partitions: a*, b"
    assert [dict(rows)[name] for name in ("Python", "sdgui", "PyTorch", "GPUs")] == ["3.12", "1", "2", "none"]
    assert [label for label, _ in fact_rows(more.model_copy(update={"gpus": [Gpu(index=0)]}))].count("GPUs") == 0
