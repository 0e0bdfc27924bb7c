"""The persistence of captions: a failure of the database loses nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QCoreApplication
from pytestqt.qtbot import QtBot

from sdgui.panels.caption import persistence as caption_persistence
from sdgui.panels.caption.model import Entry, entry_of
from sdgui.panels.caption.persistence import CaptionPersistence
from sdgui.store.captions import KeptCaption
from sdgui.store.records import StoreError
from sdgui.store.store import Store
from tests.sdgui.signal_receivers import receivers


def test_what_could_not_be_written_is_written_later_and_what_is_newer_stands(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caption_persistence, "_AGAIN_MS", 200)
    store = Store.open(tmp_path)
    persistence = CaptionPersistence(store)
    write, refused = store.keep_captions, list[int]()

    def no_room(entries: Any, origins: Any) -> None:
        if len(refused) < 2:
            refused.append(len(entries))
            raise StoreError("The disk is full.")
        write(entries, origins)

    monkeypatch.setattr(store, "keep_captions", no_room)
    persistence.keep([Entry("/a.png", 0, text="old"), Entry("/b.png", 1, text="typed"), Entry("/c.png", 2)])
    persistence.keep_origin("k", {"model": "m"})
    persistence.flush()
    persistence.keep([Entry("/a.png", 0, text="new")])
    persistence.forget(["/c.png"])
    persistence.flush()  # before the failure of the first was told
    qtbot.waitUntil(
        lambda: (
            [(caption.path, caption.text) for caption in store.captions()[0]]
            == [("/a.png", "new"), ("/b.png", "typed")]
        )
    )
    assert len(refused) == 2
    assert store.caption_origins() == {"k": {"model": "m"}}
    persistence.close()
    store.close()


def test_a_list_that_could_not_be_read_is_read_again_from_where_it_stopped(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caption_persistence, "_AGAIN_MS", 100)
    monkeypatch.setattr(caption_persistence, "_PART", 2)
    store = Store.open(tmp_path)
    store.keep_captions([KeptCaption(f"/{number}.png", number) for number in range(4)], {"k": {"model": "m"}})
    read, asked = store.captions, list[tuple[int, int]]()

    def busy(after: tuple[int, int] = (-1, -1), limit: int = 500) -> Any:
        asked.append(after)
        if len(asked) in (2, 3):
            raise StoreError("Another program holds the database.")
        return read(after, limit)

    monkeypatch.setattr(store, "captions", busy)
    persistence = CaptionPersistence(store)
    restored, ready, unreadable = list[str](), list[object](), list[str]()
    persistence.restored.connect(lambda entries: restored.extend(entry.path for entry in entries))
    persistence.ready.connect(ready.append)
    persistence.unreadable.connect(unreadable.append)
    persistence.restore()
    qtbot.waitUntil(lambda: bool(ready))
    assert ready == [{"k": {"model": "m"}}]
    assert restored == ["/0.png", "/1.png", "/2.png", "/3.png"], "each once: what was edited meanwhile stays"
    assert unreadable == ["Another program holds the database."] * 2
    persistence.close()
    store.close()


@pytest.mark.parametrize("made", [{"a": {"captions": 5}}, {"a": {"captions": [[1, "x", True], 2]}}, {"a": {}}])
def test_what_cannot_be_read_of_an_entry_is_left_out(made: dict[str, Any]) -> None:
    entry = entry_of(KeptCaption("/a.png", 0, made=made))
    assert all(candidate.log_prob is None and candidate.score is None for candidate in entry.captions["a"].candidates)


def test_what_is_typed_last_is_written_when_the_application_ends(qtbot: QtBot, tmp_path: Path) -> None:
    app, store = QCoreApplication.instance(), Store.open(tmp_path)
    assert app is not None
    before = receivers(app, "aboutToQuit")
    persistence = CaptionPersistence(store)
    assert receivers(app, "aboutToQuit") == before + 2, "its own, and that of its thread"
    persistence.keep([Entry("/a.png", 0, text="typed")])
    persistence.close()
    assert [caption.text for caption in store.captions()[0]] == ["typed"], "close waits until it is written"
    app.aboutToQuit.disconnect(persistence.close)
    store.close()


def test_a_failure_that_nobody_foresaw_is_told_and_tried_again(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, told = Store.open(tmp_path), list[str]()
    persistence = CaptionPersistence(store)
    persistence.failed.connect(told.append)

    def broken(*_: Any) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(store, "forget_captions", broken)
    persistence.forget(["/a.png"])
    assert persistence._timer.isActive(), "changes are gathered"
    persistence.flush()
    assert not persistence._timer.isActive()
    qtbot.waitUntil(lambda: told == ["RuntimeError: out of order"])
    assert persistence._timer.isActive()
    assert persistence._timer.interval() == caption_persistence._AGAIN_MS
    monkeypatch.undo()
    persistence.close()
    store.close()
