"""Errors and warnings of opening Search's two models: one side's message stays whatever the other side does.

Flow: ``SearchPanel`` -> ``set(side, message)`` -> message bar; both sides' messages are shown as one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sdgui.widgets.message import Message, Remedy
from sdgui.widgets.message_bar import MessageBar

_BY_WEIGHT = ("error", "warning", "info")


class OpeningMessages:
    """``name`` returns the title of a side."""

    def __init__(self, bar: MessageBar, name: Callable[[int], str]) -> None:
        self._bar, self._name = bar, name
        self._of: list[Message | None] = [None, None]
        self._shown: Message | None = None

    def set(self, side: int, message: Message | None) -> None:
        """Set this side's message; None when it has opened, is being opened again or was closed."""
        if message == self._of[side]:
            return
        self._of[side] = message
        is_shown = self._shown is not None and self._bar.message is self._shown
        if message is None and not is_shown:
            return  # a message that was closed or replaced is not shown again
        if there := self._there():
            self._show(there)
        else:
            self._bar.clear()

    def _show(self, there: Sequence[tuple[str, Message]]) -> None:
        self._shown = self._joined(there)
        self._bar.show_message(self._shown)

    def _joined(self, there: Sequence[tuple[str, Message]]) -> Message:
        """Both sides' messages as one: both texts, the more severe level, one button."""
        if len(there) == 1:
            return there[0][1]
        texts = list(dict.fromkeys(one.text for _, one in there))
        text = texts[0] if len(texts) == 1 else " ".join(f"{name}: {one.text}" for name, one in there)
        details = "\n\n".join(dict.fromkeys(one.details for _, one in there if one.details))
        ordered = sorted((one for _, one in there), key=lambda one: _BY_WEIGHT.index(one.level))
        label = next((one.remedy.label for one in ordered if one.remedy is not None), "")
        return Message(ordered[0].level, text, details, Remedy(label, lambda: self._press(label)) if label else None)

    def _press(self, label: str) -> None:
        """Run both sides' remedies with this label; a message with another remedy stays."""
        there = self._there()
        for _, one in there:
            if one.remedy is not None and one.remedy.label == label:
                one.remedy.do()
        left = [(name, one) for name, one in there if one.remedy is None or one.remedy.label != label]
        if left and self._bar.message is None:
            self._show(left)

    def _there(self) -> list[tuple[str, Message]]:
        return [(self._name(side), one) for side, one in enumerate(self._of) if one is not None]
