"""Installing without a machine: the package that is sent, the script, and reasons of failures."""

from __future__ import annotations

import importlib.metadata
import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from core.spec.errors import UserError
from core.spec.machines import install as install_module
from core.spec.machines.install import (
    InstallError,
    install,
    install_script,
    packed_program,
    without_configured_python,
)
from core.spec.machines.machine import Machine
from core.spec.machines.ssh import ConnectionLost, MachineRefused

FAR = Machine(name="far", host="user@far", setup="module load x\n")


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A script in place of ssh; returns the file that its input is written to."""

    def made(code: str) -> Path:
        program, sent = tmp_path / "ssh", tmp_path / "sent"
        program.write_text(f'#!/bin/sh\nfor last; do :; done\nprintf %s "$last" > {tmp_path}/asked\n{code}\n')
        program.chmod(0o755)
        monkeypatch.setenv("SDGUI_SSH", str(program))
        return sent

    monkeypatch.setattr(install_module, "packed_program", lambda: b"packed")
    return made


def test_output_lines_are_reported_as_they_arrive(ssh: Callable[[str], Path], tmp_path: Path) -> None:
    sent, lines = ssh(f"cat > {tmp_path}/sent; echo one; echo 'two  '; echo three >&2"), list[str]()
    install(FAR, lines.append)
    assert lines == ["one", "two", "three"]
    assert sent.read_bytes() == b"packed"
    assert (tmp_path / "asked").read_text().startswith("sh -c ")
    with pytest.raises(InstallError, match="already installed on this computer"):
        install(Machine(name="near"), lines.append)
    (tmp_path / "ssh").unlink()
    with pytest.raises(MachineRefused, match=r"ssh cannot be started: No such file or directory\."):
        install(FAR, lines.append)


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("exit 41", InstallError, r"user@far has neither Python 3\.11 or later nor uv\. Install one of them"),
        ("echo 'Connection refused'; exit 255", ConnectionLost, "user@far cannot be reached"),
        (
            "echo first; echo '  No solution  '; echo; exit 7",
            InstallError,
            r"failed \(7\): No solution\. See the",
        ),
        ("head -c 400 /dev/zero | tr '\\0' x; exit 3", InstallError, rf"\(3\): {'x' * 300}\. See"),
    ],
)
def test_reasons_of_a_failed_installation(
    ssh: Callable[[str], Path], code: str, kind: type[UserError], said: str
) -> None:
    ssh(code)
    with pytest.raises(kind, match=said):
        install(FAR, lambda line: None)


def test_an_installation_is_cancelled_at_the_next_line(ssh: Callable[[str], Path], tmp_path: Path) -> None:
    ssh(f"cat > /dev/null; echo one; echo two; exec sleep 60; touch {tmp_path}/after")
    lines: list[str] = []
    with pytest.raises(InstallError, match="was cancelled; the previous installation is unchanged"):
        install(FAR, lines.append, lambda: len(lines) == 2)
    assert lines == ["one", "two"]


def test_the_install_script_runs_setup_first_and_uses_the_named_python() -> None:
    def script(python: str) -> list[str]:
        text = install_script(FAR.model_copy(update={"python": python}))
        subprocess.run(["sh", "-n"], input=text, text=True, check=True)
        return text.splitlines()

    lines = script("")
    assert lines[1:3] == ["set -e", "module load x"]
    assert 'python=""' in lines
    assert 'python="$HOME"/py' in script("~/py")
    assert 'python=""' in script("/home/x/venv/bin/python"), "an environment is not created from itself"
    assert without_configured_python(FAR.model_copy(update={"python": "/usr/bin/python3"})) == FAR


def test_the_package_leaves_out_window_only_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("core/a.py", "core/__pycache__/a.pyc", "sdgui/b.py", "resources/x.txt", "resources/screenshots/y.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(install_module, "SOURCE_FOLDER", tmp_path)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.2")
    with tarfile.open(fileobj=io.BytesIO(packed_program())) as tar:
        members = {one.name: one for one in tar.getmembers() if one.isfile()}
        info = tar.extractfile("sdgui-1.2.dist-info/METADATA")
        assert info is not None
        assert info.read() == b"Metadata-Version: 2.1\nName: sdgui\nVersion: 1.2\n"
    assert set(members) == {"core/a.py", "sdgui/b.py", "sdgui/resources/x.txt", "sdgui-1.2.dist-info/METADATA"}
    assert {(one.uid, one.gid, one.uname, one.gname) for one in members.values()} == {(0, 0, "", "")}
