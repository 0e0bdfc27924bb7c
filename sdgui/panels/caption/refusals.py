"""One message about dropped files that were not added and images that could not be captioned.

Flow: drop target and ``CaptionsWork`` -> ``CaptionsRefusals`` -> message bar; "Show these images" filters the list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QObject

from sdgui.widgets.drop_target import DropTarget
from sdgui.widgets.dropped_files import Refusal, not_added_text, refusal_lines
from sdgui.widgets.formats import count_with_unit
from sdgui.widgets.message import Message, Remedy, ShowMessage, warning
from sdgui.widgets.message_bar import MessageBar


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
        self._refused_files: list[Refusal] = []
        self._not_added: list[Refusal] = []
        self._uncaptioned_count = 0
        self._message: Message | None = None
        target.refused.connect(self._collect)
        target.finished.connect(self._on_drop_checked)

    def report_uncaptioned(self, number: int) -> None:
        """Report the number of images that could not be captioned."""
        self._reset_if_closed()
        self._uncaptioned_count = number
        self._show_refusals()

    def _collect(self, refusals: Sequence[Refusal]) -> None:
        self._refused_files += refusals
        if not self._target.busy:
            self._on_drop_checked()

    def _on_drop_checked(self) -> None:
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
        text, remedy = not_added_text(self._not_added), None
        if self._uncaptioned_count:
            text = f"{text} {count_with_unit(self._uncaptioned_count, 'image')} could not be captioned.".lstrip()
            remedy = Remedy("Show these images", self._show)
        self._message = warning(text, refusal_lines(self._not_added), remedy)
        self._show_message(self._message)
