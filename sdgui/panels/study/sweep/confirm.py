"""*Confirm*: creates a study that trains the best trials of a sweep again with new seeds.

Flow: ``Confirming.ask`` -> suggested training time (in a thread) -> `ConfirmDialog` -> ``confirm_sweep`` -> ``made``.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QFormLayout, QWidget

from core.spec.study import MAX_ITEMS
from core.spec.study.config import MAX_BUDGET_SECONDS
from core.spec.study.confirming import confirmable_trials
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.runs.study_programs import StudyPrograms
from sdgui.runs.study_status import StudySnapshot
from sdgui.widgets.formats import count, duration
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.still_boxes import StillDoubleSpinBox, StillSpinBox
from sdgui.widgets.style.theme import SPACE

_DEFAULT_TRIALS, _DEFAULT_SEEDS = 3, 3
_ABOUT = (
    "The best of many trials is partly luck. This creates a study that trains the best trials and the default config "
    "with new seeds, all for the same time."
)


class ConfirmDialog(QDialog):
    """The dialog; the choices are in ``best``, ``seeds`` and ``seconds``."""

    def __init__(self, trials: int, seconds: float, parent: QWidget) -> None:
        """``trials``: number of complete feasible trials; ``seconds``: suggested training time."""
        super().__init__(parent)
        self.setWindowTitle("Confirm the best trials")
        self.best, self.seeds, self.seconds = StillSpinBox(self), StillSpinBox(self), StillDoubleSpinBox(self)
        self.best.setRange(1, min(trials, MAX_ITEMS - 1))
        self.best.setValue(_DEFAULT_TRIALS)
        self.seeds.setRange(1, MAX_ITEMS)
        self.seeds.setValue(_DEFAULT_SEEDS)
        self.seconds.setRange(0.1, MAX_BUDGET_SECONDS)
        self.seconds.setDecimals(1)
        self.seconds.setSuffix(" s")
        self.seconds.setValue(seconds)
        form = QFormLayout()
        for title, box, tip in (
            ("Best trials", self.best, "How many of the best complete trials within all constraints to train again"),
            ("Seeds", self.seeds, "Number of new seeds per config; use 3 or more for intervals"),
            (
                "Training time per run",
                self.seconds,
                "Equal compute: configs with cheaper steps are trained for more steps",
            ),
        ):
            box.setAccessibleName(title)
            box.setToolTip(plain_tip(tip))
            box.valueChanged.connect(self._show_cost)
            form.addRow(title, box)
        self.cost = PlainLabel(self, wordWrap=True, role="small")
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel, self)
        self.buttons.addButton("Create study", QDialogButtonBox.ButtonRole.AcceptRole)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        about = PlainLabel(_ABOUT, self, wordWrap=True)
        vbox(about, form, self.cost, self.buttons, into=self, margins=2 * SPACE)
        self.setMinimumWidth(52 * SPACE)
        self._show_cost()

    def _show_cost(self) -> None:
        runs = (self.best.value() + 1) * self.seeds.value()
        total = duration(runs * self.seconds.value())
        self.cost.setText(f"{count(runs)} runs, {total} of training in total.")


class Confirming(QObject):
    """Shows the dialog and creates the study. ``made``: the study's record; ``failed``: the reason."""

    made = Signal(object)  # StudyRecord
    failed = Signal(str)

    def __init__(self, programs: StudyPrograms, parent: QWidget) -> None:
        super().__init__(parent)
        self._programs, self._window, self._tasks = programs, parent, BackgroundTasks(self)

    def ask(self, study_id: int | None, snapshot: StudySnapshot | None) -> None:
        """Ask how to confirm the sweep ``study_id``; does nothing if there is no trial to confirm."""
        trials = len(confirmable_trials(snapshot.sweep)) if snapshot is not None else 0
        if study_id is None or not trials:
            return

        def show(suggestion: float) -> None:
            dialog = ConfirmDialog(trials, suggestion, self._window)
            if dialog.exec():
                best, seeds, seconds = dialog.best.value(), dialog.seeds.value(), dialog.seconds.value()
                self._tasks.run(
                    lambda: self._programs.confirm_sweep(study_id, best, seeds, seconds),
                    self.made.emit,
                    self.failed.emit,
                )
            dialog.deleteLater()

        self._tasks.run(lambda: self._programs.confirming_seconds(study_id), show, self.failed.emit)
