"""The command that makes README's images: a scene for every panel, small files of the right size, and the check."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFilter
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from core.spec.children import environment
from sdgui.panels.registry import PANELS
from tests.screenshots import __main__ as command
from tests.screenshots.comparing import TOLERANCE, difference
from tests.screenshots.pinned import SIZE
from tests.screenshots.scenes import SCENES

ROOT = Path(__file__).parents[3]
DESCRIBED = Path(__file__).parent / "described"


def test_every_panel_has_a_scene() -> None:
    assert list(SCENES) == [panel.name for panel in PANELS]


def test_the_options_are_explained() -> None:
    told = " ".join(command.make_parser().format_help().split())
    assert f"differs by more than {100 * TOLERANCE:g} % of its area" in told


def test_an_image_shows_the_widget(qtbot: QtBot, tmp_path: Path) -> None:
    widget = QWidget()
    qtbot.addWidget(widget)
    widget.resize(300, 200)
    widget.setStyleSheet("background: #336699")
    command.save_image(widget.grab().toImage(), tmp_path / "new" / "a.png")
    with Image.open(tmp_path / "new" / "a.png") as shown:
        assert (shown.size, shown.mode) == ((300, 200), "P")
        assert shown.convert("RGB").getpixel((150, 100)) == (0x33, 0x66, 0x99)


def _drawn(path: Path, words: str = "Launch", left: int = 900) -> Path:
    """A page of lines with a button, as large as an image of README."""
    image = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(image)
    for line in range(30):
        draw.text((100, 60 + 24 * line), f"line {line}: what a panel says", fill="black", font_size=14)
    draw.rectangle((left, 20, left + 160, 52), fill="#1a66d6")
    draw.text((left + 20, 28), words, fill="white", font_size=14)
    image.save(path)
    return path


def test_moved_content_counts_as_a_difference_and_antialiasing_does_not(tmp_path: Path) -> None:
    old = _drawn(tmp_path / "old.png")
    assert difference(old, _drawn(tmp_path / "same.png")).share == 0.0
    with Image.open(old) as image:
        image.filter(ImageFilter.GaussianBlur(0.4)).save(tmp_path / "softer.png")
    assert difference(old, tmp_path / "softer.png").tolerable
    word = difference(old, _drawn(tmp_path / "word.png", "Start"))
    assert 0.0 < word.share < TOLERANCE
    assert word.where is not None
    left, top, right, bottom = word.where
    assert 900 <= left < right <= 1060
    assert 20 <= top < bottom <= 52
    moved = difference(old, _drawn(tmp_path / "moved.png", left=600))
    assert moved.share > TOLERANCE
    assert not moved.tolerable


def test_a_missing_image_and_one_of_another_size_differ_completely(tmp_path: Path) -> None:
    new = _drawn(tmp_path / "new.png")
    assert difference(tmp_path / "none.png", new).share == 1.0
    Image.new("RGB", (1280, 720)).save(tmp_path / "small.png")
    assert difference(tmp_path / "small.png", new).share == 1.0


def test_the_check_names_each_differing_image_and_keeps_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    committed, differing = tmp_path / "committed", tmp_path / "differing"
    committed.mkdir()
    _drawn(committed / "search.png")
    _drawn(committed / "clean.png")

    def photograph(_recording: Path, out: Path, panels: Sequence[str]) -> list[Path]:
        moved = {"search": 600}
        return [_drawn(out / f"{name}.png", left=moved.get(name, 900)) for name in panels]

    monkeypatch.setattr(command, "photograph", photograph)
    assert not command.check(tmp_path / "recording", committed, ["search", "clean"], differing)
    said = capsys.readouterr()
    assert "search.png: 0.9" in said.out
    assert "clean.png: 0.00% differs\n" in said.out
    assert [path.name for path in differing.iterdir()] == ["search.png"]
    assert difference(committed / "search.png", differing / "search.png").share > TOLERANCE
    assert "python -m tests.screenshots" in said.err
    assert command.check(tmp_path / "recording", committed, ["clean"], differing)


@pytest.mark.skipif(sys.platform != "linux", reason="menus and texts differ by platform")
@pytest.mark.ci
def test_every_panel_matches_its_description() -> None:
    """Words, states, colours, keys and curves of all panels with a recorded study, as lines of text."""
    line = [sys.executable, "-m", "tests.screenshots", "--describe", str(DESCRIBED), "--check"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=300, check=False)
    if "is not installed" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-600:]


@pytest.mark.slow
def test_studies_are_recorded_and_every_image_rendered_from_the_recording(tmp_path: Path) -> None:
    out, home = tmp_path / "out", tmp_path / "home"
    config = json.loads((ROOT / "tests" / "screenshots" / "wrong-captions.json").read_text(encoding="utf-8"))
    smallest = {"size": "tiny", "steps": 2, "seeds": [0], "set": ["validation.every_steps=1"]}
    (tmp_path / "study.json").write_text(json.dumps(config | smallest), encoding="utf-8")
    for name in ("wrong-captions", "noisy-draws"):
        _run("core", "study", str(tmp_path / "study.json"), str(home / "studies" / name))
    for options in (["--record", str(home)], ["--check"]):
        _run("tests.screenshots", str(out), *options)
    images = sorted(out.glob("*.png"))
    assert [path.name for path in images] == sorted(f"{name}{end}.png" for name in SCENES for end in ("", "-dark"))
    for path in images:
        with Image.open(path) as shown:
            assert shown.size == SIZE
            assert len(shown.convert("RGB").getcolors(1 << 20) or []) > 30


def _run(module: str, *arguments: str) -> None:
    line = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=1800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
