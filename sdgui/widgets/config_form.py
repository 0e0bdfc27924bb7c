"""The form of an experiment, generated from ``RunConfig``. (Signatures; being filled in.)"""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from core.config import RunConfig


class ConfigForm(QWidget):
    """``changed``: a field was edited by the user. ``validity_changed(ok)``: ``config()`` became available or not."""

    changed = Signal()
    validity_changed = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)

    def config(self) -> RunConfig | None:
        """The definition in the form; None while any field is wrong or two contradict."""
        raise NotImplementedError

    def set_config(self, config: RunConfig, base: RunConfig | None = None) -> None:
        """Show ``config``; fields that differ from ``base`` (the preset; default: ``config`` itself) are marked."""
        raise NotImplementedError

    def set_read_only(self, read_only: bool) -> None:
        """Show without editing (a launched run's definition)."""
        raise NotImplementedError

    def errors(self) -> dict[str, str]:
        """Dotted field -> sentence, what keeps ``config()`` from being there."""
        raise NotImplementedError

    def changes(self) -> dict[str, tuple[Any, Any]]:
        """Dotted field -> (value of the base, value in the form), of valid fields that differ."""
        raise NotImplementedError

    def draft(self) -> dict[str, str]:
        """Every field's text as typed, right or wrong, to be kept over a restart."""
        raise NotImplementedError

    def set_draft(self, draft: dict[str, str]) -> None:
        """Put back what ``draft`` returned; unknown fields are ignored."""
        raise NotImplementedError

    def set_choices(self, field: str, choices: list[str]) -> None:
        """Suggestions for a text field, e.g. ``towers.architecture`` or recent ``data.train`` paths."""
        raise NotImplementedError

    def focus_field(self, field: str) -> None:
        """Scroll to a field, unfold what hides it, and focus it."""
        raise NotImplementedError

    def focus_search(self) -> None:
        """Put the cursor in the search box."""
        raise NotImplementedError
