"""Child processes have our environment and no input; a detached one has its own session."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from core.spec.children import environment, start_program

_REPORT = "import os, sys; print(os.getsid(0) == os.getpid(), repr(sys.stdin.read()), sys.flags.safe_path)"


@pytest.mark.skipif(sys.platform == "win32", reason="no sessions there")
@pytest.mark.parametrize("detached", [False, True])
def test_a_detached_child_has_no_input_and_its_own_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, detached: bool
) -> None:
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        child = start_program([sys.executable, "-c", _REPORT], stdout, stderr, detached)
        assert child.wait(timeout=60) == 0, err.read_text()
    assert out.read_text().split() == [str(detached), "''", "True"]
    monkeypatch.setenv("PYTHONPATH", "mine")
    assert environment()["PYTHONPATH"].split(os.pathsep)[-1] == "mine"
