"""Names here for what lies on another machine: images as files of ``HOME/elsewhere``, runs as their mirrors.

Flow: a panel's request -> ``to_there`` -> the worker on the machine -> ``to_here`` -> what the panel shows. An image
``/data/a.png`` on ``gpu`` is ``HOME/elsewhere/gpu/data/a.png`` here, where a small copy of it is put when it is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from core.spec.errors import UserError
from core.spec.machines.record import RemoteRecord, read_record
from core.spec.run.folder import RunDir

FOLDER = "elsewhere"
IMAGES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib"}
    | {".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".ico"}
)
_DEEPEST, _LONGEST = 64, 4096


class Elsewhere:
    """The names of one machine, for a program whose home is ``home``."""

    def __init__(self, home: Path, machine: str) -> None:
        self._root = home / FOLDER / machine
        self._home, self._machine = home, machine
        self._sent: dict[str, str] = {}  # images of this computer: name here -> of the copy there
        self._copies: dict[str, str] = {}  # and back

    def note_sent(self, here: str, there: str) -> None:
        """The image ``here`` has a copy ``there`` for as long as the worker lives; it keeps its name here."""
        self._sent[here] = there
        self._copies[there] = here

    def lies_there(self, name: str) -> bool:
        """Whether the image or run ``name`` is the machine's own."""
        return self._own_name(name) != name

    def to_there(self, value: Any) -> Any:
        """Plain data in which images and mirrored runs have their names on the machine."""
        return _walk(value, self._name_there)

    def to_here(self, value: Any) -> Any:
        """Plain data in which images of the machine have their names here."""
        return _walk(value, self._name_here)

    def _name_there(self, name: str) -> str:
        return self._sent.get(name) or self._own_name(name)

    def _own_name(self, name: str) -> str:
        if name.startswith(f"{self._root}/"):
            return name[len(str(self._root)) :]
        path = Path(name) if name.startswith("/") and len(name) < _LONGEST and "\0" not in name else None
        if path is None or (path.suffix.lower() in IMAGES and not name.startswith(f"{self._home}/")):
            return name
        return self._run_there(name)

    def _run_there(self, name: str) -> str:
        """A name in a mirrored run's folder, FOLDER@STEP too, on the machine that has the run; studies lie anywhere."""
        folder, at, which = name.rpartition("@")
        for path, rest in ((name, ""), (folder, at + which)):
            for parent in (Path(path), *Path(path).parents) if path else ():
                if parent == self._home:
                    break
                record = _record(parent)
                if record is not None and record.folder and record.machine == self._machine:
                    return record.folder + path[len(str(parent)) :] + rest
        return name

    def _name_here(self, name: str) -> str:
        if name in self._copies:
            return self._copies[name]
        if name.startswith("/") and PurePosixPath(name).suffix.lower() in IMAGES and "\0" not in name:
            return f"{self._root}{name}"
        return name


def image_there(home: Path, path: Path) -> tuple[str, str] | None:
    """The machine and the path there of an image's name here; None for an image of this computer."""
    try:
        parts = path.relative_to(home / FOLDER).parts
    except ValueError:
        return None
    if len(parts) < 2 or ".." in parts:
        return None
    return parts[0], "/" + "/".join(parts[1:])


def _record(folder: Path) -> RemoteRecord | None:
    try:
        return read_record(RunDir(folder))
    except (UserError, OSError):
        return None


def _walk(value: Any, name: Callable[[str], str], depth: int = 0) -> Any:
    if isinstance(value, str):
        return name(value)
    if depth > _DEEPEST:
        return value
    if isinstance(value, dict):
        return {key: _walk(one, name, depth + 1) for key, one in value.items()}
    if isinstance(value, list):
        return [_walk(one, name, depth + 1) for one in value]
    return value
