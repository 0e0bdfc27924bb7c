"""The command that makes README's pictures: a scene for every panel, small files of the right size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from core.spec.children import environment
from sdgui.panels.registry import PANELS
from sdgui.screenshots.__main__ import SIZE, save_picture
from sdgui.screenshots.home import ARMS, study_of
from sdgui.screenshots.scenes import SCENES

ROOT = Path(__file__).parents[3]


def test_every_panel_has_a_scene() -> None:
    assert list(SCENES) == [panel.name for panel in PANELS]


def test_the_study_trains_each_arm_with_each_seed() -> None:
    study = study_of(steps=20, seeds=2, size="tiny")
    assert [arm.name for arm in study.arms] == list(ARMS)
    assert (study.seeds, study.steps, study.train) == ([0, 1], 20, "noisy")


def test_a_picture_is_what_the_widget_shows(qtbot: QtBot, tmp_path: Path) -> None:
    widget = QWidget()
    qtbot.addWidget(widget)
    widget.resize(300, 200)
    widget.setStyleSheet("background: #336699")
    save_picture(widget, tmp_path / "new" / "a.png")
    with Image.open(tmp_path / "new" / "a.png") as shown:
        assert (shown.size, shown.mode) == ((300, 200), "P")
        assert shown.convert("RGB").getpixel((150, 100)) == (0x33, 0x66, 0x99)


@pytest.mark.slow
def test_the_command_makes_every_picture(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sdgui.screenshots", str(tmp_path / "out"), "--steps", "2", "--seeds", "1"]
    command += ["--size", "tiny"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=1800)
    assert done.returncode == 0, done.stderr[-2000:]
    pictures = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in pictures] == sorted(f"{name}{end}.png" for name in SCENES for end in ("", "-dark"))
    for path in pictures:
        with Image.open(path) as shown:
            assert shown.size == SIZE
            assert len(shown.convert("RGB").getcolors(1 << 20) or []) > 30
