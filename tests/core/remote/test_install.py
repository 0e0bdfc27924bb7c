"""Installing on a machine through ssh, with a fake uv that downloads nothing."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from core.spec.machines.host import Host
from core.spec.machines.install import install, without_configured_python
from core.spec.machines.machine import Machine
from tests.sshd import HOST, Sshd

# `uv venv --python X PATH` makes a folder whose Python is ours; `uv pip install --python P PACKAGES` lists them.
UV = """#!/bin/sh
if [ "$1" = venv ]; then
  {python} -m venv --without-pip "$4"
  site=$("$4/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  {python} -c 'import sys; print(*(p for p in sys.path if p.endswith("-packages")), sep="\\n")' > "$site/ours.pth"
else
  echo "installing $*"
fi
"""


@pytest.fixture
def bare(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with its own home and a fake uv, without sdgui."""
    monkeypatch.setenv("SDGUI_SSH", sshd.ssh)
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(UV.replace("{python}", shlex.quote(sys.executable)))
    uv.chmod(0o755)
    setup = f"export HOME={shlex.quote(str(tmp_path))}\nexport PATH={shlex.quote(str(uv.parent))}:$PATH"
    return Machine(name="bare", host=HOST, setup=setup, runs="~/runs")


@pytest.mark.slow
def test_a_remote_installation_answers(bare: Machine, tmp_path: Path) -> None:
    lines: list[str] = []
    install(bare, lines.append)
    output = "\n".join(lines)
    assert "uv is creating the environment" in output
    assert "torch>=" in output
    assert "pyside6" not in output.lower()
    source = tmp_path / ".local" / "share" / "sdgui" / "source"
    assert (source / "core" / "remote" / "server.py").is_file()
    host = Host(bare)
    facts = host.probe().result(90)
    host.close()
    assert facts.version
    assert facts.runs == str(tmp_path / "runs")
    based = bare.model_copy(update={"python": sys.executable})
    install(based, lines.append)  # again: in its place, made from a Python of the user's choice
    assert without_configured_python(based).python == "", "the new environment is used"
