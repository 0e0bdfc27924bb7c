"""A live preview of student and teacher views: the grid, the step, and a button to resample.

Flow: a panel calls ``show(config, rows)`` whenever either changes -> (a moment later) ``ViewsWork`` -> ``ViewsCanvas``.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QFrame, QPushButton, QScrollArea, QSpinBox, QWidget

from core.spec.config import RunConfig
from sdgui.shared.views.canvas import ViewsCanvas
from sdgui.shared.views.drawing import Views, ViewsWork
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.formats import count
from sdgui.widgets.input_boxes import NoWheelSpinBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, hide_spin_buttons, set_role
from sdgui.worker.pool import WorkerPool

MAX_IMAGES = 12
_GATHER_MS = 15  # changes within this time are drawn together
_MAX_STEP = 10_000_000


class ViewsPreview(QWidget):
    """The live preview. ``drawn``: new views are shown."""

    drawn = Signal()

    def __init__(self, pool: WorkerPool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._config: RunConfig | None = None
        self._config_seed = -1  # the seed of the last config without errors
        self._rows: list[int] = []
        self._views: Views | None = None
        self.work = ViewsWork(pool, self)
        self.step = _number("Step", "Number of the training batch, from 0", _MAX_STEP, self)
        self.seed = _number("Seed", "The config's seed, which determines every random draw", 2**31 - 1, self)
        self.again = QPushButton("Draw &again", self)
        self.again.setToolTip("Resample the views, as in the next epoch (Ctrl+Shift+G)")
        self.again.setShortcut("Ctrl+Shift+G")
        self.note = ElidedLabel("", self, role="small")
        self.canvas = ViewsCanvas(self)
        self.area = QScrollArea(self)
        self.area.setWidget(self.canvas)
        self.area.setWidgetResizable(True)
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self._build()
        self._draw_timer = QTimer(self, singleShot=True, interval=_GATHER_MS)
        self._draw_timer.timeout.connect(self._draw)
        self.work.drawn.connect(self._show)
        self.work.failed.connect(self._show_refusal)
        self.step.valueChanged.connect(lambda _value: self._draw_timer.start())
        self.seed.valueChanged.connect(lambda _value: self._draw_timer.start())
        self.again.clicked.connect(self.draw_again)

    def _build(self) -> None:
        step, seed = (
            PlainLabel(text, self, role="muted", buddy=box) for text, box in (("S&tep", self.step), ("Seed", self.seed))
        )
        row = hbox(step, self.step, seed, self.seed, self.again, (self.note, 1))
        vbox(row, (self.area, 1), into=self)

    def show_config(self, config: RunConfig | None, rows: Sequence[int] = ()) -> None:
        """Draw the views that ``config`` makes of ``rows`` of its training data, or of a batch if ``rows`` is empty.

        ``config`` is None if it has errors: the last views are kept, faded.
        """
        if config is not None and self._config_seed != config.seed:
            self._config_seed = config.seed
            self.seed.blockSignals(True)
            self.seed.setValue(config.seed)
            self.seed.blockSignals(False)
        self._config, self._rows = config, list(rows)[:MAX_IMAGES]
        if config is None or not config.data.train:
            self.work.cancel()
            self.canvas.set_stale(True)
        else:
            self._draw_timer.start()

    def run_config(self) -> RunConfig | None:
        """The config to draw, with the seed from this widget."""
        config = self._config
        return config if config is None else config.model_copy(update={"seed": self.seed.value()})

    def views(self) -> Views | None:
        """The current views."""
        return self._views

    def draw_again(self) -> None:
        """Resample the views, as in the next epoch; if a batch is shown, go to the next batch."""
        views = self._views
        ahead = views.steps_per_epoch if views is not None and self._rows and views.by_choice else 1
        self.step.setValue(self.step.value() + ahead)

    def _draw(self) -> None:
        config = self.run_config()
        if config is not None and config.data.train:
            self.work.draw(config, self.step.value(), self._rows, MAX_IMAGES)

    def _show(self, views: Views) -> None:
        self._views = views
        self.canvas.show_views(views)
        self.note.setText(note_of(views))
        set_role(self.note, "small")
        self.drawn.emit()

    def _show_refusal(self, sentence: str) -> None:
        self.canvas.set_stale(True)
        self.note.setText((sentence.splitlines() or [""])[0])
        self.note.setToolTip(plain_tip(sentence))
        set_role(self.note, "error")


def note_of(views: Views) -> str:
    """A note on epoch and batch size, and the number of omitted images."""
    text = f"epoch {count(views.epoch)} · batches of {count(views.batch)} · {count(views.steps_per_epoch)} per epoch"
    if views.skipped:
        text += f" · {len(views.skipped)} skipped in this epoch (incomplete last batch)"
    if not views.by_choice:
        text += " · the images are those of the batch"
    return text


def _number(name: str, tip: str, largest: int, parent: QWidget) -> QSpinBox:
    box = NoWheelSpinBox(parent)
    box.setRange(0, largest)
    box.setAccessibleName(name)
    box.setToolTip(plain_tip(tip))
    box.setFixedWidth(12 * SPACE)
    box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    hide_spin_buttons(box)
    return box
