"""One line with the current task, its progress, the time left and a cancel button.

Flow: a long task (training, indexing, encoding, downloading) calls ``start``, ``advance`` and ``finish``; ``cancelled``
asks it to stop, and the strip shows this until it has stopped. The window shows the panels' strips in its status bar,
where their room is reserved.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QFrame, QProgressBar, QSizePolicy, QWidget

from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.formats import count, duration
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import hbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE

_HALF_LIFE_SECONDS = 15.0  # half-life of the averaged rate
_MIN_SECONDS = 1.0  # time until the first forecast


class TimeLeft:
    """Estimates the time left from the progress so far, with a rate that is averaged with a half-life."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Forget everything; the next ``update`` is the new start."""
        self._began: float | None = None
        self._last = 0.0
        self._done = 0.0
        self._rate = 0.0
        self._weight = 0.0

    def update(self, done: float) -> None:
        """Record that ``done`` units are finished; a smaller number than before restarts the estimate."""
        current_time = self._clock()
        if self._began is None or done < self._done:
            self.restart()
            self._began, self._last, self._done = current_time, current_time, done
            return
        elapsed = current_time - self._last
        if elapsed <= 0 or done == self._done:
            return
        keep = 0.5 ** (elapsed / _HALF_LIFE_SECONDS)
        self._rate = keep * self._rate + (1 - keep) * (done - self._done) / elapsed
        self._weight = keep * self._weight + (1 - keep)  # debiases the first seconds
        self._last, self._done = current_time, done

    def seconds(self, total: float) -> float | None:
        """Seconds left until ``total``; None until enough is known."""
        if self._began is None or self._weight <= 0 or self._last - self._began < _MIN_SECONDS:
            return None
        rate = self._rate / self._weight
        return max(0.0, (total - self._done) / rate - (self._clock() - self._last)) if rate > 0 else None


class ProgressStrip(QFrame):
    """Shows progress; hidden if idle. ``cancelled`` is emitted once per task, by the cancel button."""

    cancelled = Signal()

    def __init__(self, parent: QWidget | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(parent)
        self._time_left = TimeLeft(clock)
        self._reported_seconds: float | None = None
        self._done, self._total, self._unit = 0.0, 0.0, ""
        self._cancelling = False
        self._title = ElidedLabel("", self)
        self._title.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)  # beside the bar
        self._bar = QProgressBar(self)
        self._bar.setTextVisible(False)
        self._bar.setMinimumWidth(10 * SPACE)
        self._bar.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._figures = PlainLabel(self, role="muted")
        self._cancel = IconButton("ph.x", "Cancel", parent=self)
        self._cancel.clicked.connect(self._ask_to_cancel)
        hbox((self._title, 3), (self._bar, 1), self._figures, self._cancel, into=self)
        self._tick = QTimer(self, interval=1000)
        self._tick.timeout.connect(self._show)
        self.hide()

    def start(self, title: str, total: float = 0, unit: str = "", cancellable: bool = True) -> None:
        """Begin a task such as "Indexing images"; with ``total`` 0 (unknown) the bar shows no percentage."""
        self._time_left.restart()
        self._reported_seconds = None
        self._cancelling = False
        self._title.setText(title)
        self._total, self._unit, self._done = total, unit, 0.0
        self._cancel.setVisible(cancellable)
        self._cancel.setEnabled(True)
        self._time_left.update(0)
        self._show()
        self.show()
        self._tick.start()

    def advance(
        self, done: float, total: float | None = None, title: str | None = None, seconds_left: float | None = None
    ) -> None:
        """Show ``done`` of ``total`` units; ``seconds_left``: the worker's estimate, shown instead of the strip's."""
        if total is not None:
            self._total = total
        if title is not None and not self._cancelling:
            self._title.setText(title)
        self._done = done
        self._reported_seconds = seconds_left
        self._time_left.update(done)
        self._show()

    def finish(self, message: str = "") -> None:
        """End the progress. The strip hides, or shows ``message`` until the next ``start``."""
        self._tick.stop()
        self._cancel.hide()
        self._bar.setVisible(not message)
        self._figures.setText("")
        self._title.setText(message)
        self.setVisible(bool(message))

    @property
    def text(self) -> str:
        """The text of the strip."""
        return " · ".join(part for part in (self._title.text(), self._figures.text()) if part)

    def _ask_to_cancel(self) -> None:
        self._cancelling = True
        self._cancel.setEnabled(False)
        self._title.setText("Cancelling…")
        self.cancelled.emit()

    def _show(self) -> None:
        self._bar.setVisible(True)
        is_total_known = self._total > 0
        self._bar.setRange(0, 1000 if is_total_known else 0)
        if is_total_known:
            self._bar.setValue(min(1000, int(1000 * self._done / self._total)))
        self._figures.setText(" · ".join(self._figure_parts(is_total_known)))
        self._figures.setVisible(bool(self._figures.text()))
        self.setAccessibleName(f"Progress: {self.text}")

    def _figure_parts(self, is_total_known: bool) -> list[str]:
        unit = f" {self._unit}" if self._unit else ""
        if not is_total_known:
            return [f"{count(self._done)}{unit}"] if self._done else []
        parts = [f"{min(100, int(100 * self._done / self._total))} %"]
        if self._unit:
            parts.append(f"{count(self._done)} of {count(self._total)}{unit}")
        seconds_left = self._reported_seconds
        if seconds_left is None:
            seconds_left = self._time_left.seconds(self._total)
        if seconds_left is not None and self._done < self._total:
            parts.append(f"{duration(seconds_left)} left")
        return parts
