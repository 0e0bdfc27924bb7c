"""The *Export model* dialog: format, checkpoint, network, precision and folder; then the result and how to open it.

Flow: a run -> its checkpoints, read in a thread -> `ExportChoice` -> `ExportProgram` -> the folder, and lines of code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Qt, QTimer, QUrl
from PySide6.QtGui import QDesktopServices, QFontDatabase, QGuiApplication
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QFormLayout,
    QLayout,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QWidget,
)

from core.spec.paths import expand_user
from core.spec.run.export_formats import EXPORT_FORMATS
from core.spec.run.folder import RunDir
from core.spec.run.model_names import (
    CHECKPOINT,
    InterpolatedName,
    checkpoint_names,
    default_network,
    networks_in,
    parse_interpolated,
    pointer,
    run_and_checkpoint,
)
from sdgui.actions.export.program import ExportChoice, ExportProgram
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.file_dialogs import ask_save
from sdgui.widgets.formats import capitalize
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.input_boxes import ListOnlyComboBox
from sdgui.widgets.layouts.boxes import STYLE_SPACING, hbox, vbox
from sdgui.widgets.layouts.form_labels import align_labels
from sdgui.widgets.message import error
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.popovers.placing import bring_to_front
from sdgui.widgets.style.theme import SPACE, set_role

_PRECISIONS = {"fp32": "float32, exact", "fp16": "float16, half the size", "bf16": "bfloat16, half the size"}


@dataclass(frozen=True)
class Checkpoint:
    """An exportable checkpoint: its label, its name, its networks, and the default network."""

    title: str
    name: str
    networks: tuple[str, ...]
    default: str


def checkpoints(run: RunDir) -> list[Checkpoint]:
    """The best, the last and all other checkpoints, newest first. Reads the disk: not for the window's thread."""
    available = checkpoint_names(run)
    choices = []
    for alias in ("best", "last"):
        name = pointer(run, alias)
        if name in available:
            networks = tuple(networks_in(run, name))
            choices.append(Checkpoint(f"{alias}: {_step(name)}", alias, networks, default_network(run, alias)))
    for name in reversed(available):
        choices.append(Checkpoint(_step(name), name, tuple(networks_in(run, name)), default_network(run, name)))
    return choices


def _step(name: str) -> str:
    digits = name.removeprefix("step-").lstrip("0") or "0"
    return f"step {int(digits):,}" if digits.isdecimal() else name


