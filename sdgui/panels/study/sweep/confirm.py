"""The dialog of *Confirm*, which creates a study that trains the best trials of a sweep again with new seeds."""

from __future__ import annotations

from PySide6.QtWidgets import QDialog, QDialogButtonBox, QFormLayout, QWidget

from core.spec.study import MAX_ITEMS
from core.spec.study.config import MAX_BUDGET_SECONDS
from sdgui.widgets.formats import count, duration
from sdgui.widgets.input_boxes import NoWheelDoubleSpinBox, NoWheelSpinBox
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
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
        self.best, self.seeds, self.seconds = NoWheelSpinBox(self), NoWheelSpinBox(self), NoWheelDoubleSpinBox(self)
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


def ask_to_confirm(trials: int, seconds: float, parent: QWidget) -> tuple[int, int, float] | None:
    """Show the dialog. Returns the numbers of trials and seeds, and the seconds per run; None if it was cancelled."""
    dialog = ConfirmDialog(trials, seconds, parent)
    accepted = dialog.exec()
    dialog.deleteLater()
    return (dialog.best.value(), dialog.seeds.value(), dialog.seconds.value()) if accepted else None
