"""Recent and saved searches, saved in the settings.

Flow: query bar -> ``SearchHistory`` -> settings. Unreadable settings give an empty history, not an error.
"""

from __future__ import annotations

import json

from PySide6.QtCore import QSettings

from sdgui.panels.search.model import Query
from sdgui.shared.stored_json import parse_stored

_RECENT, _SAVED = "search/recent", "search/saved"
_MAX_RECENT = 100


class SearchHistory:
    """The searches. ``recent``: newest first; ``saved``: in the order of saving. Queries are compared by their JSON.

    They are read again before each change, since another window may have changed them.
    """

    def __init__(self, settings: QSettings) -> None:
        self._settings = settings
        self.recent = self._read(_RECENT)
        self.saved = self._read(_SAVED)

    def remember(self, query: Query) -> None:
        """Add ``query`` at the top of the recent searches, unless it is empty or a caption of the evaluation."""
        if query.caption < 0 and (stored := _without_rows(query)) is not None:
            self.recent = [stored, *(past for past in self._read(_RECENT) if past != stored)][:_MAX_RECENT]
            self._write(_RECENT, self.recent)

    def is_saved(self, query: Query) -> bool:
        return _without_rows(query) in self.saved

    def save(self, query: Query) -> None:
        """Add ``query`` to the saved searches."""
        self.forget(query)
        if (stored := _without_rows(query)) is not None:
            self.saved.append(stored)
            self._write(_SAVED, self.saved)

    def forget(self, query: Query) -> None:
        """Remove a saved search."""
        stored = _without_rows(query)
        self.saved = [past for past in self._read(_SAVED) if past != stored]
        self._write(_SAVED, self.saved)

    def clear_recent(self) -> None:
        self.recent = []
        self._write(_RECENT, [])

    def _read(self, name: str) -> list[Query]:
        self._settings.sync()
        queries = [Query.from_json(entry) for entry in parse_stored(self._settings.value(name), list)]
        return [query for query in queries if query is not None]

    def _write(self, name: str, queries: list[Query]) -> None:
        self._settings.setValue(name, json.dumps([query.to_json() for query in queries]))


def _without_rows(query: Query) -> Query | None:
    """The query as it is stored; None if it is empty."""
    return Query.from_json(query.to_json())