class ExportDialog(QDialog):
    """The non-modal export dialog, created once; an export continues while the dialog is closed."""

    def __init__(self, parent: QWidget, program: ExportProgram | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export model")
        self.program = program or ExportProgram(self)
        self._tasks = BackgroundTasks(self)
        self._run: RunDir | None = None
        self._choice: ModelChoice | None = None
        self._typed = False  # whether the user has entered the folder
        self._build()
        self._arrange()
        self._connect_parts()
        self._show_result(None)

    def _build(self) -> None:
        self.title = ElidedLabel("", self, role="title")
        self.format_box = self._combo("Format")
        for key, export_format in EXPORT_FORMATS.items():
            self.format_box.addItem(export_format.title, key)
        self.description = PlainLabel(self, wordWrap=True, role="small")
        self.checkpoint, self.network = self._combo("Checkpoint"), self._combo("Network")
        self.precision = self._combo("Precision")
        self.folder = QLineEdit(self)
        self.folder.setAccessibleName("Folder")
        self.browse = IconButton("ph.folder-open", "Choose the folder to export to", parent=self)
        self.replace = QCheckBox("Replace the earlier export in this folder", self)
        self.bar = MessageBar(self)
        self.progress = QProgressBar(self)
        self.activity = PlainLabel(self)
        self.progress.setAccessibleName("Export progress")
        self.outcome = PlainLabel(self, wordWrap=True)
        self.code = QPlainTextEdit(self)
        self.code.setReadOnly(True)
        self.code.setAccessibleName("How to open it in Python")
        self.code.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.code.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.code.setFixedHeight(20 * SPACE)
        self.copy = QPushButton("&Copy code", self)
        self.show_folder = QPushButton("&Open folder", self)
        self.start = QPushButton("&Export", self)
        set_role(self.start, "primary")
        self.start.setDefault(True)
        self.stop = QPushButton("Cancel &export", self)
        self.leave = QPushButton("C&lose", self)

    def _combo(self, name: str) -> ListOnlyComboBox:
        box = ListOnlyComboBox(self)
        box.setAccessibleName(name)
        return box

    def _arrange(self) -> None:
        rows = QFormLayout()
        rows.setSpacing(SPACE)
        rows.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        rows.addRow("&Format", self.format_box)
        rows.addRow("", self.description)
        for name, box in (
            ("Chec&kpoint", self.checkpoint),
            ("&Network", self.network),
            ("&Precision", self.precision),
        ):
            rows.addRow(name, box)
        folder_row = hbox((self.folder, 1), self.browse, spacing=STYLE_SPACING)
        rows.addRow(PlainLabel("Fol&der", self, buddy=self.folder), folder_row)
        rows.addRow("", self.replace)
        align_labels(rows)
        buttons = hbox(self.copy, self.show_folder, None, self.leave, self.stop, self.start, spacing=STYLE_SPACING)
        parts = (self.title, rows, self.bar, self.activity, self.progress, self.outcome, self.code, buttons)
        layout = vbox(*parts, into=self, spacing=2 * SPACE, margins=2 * SPACE)
        self.folder.setMinimumWidth(76 * SPACE)
        layout.setSizeConstraint(QLayout.SizeConstraint.SetFixedSize)  # fits the current content

    def _connect_parts(self) -> None:
        self.format_box.currentIndexChanged.connect(self._on_format_changed)
        self.checkpoint.currentIndexChanged.connect(self._on_checkpoint_changed)
        self.network.currentIndexChanged.connect(self._suggest)
        self.folder.textEdited.connect(self._on_folder_typed)
        self.browse.clicked.connect(self._browse)
        self.start.clicked.connect(self._start)
        self.stop.clicked.connect(self.program.cancel)
        self.leave.clicked.connect(self.close)
        self.copy.clicked.connect(self._copy)
        self.show_folder.clicked.connect(lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(self.folder.text())))
        self.program.stepped.connect(self._on_stepped)
        self.program.done.connect(self._done)
        self.program.failed.connect(self._on_failed)

    def open_for(self, run: RunDir, name: str, choice: ModelChoice | None = None) -> None:
        """Show the options for exporting a run; during an export, its progress.

        For interpolated weights, ``choice`` has the checkpoint, network, initial model and alpha.
        """
        if not self.program.active:
            self._run, self._typed, self._choice = run, False, choice
            self.title.setText(name)
            self.bar.clear()
            self._show_result(None)
            self._fill([])
            self._on_format_changed()
            self._tasks.run(
                lambda: checkpoints(run), lambda choices: self._show_checkpoints(run, choices), self._refuse
            )
        bring_to_front(self)

    def _show_checkpoints(self, run: RunDir, choices: Sequence[Checkpoint]) -> None:
        if run is not self._run:
            return
        self._fill(choices)
        if self._choice is not None:
            self._select(self._choice)
        if not choices:
            self._refuse(
                "The run has no local checkpoint yet. Wait for its first checkpoint, or fetch the checkpoint of a "
                "remote run."
            )

    def _fill(self, choices: Sequence[Checkpoint]) -> None:
        self.checkpoint.clear()
        for choice in choices:
            self.checkpoint.addItem(choice.title, choice)
        self._enable()

    def _select(self, choice: ModelChoice) -> None:
        checkpoint = run_and_checkpoint(choice.model)[1]
        name = CHECKPOINT.format(int(checkpoint)) if checkpoint.isdecimal() else checkpoint
        rows = range(self.checkpoint.count())
        self.checkpoint.setCurrentIndex(next((row for row in rows if self.checkpoint.itemData(row).name == name), 0))
        self.network.setCurrentIndex(max(self.network.findData(choice.network), 0))

    def _interpolation(self) -> InterpolatedName | None:
        return parse_interpolated(self._choice.model) if self._choice is not None else None

    # Choosing
    def _selected(self) -> Checkpoint | None:
        data = self.checkpoint.currentData()
        return data if isinstance(data, Checkpoint) else None

    def _on_format_changed(self) -> None:
        export_format = EXPORT_FORMATS[self.format_box.currentData()]
        self.description.setText(export_format.description)
        previous = self.precision.currentData()
        self.precision.clear()
        for name in export_format.precisions:
            self.precision.addItem(_PRECISIONS[name], name)
        self.precision.setCurrentIndex(max(self.precision.findData(previous), 0))
        self._suggest()

    def _on_checkpoint_changed(self) -> None:
        checkpoint = self._selected()
        self.network.clear()
        if checkpoint is not None:
            for name in checkpoint.networks:
                self.network.addItem(name, name)
            self.network.setCurrentIndex(max(self.network.findData(checkpoint.default), 0))
        self._suggest()

    def _suggest(self) -> None:
        """Suggest a folder next to the checkpoints, named after its content, unless the user has entered one."""
        checkpoint = self._selected()
        if self._run is not None and checkpoint is not None and not self._typed:
            name = f"{self.format_box.currentData()}-{self.network.currentText()}-{checkpoint.name}"
            if (interpolation := self._interpolation()) is not None:
                name = f"{name}-alpha-{interpolation.alpha:g}"
            self.folder.setText(str(self._run.path / "exports" / name))
        self._enable()

    def _on_folder_typed(self) -> None:
        self._typed = True
        self._enable()

    def _browse(self) -> None:
        if target := ask_save(self, "Export to a new folder", self.folder.text(), "", confirm=False):
            self.folder.setText(str(target.path))
            self._on_folder_typed()

    def _enable(self) -> None:
        active, text = self.program.active, self.folder.text().strip()
        exists = bool(text) and expand_user(text).exists()
        self.replace.setVisible(exists and not active)
        if not exists:
            self.replace.setChecked(False)
        for widget in (self.format_box, self.checkpoint, self.network, self.precision, self.folder, self.browse):
            widget.setEnabled(not active)
        self.start.setEnabled(not active and self._selected() is not None and bool(text))
        self.start.setVisible(not active)
        self.stop.setVisible(active)
        self.progress.setVisible(active)
        self.activity.setVisible(active)

    # Writing
    def _start(self) -> None:
        checkpoint = self._selected()
        if self._run is None or checkpoint is None:
            return
        self.bar.clear()
        self._show_result(None)
        model, interpolation = f"{self._run.path}@{checkpoint.name}", self._interpolation()
        self.program.start(
            ExportChoice(
                model if interpolation is None else str(interpolation._replace(tuned=model)),
                self.network.currentData(),
                self.format_box.currentData(),
                self.precision.currentData(),
                expand_user(self.folder.text().strip()).absolute(),
                self.replace.isChecked(),
            )
        )
        self._enable()

    def _on_stepped(self, activity: str, finished: int, total: int) -> None:
        self.progress.setRange(0, total)
        self.progress.setValue(finished)
        self.activity.setText(f"{capitalize(activity)}…")

    def _done(self, folder: Path) -> None:
        self.folder.setText(str(folder))
        self._show_result(folder)

    def _on_failed(self, sentence: str, details: str) -> None:
        self._enable()
        if sentence:
            self.bar.show_message(error(sentence, details))

    def _refuse(self, sentence: str) -> None:
        self.bar.show_message(error(sentence))

    def _show_result(self, folder: Path | None) -> None:
        for widget in (self.outcome, self.code, self.copy, self.show_folder):
            widget.setVisible(folder is not None)
        self._enable()
        if folder is not None:
            self.outcome.setText(f"Exported to {folder}, with a model card in README.md. To open it elsewhere:")
            self.code.setPlainText(EXPORT_FORMATS[self.format_box.currentData()].how_to_open(str(folder)))

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.code.toPlainText())
        self.copy.setText("Copied")
        QTimer.singleShot(1500, self.copy, lambda: self.copy.setText("&Copy code"))
