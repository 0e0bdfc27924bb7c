"""The keeper of captions: a failure of the database loses nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from sdgui.panels import captions_keeper
from sdgui.panels.captions_entry import Entry
from sdgui.panels.captions_keeper import CaptionsKeeper
from sdgui.store.records import StoreError
from sdgui.store.store import Store


def test_what_could_not_be_written_is_written_later_and_what_is_newer_stands(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captions_keeper, "_AGAIN_MS", 200)
    store = Store.open(tmp_path)
    keeper = CaptionsKeeper(store)
    write, refused = store.keep_captions, list[int]()

    def no_room(entries: Any, origins: Any) -> None:
        if len(refused) < 2:
            refused.append(len(entries))
            raise StoreError("There is no room left on the disk.")
        write(entries, origins)

    monkeypatch.setattr(store, "keep_captions", no_room)
    keeper.keep([Entry("/a.png", 0, text="old"), Entry("/b.png", 1, text="typed"), Entry("/c.png", 2)])
    keeper.keep_origin("k", {"model": "m"})
    keeper.flush()
    keeper.keep([Entry("/a.png", 0, text="new")])
    keeper.forget(["/c.png"])
    keeper.flush()  # before the failure of the first was told
    qtbot.waitUntil(
        lambda: [(one.path, one.text) for one in store.captions()[0]] == [("/a.png", "new"), ("/b.png", "typed")]
    )
    assert len(refused) == 2
    assert store.caption_origins() == {"k": {"model": "m"}}
    keeper.close()
    store.close()
