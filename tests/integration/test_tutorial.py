"""The tutorial's commands, run one after another as they are printed, at size tiny and for one epoch."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from core.spec.children import environment

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"


@pytest.mark.slow
def test_the_commands_of_the_tutorial_do_what_they_say(tmp_path: Path) -> None:
    block = re.search(
        r"^## The same without the window\n+```sh\n(.*?)^```", TUTORIAL.read_text(encoding="utf-8"), re.M | re.S
    )
    assert block is not None
    printed = ""
    for line in block[1].splitlines():
        command = line.replace("--size demo", "--size tiny").replace("--set ", "--set optim.epochs=1 ")
        command = command.replace("sdgui-core", f'"{sys.executable}" -P -m core', 1)
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"
        printed = done.stdout
    found = printed.splitlines()
    assert len(found) == 4  # the heading and -k 3
    assert all("pairs/pictures/" in one for one in found[1:])
