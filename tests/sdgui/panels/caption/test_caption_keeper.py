"""The keeper of captions: a failure of the database loses nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from sdgui.panels.caption import keeper as captions_keeper
from sdgui.panels.caption.keeper import CaptionsKeeper
from sdgui.panels.caption.model import Entry, entry_of
from sdgui.store.captions import KeptCaption
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
            raise StoreError("The disk is full.")
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


def test_a_list_that_could_not_be_read_is_read_again_from_where_it_stopped(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captions_keeper, "_AGAIN_MS", 100)
    monkeypatch.setattr(captions_keeper, "_PART", 2)
    store = Store.open(tmp_path)
    store.keep_captions([KeptCaption(f"/{number}.png", number) for number in range(4)], {"k": {"model": "m"}})
    read, asked = store.captions, list[tuple[int, int]]()

    def busy(after: tuple[int, int] = (-1, -1), limit: int = 500) -> Any:
        asked.append(after)
        if len(asked) in (2, 3):
            raise StoreError("Another program holds the database.")
        return read(after, limit)

    monkeypatch.setattr(store, "captions", busy)
    keeper = CaptionsKeeper(store)
    restored, ready, unreadable = list[str](), list[object](), list[str]()
    keeper.restored.connect(lambda entries: restored.extend(entry.path for entry in entries))
    keeper.ready.connect(ready.append)
    keeper.unreadable.connect(unreadable.append)
    keeper.restore()
    qtbot.waitUntil(lambda: bool(ready))
    assert ready == [{"k": {"model": "m"}}]
    assert restored == ["/0.png", "/1.png", "/2.png", "/3.png"], "each once: what was edited meanwhile stays"
    assert unreadable == ["Another program holds the database."] * 2
    keeper.close()
    store.close()


@pytest.mark.parametrize("made", [{"a": {"captions": 5}}, {"a": {"captions": [[1, "x", True], 2]}}, {"a": {}}])
def test_what_cannot_be_read_of_an_entry_is_left_out(made: dict[str, Any]) -> None:
    entry = entry_of(KeptCaption("/a.png", 0, made=made))
    assert all(one.log_prob is None and one.score is None for one in entry.made["a"].candidates)
