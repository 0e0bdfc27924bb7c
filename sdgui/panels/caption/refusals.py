"""Files refused from a drop, and pictures that could not be captioned: one message, so that neither hides the other.

Flow: drop target and ``CaptionsWork`` -> here -> message bar; "Show them" filters the list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QObject

from sdgui.widgets.drop_target import DropTarget
from sdgui.widgets.formats import count
from sdgui.widgets.message import Message, Remedy, ShowMessage, warning
from sdgui.widgets.message_bar import MessageBar

_LISTED = 50
_Refused = tuple[str, str]  # what, why


class CaptionsRefusals(QObject):
    """``show`` filters the list to the pictures that could not be captioned."""

    def __init__(
        self,
        target: DropTarget,
        bar: MessageBar,
        show_message: ShowMessage,
        show: Callable[[], object],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._target, self._bar, self._show_message, self._show = target, bar, show_message, show
        self._gathered: list[_Refused] = []
        self._not_taken: list[_Refused] = []
        self._not_captioned = 0
        self._shown: Message | None = None
        target.refused.connect(self._gather)
        target.finished.connect(self._drop_checked)

    def not_captioned(self, number: int) -> None:
        """Report the number of pictures that could not be captioned."""
        self._begin()
        self._not_captioned = number
        self._show_refusals()

    def _gather(self, refused: Sequence[_Refused]) -> None:
        self._gathered += refused
        if not self._target.busy:
            self._drop_checked()

    def _drop_checked(self) -> None:
        """All dropped files have been checked."""
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._begin()
            self._not_taken = gathered
            self._show_refusals()

    def _begin(self) -> None:
        """Start a new message if the last one is no longer shown."""
        if self._shown is None or self._bar.message is not self._shown:
            self._not_taken, self._not_captioned = [], 0

    def _show_refusals(self) -> None:
        parts = [text for text in (not_taken_text(self._not_taken), refused_text(self._not_captioned)) if text]
        details = "\n".join(f"{what}: {why}" for what, why in self._not_taken[:_LISTED])
        remedy = Remedy("Show them", self._show) if self._not_captioned else None
        self._shown = warning(" ".join(parts), details, remedy)
        self._show_message(self._shown)


def not_taken_text(refused: Sequence[_Refused]) -> str:
    """``Not added: words.doc: it is not a picture. And 2 more.``; "" if everything was added."""
    if not refused:
        return ""
    (what, why), more = refused[0], len(refused) - 1
    return f"Not added: {what}: {why}." + (f" And {count(more)} more." if more else "")


def refused_text(refused: int) -> str:
    """``3 pictures could not be captioned.``; "" if all could."""
    if not refused:
        return ""
    return f"{'1 picture' if refused == 1 else f'{count(refused)} pictures'} could not be captioned."
