"""The persistence of captions: a failure of the database loses nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QCoreApplication, Qt
from pytestqt.qtbot import QtBot

from sdgui.panels.caption import persistence as caption_persistence
from sdgui.panels.caption.list.rows import CAPTION
from sdgui.panels.caption.model import HAND_WRITTEN, Entry
from sdgui.panels.caption.panel import CaptionsPanel
from sdgui.panels.caption.persistence import CaptionPersistence
from sdgui.shared.pickers.entries import ModelChoice, remember
from sdgui.store.captions import StoredCaption
from sdgui.store.records import StoreError
from sdgui.store.store import Store
from tests.sdgui.panels.caption.conftest import MODEL, OpenPanel, drop, images, texts
from tests.sdgui.signal_receivers import receivers


def test_failed_writes_are_retried_and_newer_text_wins(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caption_persistence, "_RETRY_MS", 200)
    store = Store.open(tmp_path)
    persistence = CaptionPersistence(store)
    write, refused = store.save_captions, list[int]()

    def no_room(entries: Any, origins: Any) -> None:
        if len(refused) < 2:
            refused.append(len(entries))
            raise StoreError("The disk is full.")
        write(entries, origins)

    monkeypatch.setattr(store, "save_captions", no_room)
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


def test_an_unreadable_list_is_read_again_from_where_it_stopped(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caption_persistence, "_RETRY_MS", 100)
    monkeypatch.setattr(caption_persistence, "_ENTRIES_PER_READ", 2)
    store = Store.open(tmp_path)
    store.save_captions([StoredCaption(f"/{number}.png", number) for number in range(4)], {"k": {"model": "m"}})
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


def test_the_last_edit_is_written_when_the_application_ends(qtbot: QtBot, tmp_path: Path) -> None:
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


def test_long_lists_are_written_in_batches_and_survive_closing_in_between(
    open_panel: OpenPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_panel()
    store, parts = panel._services.store, list[int]()
    write = store.save_captions

    def count_and_write(entries: Sequence[StoredCaption], origins: Mapping[str, Mapping[str, Any]]) -> None:
        parts.append(len(entries))
        write(entries, origins)

    monkeypatch.setattr(store, "save_captions", count_and_write)
    panel.add_paths([f"/images/{number}.png" for number in range(1000)])
    before = panel.model.entries()
    again = open_panel()  # closes the first while it writes
    assert max(parts) <= 120
    assert sum(parts) == 1000
    assert again.model.entries() == before


def test_edits_are_saved_when_the_panel_is_left(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    drop(qtbot, panel, images(tmp_path, "a.png"))
    panel.persistence.flush()
    panel.edits.write({panel.model.entry_at(0).path: ("a red kite", HAND_WRITTEN)}, "Edit")
    panel.on_leave()
    assert not panel.persistence._timer.isActive(), "a window that is killed now loses nothing"
    panel.persistence.close()
    entries, _ = panel._services.store.captions()
    assert [entry.text for entry in entries] == ["a red kite"]


def test_an_unreadable_list_is_reported_and_accepts_drops_once_readable(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(qtbot, panel, images(tmp_path, "a.png"))
    panel.persistence.close()
    services, held = panel._services, [True]
    read = services.store.captions

    def captions(*where: Any) -> Any:
        if held[0]:
            raise StoreError("Another program holds the database.")
        return read(*where)

    monkeypatch.setattr(services.store, "captions", captions)
    monkeypatch.setattr(caption_persistence, "_RETRY_MS", 100)
    again = CaptionsPanel(services)
    qtbot.addWidget(again)
    again.show()
    again.on_enter()
    qtbot.waitUntil(lambda: "Another program holds the database." in again.view.bar.text)
    again.view.bar.clear()
    again.add_paths(images(tmp_path, "b.png"))
    assert again.view.bar.text.endswith("is retried automatically. 1 new image is added afterwards.")
    held[0] = False
    again.view.bar.press_remedy()
    qtbot.waitUntil(lambda: len(again.model) == 2 and not again.work.busy)
    assert [entry.name for entry in again.model.entries()] == ["a.png", "b.png"]
    again.persistence.close()
    again.view.list.close_threads()
    again.view.target.close_threads()


def test_the_list_survives_an_unclean_exit(
    qtbot: QtBot, panel: CaptionsPanel, open_panel: OpenPanel, tmp_path: Path
) -> None:
    drop(qtbot, panel, images(tmp_path / "p", "a.png", "bad.png", "c.png", "d.png"))
    panel.edits.set_typed_text(panel.model.entry_at(0).path, "mine\n 🦊")
    panel.view.list.choose(panel.model.entry_at(3).path)
    panel.edits.remove()
    before, origins = panel.model.entries(), dict(panel._origins)
    panel.view.list.choose(panel.model.entry_at(2).path)
    made_by = panel.view.detail.provenance.text()
    store = panel._services.store  # as a window that is killed leaves it: nothing is said to the place
    qtbot.waitUntil(lambda: [kept.text for kept in store.captions()[0]] == [entry.text for entry in before])
    again = open_panel()
    qtbot.waitUntil(lambda: len(again.model) == 3)
    assert again.model.entries() == before
    assert again._origins == origins
    again.view.list.choose(again.model.entry_at(2).path)
    assert again.view.detail.provenance.text() == made_by != ""
    assert again.view.tools.pickers["a"].choice() is not None, "the model is remembered"
    drop(qtbot, again, images(tmp_path / "q", "e.png"))
    qtbot.waitUntil(lambda: texts(again)[-1] == "a e indeed")


def test_unusable_settings_show_the_reason_and_usable_ones_and_the_model_are_restored(
    panel: CaptionsPanel, open_panel: OpenPanel
) -> None:
    sheet = panel.view.settings
    sheet.rows["captions"].set_text("9")
    sheet.rows["captions"].edited.emit("captions")
    assert "raise beams to 9" in sheet.rows["captions"].error
    assert sheet.settings.captions == 3
    sheet.rows["search"].set_text("sample")
    sheet.rows["search"].edited.emit("search")
    assert not any(row.error for row in sheet.rows.values())
    assert (sheet.settings.search, sheet.settings.captions) == ("sample", 9)
    assert sheet.rows["beams"].isHidden()
    assert not sheet.rows["temperature"].isHidden()
    assert not sheet.rows["seed"].isHidden()
    sheet.rows["top_p"].set_text("1.5")
    sheet.rows["top_p"].edited.emit("top_p")
    assert sheet.rows["top_p"].error
    assert panel.view.tools.settings_button.text() == "sample, seed 0 · 9 captions"
    panel.on_leave()
    remember(
        panel._services.settings, ModelChoice("open_clip:coca_ViT-L-14,laion2b_s13b_b90k", "", "used elsewhere since")
    )
    again = open_panel()
    assert again.view.settings.settings.captions == 9
    found = again.view.tools.pickers["a"].choice()
    assert found is not None
    assert found.model == MODEL.model


@pytest.mark.ci
def test_ten_thousand_images_read_only_visible_thumbnails(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    panel.view.tools.pickers["a"]._entry = None  # nothing captions them
    panel.add_paths([f"/nowhere/{number}.png" for number in range(10_000)])
    panel.view.list.thumbnails.close()
    asked: list[Path] = []
    panel.view.list.thumbnails.get = lambda path: asked.append(path)  # type: ignore[method-assign]
    panel.view.list.scrollToBottom()
    panel.view.list.viewport().repaint()
    assert Path("/nowhere/9999.png") in asked
    assert len(set(asked)) < 40
    assert panel.model.index(9_999, CAPTION).data(Qt.ItemDataRole.AccessibleTextRole) == "9999.png: without a caption"
