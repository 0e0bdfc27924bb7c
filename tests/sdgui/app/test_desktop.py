"""The menu entry: written for the user, started by this installation, and taken off again without a trace."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from PySide6.QtGui import QImage

from core.spec.errors import UserError
from sdgui.app import desktop
from sdgui.app.start import main


def test_the_menu_entry_is_written_and_removed(user_folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--install-desktop"]) == 0
    files = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert files == desktop.entry_files(user_folders)
    icon = next(file for file in files if "48x48" in file.parts)
    drawn = QImage(str(icon))
    assert (drawn.width(), drawn.height()) == (48, 48)
    assert drawn.pixelColor(24, 24).alpha() == 255
    assert drawn.pixelColor(0, 0).alpha() == 0
    text = files[0].read_text(encoding="utf-8")
    assert f"Exec={desktop.start_command()} %f\n" in text
    assert main(["--uninstall-desktop"]) == 0
    assert not any(file.exists() for file in files)
    assert main(["--uninstall-desktop"]) == 0
    assert "no menu entry" in capsys.readouterr().err


def test_a_folder_with_odd_characters_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / 'a "b" $c 100%'
    folder.mkdir()
    (folder / "sdgui").touch()
    monkeypatch.setattr(desktop.sys, "executable", str(folder / "python"))
    assert desktop.start_command() == f'"{tmp_path}/a \\\\"b\\\\" \\\\$c 100%%/sdgui"'
    if (validate := shutil.which("desktop-file-validate")) is not None:
        written = desktop.write_entry(tmp_path / "share", desktop.start_command())[0]
        assert subprocess.run([validate, written], check=False).returncode == 0


def test_the_menu_entry_goes_to_the_users_share_folder_and_desktops_are_notified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[str]] = []
    monkeypatch.setattr(
        desktop.shutil, "which", lambda name: f"/usr/bin/{name}" if name != "update-mime-database" else None
    )
    monkeypatch.setattr(desktop.subprocess, "run", lambda command, **_: told.append(command))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    files = desktop.install_desktop()
    assert files == desktop.entry_files(tmp_path / "share")
    assert all(file.stat().st_size > 0 for file in files)
    updates = [
        ["update-desktop-database", str(tmp_path / "share" / "applications")],
        ["gtk-update-icon-cache", str(tmp_path / "share" / "icons" / "hicolor")],
    ]
    assert told == updates, "those that are there"
    files[0].unlink()
    assert desktop.uninstall_desktop() == files[1:]
    assert told == updates * 2
    for given in ("", "relative"):
        monkeypatch.setenv("XDG_DATA_HOME", given)
        assert desktop.user_share() == Path.home() / ".local" / "share"
    for platform in ("win32", "darwin"):
        monkeypatch.setattr(desktop.sys, "platform", platform)
        with pytest.raises(UserError, match="on Linux and BSD only"):
            desktop.user_share()
