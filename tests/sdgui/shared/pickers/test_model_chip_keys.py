"""The model chip asked by program and by keys: what is known of the choice, and what opens, renews and refuses it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from sdgui.runs.models import included_models
from sdgui.shared.pickers import entries
from sdgui.shared.pickers.entries import (
    ModelChoice,
    Needs,
    choice_entry,
    pretrained_entries,
)
from sdgui.shared.pickers.model_chip import ModelChip
from sdgui.shared.pickers.pretrained import Pretrained
from sdgui.shared.services import Services
from sdgui.store.records import StoreError
from tests.sdgui.shared.pickers.test_model_chip import chip, run_of, save, services

__all__ = ["chip", "services"]  # fixtures


def known(chip: ModelChip) -> tuple[tuple[str, ...], int, tuple[int, ...]]:
    return chip.networks(), chip.step(), chip.steps()


def test_the_newest_usable_run_is_selected_by_default(qtbot: QtBot, services: Services, chip: ModelChip) -> None:
    runs = [run_of(services, name) for name in ("old", "new", "without")]
    for run in runs[:2]:
        save(run.dir, 10)
    chip.choose_default()
    qtbot.waitUntil(lambda: chip.choice() is not None)
    assert chip.short_title() == "new · run 1 · student · best"
    assert chip.choose_run(runs[0].id)
    chip.choose_default()
    chip._tasks.wait()
    QApplication.processEvents()
    assert chip.short_title() == "old · run 1 · student · best"


def test_without_the_store_an_included_model_is_selected(
    qtbot: QtBot, services: Services, chip: ModelChip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked() -> None:
        raise StoreError("The database is locked.")

    monkeypatch.setattr(services.store, "runs", locked)
    chip.choose_default()
    qtbot.waitUntil(lambda: chip.choice() is not None)
    choice = chip.choice()
    assert choice is not None
    assert choice.model == str(included_models()[0])


def test_keys_open_the_list_and_shortcuts_do_not(qtbot: QtBot, chip: ModelChip) -> None:
    for key, typed in (
        (Qt.Key.Key_Down, ""), (Qt.Key.Key_Return, ""), (Qt.Key.Key_Enter, ""), (Qt.Key.Key_Space, ""),
        (Qt.Key.Key_V, "v"), (Qt.Key.Key_7, "7"),
    ):  # fmt: skip
        qtbot.keyClick(chip, key)
        assert (chip.popover.isVisible(), chip.popover.line.text()) == (True, typed)
        chip.popover.hide()
    qtbot.keyClick(chip, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClick(chip, Qt.Key.Key_F5)
    assert not chip.popover.isVisible()
    chip._tasks.wait()


def test_missing_and_unreachable_models_are_not_selectable(
    services: Services, chip: ModelChip, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(services)
    save(run.dir, 10)
    refused = list[str]()
    chip.refused.connect(refused.append)
    assert not chip.choose_run(99)
    assert not chip.restore(), "nothing was used yet"

    def gone(*_: object) -> None:
        raise StoreError("It is out of reach.")

    with monkeypatch.context() as patch:
        patch.setattr(services.store, "run", gone)
        assert not chip.choose_run(run.id)
    services.store.delete_run(run.id)
    assert not chip.choose_run(run.id), "it is in the bin"
    assert refused == ["Run 99 does not exist: it was deleted.", "It is out of reach.", "This run was deleted."]
    assert chip.choice() is None


@pytest.mark.parametrize(
    ("needs", "first"), [("search", ["here", "known", "unknown"]), ("caption", ["known", "tuned"])]
)
def test_pretrained_weights_show_abilities_and_download_size(
    monkeypatch: pytest.MonkeyPatch, needs: Needs, first: list[str]
) -> None:
    """Those that fit come first, in the order given."""
    listed = [
        Pretrained("ViT", "here", False, True, 605_000_000),
        Pretrained("coca_ViT", "known", True, False, 4_040_000_000),
        Pretrained("ViT", "unknown", False, False, 0),
        Pretrained("coca_ViT", "tuned", True, True, 400_000),
    ]
    monkeypatch.setattr(Pretrained, "only_captions", property(lambda weights: weights.tag == "tuned"))
    monkeypatch.setattr(entries, "pretrained_models", lambda: listed)
    by_tag = {entry.name.partition(",")[2]: entry for entry in pretrained_entries(needs)}
    assert list(by_tag)[: len(first)] == first
    assert [by_tag[tag].about for tag in ("here", "known", "unknown", "tuned")] == [
        "downloaded \u00b7 605 MB \u00b7 search, classify",
        "downloads about 4.0 GB \u00b7 search, classify, caption",
        "not downloaded \u00b7 search, classify",
        "downloaded \u00b7 1 MB \u00b7 Captioning model; poor for search",
    ]
    reasons = {tag: entry.reason for tag, entry in by_tag.items() if entry.reason}
    why = "This model cannot caption: its architecture is not CoCa."
    assert reasons == ({} if needs == "search" else {"here": why, "unknown": why})
    assert by_tag["known"].title == "coca_ViT \u00b7 known"


def test_a_folder_with_an_at_sign_in_its_name_is_found_again(services: Services, tmp_path: Path) -> None:
    folder = tmp_path / "me@home"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text("{}")
    choice = ModelChoice(str(folder), "", "mine")
    entry = choice_entry(choice, "search")
    assert (entry.kind, entry.name, entry.reason) == ("folder", str(folder), "")
    run = run_of(services)
    save(run.dir, 10)
    moved = run.folder.rename(tmp_path / "run@2")
    entry = choice_entry(ModelChoice(f"{moved}@10", "student", "run"), "search")
    assert (entry.kind, entry.name, entry.reason) == ("run", str(moved), "")
