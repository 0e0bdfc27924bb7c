"""Translates paths between this computer and a machine, for images (``HOME/remote-images``) and mirrored runs.

Flow: a panel's request -> ``to_remote`` -> the worker on the machine -> ``to_local`` -> the panel. An image
``/data/a.png`` on ``gpu`` has the local path ``HOME/remote-images/gpu/data/a.png``; its thumbnail is stored there when
it is first shown.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from core.spec.errors import UserError
from core.spec.machines.record import RemoteRecord, read_record
from core.spec.paths import IMAGE_SUFFIXES
from core.spec.run.folder import RunDir
from core.spec.run.model_names import InterpolatedName, parse_interpolated

IMAGES_FOLDER = "remote-images"
_MAX_DEPTH, _MAX_PATH_LENGTH = 64, 4096


class PathTranslator:
    """Translates paths of ``machine`` for a program whose home folder is ``home``."""

    def __init__(self, home: Path, machine: str) -> None:
        self._root = home / IMAGES_FOLDER / machine
        self._home, self._machine = home, machine
        self._remote_copies: dict[str, str] = {}  # local image -> its copy on the machine
        self._local_images: dict[str, str] = {}  # the inverse

    def add_copy(self, local: str, remote: str) -> None:
        """Record that the image ``local`` has the copy ``remote`` during the worker's lifetime."""
        self._remote_copies[local] = remote
        self._local_images[remote] = local

    def is_on_machine(self, name: str) -> bool:
        """Whether the image or run ``name`` is stored on the machine."""
        return self._machine_path(name) != name

    def to_remote(self, value: Any) -> Any:
        """Translate local paths of images and mirrored runs in plain data to paths on the machine."""
        return map_texts(value, self._remote_path)

    def to_local(self, value: Any) -> Any:
        """Translate paths of images on the machine in plain data to local paths."""
        return map_texts(value, self._local_path)

    def _remote_path(self, name: str) -> str:
        return self._remote_copies.get(name) or self._machine_path(name)

    def _machine_path(self, name: str) -> str:
        if (parsed := parse_interpolated(name)) is not None:
            tuned, initial = self._plain_path(parsed.tuned), self._plain_path(parsed.initial)
            return str(InterpolatedName(tuned, initial, parsed.alpha))
        return self._plain_path(name)

    def _plain_path(self, name: str) -> str:
        if name.startswith(f"{self._root}/"):
            return name[len(str(self._root)) :]
        path = Path(name) if name.startswith("/") and len(name) < _MAX_PATH_LENGTH and "\0" not in name else None
        if path is None or (path.suffix.lower() in IMAGE_SUFFIXES and not name.startswith(f"{self._home}/")):
            return name
        return self._run_path(name)

    def _run_path(self, name: str) -> str:
        """Translate a path in a mirrored run's folder (also FOLDER@STEP); the folder of a study can be anywhere."""
        folder, separator, checkpoint = name.rpartition("@")
        for path, suffix in ((name, ""), (folder, separator + checkpoint)):
            for parent in (Path(path), *Path(path).parents) if path else ():
                if parent == self._home:
                    break
                record = _record(parent)
                if record is not None and record.folder and record.machine == self._machine:
                    return record.folder + path[len(str(parent)) :] + suffix
        return name

    def _local_path(self, name: str) -> str:
        if name in self._local_images:
            return self._local_images[name]
        if name.startswith("/") and PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES and "\0" not in name:
            return f"{self._root}{name}"
        return name


def remote_image(home: Path, path: Path) -> tuple[str, str] | None:
    """The machine and remote path of an image's local path; None for a local image."""
    try:
        parts = path.relative_to(home / IMAGES_FOLDER).parts
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


def map_texts(value: Any, change: Callable[[str], str], depth: int = 0) -> Any:
    """Plain data with ``change`` applied to each text; dictionary keys and deeply nested values are kept."""
    if isinstance(value, str):
        return change(value)
    if depth > _MAX_DEPTH:
        return value
    if isinstance(value, dict):
        return {key: map_texts(item, change, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [map_texts(item, change, depth + 1) for item in value]
    return value
