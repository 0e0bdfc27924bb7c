"""Progress of the demo data: a strip while it is created, a message with a button after a failure or a cancel.

Flow: ``DemoData`` -> strip and ``message_requested`` -> the window's message bar.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from sdgui.runs.demo import DemoData
from sdgui.widgets.message import Message, Remedy
from sdgui.widgets.progress_strip import ProgressStrip


class DemoReport(QObject):
    """``message_requested``: for the window's bar."""

    message_requested = Signal(object)  # Message

    def __init__(self, demo: DemoData, strip: ProgressStrip, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._demo, self._strip = demo, strip
        strip.cancelled.connect(self._cancel)
        demo.progress.connect(self._progress)
        demo.ready.connect(strip.finish)
        demo.failed.connect(self._failed)

    def _progress(self, finished: int, total: int, activity: str) -> None:
        if self._strip.isHidden():
            self._strip.start(activity, total, "images")
        self._strip.advance(finished, total, activity)

    def _failed(self, sentence: str, details: str) -> None:
        self._strip.finish()
        self.message_requested.emit(Message("error", sentence, details, Remedy("Try again", self._demo.make)))

    def _cancel(self) -> None:
        self._demo.cancel()
        self._strip.finish()
        sentence = "The demo data has not been created yet; its experiments need it to train."
        self.message_requested.emit(Message("info", sentence, remedy=Remedy("Create it", self._demo.make)))
