"""One machine: hardware, GPUs, launch settings, results of the check, and installation output."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHeaderView,
    QPlainTextEdit,
    QPushButton,
    QScrollArea,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from core.spec.machines.answers import Facts, Finding, Gpu
from core.spec.machines.connection import ConnectionState
from core.spec.machines.machine import Machine
from sdgui.panels.machines.launch_form import LaunchForm
from sdgui.panels.machines.model import fact_rows, gpu_row, state_line
from sdgui.panels.machines.script_editor import ScriptEditor
from sdgui.shared.tables import style_table
from sdgui.widgets.formats import capitalize
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import clear_layout, hbox, vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, set_role, theme

_GPU_COLUMNS = ("GPU", "Name", "Memory", "Load", "Used by")
_MAX_GPUS_SHOWN = 8  # the table scrolls if the machine has more
_MAX_LINES = 2000  # lines of installation output that are kept


class MachinePage(QScrollArea):
    """The page of one machine. ``changed``: a Machine to save."""

    check_requested = Signal()
    install_requested = Signal()
    remove_requested = Signal()
    changed = Signal(object)  # Machine

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._rows: list[tuple[str, str]] = []  # label and text of each fact
        self.title, self.line = PlainLabel(self, role="heading"), PlainLabel(self, wordWrap=True, role="muted")
        self.check, self.install = QPushButton("Chec&k", self), QPushButton("Install", self)
        self.remove = IconButton(
            "ph.trash", "Remove this machine from the list; its runs stay on the machine", parent=self
        )
        self.findings = FindingList(self)
        self.facts = QWidget(self)
        self._grid = QGridLayout(self.facts)
        self.gpus = QTableWidget(0, len(_GPU_COLUMNS), self)
        self.form = LaunchForm(self)
        self.script = ScriptEditor(self)
        self.output = QPlainTextEdit(self, readOnly=True, maximumBlockCount=_MAX_LINES)
        self.waiting = PlainLabel(self, role="muted")
        self._style()
        self._arrange()
        self.check.clicked.connect(self.check_requested)
        self.install.clicked.connect(self.install_requested)
        self.remove.clicked.connect(self.remove_requested)
        self.form.changed.connect(self.changed)
        self.script.changed.connect(self.changed)

    def _style(self) -> None:
        self.check.setToolTip("Check everything that a run needs on this machine, and suggest fixes")
        self.install.setToolTip("Install sdgui on this machine, in an environment of its own (with uv or venv)")
        self.output.setAccessibleName("Installation output")
        self.output.setFixedHeight(24 * SPACE)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(2 * SPACE)
        self._grid.setVerticalSpacing(SPACE // 2)
        self._grid.setColumnStretch(1, 1)
        table = self.gpus
        table.setAccessibleName("GPUs")
        table.setHorizontalHeaderLabels(list(_GPU_COLUMNS))
        style_table(table)
        table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + SPACE)
        head = table.horizontalHeader()
        head.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        for column in range(len(_GPU_COLUMNS)):
            last = column == len(_GPU_COLUMNS) - 1
            mode = QHeaderView.ResizeMode.Stretch if last else QHeaderView.ResizeMode.ResizeToContents
            head.setSectionResizeMode(column, mode)

    def _arrange(self) -> None:
        buttons = ((button, 0, Qt.AlignmentFlag.AlignTop) for button in (self.remove, self.install, self.check))
        top = hbox((vbox(self.title, self.line, spacing=0), 1), *buttons)
        page = QWidget(self)
        page.setProperty("role", "page")
        column = vbox(top, into=page, spacing=2 * SPACE, margins=(2 * SPACE, SPACE, 2 * SPACE, 2 * SPACE))
        self._findings_card = _card("Check", self.findings)
        self._output_card = _card("Installation", self.output)
        self._facts_card = _card("Hardware and software", self.waiting, self.facts, self.gpus)
        self._script_card = _card("Script for sbatch", self.script)
        launches = _card("Launch settings", self.form)
        for card in (self._findings_card, self._output_card, self._facts_card, launches, self._script_card):
            column.addWidget(card)
        column.addStretch(1)
        self.setWidget(page)
        self._findings_card.hide()
        self._output_card.hide()

    def show_machine(self, machine: Machine, facts: Facts | None, state: ConnectionState) -> None:
        """Show the heading, facts and form of a machine."""
        self.title.setText(capitalize(machine.name) if machine.is_local else machine.name)
        self.line.setText(state_line(machine, facts, state))
        set_role(self.line, "error" if state.kind == "refused" else "muted")
        self.install.setVisible(not machine.is_local)
        self.remove.setVisible(not machine.is_local)
        self.form.show_machine(machine)
        self.script.show_machine(machine)
        self._script_card.setVisible(machine.launcher == "slurm")
        self._show_facts(facts, state)

    def _show_facts(self, facts: Facts | None, state: ConnectionState) -> None:
        is_unreachable = state.kind in ("waiting", "refused")
        self.waiting.setText("Not checked yet." if is_unreachable else "Checking hardware…")
        self.waiting.setVisible(facts is None)
        self.facts.setVisible(facts is not None)
        self._show_rows([] if facts is None else fact_rows(facts))
        self._show_gpus([] if facts is None else facts.gpus)
        if facts is not None:
            self.form.show_partitions(facts.partitions)

    def _show_rows(self, rows: list[tuple[str, str]]) -> None:
        if [label for label, _ in rows] != [label for label, _ in self._rows]:
            clear_layout(self._grid)
            for row, (label, _) in enumerate(rows):
                title = PlainLabel(label, self.facts, role="muted")
                value = PlainLabel(self.facts, wordWrap=True)
                value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
                self._grid.addWidget(title, row, 0, Qt.AlignmentFlag.AlignTop)
                self._grid.addWidget(value, row, 1)
        for row, (_, text) in enumerate(rows):
            item = self._grid.itemAtPosition(row, 1)
            value_label: QWidget | None = item.widget() if item is not None else None
            if isinstance(value_label, PlainLabel) and value_label.text() != text:
                value_label.setText(text)
        self._rows = rows

    def _show_gpus(self, gpus: Sequence[Gpu]) -> None:
        table = self.gpus
        table.setVisible(bool(gpus))
        if table.rowCount() != len(gpus):
            table.setRowCount(len(gpus))
            rows = min(len(gpus), _MAX_GPUS_SHOWN)
            table.setFixedHeight(
                table.horizontalHeader().sizeHint().height() + rows * table.verticalHeader().defaultSectionSize() + 4
            )
        for row, gpu in enumerate(gpus):
            for column, text in enumerate(gpu_row(gpu)):
                item = table.item(row, column)
                if item is None:
                    item = QTableWidgetItem()
                    table.setItem(row, column, item)
                if item.text() != text:
                    item.setText(text)
                    item.setToolTip(plain_tip(text))

    def show_findings(self, findings: Sequence[Finding]) -> None:
        """Show the results of the check; without results, hide the card."""
        self.findings.show_findings(findings)
        self._findings_card.setVisible(bool(findings))

    def show_output(self, lines: Sequence[str]) -> None:
        """Show the output of the installation; without output, hide the card."""
        self._output_card.setVisible(bool(lines))
        self.output.setPlainText("\n".join(lines))
        self.output.verticalScrollBar().setValue(self.output.verticalScrollBar().maximum())

    def add_output(self, line: str) -> None:
        self._output_card.show()
        self.output.appendPlainText(line)


def _card(title: str, *parts: QWidget) -> QFrame:
    card = QFrame()
    set_role(card, "card")
    vbox(PlainLabel(title, card, role="title"), *parts, into=card, margins=(2 * SPACE, SPACE, 2 * SPACE, 2 * SPACE))
    return card


_ICONS = {True: ("ph.check-circle-fill", "good"), False: ("ph.x-circle-fill", "error")}
_ICON_SIZE = 16  # px


class FindingList(QWidget):
    """Icon, subject and outcome of each finding; the remedy below a failed one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._findings: Sequence[Finding] = ()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(SPACE)
        self._grid.setVerticalSpacing(SPACE // 2)
        self._grid.setColumnStretch(2, 1)
        theme().changed.connect(self._restyle)

    def show_findings(self, findings: Sequence[Finding]) -> None:
        """Replace the findings."""
        self._findings = findings
        clear_layout(self._grid)
        row = 0
        for finding in findings:
            row = self._add(finding, row)
        failed = sum(not finding.works for finding in findings)
        self.setAccessibleName(f"Check: {len(findings)} items, {failed} to fix")
        self.setVisible(bool(findings))

    def _restyle(self) -> None:
        self.show_findings(self._findings)

    def _add(self, finding: Finding, row: int) -> int:
        """Add ``finding`` at ``row`` of the grid; returns the next free row."""
        name, role = _ICONS[finding.works]
        image = PlainLabel(self)
        image.setPixmap(theme().icon(name, role).pixmap(_ICON_SIZE, _ICON_SIZE))
        image.setAccessibleName("works" if finding.works else "does not work")
        subject = PlainLabel(finding.name, self)
        outcome = PlainLabel(finding.detail, self, wordWrap=True, role="muted")
        top = Qt.AlignmentFlag.AlignTop
        self._grid.addWidget(image, row, 0, top)
        self._grid.addWidget(subject, row, 1, top)
        self._grid.addWidget(outcome, row, 2, top)
        if finding.works or not finding.remedy:
            return row + 1
        remedy = PlainLabel(finding.remedy, self, wordWrap=True)
        remedy.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._grid.addWidget(remedy, row + 1, 1, 1, 2)
        return row + 2
