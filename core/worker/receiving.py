"""Receives images that a window on another computer uploads to this worker, in a temporary folder.

Flow: ``core.remote.image_uploads`` -> ``receive``, one file part each -> **receiving** -> a request that names them.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from core.spec.errors import UserError, writing
from core.spec.machines.answers import MAX_UPLOAD_BYTES, unpack_bytes
from core.spec.reading import excerpt
from core.spec.run.processes import start_time

_NAME = re.compile(r"[0-9a-f]{32}\.[a-z0-9]{1,5}")
# The folder for temporary files may be shared by several computers; a process ID belongs to one.
_PREFIX = f"sdgui-sent-{re.sub('[^A-Za-z0-9]+', '-', platform.node())[:60]}-"
_FOLDER = re.compile(rf"{_PREFIX}(\d{{1,10}})-[0-9a-f]{{16}}")


class ReceivedImages:
    """The received images. Creates the folder when the first chunk arrives."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.gettempdir()) / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
        self._bytes = 0

    def append_part(self, name: str, offset: int, data: str) -> None:
        """Append a chunk to the file ``name``. Raises UserError if it is invalid, too large, or cannot be written."""
        if not _NAME.fullmatch(name):
            raise UserError(
                f"{excerpt(name)} is not a valid name for an uploaded image; update sdgui on both computers."
            )
        try:
            part = unpack_bytes(data)
        except ValueError as error:
            raise UserError(f"a chunk of an image cannot be read: {error}; try again.") from error
        if self._bytes + len(part) > MAX_UPLOAD_BYTES:
            raise UserError(
                f"more than {MAX_UPLOAD_BYTES >> 30} GB of images were uploaded; copy the images to the machine and "
                "open them there."
            )
        with writing(self.folder, UserError):
            if not self.folder.exists():
                _remove_leftovers(self.folder.parent)
                self.folder.mkdir(mode=0o700)
            flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
            with os.fdopen(os.open(self.folder / name, flags, 0o600), "wb") as file:
                if offset != file.seek(0, os.SEEK_END) and offset:
                    raise UserError("a part of an image was lost during the upload; try again.")
                file.seek(offset)
                file.truncate()
                file.write(part)
        self._bytes += len(part)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _remove_leftovers(parent: Path) -> None:
    """Remove the folders of killed workers of this computer."""
    for path in parent.glob(f"{_PREFIX}*"):
        match = _FOLDER.fullmatch(path.name)
        if match is None or path.is_symlink():
            continue
        with suppress(OSError):
            # start_time is the current time if there is no such process
            if start_time(int(match[1])) > path.stat().st_mtime + 1.0:
                shutil.rmtree(path, ignore_errors=True)
