"""Time travel: one step of a run, shared by the panels: curves, samples, search results, maps.

Flow: a panel's `StepSlider`, or the samples of a run -> ``TimeTravel.go(run, step)`` -> ``moved`` -> the panels that
show this run. This needs runs that keep their checkpoints (``checkpoint.keep_every``).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtWidgets import QPushButton, QSlider, QWidget

from sdgui.widgets.formats import count
from sdgui.widgets.layouts.boxes import hbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE

_SETTLE_MS = 120  # delay before the step at a new position is opened
_MIN_SLIDER_PX = 5 * SPACE


class TimeTravel(QObject):
    """The viewed step of each run; one instance is shared by all panels."""

    moved = Signal(object, int)  # the run's folder, the step

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._steps: dict[Path, int] = {}

    def step(self, run: Path) -> int | None:
        """The viewed step of ``run``; None until one is chosen."""
        return self._steps.get(run)

    def go(self, run: Path, step: int) -> None:
        """View ``run`` at this step."""
        if self._steps.get(run) != step:
            self._steps[run] = step
            self.moved.emit(run, step)


def last_step_up_to(steps: Sequence[int], step: int) -> int:
    """The last of ``steps`` (ascending) up to ``step``; the first if all are later. Raises ValueError without steps."""
    if not steps:
        raise ValueError("no steps")
    return steps[max(0, bisect_right(steps, step) - 1)]


class StepSlider(QWidget):
    """A slider over kept checkpoints: shows the step, and offers to export all steps.

    ``moved`` is emitted once the slider rests.
    """

    moved = Signal(int)  # step
    export_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._steps: tuple[int, ...] = ()
        self._room = 0
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setAccessibleName("Step")
        self.slider.setToolTip("The run's checkpoints, from first to last")
        self.slider.setPageStep(1)
        self.slider.setTickPosition(QSlider.TickPosition.TicksBelow)
        self.label = PlainLabel(self, role="muted")
        self.export = QPushButton("Export…", self)
        self.export.setToolTip(plain_tip("Save the results of each step as an animated image (WebP)"))
        hbox(self.label, (self.slider, 1), self.export, into=self)
        self._settle = QTimer(self, singleShot=True, interval=_SETTLE_MS)
        self._settle.timeout.connect(lambda: self.moved.emit(self.step()))
        self.slider.valueChanged.connect(self._on_slid)
        self.export.clicked.connect(self.export_requested)

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that can be shown, ascending."""
        return self._steps

    def step(self) -> int:
        """The step of the slider; 0 if there are no steps."""
        return self._steps[self.slider.value()] if self._steps else 0

    def set_steps(self, steps: Sequence[int], step: int) -> None:
        """Offer these steps (ascending), set to ``step`` or the last one before it, without a signal.

        While the user moves the slider, its position does not change.
        """
        if self._settle.isActive():  # the user is moving it
            step = self.step()
        self._steps = tuple(steps)
        self.slider.blockSignals(True)
        self.slider.setRange(0, max(0, len(self._steps) - 1))
        if self._steps:
            self.slider.setValue(bisect_left(self._steps, last_step_up_to(self._steps, step)))
        self.slider.blockSignals(False)
        last = f"Step {count(self._steps[-1])} of {count(self._steps[-1])}" if self._steps else ""
        self.label.setMinimumWidth(self.label.fontMetrics().horizontalAdvance(last) + SPACE)  # fixes the slider's place
        self._fit()
        self._show_step()

    def set_room(self, width: int) -> None:
        """Use a total of ``width`` px, or the minimum, in a container that provides only the requested width."""
        self._room = width
        self._fit()

    def _fit(self) -> None:
        if self._room:
            label_width = max(self.label.minimumWidth(), self.label.sizeHint().width())
            self.slider.setFixedWidth(max(_MIN_SLIDER_PX, self._room - label_width - SPACE))

    def neighbours(self) -> list[int]:
        """The steps next to the current one, later first, for preloading."""
        index = self.slider.value()
        return [self._steps[neighbour] for neighbour in (index + 1, index - 1) if 0 <= neighbour < len(self._steps)]

    def _on_slid(self) -> None:
        self._show_step()
        self._settle.start()

    def _show_step(self) -> None:
        text = f"Step {count(self.step())} of {count(self._steps[-1])}" if self._steps else ""
        self.label.setText(text)
        self.slider.setAccessibleDescription(text)
