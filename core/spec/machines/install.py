"""Installs this program on a machine over ssh (*Install* on the machine's page).

Flow: the packages as a tar on stdin of ``ssh HOST sh`` -> a venv in ``~/.local/share/sdgui``, created by uv or by
Python's venv -> the trainer's dependencies by pip -> the packages unpacked next to the venv. No process stays running.
"""

from __future__ import annotations

import importlib.metadata
import io
import re
import shlex
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from core.spec.children import SOURCE_FOLDER, environment, process_group
from core.spec.errors import UserError
from core.spec.installed import add_command, installed_version
from core.spec.machines import ssh
from core.spec.machines.machine import Machine
from core.spec.resources import resources_root

PACKAGES = ("core", "sdgui")
# Dependencies that only the window needs, not a machine that trains.
_WINDOW = ("pyside6", "pyqtgraph", "qtawesome", "sqlalchemy", "alembic", "psycopg")
_SKIPPED = ("__pycache__", "screenshots")  # folders that are not sent

_SCRIPT = r"""
set -e
{setup}
base="$HOME/.local/share/sdgui"
mkdir -p "$base"
python={python}
if [ -z "$python" ]; then
  for candidate in python3.13 python3.12 python3.11 python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
      python="$candidate"; break
    fi
  done
fi
uv=$(command -v uv || true)
[ -z "$uv" ] && [ -x "$HOME/.local/bin/uv" ] && uv="$HOME/.local/bin/uv"
if [ -z "$python" ] && [ -z "$uv" ]; then
  echo "This machine has neither Python 3.11 or later nor uv." >&2; exit 41
fi
rm -rf "$base/new"; mkdir -p "$base/new/source"
tar -xzf - -C "$base/new/source"
if [ -n "$uv" ]; then
  echo "uv is creating the environment $base/venv"
  [ -x "$base/venv/bin/python" ] || "$uv" venv --python "${python:-3.11}" "$base/venv"
  "$uv" pip install --python "$base/venv/bin/python" {packages}
else
  echo "$python is creating the environment $base/venv"
  [ -x "$base/venv/bin/python" ] || "$python" -m venv "$base/venv"
  "$base/venv/bin/python" -m pip install --disable-pip-version-check {packages}
fi
rm -rf "$base/source"; mv "$base/new/source" "$base/source"; rmdir "$base/new"
site=$("$base/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
echo "$base/source" > "$site/sdgui-source.pth"
"$base/venv/bin/python" -c 'import core.remote.server'
echo "Installed in $base. Python: $base/venv/bin/python"
"""


class InstallError(UserError):
    """The installation failed; the message names the reason and the remedy."""


def dependencies() -> list[str]:
    """The trainer's requirements (all except the window's), from this program's metadata."""
    try:
        lines = importlib.metadata.requires("sdgui") or []
    except importlib.metadata.PackageNotFoundError as error:
        raise InstallError(f"sdgui itself is not installed here; install it first: {add_command()}") from error
    requirements = [line for line in lines if "extra ==" not in line]
    requirements += [line.partition(";")[0].strip() for line in lines if re.search(r"extra == ['\"]train['\"]", line)]
    return [
        line for line in requirements if not re.split(r"[^A-Za-z0-9]", line, maxsplit=1)[0].lower().startswith(_WINDOW)
    ]


def packed_program() -> bytes:
    """This program's packages and metadata as a tar file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in PACKAGES:
            tar.add(SOURCE_FOLDER / name, arcname=name, filter=_anonymous)
        resources = resources_root(SOURCE_FOLDER)
        if not resources.is_relative_to(SOURCE_FOLDER / "sdgui"):  # a checkout: move them to their place in a wheel
            tar.add(resources, arcname="sdgui/resources", filter=_anonymous)
        version = installed_version("sdgui")
        info = f"Metadata-Version: 2.1\nName: sdgui\nVersion: {version}\n".encode()
        entry = tarfile.TarInfo(f"sdgui-{version}.dist-info/METADATA")
        entry.size = len(info)
        tar.addfile(entry, io.BytesIO(info))
    return buffer.getvalue()


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """``entry`` without its owner; None for files that are not needed."""
    if any(part in _SKIPPED for part in Path(entry.name).parts):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def install_script(machine: Machine) -> str:
    """The shell script to run on the machine, which reads the packed program from stdin."""
    python = (
        ssh.quoted_home(machine.python) if machine.python and not machine.python.endswith("/venv/bin/python") else ""
    )
    packages = shlex.join(dependencies())
    values = {"{setup}": machine.setup.strip(), "{python}": python or '""', "{packages}": packages}
    text = _SCRIPT
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text


def without_configured_python(machine: Machine) -> Machine:
    """``machine`` without the Python of its settings, so that the environment of `install` is used."""
    return machine.model_copy(update={"python": ""})


def install(machine: Machine, say: Callable[[str], object], cancelled: Callable[[], bool] = lambda: False) -> None:
    """Install sdgui on ``machine``; ``say`` receives each line of output. Takes minutes: not for the GUI thread.

    Raises InstallError, MachineRefused or ConnectionLost.
    """
    if machine.is_local:
        raise InstallError("sdgui is already installed on this computer.")
    command = [*ssh.ssh_command(machine.host), "sh -c " + shlex.quote(install_script(machine))]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            **process_group(),
        )
    except OSError as error:
        raise ssh.no_ssh(error) from error
    _send(process, packed_program())
    lines: list[str] = []
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            lines.append(line.decode("utf-8", "replace").rstrip())
            say(lines[-1])
            if cancelled():
                process.kill()
                process.wait()
                raise InstallError("The installation was cancelled; the previous installation is unchanged.")
    code = process.wait()
    if code:
        raise _install_error(machine, code, "\n".join(lines[-40:]))


def _send(process: subprocess.Popen[bytes], content: bytes) -> None:
    assert process.stdin is not None
    with suppress(OSError), process.stdin:  # a process that ends early reports the reason in its output
        process.stdin.write(content)


def _install_error(machine: Machine, code: int, output: str) -> UserError:
    if code == 41:
        return InstallError(
            f"{machine.host} has neither Python 3.11 or later nor uv. Install one of them (curl -LsSf "
            "https://astral.sh/uv/install.sh | sh), or set Python in the machine's settings."
        )
    if code == 255:
        return ssh.refusal(machine, code, output)
    last = next((line for line in reversed(output.splitlines()) if line.strip()), "no output")
    return InstallError(
        f"The installation on {machine.host} failed ({code}): {last.strip()[:300]}. See the full output."
    )
