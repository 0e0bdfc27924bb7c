"""Recent and saved searches, kept between starts.

Flow: query bar -> ``SearchHistory`` -> settings. Unreadable settings are an empty history, never an error.
"""

from __future__ import annotations

import json

from PySide6.QtCore import QSettings

from sdgui.panels.search.model import Query

_RECENT, _SAVED = "search/recent", "search/saved"
_REMEMBERED = 100


class SearchHistory:
    """``recent`` newest first; ``saved`` in the order of saving. A query is identified by its JSON."""

    def __init__(self, settings: QSettings) -> None:
        self._settings = settings
        self.recent = self._read(_RECENT)
        self.saved = self._read(_SAVED)

    def remember(self, query: Query) -> None:
        """Put it first among the recent searches; an empty query is not recorded."""
        if query.caption >= 0 or (kept := Query.from_json(query.to_json())) is None:
            return
        self.recent = [kept, *(one for one in self.recent if one != kept)][:_REMEMBERED]
        self._write(_RECENT, self.recent)

    def is_saved(self, query: Query) -> bool:
        return Query.from_json(query.to_json()) in self.saved

    def save(self, query: Query) -> None:
        """Save it until ``forget``."""
        kept = Query.from_json(query.to_json())
        if kept is not None and kept not in self.saved:
            self.saved.append(kept)
            self._write(_SAVED, self.saved)

    def forget(self, query: Query) -> None:
        """Remove a saved search."""
        kept = Query.from_json(query.to_json())
        self.saved = [one for one in self.saved if one != kept]
        self._write(_SAVED, self.saved)

    def clear_recent(self) -> None:
        self.recent = []
        self._write(_RECENT, [])

    def _read(self, name: str) -> list[Query]:
        try:
            raw = json.loads(str(self._settings.value(name) or "[]"))
        except (ValueError, RecursionError):
            return []
        found = [Query.from_json(one) for one in raw] if isinstance(raw, list) else []
        return [query for query in found if query is not None]

    def _write(self, name: str, queries: list[Query]) -> None:
        self._settings.setValue(name, json.dumps([query.to_json() for query in queries]))
