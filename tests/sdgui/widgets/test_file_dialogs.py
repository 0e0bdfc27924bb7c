"""What a dialog's answer means: no file, a file with its suffix, one that may be replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QFileDialog

from sdgui.widgets.file_dialogs import ask_folder, ask_open, ask_open_several, ask_save


@pytest.mark.parametrize(("typed", "confirmed"), [("mine.csv", True), ("MINE.CSV", True), ("mine", False)])
def test_a_file_is_overwritten_only_after_confirming_its_exact_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, confirmed: bool
) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / typed), ""))
    file = ask_save(None, "Save", tmp_path, "*.csv", ".csv")
    assert file is not None
    assert (file.path.name.lower(), file.confirmed, file.replaces) == ("mine.csv", confirmed, False)
    file.path.touch()
    assert file.replaces is confirmed
    assert bool(file.problem) is not confirmed
    other = ask_save(None, "Save", tmp_path, "*.csv", ".json", typed_suffixes=(".csv", ".json"))
    assert other is not None
    assert other.path.name.lower() == ("mine.csv" if confirmed else "mine.json")


def test_a_cancelled_dialog_returns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("getSaveFileName", "getOpenFileName"):
        monkeypatch.setattr(QFileDialog, name, lambda *_: ("", ""))
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: ([], ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    assert [ask_save(None, "x", "", ""), ask_open(None, "x"), ask_folder(None, "x")] == [None] * 3
    assert ask_open_several(None, "x") == []
