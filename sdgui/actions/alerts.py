"""The dialog of alert rules, for an experiment or the defaults; *Test* lists which runs would have alerted."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime

from pydantic import ValidationError
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QFormLayout,
    QHeaderView,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from core.spec.alerts.rules import RULES_FILE, AlertError, AlertRules, Rules
from core.spec.alerts.watching import RunAlert, replay
from core.spec.chain import run_label
from core.spec.errors import UserError
from core.spec.reading import first_problem
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.store.store import Store
from sdgui.widgets.input_boxes import NoWheelComboBox, NoWheelDoubleSpinBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.layouts.form_labels import align_labels
from sdgui.widgets.message import error, info
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.popovers.placing import bring_to_front
from sdgui.widgets.style.theme import SPACE, hide_spin_buttons, set_role

_DEFAULTS = "Defaults of all experiments"


class AlertsDialog(QDialog):
    """The non-modal dialog of alert rules, created once."""

    def __init__(self, store: Store, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Alerts")
        self._store, self._rules = store, Rules(store.home / RULES_FILE)
        self._tasks = BackgroundTasks(self)
        self._experiment: tuple[int, str] = (0, "")
        self._build()
        self._arrange()
        self.scope.currentIndexChanged.connect(self._load)
        self.test.clicked.connect(self._test)
        self.save.clicked.connect(self._save)
        self.use_defaults.clicked.connect(self._follow_defaults)
        self.close_button.clicked.connect(self.close)

    def _build(self) -> None:
        self.scope = NoWheelComboBox(self)
        self.ended = QCheckBox("Finished or stopped", self)
        self.failed = QCheckBox("Failed, or exited unexpectedly", self)
        self.stalled = self._number("No progress for this many times the usual interval", "× the usual interval")
        self.stalled_minutes = self._number("No progress for at least this many minutes", "min")
        self.collapsed = self._number("Feature deviation below", "", 3)
        self.conditions = QPlainTextEdit(self)
        self.conditions.setFixedHeight(10 * SPACE)
        self.conditions.setTabChangesFocus(True)
        self.conditions.setToolTip(
            "One per line: METRIC < NUMBER, METRIC > NUMBER or METRIC not finite; * matches any text"
        )
        self.desktop = QCheckBox("Show a notification when the window is not in front", self)
        self.command, self.url = QLineEdit(self), QLineEdit(self)
        for line in (self.command, self.url):
            line.setClearButtonEnabled(True)
        self.command.setPlaceholderText("Program and arguments; the message is appended, JSON is written to stdin")
        self.url.setPlaceholderText("https://… receives a POST with JSON")
        self.bar = MessageBar(self)
        self.table = QTreeWidget(self)
        self.table.setHeaderLabels(["When", "Run", "Alert"])
        self.table.setRootIsDecorated(False)
        self.table.setAccessibleName("Alerts that these rules would have sent")
        self.table.header().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.use_defaults = QPushButton("&Use the defaults", self)
        self.test, self.close_button = QPushButton("&Test", self), QPushButton("C&lose", self)
        self.test.setToolTip("Dry run with the existing runs; nothing is sent")
        self.save = QPushButton("&Save", self)
        self.save.setDefault(True)
        set_role(self.save, "primary")

    def _number(self, name: str, unit: str, decimals: int = 1) -> NoWheelDoubleSpinBox:
        is_share = decimals > 1  # a number from 0 to 1
        box = NoWheelDoubleSpinBox(self)
        box.setAccessibleName(name)
        box.setDecimals(decimals)
        box.setSingleStep(0.01 if is_share else 1.0)
        box.setMaximum(1.0 if is_share else 1e6)
        box.setSuffix(f" {unit}" if unit else "")
        if unit != "min":  # 0 minutes means no minimum time, not never
            box.setSpecialValueText("Never")
        hide_spin_buttons(box)
        return box

    def _arrange(self) -> None:
        form = QFormLayout()
        for title, widget in (
            ("Rules of", self.scope),
            ("Ended", self.ended),
            ("Failed", self.failed),
            ("Stalled", self.stalled),
            ("But not before", self.stalled_minutes),
            ("Feature deviation below", self.collapsed),
            ("Conditions", self.conditions),
            ("Desktop", self.desktop),
            ("Command", self.command),
            ("Webhook", self.url),
        ):
            label = PlainLabel(title, self, buddy=widget)
            if not widget.accessibleName():
                widget.setAccessibleName(title)
            form.addRow(label, widget)
        align_labels(form)
        buttons = hbox(self.use_defaults, None, self.test, self.close_button, self.save)
        vbox(form, self.bar, (self.table, 1), buttons, into=self, margins=SPACE)
        self.resize(80 * SPACE, 86 * SPACE)

    def open_for(self, experiment_id: int, name: str) -> None:
        """Show the rules of an experiment."""
        self._experiment = experiment_id, name
        self.scope.blockSignals(True)
        self.scope.clear()
        self.scope.addItems([name, _DEFAULTS])
        self.scope.blockSignals(False)
        self._load()
        bring_to_front(self)

    @property
    def _shown_experiment(self) -> str | None:
        """The experiment whose rules are shown; None for the defaults."""
        return self._experiment[1] if self.scope.currentIndex() == 0 else None

    def _load(self) -> None:
        self.bar.clear()
        self.table.clear()
        name = self._shown_experiment
        try:
            rules = self._rules.of(name or "")
            self.use_defaults.setEnabled(name is not None and self._rules.has_own(name))
        except AlertError as problem:
            self.bar.show_message(error(str(problem)))
            rules = AlertRules()
        for box, is_checked in ((self.ended, rules.ended), (self.failed, rules.failed), (self.desktop, rules.desktop)):
            box.setChecked(is_checked)
        self.stalled.setValue(rules.stalled)
        self.stalled_minutes.setValue(rules.stalled_minutes)
        self.collapsed.setValue(rules.collapsed)
        self.conditions.setPlainText("\n".join(rules.conditions))
        self.command.setText(shlex.join(rules.command))
        self.url.setText(rules.url)

    def rules(self) -> AlertRules:
        """The rules in the form. Raises AlertError for an invalid field."""
        try:
            command = shlex.split(self.command.text())
        except ValueError as reason:
            raise AlertError(f"The command {self.command.text()} cannot be split into arguments: {reason}.") from reason
        try:
            return AlertRules(
                ended=self.ended.isChecked(),
                failed=self.failed.isChecked(),
                stalled=self.stalled.value(),
                stalled_minutes=self.stalled_minutes.value(),
                collapsed=self.collapsed.value(),
                conditions=tuple(line for line in self.conditions.toPlainText().splitlines() if line.strip()),
                desktop=self.desktop.isChecked(),
                command=tuple(command),
                url=self.url.text().strip(),
            )
        except ValidationError as problem:
            raise AlertError(first_problem(problem)) from problem

    def _save(self) -> None:
        try:
            self._rules.save(self._shown_experiment, self.rules())
        except UserError as problem:
            self.bar.show_message(error(str(problem)))
            return
        self.use_defaults.setEnabled(self._shown_experiment is not None)
        self.bar.show_message(info("Saved."))

    def _follow_defaults(self) -> None:
        try:
            self._rules.save(self._shown_experiment, None)
        except UserError as problem:
            self.bar.show_message(error(str(problem)))
            return
        self._load()

    def _test(self) -> None:
        try:
            rules = self.rules()
        except AlertError as problem:
            self.bar.show_message(error(str(problem)))
            return
        experiment_id = self._experiment[0] if self._shown_experiment is not None else None
        self.bar.show_message(info("Reading the events of the runs…"))

        def work() -> list[RunAlert]:
            return replay((run.dir for run in self._store.runs(experiment_id) if run.is_local), rules)

        self._tasks.run(work, self._show_alerts, lambda why: self.bar.show_message(error(why)))

    def _show_alerts(self, alerts: Sequence[RunAlert]) -> None:
        self.table.clear()
        for item in alerts:
            moment = datetime.fromtimestamp(item.alert.time).strftime("%Y-%m-%d %H:%M:%S")
            self.table.addTopLevelItem(QTreeWidgetItem([moment, run_label(item.run.path), item.alert.text]))
        number = len(alerts)
        text = "No run would have alerted." if not number else f"Alerts that would have been sent: {number}."
        self.bar.show_message(info(text))
