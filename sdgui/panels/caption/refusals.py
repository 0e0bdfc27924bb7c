"""One message about dropped files that were not added and images that could not be captioned.

Flow: drop target and ``CaptionsWork`` -> ``CaptionsRefusals`` -> message bar; "Show these images" filters the list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QObject

from sdgui.widgets.drop_target import DropTarget
from sdgui.widgets.formats import count
from sdgui.widgets.message import Message, Remedy, ShowMessage, warning
from sdgui.widgets.message_bar import MessageBar

_MAX_DETAILS = 50
_Refused = tuple[str, str]  # file, reason


class CaptionsRefusals(QObject):
    """Reports refused files and images. ``show`` filters the list to the images that could not be captioned."""

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
        self._refused_files: list[_Refused] = []
        self._not_added: list[_Refused] = []
        self._uncaptioned_count = 0
        self._message: Message | None = None
        target.refused.connect(self._collect)
        target.finished.connect(self._drop_checked)

    def report_uncaptioned(self, number: int) -> None:
        """Report the number of images that could not be captioned."""
        self._reset_if_closed()
        self._uncaptioned_count = number
        self._show_refusals()

    def _collect(self, refusals: Sequence[_Refused]) -> None:
        self._refused_files += refusals
        if not self._target.busy:
            self._drop_checked()

    def _drop_checked(self) -> None:
        """Show the message once all dropped files have been checked."""
        refusals, self._refused_files = self._refused_files, []
        if refusals:
            self._reset_if_closed()
            self._not_added = refusals
            self._show_refusals()

    def _reset_if_closed(self) -> None:
        """Start a new message if the user closed the last one."""
        if self._message is None or self._bar.message is not self._message:
            self._not_added, self._uncaptioned_count = [], 0

    def _show_refusals(self) -> None:
        parts = [text for text in (not_added_text(self._not_added), refused_text(self._uncaptioned_count)) if text]
        details = "\n".join(f"{file}: {reason}" for file, reason in self._not_added[:_MAX_DETAILS])
        remedy = Remedy("Show these images", self._show) if self._uncaptioned_count else None
        self._message = warning(" ".join(parts), details, remedy)
        self._show_message(self._message)


def not_added_text(refusals: Sequence[_Refused]) -> str:
    """``Not added: words.doc: it is not an image. And 2 more.``; "" if everything was added."""
    if not refusals:
        return ""
    (file, reason), remainder = refusals[0], len(refusals) - 1
    return f"Not added: {file}: {reason}." + (f" And {count(remainder)} more." if remainder else "")


def refused_text(refused_count: int) -> str:
    """``3 images could not be captioned.``; "" if all could."""
    if not refused_count:
        return ""
    return f"{'1 image' if refused_count == 1 else f'{count(refused_count)} images'} could not be captioned."
