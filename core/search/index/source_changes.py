"""Changes in a source by name, size and modification time, without opening or hashing images.

Flow: source (a manifest, or any folder of images) -> ``scan`` -> ``compare`` with the index -> build. In a folder,
``NAME.txt`` next to an image may contain captions, one per line; the top-level subfolder is the label ``folder``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.data.errors import BadRow
from core.data.sources.folders import IMAGE_SUFFIXES, MAX_SIDECAR_BYTES, leads_to_folder
from core.data.sources.manifests import is_text
from core.data.sources.opening import open_source
from core.data.sources.rows import MIN_SCANNED_ROWS, NO_LABELS, clean_caption
from core.search.errors import IndexFolderError
from core.search.index.storage import UNREADABLE, IndexReader, Mask
from core.spec.config import expand_user
from core.spec.errors import UserError
from core.spec.paths import is_folder
from core.spec.reading import read_text
from core.spec.shards import is_shards, split_member

MISSING = -1  # stands for the size of a missing file


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An image of a source."""

    path: str
    size: int  # bytes; MISSING if it could not be read
    time: int  # modification time, nanoseconds
    captions: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)


@dataclass
class Scan:
    """All images of a source in order. ``unreachable``: folders that cannot be read."""

    source: str
    images: list[SourceImage]
    bad: list[BadRow] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)
    is_folder: bool = False


@dataclass
class Changes:
    """Differences between a source and an index."""

    outdated: Mask  # (N,) rows of removed or changed images
    pending: list[SourceImage]  # images to encode, in source order
    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0  # images that stay in the index
    unreachable: int = 0  # kept although their folder is unreachable
    moved: list[tuple[str, str]] = field(default_factory=list)  # removed and added with equal name, size and time


def scan(source: str) -> Scan:
    """The images of ``source``, a manifest or a folder.

    Raises DataError for an unreadable manifest, IndexFolderError for a missing source.
    """
    path = expand_user(source)
    if is_folder(path) and not is_shards(source):
        return _scan_folder(path)
    if not is_shards(source) and not os.path.exists(path):  # noqa: PTH110
        raise IndexFolderError(
            f"{source} does not exist; if it is on a network drive, connect the drive and run the command again. The "
            "index is unchanged."
        )
    rows = open_source(source)
    facts = _stat_all([row.file for row in rows.rows])
    images = [SourceImage(row.file, *facts[row.file], row.captions, row.labels) for row in rows.rows]
    return Scan(str(path), images, list(rows.bad))


def _stat_all(files: list[str]) -> dict[str, tuple[int, int]]:
    """Size and time of each file; folders with many files are listed once."""
    folders: dict[str, list[str]] = {}
    for file in files:
        folders.setdefault(file.rpartition(os.sep)[0], []).append(file)
    facts: dict[str, tuple[int, int]] = {}
    for folder, members in folders.items():
        member_set = set(members)
        if len(members) >= MIN_SCANNED_ROWS:
            with contextlib.suppress(OSError), os.scandir(folder or os.sep) as entries:
                for entry in entries:
                    file = f"{folder}{os.sep}{entry.name}"
                    if file in member_set:
                        with contextlib.suppress(OSError):
                            status = entry.stat()
                            facts[file] = status.st_size, status.st_mtime_ns
        for file in members:
            if file not in facts:
                facts[file] = _stat(file)
    return facts


def _stat(file: str) -> tuple[int, int]:
    member = split_member(file)
    try:
        status = os.stat(member.tar if member else file)  # noqa: PTH116  (faster; perhaps a million calls)
    except OSError:
        return MISSING, 0
    return member.size if member else status.st_size, status.st_mtime_ns


def _scan_folder(root: Path) -> Scan:
    top = str(root.absolute())
    scanned = Scan(str(root), [], is_folder=True)
    for folder in _walk(top, scanned, set()):
        inside = folder[len(top) :].strip(os.sep).partition(os.sep)[0]
        labels = {"folder": inside} if inside else NO_LABELS
        _scan_files(folder, labels, scanned)
    return scanned


