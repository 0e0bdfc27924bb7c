"""The sizes of a splitter, remembered from one start to the next."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QSettings
from PySide6.QtWidgets import QSplitter


def remember_sizes(split: QSplitter, settings: QSettings, key: str) -> bool:
    """Restore the sizes under ``key``, and store them when the user moves a handle.

    Returns whether there were stored sizes. Sizes are not stored while an additional part, added later, is present.
    """
    count = split.count()
    state = settings.value(key)
    is_restored = isinstance(state, QByteArray) and split.restoreState(state)  # not if it is damaged

    def store(_position: int, _handle: int) -> None:
        if split.count() == count:
            settings.setValue(key, split.saveState())

    split.splitterMoved.connect(store)
    return is_restored
