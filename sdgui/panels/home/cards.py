"""The cards of Home for active, paused, finished and failed runs. A click or Enter opens the run."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QFrame, QProgressBar, QPushButton, QWidget

from core.spec.run.metric_names import ranks_runs
from sdgui.panels.home.model import IMAGES_PER_RUN, RunPreview
from sdgui.runs.live import RunProgress
from sdgui.shared.run_texts import best_tip, state_line, time_text, when
from sdgui.store.records import Run
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.formats import percent, percent_done
from sdgui.widgets.gallery.image_label import ImageLabel
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, set_role, theme

MIN_CARD_WIDTH = 44 * SPACE  # minimum width in px; each row has as many cards as fit
_ICON_SIZE = 18  # px
_IMAGE_SIZE = 8 * SPACE  # width and height in px
_CURVE_HEIGHT = 9 * SPACE  # height in px of a finished run's curve, below its images


class RunCard(QFrame):
    """A card with the state's icon, the name and a line of text; subclasses add their content to ``body``."""

    opened = Signal(int)  # run id
    search_requested = Signal(int)  # run id
    resume_requested = Signal(object)  # Run
    edit_requested = Signal(int)  # experiment id
    dismissed = Signal(int)  # run id

    def __init__(self, run: Run, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.run, self._name, self._state = run, name, ""
        set_role(self, "card")
        self.setMinimumWidth(MIN_CARD_WIDTH)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._icon = PlainLabel(self)
        self.title = ElidedLabel(name, self, Qt.TextElideMode.ElideMiddle, role="title")
        self.line = ElidedLabel("", self, role="muted")
        self.head = hbox(self._icon, (self.title, 1))
        self.body = vbox(
            self.head, self.line, into=self, spacing=SPACE // 2, margins=(2 * SPACE, SPACE, 2 * SPACE, SPACE)
        )
        self._folder_buttons: list[QPushButton] = []  # search or resume, which needs the run folder
        theme().changed.connect(self._restyle)
        self.show_state(str(run.state))

    def show_state(self, state: str) -> None:
        self._state = state
        self._restyle()

    def show_progress(self, progress: RunProgress | None) -> None:
        """Show the run as reported by the follower; it cannot be searched or resumed if its folder is missing."""
        for button in self._folder_buttons:
            button.setEnabled(progress is None or not progress.folder_missing)

    def show_line(self, line: str) -> None:
        self.line.setText(line)
        self.setAccessibleName(f"{self._name}: {line}")

    def _restyle(self) -> None:
        self._icon.setPixmap(theme().state_icon(self._state).pixmap(QSize(_ICON_SIZE, _ICON_SIZE)))
        self._icon.setToolTip(plain_tip(theme().state_text(self._state)))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.opened.emit(self.run.id)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.opened.emit(self.run.id)
        else:
            super().keyPressEvent(event)


class LiveCard(RunCard):
    """A training run: curve, progress and time left."""

    def __init__(self, run: Run, name: str, parent: QWidget | None = None) -> None:
        super().__init__(run, name, parent)
        self.curve = Sparkline(self)
        self.bar = QProgressBar(self)
        self.bar.setTextVisible(False)
        self.value = PlainLabel(self, role="small")
        self.body.addLayout(hbox((self.curve, 1), self.value))
        self.body.addWidget(self.bar)

    def show_progress(self, progress: RunProgress | None) -> None:
        super().show_progress(progress)
        self.show_state(str(progress.state if progress is not None else self.run.state))
        parts = (state_line(self.run, progress), time_text(self.run, progress))
        self.show_line(" · ".join(part for part in parts if part))
        self.bar.setRange(0, 100 if progress is not None and progress.total_steps else 0)
        if progress is not None:
            self.bar.setValue(percent_done(progress.step, progress.total_steps))

    def show_preview(self, preview: RunPreview, color: int) -> None:
        self.curve.show_curve(preview.curve, color, preview.title)
        if preview.curve:
            last = preview.curve[-1]
            text = percent(last) if ranks_runs(preview.metric) else f"{last:.4g}"
            self.value.setText(f"{preview.title} {text}")


class PausedCard(RunCard):
    """A paused run: progress and *Resume*."""

    def __init__(self, run: Run, name: str, parent: QWidget | None = None) -> None:
        super().__init__(run, name, parent)
        if can_resume(run):
            self._folder_buttons = [_resume_button(self)]
            self.head.addWidget(self._folder_buttons[0])
        self.show_progress(None)

    def show_progress(self, progress: RunProgress | None) -> None:
        super().show_progress(progress)
        self.show_line(state_line(self.run, progress))


class DoneCard(RunCard):
    """A finished run: metric, curve, retrieved images for some captions, and *Search*."""

    def __init__(self, run: Run, name: str, parent: QWidget | None = None) -> None:
        super().__init__(run, name, parent)
        self.curve = Sparkline(self, _CURVE_HEIGHT)
        self.curve.hide()
        search = QPushButton("Search", self)
        set_role(search, "flat")
        search.setToolTip("Search with this run")
        search.setAccessibleName(f"Search with {name}")
        search.clicked.connect(lambda: self.search_requested.emit(run.id))
        self._folder_buttons = [search]
        self.head.addWidget(search)
        self.images = [ImageLabel(_IMAGE_SIZE, self) for _ in range(IMAGES_PER_RUN)]
        for image in self.images:
            image.hide()
        self.body.addLayout(hbox(*self.images, None, spacing=2 * SPACE))
        self.body.addWidget(self.curve)
        self.show_progress(None)

    def show_progress(self, progress: RunProgress | None) -> None:
        super().show_progress(progress)
        missing = "Folder missing" if progress is not None and progress.folder_missing else ""
        parts = (missing, _metric(self.run), when(self.run.finished or self.run.created))
        self.show_line(" · ".join(part for part in parts if part))
        self.line.setToolTip(plain_tip(best_tip(self.run.best)))

    def show_preview(self, preview: RunPreview, color: int) -> None:
        self.curve.setVisible(bool(preview.curve))
        self.curve.show_curve(preview.curve, color, preview.title)
        self.curve.setToolTip(plain_tip(preview.title))
        for label, image in zip(self.images, preview.images, strict=False):
            label.show()
            label.show_image(image.path)
            label.setToolTip(plain_tip(image.caption))
            label.setAccessibleName(f"Image retrieved for: {image.caption}")


class FailedCard(RunCard):
    """A failed run: the reason and what to do."""

    def __init__(self, run: Run, name: str, parent: QWidget | None = None) -> None:
        super().__init__(run, name, parent)
        edit = QPushButton("Edit settings", self)
        set_role(edit, "flat")
        edit.setToolTip("Open the experiment in Define to fix the settings and launch again")
        edit.clicked.connect(lambda: self.edit_requested.emit(run.experiment_id))
        close = IconButton("ph.x", "Hide from Home; the run stays in Runs", parent=self)
        close.clicked.connect(lambda: self.dismissed.emit(run.id))
        moment = PlainLabel(when(run.finished or run.created), self, role="small")
        self._folder_buttons = [_resume_button(self)] if can_resume(run) else []
        for widget in (moment, *self._folder_buttons, edit, close):
            self.head.addWidget(widget)
        self.line.hide()
        self.reason = PlainLabel(_failure_text(run), self, wordWrap=True)
        self.reason.setMaximumHeight(self.reason.fontMetrics().lineSpacing() * 3)
        self.reason.setToolTip(plain_tip(run.failure))
        self.body.addWidget(self.reason)
        self.setAccessibleName(f"{name}: {self.reason.text()}")


def can_resume(run: Run) -> bool:
    """Whether an interrupted run can be resumed: the run has reached a step, and its folder is in this home."""
    return run.is_own and not run.is_logged and run.step > 0


def _resume_button(card: RunCard) -> QPushButton:
    button = QPushButton("Resume", card)
    set_role(button, "flat")
    button.setToolTip("Continue the run from its last checkpoint")
    button.setAccessibleName(f"Resume {card.title.text()}")
    button.clicked.connect(lambda: card.resume_requested.emit(card.run))
    return button


def _metric(run: Run) -> str:
    """The best metric as text, such as ``Mean recall 41.2 %, teacher``."""
    if run.best is None:
        return "Not validated"
    network = "teacher" if "/teacher/" in run.best.metric else "student"
    return f"Mean recall {percent(run.best.value)}, {network}"


def _failure_text(run: Run) -> str:
    """The reason of a failure: the first lines of the trainer's message."""
    lines = [line.strip() for line in run.failure.splitlines() if line.strip()]
    return " ".join(lines[:3]) or "The process exited without an error message. Its log is in Runs, under Events."


_LINE_WIDTH = 1.5  # px
_DOT_RADIUS = 2.5  # px, dot of the last value


class Sparkline(QWidget):
    """A small curve without axes; the last value has a dot."""

    def __init__(self, parent: QWidget | None = None, height: int = 5 * SPACE) -> None:
        super().__init__(parent)
        self._values: tuple[float, ...] = ()  # points of the curve
        self._color = 0
        self._span: tuple[float, float] | None = None  # lowest and highest value of the vertical range
        self.setFixedHeight(height)
        self.setMinimumWidth(10 * SPACE)
        theme().changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(16 * SPACE, self.minimumHeight())

    def show_curve(self, values: Sequence[float], color: int, name: str) -> None:
        """Show ``values``. ``color``: the run's palette index; ``name``: the metric, for screen readers."""
        self._values, self._color = tuple(values), color
        points = "1 point" if len(values) == 1 else f"{len(values)} points"
        self.setAccessibleName(f"{name}, {points}, last {self._values[-1]:.4g}" if values else "")
        self.update()

    def set_span(self, low: float, high: float) -> None:
        """Set the vertical range, shared by all curves of a metric; by default a curve fills the height."""
        self._span = (low, high)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        if len(self._values) < 2:
            return
        low, high = self._span or (min(self._values), max(self._values))
        room = self.rect().adjusted(3, 3, -4, -3)
        x_step, y_scale = room.width() / (len(self._values) - 1), room.height() / ((high - low) or 1.0)
        line = QPolygonF(
            [QPointF(room.left() + i * x_step, room.bottom() - (v - low) * y_scale) for i, v in enumerate(self._values)]
        )
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme().run_color(self._color), _LINE_WIDTH))
        painter.drawPolyline(line)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme().run_color(self._color))
        painter.drawEllipse(line.last(), _DOT_RADIUS, _DOT_RADIUS)
        painter.end()
