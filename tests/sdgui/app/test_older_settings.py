"""Settings of an older window are read under the panels' present names."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QSettings

from sdgui.app.older_settings import take_over


def test_settings_of_renamed_panels_are_kept(tmp_path: Path) -> None:
    settings = QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat)
    for key, value in {
        "watch/split": "a",
        "noise/below": "true",
        "clean/below": "false",
        "window/place": "noise",
    }.items():
        settings.setValue(key, value)
    take_over(settings)
    assert {key: settings.value(key) for key in settings.allKeys()} == {
        "runs/split": "a",
        "clean/below": "false",  # of this version: not replaced by an older one's
        "window/place": "clean",
    }
