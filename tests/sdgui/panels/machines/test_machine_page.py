"""The page of a machine by itself: what is shown in each state, the form by its way of launching, checks and output."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QFocusEvent, QPixmap, QWheelEvent
from PySide6.QtWidgets import QApplication, QComboBox, QLabel, QLineEdit, QPlainTextEdit, QSpinBox
from pytestqt.qtbot import QtBot

from core.spec.machines.answers import Finding, Partition
from core.spec.machines.connection import ConnectionState
from core.spec.machines.machine import Machine, this_computer
from sdgui.panels.machines.launch_form import LaunchForm
from sdgui.panels.machines.machine_page import FindingList, MachinePage

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


def test_a_script_is_shown_for_slurm_only(page: MachinePage) -> None:
    for machine in (FAR, SLURM, this_computer()):
        page.show_machine(machine, None, READY)
        assert page.script.isVisible() == (machine is SLURM)


def test_a_failed_check_shows_its_remedy(qtbot: QtBot) -> None:
    findings = FindingList()
    qtbot.addWidget(findings)
    findings.show_findings([
        Finding(name="Disk", works=True, detail="enough", remedy="never shown"),
        Finding(name="GPU", works=False, detail="none"),
        Finding(name="sdgui", works=False, detail="not there", remedy="Press Install."),
    ])  # fmt: skip

    def shown() -> list[str]:
        items = [findings._grid.itemAt(index) for index in range(findings._grid.count())]
        labels = [item.widget() for item in items if item is not None]
        return [label.text() or label.accessibleName() for label in labels if isinstance(label, QLabel)]

    assert shown() == ["works", "Disk", "enough", "does not work", "GPU", "none", "does not work", "sdgui",
                       "not there", "Press Install."]  # fmt: skip
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
    form.show_machine(SLURM)
    form.show_machine(FAR)
    assert received == [], "showing a machine changes nothing"
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
    assert visible_errors == {"host": "This is not a valid ssh name; enter an alias from ~/.ssh/config, or USER@HOST."}
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
