"""The verb ``doctor``: what is installed here, what is missing, and the command that mends it.

It imports neither Qt nor torch itself: a library that is missing or broken then costs a line, not the answer.
"""

from __future__ import annotations

import argparse
import errno
import importlib.metadata
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

from core.cli.homes import add_home, home_folder
from core.cli.terminal import Verbs
from core.spec.children import SOURCE, environment
from core.spec.installed import Extra, add_command, missing

State = Literal["ok", "optional", "missing"]

_SECONDS = 120  # that a program which loads Qt or torch may take; on a cold disk torch takes half a minute
_LITTLE_DISK, _LITTLE_MEMORY = 5 << 30, 4 << 30  # bytes
_TRAINER = ("torch", "torchvision", "open_clip", "faiss")  # packages that only the trainer brings
_WINDOW = ("PySide6-Essentials", "pyqtgraph", "QtAwesome", "SQLAlchemy", "alembic", "pydantic", "numpy", "psutil")
# The packages of Debian and Ubuntu that hold what Qt links and does not bring.
_DEBIAN = {
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
_QT = """
from PySide6.QtCore import qVersion
from PySide6.QtGui import QFontDatabase, QGuiApplication
app = QGuiApplication(["doctor"])
print(qVersion(), len(QFontDatabase.families()))
"""
_TORCH = """
import torch
kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
name = torch.cuda.get_device_name() if kind == "cuda" else kind
a = torch.ones(64, 64, device=kind)
assert float((a @ a).sum()) == 64.0**3
print(torch.__version__, name)
"""


@dataclass(frozen=True)
class Checked:
    """A line: what was looked at; whether it is there, may stay away, or is missing; what was found; what mends it."""

    what: str
    state: State
    found: str
    remedy: str = ""


def add(verbs: Verbs) -> None:
    """Add this verb to the parser."""
    doctor = verbs.add_parser(
        "doctor",
        help="check this installation: what is missing, and the command that mends it",
        description="Check Python, Qt and its libraries, fonts, torch and its device, memory, disk and the optional "
        "parts. Exit status 0 when the window can open and what is installed works.",
    )
    doctor.add_argument("--json", action="store_true", help="print as JSON")
    add_home(doctor)
    doctor.set_defaults(verb=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    found = examine(home_folder(arguments.home))
    well = all(one.state != "missing" for one in found)
    if arguments.json:
        print(json.dumps({"ok": well, "checks": [asdict(one) for one in found]}, indent=1))
    else:
        print("\n".join(lines(found)))
    return 0 if well else 1


def examine(home: Path) -> list[Checked]:
    """Every check, in the order in which what is missing is best mended. Takes seconds where torch is installed."""
    return [
        _program(),
        _python(),
        _window(),
        *_qt(),
        _screen(),
        _trainer(),
        _optional("demo", "Demo", "sdgui --demo draws its images with it"),
        _optional("export", "ONNX", "sdgui-core export --format onnx"),
        _optional("registry", "Registry", "sdgui --registry: a group's experiments in PostgreSQL"),
        _ssh(),
        _memory(),
        _home(home),
    ]


def lines(found: Sequence[Checked]) -> list[str]:
    """The checks for a terminal."""
    wide = max(len(one.what) for one in found)
    told = []
    for one in found:
        told.append(f"{one.state:8}  {one.what:{wide}}  {one.found}")
        if one.remedy:
            told.append(f"{'':8}  {'':{wide}}  -> {one.remedy}")
    return told


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _program() -> Checked:
    where = f"checkout {SOURCE}" if (SOURCE / "pyproject.toml").is_file() else str(SOURCE)
    return Checked("sdgui", "ok", f"{_version('sdgui') or 'not installed'}, {where}")


def _python() -> Checked:
    return Checked("Python", "ok", f"{platform.python_version()}, {sys.executable}, {platform.platform()}")


def _window() -> Checked:
    lacking = [name for name in _WINDOW if not _version(name)]
    if lacking:
        what = f"no {', '.join(lacking)}: the window cannot open"
        return Checked("Window", "missing", what, add_command())
    return Checked("Window", "ok", ", ".join(f"{name} {_version(name)}" for name in _WINDOW[:3]))


def _qt() -> list[Checked]:
    if not _version("PySide6-Essentials"):
        return []  # the line before says so
    spec = find_spec("PySide6")
    if spec is None or not spec.submodule_search_locations:
        remedy = f"{add_command()} --force-reinstall" if find_spec("pip") else f"{add_command()} --reinstall"
        return [Checked("Qt", "missing", "its files are gone (no module PySide6)", remedy)]
    lacking = _missing_libraries(Path(next(iter(spec.submodule_search_locations))))
    if lacking:
        return [Checked("Qt's libraries", "missing", f"no {', '.join(lacking)}", _install_libraries(lacking))]
    told, error = _run(_QT, {"QT_QPA_PLATFORM": "offscreen"})
    if error:
        return [Checked("Qt", "missing", error, "Install what the message names, or reinstall sdgui.")]
    version, families = told.split()
    qt = Checked("Qt", "ok", f"{version}, it starts")
    if families == "0":
        remedy = "sudo apt-get install fonts-dejavu-core" if shutil.which("apt-get") else "Install a font."
        return [qt, Checked("Fonts", "missing", "none: texts would be empty boxes", remedy)]
    return [qt, Checked("Fonts", "ok", f"{families} families")]


def _missing_libraries(qt: Path) -> list[str]:
    """System libraries that Qt's core and its X11 platform link and the loader does not find; on Linux alone."""
    ldd = shutil.which("ldd")
    if sys.platform != "linux" or ldd is None:
        return []
    linked = [qt / "Qt" / "lib" / "libQt6Gui.so.6", qt / "Qt" / "plugins" / "platforms" / "libqxcb.so"]
    found = []
    for library in filter(Path.is_file, linked):
        told = subprocess.run([ldd, str(library)], capture_output=True, text=True, check=False).stdout
        found += re.findall(r"^\s*(\S+) => not found", told, re.MULTILINE)
    return sorted(set(found))


def _install_libraries(libraries: Sequence[str]) -> str:
    known = [_DEBIAN[name] for name in libraries if name in _DEBIAN]
    if shutil.which("apt-get") and known:
        return f"sudo apt-get install {' '.join(known)}"
    return "Install the packages of your system that hold these libraries."


def _screen() -> Checked:
    if sys.platform != "linux":
        return Checked("Screen", "ok", platform.system())
    shown = [f"{name}={os.environ[name]}" for name in ("WAYLAND_DISPLAY", "DISPLAY") if os.environ.get(name)]
    if shown:
        return Checked("Screen", "ok", ", ".join(shown))
    return Checked("Screen", "optional", "none here: sdgui-core works without one", "ssh -X, or open sdgui at a screen")


def _trainer() -> Checked:
    lacking = missing("train")
    if lacking and set(_TRAINER) - set(lacking):
        what = f"incomplete (no {', '.join(lacking)}): it cannot train"
        return Checked("Trainer", "missing", what, add_command("train"))
    if lacking:
        what = f"not installed (no {', '.join(lacking)}): this computer watches runs and launches them elsewhere"
        return Checked("Trainer", "optional", what, add_command("train"))
    told, error = _run(_TORCH, {})
    if error:
        return Checked("Trainer", "missing", f"torch does not work: {error}", add_command("train"))
    version, _, device = told.partition(" ")
    return Checked("Trainer", "ok", f"torch {version} on {device}, open_clip {_version('open_clip_torch')}")


def _optional(extra: Extra, what: str, use: str) -> Checked:
    lacking = missing(extra)
    if lacking:
        return Checked(what, "optional", f"not installed (no {', '.join(lacking)}); {use}", add_command(extra))
    return Checked(what, "ok", "installed")


def _ssh() -> Checked:
    ssh = shutil.which("ssh")
    if ssh is None:
        return Checked("Other machines", "optional", "no ssh, by which they are reached", "Install OpenSSH's client.")
    return Checked("Other machines", "ok", ssh)


def _memory() -> Checked:
    import psutil

    memory = psutil.virtual_memory()
    told = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free, {os.cpu_count()} cores"
    if memory.available < _LITTLE_MEMORY:
        return Checked("Memory", "optional", told, "Close other programs before training; 4 GiB are a small model.")
    return Checked("Memory", "ok", told)


def _home(home: Path) -> Checked:
    try:
        there = _nearest_there(home)
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"x" * 4096)
            file.flush()
        free = shutil.disk_usage(there).free
    except OSError as error:
        remedy = "Name another folder with --home, or free some space."
        return Checked("Experiments", "missing", f"{home}: {error.strerror}", remedy)
    told = f"{home}, {free / 2**30:.1f} GiB free"
    if free < _LITTLE_DISK:
        return Checked("Experiments", "optional", told, "Free some space: checkpoints of several runs may not fit.")
    return Checked("Experiments", "ok", told)


def _nearest_there(folder: Path) -> Path:
    """``folder``, or the first above it that exists. OSError where none can be made below that: a file, a long name."""
    try:
        folder.lstat()
    except FileNotFoundError:
        return _nearest_there(folder.parent)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder")
    return folder


def _run(program: str, variables: dict[str, str]) -> tuple[str, str]:
    """What a Python program of its own printed; and the last line of its complaint where it failed."""
    command = [sys.executable, "-P", "-c", program]
    try:
        done = subprocess.run(
            command, env=environment() | variables, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "", f"it did not answer within {_SECONDS} s"
    if done.returncode == 0:
        return done.stdout.strip(), ""
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return "", said[-1][:300] if said else f"it ended with code {done.returncode}"
