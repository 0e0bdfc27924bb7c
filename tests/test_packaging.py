"""The launcher of the .deb and the .rpm: what it has uv install for a user, and when."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).parent.parent / "packaging" / "launcher.sh"
UV = """#!/bin/sh
echo "$@" >>"$HOME/asked"
case "$1" in venv)
    for last; do :; done
    rm -rf "$last"; mkdir -p "$last/bin"
    printf '#!/bin/sh\\necho "started $@"\\n' >"$last/bin/sdgui"
    chmod +x "$last/bin/sdgui";;
esac
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell script")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's folder with a uv that installs nothing, and the launcher."""
    for path, text in ((".local/bin/uv", UV), ("bin/sdgui", LAUNCHER.read_text().replace("@VERSION@", "9"))):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
        (tmp_path / path).chmod(0o755)
    return tmp_path


def start(home: Path, **variables: str) -> list[str]:
    """Start it; what uv was asked to install."""
    (home / "asked").unlink(missing_ok=True)
    given = {name: os.environ[name] for name in ("PATH",)} | {"HOME": str(home)} | variables
    given["PATH"] = f"{home / '.local/bin'}:{given['PATH']}"
    done = subprocess.run([home / "bin" / "sdgui", "--demo"], env=given, capture_output=True, text=True, check=True)
    assert done.stdout == "started --demo\n"
    asked = (home / "asked").read_text().splitlines() if (home / "asked").exists() else []
    return [line for line in asked if line.startswith("pip install")]


def test_extras_and_the_pytorch_build_can_be_chosen_at_start(home: Path) -> None:
    wheel = "file:///usr/share/sdgui/sdgui-9-py3-none-any.whl"
    (asked,) = start(home)
    assert asked.endswith(f"--torch-backend=auto sdgui[demo] @ {wheel}")
    assert start(home) == []
    (asked,) = start(home, SDGUI_EXTRAS="", UV_TORCH_BACKEND="cpu")
    assert asked.endswith(f"--torch-backend=cpu sdgui @ {wheel}")
    assert start(home) == []
    assert start(home, SDGUI_EXTRAS="") == []
    (asked,) = start(home, SDGUI_EXTRAS="train,gpus")
    assert asked.endswith(f"--torch-backend=auto sdgui[train,gpus] @ {wheel}")
