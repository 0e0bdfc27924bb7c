"""The desktop menu entry: ``sdgui --install-desktop``, and the same files for packages.

Flow: ``resources/desktop`` and one SVG -> `write_entry` -> desktop file, icons in the sizes of the hicolor theme,
AppStream metainfo and the MIME type of ``*.sdgui.json``, under a ``share`` folder: the user's, or a package's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QImage, QPainter
from PySide6.QtSvg import QSvgRenderer

from core.spec.errors import UserError, writing
from core.spec.resources import resource_folder

SIZES = (16, 22, 24, 32, 48, 64, 128, 256, 512)  # pixels, the sizes of the hicolor theme
DESKTOP, METAINFO, MIME = "sdgui.desktop", "io.github.sdgui.sdgui.metainfo.xml", "sdgui.xml"
_UPDATES = (
    ("update-desktop-database", "applications"),
    ("update-mime-database", "mime"),
    ("gtk-update-icon-cache", "icons/hicolor"),
)


def user_share() -> Path:
    """The user's ``share`` folder. Raises UserError on systems without desktop files."""
    if sys.platform in ("win32", "darwin"):
        raise UserError(
            "Menu entries are created on Linux and BSD only; on this system, pin the sdgui command to the taskbar."
        )
    configured = os.environ.get("XDG_DATA_HOME", "")
    return Path(configured) if os.path.isabs(configured) else Path.home() / ".local" / "share"  # noqa: PTH117 (as XDG says)


def entry_files(share: Path) -> list[Path]:
    """All files of the desktop entry."""
    icons = share / "icons" / "hicolor"
    return [
        share / "applications" / DESKTOP,
        share / "metainfo" / METAINFO,
        share / "mime" / "packages" / MIME,
        icons / "scalable" / "apps" / "sdgui.svg",
        *(icons / f"{size}x{size}" / "apps" / "sdgui.png" for size in SIZES),
    ]


def write_entry(share: Path, command: str) -> list[Path]:
    """Write a desktop entry that starts ``command``; returns the files. Raises UserError if one cannot be written."""
    shipped, drawing = resource_folder("desktop"), resource_folder("icons") / "sdgui.svg"
    desktop, metainfo, mime, scalable, *icons = files = entry_files(share)
    text = (shipped / DESKTOP).read_text(encoding="utf-8").replace("Exec=sdgui", f"Exec={command}")
    for file in files:
        with writing(file):
            file.parent.mkdir(parents=True, exist_ok=True)
    with writing(desktop):
        desktop.write_text(text, encoding="utf-8")
    for source, target in ((shipped / METAINFO, metainfo), (shipped / MIME, mime), (drawing, scalable)):
        with writing(target):
            shutil.copyfile(source, target)
    renderer = QSvgRenderer(str(drawing))
    for size, target in zip(SIZES, icons, strict=True):
        if not _rendered(renderer, size).save(str(target)):
            raise UserError(f"cannot write {target}; free some space or choose a folder that you may write to.")
    return files


def install_desktop() -> list[Path]:
    """Add the entry to the user's menu. Raises UserError if it cannot be written."""
    share = user_share()
    files = write_entry(share, start_command())
    _update(share)
    return files


def uninstall_desktop() -> list[Path]:
    """Remove the files that `install_desktop` wrote; returns those that existed."""
    share = user_share()
    installed = [file for file in entry_files(share) if file.is_file()]
    for file in installed:
        with writing(file):
            file.unlink()
    _update(share)
    return installed


def start_command() -> str:
    """The command that starts this installation, quoted for a desktop file."""
    script = Path(sys.executable).with_name("sdgui")
    if script.is_file():
        return _quoted(str(script))
    return f"{_quoted(sys.executable)} -P -m sdgui"


def _quoted(path: str) -> str:
    """``path`` as one word of ``Exec=``: quoted, and then escaped again like every string in a desktop file."""
    for special in ("\\", '"', "`", "$"):
        path = path.replace(special, f"\\{special}")
    return '"' + path.replace("\\", "\\\\").replace("%", "%%") + '"'


def _rendered(renderer: QSvgRenderer, size: int) -> QImage:
    image = QImage(size, size, QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    renderer.render(painter)
    painter.end()
    return image


def _update(share: Path) -> None:
    """Update the desktop's caches of these folders, if the programs for that are installed."""
    for program, folder in _UPDATES:
        if shutil.which(program) is not None:
            with suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run([program, str(share / folder)], capture_output=True, timeout=60, check=False)
