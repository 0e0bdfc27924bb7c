"""Reports of the two sides: one progress strip for several jobs, one message about opening both models.

Flow: ``SearchPanel`` -> ``Jobs.advance`` -> progress strip; ``OpeningMessages.set(side, message)`` -> message bar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QObject

from sdgui.widgets.formats import capitalize
from sdgui.widgets.message import Message, Remedy
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.progress_strip import ProgressStrip

COMPARISON = 2  # in place of a side: why the two sides cannot be compared
_BY_SEVERITY = ("error", "warning", "info")


@dataclass
class _Job:
    text: str
    cancel: Callable[[], None]
    completed: int = 0
    total: int = 0


class Jobs(QObject):
    """The running jobs by name; the strip shows the oldest, and its button cancels this job."""

    def __init__(self, strip: ProgressStrip, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._strip = strip
        self._jobs: dict[str, _Job] = {}
        self._shown_job = ""
        strip.cancelled.connect(self._cancel)

    def advance(self, name: str, text: str, completed: int, total: int, cancel: Callable[[], None]) -> None:
        """Start the job ``name``, or update its progress."""
        text = capitalize(text)
        job = self._jobs.setdefault(name, _Job(text, cancel))
        job.text, job.completed, job.total = text, completed, total
        self._show()

    def end(self, name: str) -> None:
        """Remove a job that succeeded or failed; an unknown name is ignored."""
        if self._jobs.pop(name, None) is not None:
            self._show()

    def _show(self) -> None:
        name = next(iter(self._jobs), "")
        if not name:
            self._shown_job = ""
            self._strip.finish()
            return
        job = self._jobs[name]
        if name != self._shown_job:
            self._strip.start(job.text, job.total)
            self._shown_job = name
        self._strip.advance(job.completed, job.total, job.text)

    def _cancel(self) -> None:
        if self._shown_job in self._jobs:
            self._jobs[self._shown_job].cancel()


class OpeningMessages:
    """The message of each side and of their comparison, shown as one. ``name`` returns a side's title."""

    def __init__(self, bar: MessageBar, name: Callable[[int], str]) -> None:
        self._bar, self._name = bar, name
        self._messages: list[Message | None] = [None, None, None]
        self._shown_message: Message | None = None

    def set(self, side: int, message: Message | None) -> None:
        """Set a side's message; None once it no longer applies."""
        if message == self._messages[side]:
            return
        self._messages[side] = message
        is_shown = self._shown_message is not None and self._bar.message is self._shown_message
        if message is None and not is_shown:
            return  # do not show a closed or replaced message again
        if titled := self._titled_messages():
            self._show(titled)
        else:
            self._bar.clear()

    def forget(self, side: int) -> None:
        """Clear the messages of a side that is reopening or was closed."""
        self.set(side, None)
        self.set(COMPARISON, None)

    def _show(self, titled: Sequence[tuple[str, Message]]) -> None:
        self._shown_message = self._join(titled)
        self._bar.show_message(self._shown_message)

    def _join(self, titled: Sequence[tuple[str, Message]]) -> Message:
        """Merge both sides' messages: both texts, the more severe level, one button."""
        if len(titled) == 1:
            return titled[0][1]
        texts = list(dict.fromkeys(message.text for _, message in titled))
        text = (
            texts[0]
            if len(texts) == 1
            else " ".join(f"{name}: {message.text}" if name else message.text for name, message in titled)
        )
        details = "\n\n".join(dict.fromkeys(message.details for _, message in titled if message.details))
        ordered = sorted((message for _, message in titled), key=lambda message: _BY_SEVERITY.index(message.level))
        label = next((message.remedy.label for message in ordered if message.remedy is not None), "")
        return Message(ordered[0].level, text, details, Remedy(label, lambda: self._press(label)) if label else None)

    def _press(self, label: str) -> None:
        """Run the remedies of both sides that have this label; messages with other remedies are kept."""
        titled = self._titled_messages()
        for _, message in titled:
            if message.remedy is not None and message.remedy.label == label:
                message.remedy.do()
        remaining = [
            (name, message) for name, message in titled if message.remedy is None or message.remedy.label != label
        ]
        if remaining and self._bar.message is None:
            self._show(remaining)

    def _titled_messages(self) -> list[tuple[str, Message]]:
        return [
            ("" if side == COMPARISON else self._name(side), message)
            for side, message in enumerate(self._messages)
            if message is not None
        ]
