"""A window that cannot open says why in a sentence, with the command that repairs it; no traceback, no abort."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def start(path: Path, **variables: str) -> str:
    """What ``sdgui`` says on stderr, with ``path`` before all packages; its exit status is 1."""
    hidden = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-m", "sdgui", "--home", str(path / "home")],
        cwd=ROOT, env=hidden | {"PYTHONPATH": str(path)} | variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert not (path / "home").exists()
    return done.stderr


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("ModuleNotFoundError(\"No module named 'PySide6'\", name='PySide6')", "install it with: "),
        ("ImportError('libEGL.so.1: cannot open shared object file')", "sdgui-core doctor names the packages"),
    ],
    ids=["not installed", "a library is missing"],
)
def test_without_qt(tmp_path: Path, raised: str, said: str) -> None:
    (tmp_path / "PySide6").mkdir()
    (tmp_path / "PySide6" / "__init__.py").write_text(f"raise {raised}\n")
    told = start(tmp_path)
    assert told.startswith("sdgui: the window cannot be loaded (")
    assert said in told
    assert len(told.splitlines()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="X11")
@pytest.mark.parametrize("display", ["", ":4321"], ids=["none", "unreachable"])
def test_without_a_screen(tmp_path: Path, display: str) -> None:
    told = start(tmp_path, QT_QPA_PLATFORM="xcb", **({"DISPLAY": display} if display else {}))
    assert told.startswith("sdgui: the window cannot open, since Qt reaches no screen (")
    assert "ssh -X" in told
    assert len(told.splitlines()) == 1