def _walk(path: str, scanned: Scan, seen: set[tuple[int, int]]) -> Iterator[str]:
    """``path`` and its subfolders, sorted by name, without hidden folders; cycles of links are followed once."""
    try:
        status = Path(path).stat()
        if status.st_ino and (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(path) as entries:
            inner = sorted(entry.path for entry in entries if entry.name[0] != "." and leads_to_folder(entry))
    except OSError:
        scanned.unreachable.append(path)
        return
    yield path
    for subfolder in inner:
        yield from _walk(subfolder, scanned, seen)


def _leads_to_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _scan_files(folder: str, labels: Mapping[str, str], scanned: Scan) -> None:
    """Add the images directly in ``folder``."""
    texts: set[str] = set()
    images: list[tuple[str, int, int]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                stem, dot, extension = entry.name.rpartition(".")
                suffix = dot + extension.lower()
                if suffix == ".txt":
                    texts.add(stem)
                elif suffix in IMAGE_SUFFIXES and entry.name[0] != "." and _leads_to_file(entry):
                    status = entry.stat()
                    images.append((entry.name, status.st_size, status.st_mtime_ns))
    except OSError:
        scanned.unreachable.append(folder)
        return
    for name, size, time in sorted(images):
        file = f"{folder}{os.sep}{name}"
        if not is_text(file):
            printable = file.encode("utf-8", "replace").decode()
            scanned.bad.append(BadRow(printable, "its name is not valid text; rename it"))
            continue
        stem = name.rpartition(".")[0]
        captions = _sidecar(f"{folder}{os.sep}{stem}.txt", scanned) if stem in texts else ()
        scanned.images.append(SourceImage(file, size, time, captions, labels))


def _sidecar(path: str, scanned: Scan) -> tuple[str, ...]:
    try:
        lines = read_text(path, MAX_SIDECAR_BYTES, encoding="utf-8-sig").splitlines()
    except (OSError, UserError) as error:
        scanned.bad.append(BadRow(path, f"its captions cannot be read and were skipped: {error}"))
        return ()
    return tuple(dict.fromkeys(filter(None, map(clean_caption, lines))))


@dataclass(frozen=True, slots=True)
class _IndexedRow:
    """A row of the index."""

    row: int
    size: int
    time: int
    state: int
    captions: tuple[str, ...]
    labels: Mapping[str, str]

    def is_unchanged(self, image: SourceImage) -> bool:
        """Whether ``image`` is unchanged and does not need another attempt."""
        same = (self.size, self.time) == (max(image.size, 0), image.time)
        return same and self.state != UNREADABLE and self.captions == image.captions and self.labels == image.labels


def compare(reader: IndexReader | None, scanned: Scan, drop_missing: bool = False) -> Changes:
    """The changes that make the index match the source ``scanned``.

    Images in unreachable folders are kept, unless ``drop_missing``. Raises IndexFolderError if all images of the
    index are missing, since then the folder is probably unavailable.
    """
    if reader is None:
        return Changes(np.zeros(0, np.bool_), scanned.images, added=len(scanned.images))
    before = _indexed_rows(reader)
    total = len(before)
    changes = Changes(~reader.valid_rows(), [])
    for image in scanned.images:
        old = before.pop(image.path, None)
        if old is not None and old.is_unchanged(image):
            changes.unchanged += 1
            continue
        if old is None:
            changes.added += 1
        else:
            changes.changed += 1
            changes.outdated[old.row] = True
        changes.pending.append(image)
    _remove_missing(changes, before, scanned, drop_missing)
    if total and changes.removed == total and not drop_missing:
        raise IndexFolderError(
            f"none of the {total} images of the index is in {scanned.source}; if they moved, run the command with "
            "--relocate OLD NEW; if they were deleted, run it with --drop-missing. The index is unchanged."
        )
    return changes


def _indexed_rows(reader: IndexReader) -> dict[str, _IndexedRow]:
    """Valid rows by path."""
    rows = np.flatnonzero(reader.valid_rows())
    facts = reader.facts[rows]
    numbers = zip(rows.tolist(), facts["size"].tolist(), facts["time"].tolist(), facts["state"].tolist(), strict=True)
    return {
        record.path: _IndexedRow(*values, record.captions, dict(record.labels))
        for record, values in zip(reader.records(rows.tolist()), numbers, strict=True)
    }


def _remove_missing(changes: Changes, before: Mapping[str, _IndexedRow], scanned: Scan, drop_missing: bool) -> None:
    """Mark rows that the source no longer contains as removed, except in unreachable folders."""
    new = {(image.path.rpartition(os.sep)[2], image.size, image.time): image.path for image in changes.pending}
    unreachable = tuple(folder + os.sep for folder in scanned.unreachable)
    is_reachable: dict[str, bool] = {}
    for path, old in before.items():
        folder, _, name = path.rpartition(os.sep)
        is_unreachable = path.startswith(unreachable) if unreachable else False
        if not scanned.is_folder:
            if folder not in is_reachable:
                member = split_member(path)
                is_reachable[folder] = is_folder(Path(member.tar).parent if member else folder)
            is_unreachable = not is_reachable[folder]
        if is_unreachable and not drop_missing:
            changes.unchanged += 1
            changes.unreachable += 1
            continue
        changes.removed += 1
        changes.outdated[old.row] = True
        moved_to = new.get((name, old.size, old.time))
        if moved_to is not None:
            changes.moved.append((path, moved_to))
