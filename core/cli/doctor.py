"""The command ``doctor``: reports installed and missing parts, and the commands that install them.

This module does not import Qt or torch, so that a missing or damaged library is just a line in the report.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from core.cli.homes import add_home
from core.cli.terminal import Subparsers
from core.spec.children import SOURCE_FOLDER, environment
from core.spec.installed import Extra, add_command, installed_version, missing

State = Literal["ok", "optional", "warning", "error"]  # optional: not installed, and needed by some commands only

_TIMEOUT_S = 120  # time limit of a program that loads Qt or torch; from a cold disk torch takes half a minute
_LITTLE_DISK, _LITTLE_MEMORY = 5 << 30, 4 << 30  # bytes
_TRAINER_PACKAGES = ("torch", "torchvision", "open_clip", "faiss")  # needed only for training
_WINDOW_PACKAGES = (
    "PySide6-Essentials",
    "pyqtgraph",
    "QtAwesome",
    "SQLAlchemy",
    "alembic",
    "pydantic",
    "numpy",
    "psutil",
)
# Debian and Ubuntu packages of the libraries that Qt links but does not bundle.
_DEBIAN_PACKAGES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxkbcommon.so.0": "libxkbcommon0",
}
_QT_PROGRAM = """
from PySide6.QtCore import qVersion
from PySide6.QtGui import QFontDatabase, QGuiApplication
app = QGuiApplication(["doctor"])
print(qVersion(), len(QFontDatabase.families()))
"""
_TORCH_PROGRAM = """
import torch
kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
name = torch.cuda.get_device_name() if kind == "cuda" else kind
a = torch.ones(64, 64, device=kind)
assert float((a @ a).sum()) == 64.0**3
print(torch.__version__, name)
"""


@dataclass(frozen=True)
class Check:
    """A line of the report."""

    name: str
    state: State
    detail: str
    remedy: str = ""


def add(subparsers: Subparsers) -> None:
    """Add this command to the parser."""
    doctor = subparsers.add_parser(
        "doctor",
        help="check this installation, and show how to fix problems",
        description="Check Python, Qt and its libraries, fonts, torch and its device, memory, disk and the optional "
        "parts. The exit status is 0 if the window can open and everything that is installed works.",
    )
    doctor.add_argument("--json", action="store_true", help="print as JSON")
    add_home(doctor)
    doctor.set_defaults(handler=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    checks = examine(arguments.home)
    is_ok = all(check.state != "error" for check in checks)
    if arguments.json:
        print(json.dumps({"ok": is_ok, "checks": [asdict(check) for check in checks]}, indent=1))
    else:
        print("\n".join(lines(checks)))
    return 0 if is_ok else 1


def examine(home: Path) -> list[Check]:
    """Run all checks, in the order in which problems should be fixed. Takes seconds if torch is installed."""
    return [
        _program(),
        _python(),
        _window(),
        *_qt(),
        _screen(),
        _trainer(),
        _optional("demo", "Demo", "needed by sdgui --demo"),
        _optional("export", "ONNX", "sdgui-core export --format onnx"),
        _optional("registry", "Registry", "sdgui --registry: a group's experiments in PostgreSQL"),
        _ssh(),
        _memory(),
        _home(home),
    ]


def lines(checks: Sequence[Check]) -> list[str]:
    """The checks as lines for a terminal."""
    width = max(len(check.name) for check in checks)
    text = []
    for check in checks:
        text.append(f"{check.state:8}  {check.name:{width}}  {check.detail}")
        if check.remedy:
            text.append(f"{'':8}  {'':{width}}  -> {check.remedy}")
    return text


def _program() -> Check:
    location = f"checkout {SOURCE_FOLDER}" if (SOURCE_FOLDER / "pyproject.toml").is_file() else str(SOURCE_FOLDER)
    return Check("sdgui", "ok", f"{installed_version('sdgui') or 'not installed'}, {location}")


def _python() -> Check:
    return Check("Python", "ok", f"{platform.python_version()}, {sys.executable}, {platform.platform()}")


def _window() -> Check:
    missing_packages = [name for name in _WINDOW_PACKAGES if not installed_version(name)]
    if missing_packages:
        detail = f"no {', '.join(missing_packages)}: the window cannot open"
        return Check("Window", "error", detail, add_command())
    return Check("Window", "ok", ", ".join(f"{name} {installed_version(name)}" for name in _WINDOW_PACKAGES[:3]))


def _qt() -> list[Check]:
    if not installed_version("PySide6-Essentials"):
        return []  # already reported by _window
    spec = find_spec("PySide6")
    if spec is None or not spec.submodule_search_locations:
        remedy = f"{add_command()} --force-reinstall" if find_spec("pip") else f"{add_command()} --reinstall"
        return [Check("Qt", "error", "files of Qt are missing (no module PySide6)", remedy)]
    missing_libraries = _missing_libraries(Path(next(iter(spec.submodule_search_locations))))
    if missing_libraries:
        return [
            Check(
                "Qt's libraries", "error", f"no {', '.join(missing_libraries)}", _install_libraries(missing_libraries)
            )
        ]
    output, error = _run(_QT_PROGRAM, {"QT_QPA_PLATFORM": "offscreen"})
    if error:
        return [Check("Qt", "error", error, "Install the library that the message names, or reinstall sdgui.")]
    version, families = output.split()
    qt = Check("Qt", "ok", f"{version}, it starts")
    if families == "0":
        remedy = "sudo apt-get install fonts-dejavu-core" if shutil.which("apt-get") else "Install a font."
        return [qt, Check("Fonts", "error", "no fonts: text would appear as empty boxes", remedy)]
    return [qt, Check("Fonts", "ok", f"{families} families")]


def _missing_libraries(qt: Path) -> list[str]:
    """The system libraries of Qt and its X11 platform that the loader does not find; only on Linux."""
    ldd = shutil.which("ldd")
    if sys.platform != "linux" or ldd is None:
        return []
    linked = [qt / "Qt" / "lib" / "libQt6Gui.so.6", qt / "Qt" / "plugins" / "platforms" / "libqxcb.so"]
    missing_names = []
    for library in filter(Path.is_file, linked):
        output = subprocess.run([ldd, str(library)], capture_output=True, text=True, check=False).stdout
        missing_names += re.findall(r"^\s*(\S+) => not found", output, re.MULTILINE)
    return sorted(set(missing_names))


def _install_libraries(libraries: Sequence[str]) -> str:
    packages = [_DEBIAN_PACKAGES[name] for name in libraries if name in _DEBIAN_PACKAGES]
    if shutil.which("apt-get") and packages:
        return f"sudo apt-get install {' '.join(packages)}"
    return "Install your system's packages with these libraries."


def _screen() -> Check:
    if sys.platform != "linux":
        return Check("Screen", "ok", platform.system())
    displays = [f"{name}={os.environ[name]}" for name in ("WAYLAND_DISPLAY", "DISPLAY") if os.environ.get(name)]
    if displays:
        return Check("Screen", "ok", ", ".join(displays))
    return Check(
        "Screen",
        "optional",
        "none: sdgui-core works without one",
        "Use ssh -X, or open sdgui on a computer with a screen.",
    )


def _trainer() -> Check:
    missing_packages = missing("train")
    if missing_packages and set(_TRAINER_PACKAGES) - set(missing_packages):
        detail = f"incomplete (no {', '.join(missing_packages)}): it cannot train"
        return Check("Trainer", "error", detail, add_command("train"))
    if missing_packages:
        detail = f"not installed (no {', '.join(missing_packages)}); you can still watch runs and launch them remotely"
        return Check("Trainer", "optional", detail, add_command("train"))
    output, error = _run(_TORCH_PROGRAM, {})
    if error:
        return Check("Trainer", "error", f"torch does not work: {error}", add_command("train"))
    version, _, device = output.partition(" ")
    return Check("Trainer", "ok", f"torch {version} on {device}, open_clip {installed_version('open_clip_torch')}")


def _optional(extra: Extra, name: str, use: str) -> Check:
    missing_packages = missing(extra)
    if missing_packages:
        return Check(name, "optional", f"not installed (no {', '.join(missing_packages)}); {use}", add_command(extra))
    return Check(name, "ok", "installed")


def _ssh() -> Check:
    ssh = shutil.which("ssh")
    if ssh is None:
        return Check("Other machines", "optional", "no ssh to connect to them", "Install the OpenSSH client.")
    return Check("Other machines", "ok", ssh)


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    detail = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free, {os.cpu_count()} cores"
    if memory.available < _LITTLE_MEMORY:
        return Check("Memory", "warning", detail, "Close other programs before training; a small model needs 4 GiB.")
    return Check("Memory", "ok", detail)


def _home(home: Path) -> Check:
    try:
        folder = _nearest_existing(home)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x" * 4096)
            file.flush()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        remedy = "Choose another folder with --home, or free some space."
        return Check("Experiments", "error", f"{home}: {error.strerror}", remedy)
    detail = f"{home}, {free / 2**30:.1f} GiB free"
    if free < _LITTLE_DISK:
        return Check("Experiments", "warning", detail, "Free some space: checkpoints of several runs may not fit.")
    return Check("Experiments", "ok", detail)


def _nearest_existing(folder: Path) -> Path:
    """``folder``, or its nearest existing parent. Raises OSError if ``folder`` cannot be created there."""
    try:
        folder.lstat()
    except FileNotFoundError:
        return _nearest_existing(folder.parent)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder")
    return folder


def _run(program: str, variables: dict[str, str]) -> tuple[str, str]:
    """Run a Python program in a separate process; returns its output, and the last line of stderr if it failed."""
    command = [sys.executable, "-P", "-c", program]
    try:
        result = subprocess.run(
            command, env=environment() | variables, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return "", f"it did not answer within {_TIMEOUT_S} s"
    if result.returncode == 0:
        return result.stdout.strip(), ""
    error_lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    return "", error_lines[-1][:300] if error_lines else f"it ended with code {result.returncode}"
