"""Rows, the common representation of all formats, and the rules for a row's path and captions.

Flow: the readers (manifests, coco, folders) add rows to a ``RowBuilder``, which joins captions of the same image,
checks that the files exist (one folder at a time) and returns the ``Source``.
"""

from __future__ import annotations

import errno
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from core.data.errors import BadRow
from core.spec.reading import excerpt
from core.spec.shards import is_member

NO_LABELS: Mapping[str, str] = MappingProxyType({})
MAX_PATH_LENGTH = 400  # longer paths are shortened in messages
MIN_SCANNED_ROWS = 16  # from this many rows in a folder, listing it is cheaper than one stat per file
_WEB = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(slots=True)
class Row:
    """An image and its captions. ``line`` is 0 if the source has no lines."""

    file: str
    captions: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    origin: str = ""
    line: int = 0

    @property
    def image(self) -> Path:
        """The image's path."""
        return Path(self.file)

    @property
    def location(self) -> str:
        """The row's file and line, for messages; the image if the source has no lines."""
        return f"{self.origin}, line {self.line}" if self.line else self.file


@dataclass
class Source:
    """All rows of a file or folder; rows in ``bad`` are skipped, each with its reason."""

    origin: str
    format: str
    rows: list[Row]
    bad: list[BadRow]
    label_names: tuple[str, ...] = ()


def clean_caption(text: str) -> str:
    """A caption on one line, with runs of whitespace collapsed."""
    return " ".join(text.split())


def confine(name: str, roots: Sequence[str]) -> str:
    """The absolute path of a manifest's ``name``, inside one of the absolute ``roots``.

    Relative names start at the first root. Raises ValueError, with the reason, if ``name`` is empty or leads outside.
    """
    name = name.strip()
    if not name:
        raise ValueError("the path is empty")
    if "\0" in name:
        raise ValueError("the path contains a zero byte")
    if _WEB.match(name):
        raise ValueError(f"{excerpt(name)} is a web address; download the images and use their paths")
    if os.sep == "/":
        name = name.replace("\\", "/")  # the manifest may have been written on Windows
    path = os.path.normpath(os.path.join(roots[0], name))  # noqa: PTH118  (Path is too slow for a million rows)
    for root in roots:
        if path.startswith(root if root.endswith(os.sep) else root + os.sep):
            return path
    raise ValueError(
        f"the path {excerpt(name)} leads out of {roots[0]}; put the manifest into a folder above the images"
    )


def roots_of(folder: Path) -> tuple[str, ...]:
    """The absolute path of ``folder``; and the path with links resolved, if it differs."""
    plain, real = os.path.normpath(folder.absolute()), str(folder.resolve())
    return (plain,) if plain == real else (plain, real)


class RowBuilder:
    """Collects rows and bad rows in the order of the source."""

    def __init__(self, origin: str, root: Path) -> None:
        self.origin = origin
        self.roots = roots_of(root)
        self.rows: dict[str, Row] = {}
        self.bad: list[BadRow] = []
        self._joined: dict[str, dict[str, None]] = {}  # ordered captions of images that occur in several rows
        self._labels: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}

    def location(self, line: int) -> str:
        """The source and ``line``, for messages."""
        return f"{self.origin}, line {line}" if line else self.origin

    def reject(self, line: int, reason: str, location: str = "") -> None:
        """Record a bad row with its reason."""
        self.bad.append(BadRow(location or self.location(line), reason))

    def add(self, name: str, captions: Sequence[str], labels: Mapping[str, str], line: int, location: str = "") -> None:
        """Add a row of a manifest. If the image was added before, its captions are joined; its labels do not change."""
        try:
            file = confine(name, self.roots)
        except ValueError as error:
            self.reject(line, str(error), location)
            return
        cleaned = tuple(dict.fromkeys(filter(None, map(clean_caption, captions))))
        if not cleaned:
            self.reject(line, f"{excerpt(name)} has no caption", location)
            return
        existing = self.rows.get(file)
        if existing is None:
            self.rows[file] = Row(file, cleaned, self._share_labels(labels), self.origin, line)
        else:
            self._joined.setdefault(file, dict.fromkeys(existing.captions)).update(dict.fromkeys(cleaned))

    def _share_labels(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        """One mapping for all rows with the same labels, to save memory."""
        if not labels:
            return NO_LABELS
        key = tuple(labels.items())
        shared = self._labels.get(key)
        if shared is None:
            shared = self._labels[key] = MappingProxyType(dict(labels))
        return shared

    def finish(self, format: str, label_names: Sequence[str] = ()) -> Source:
        """Return the source; rows whose file is missing become bad rows."""
        for file, captions in self._joined.items():
            self.rows[file].captions = tuple(captions)
        missing = missing_files(list(self.rows))
        for file in missing:
            self.reject(self.rows[file].line, f"there is no file {excerpt(file, MAX_PATH_LENGTH)}")
        rows = [row for file, row in self.rows.items() if file not in missing] if missing else [*self.rows.values()]
        return Source(self.origin, format, rows, self.bad, tuple(label_names))


def missing_files(files: Sequence[str]) -> dict[str, None]:
    """The elements of ``files`` that do not exist, in order."""
    folders: dict[str, list[str]] = {}
    for file in files:
        folders.setdefault(file.rpartition(os.sep)[0], []).append(file)
    missing: set[str] = set()
    for folder, members in folders.items():
        folder_listing = _list_names(folder or os.sep) if len(members) >= MIN_SCANNED_ROWS else None
        doubtful = (
            members if folder_listing is None else [file for file in members if _name(file) not in folder_listing]
        )
        # On file systems that ignore case or Unicode composition, an unlisted name may still exist.
        folded_names = {_fold_case(name) for name in folder_listing or ()} if doubtful else set()
        for file in doubtful:
            if (folder_listing is not None and _fold_case(_name(file)) not in folded_names) or not is_file(file):
                missing.add(file)
    return {file: None for file in files if file in missing} if missing else {}


def is_file(file: str) -> bool:
    """Whether ``file`` is a regular file, or an image in a tar. Raises OSError if its folder cannot be read."""
    if is_member(file):
        return True
    try:
        return Path(file).is_file()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def _name(file: str) -> str:
    return file.rpartition(os.sep)[2]


def _fold_case(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _list_names(folder: str) -> frozenset[str] | None:
    """The names of the files in ``folder``; None if the folder does not exist or cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())
    except OSError:
        return None
