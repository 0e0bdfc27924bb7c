"""Changes in a source by name, size and modification time, without opening or hashing images.

Flow: source (a manifest, or any folder of images) -> ``scan`` -> ``compare`` with the index -> build. In a folder,
``NAME.txt`` next to an image may contain captions, one per line; the top-level subfolder is the label ``folder``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.data.errors import BadRow
from core.data.sources.folders import MAX_SIDECAR_BYTES, has_image_suffix, walk_folders
from core.data.sources.manifests import is_text
from core.data.sources.opening import open_source
from core.data.sources.rows import NO_LABELS, clean_caption
from core.search.errors import AllMissingError, IndexFolderError, NoImagesError
from core.search.index.storage import RETRY_LATER, IndexReader, Mask
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
    images = [SourceImage(row.file, *size_and_time(row.file), row.captions, row.labels) for row in rows.rows]
    return Scan(str(path), images, list(rows.bad))


def size_and_time(file: str) -> tuple[int, int]:
    """The size of an image in bytes (`MISSING` if the file cannot be found) and its modification time in ns."""
    member = split_member(file)
    try:
        status = os.stat(member.tar if member else file)  # noqa: PTH116  (faster; called for up to a million files)
    except OSError:
        return MISSING, 0
    return member.size if member else status.st_size, status.st_mtime_ns


def _scan_folder(root: Path) -> Scan:
    top = str(root.absolute())
    scanned = Scan(str(root), [], is_folder=True)
    for folder, files in walk_folders(top):
        inside = folder[len(top) :].strip(os.sep).partition(os.sep)[0]
        try:
            if isinstance(files, OSError):
                raise files
            _add_images(files, {"folder": inside} if inside else NO_LABELS, scanned)
        except OSError:
            scanned.unreachable.append(folder)
    return scanned


def _is_image(file: os.DirEntry[str]) -> bool:
    try:
        return has_image_suffix(file.name) and file.is_file()
    except OSError:  # a link to itself
        return False


def _add_images(files: list[os.DirEntry[str]], labels: Mapping[str, str], scanned: Scan) -> None:
    """Add the images among the files of a folder."""
    texts = {file.path for file in files if file.name.endswith(".txt")}
    images = [(file.path, file.stat()) for file in files if _is_image(file)]
    for path, status in images:
        if not is_text(path):
            printable = path.encode("utf-8", "replace").decode()
            scanned.bad.append(BadRow(printable, "its name is not valid text; rename it"))
            continue
        sidecar = f"{path.rpartition('.')[0]}.txt"
        captions = _sidecar(sidecar, scanned) if sidecar in texts else ()
        scanned.images.append(SourceImage(path, status.st_size, status.st_mtime_ns, captions, labels))


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
        return same and self.state != RETRY_LATER and self.captions == image.captions and self.labels == image.labels


def compare(reader: IndexReader | None, scanned: Scan, drop_missing: bool = False) -> Changes:
    """The changes that make the index match the source ``scanned``.

    Images in unreachable folders are kept, unless ``drop_missing``. Raises IndexFolderError if all images of the
    index are missing, since then the folder is probably unavailable.
    """
    if reader is None:
        return Changes(np.zeros(0, np.bool_), scanned.images, added=len(scanned.images))
    before = _indexed_rows(reader)
    total = len(before)
    changes = Changes(np.ones(len(reader), np.bool_), [])
    changes.outdated[[indexed.row for indexed in before.values()]] = False  # --relocate may leave two rows of a path
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
        raise (AllMissingError if scanned.images else NoImagesError)(
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
    unreachable = tuple(folder + os.sep for folder in scanned.unreachable)
    is_reachable: dict[str, bool] = {}
    for path, old in before.items():
        folder = path.rpartition(os.sep)[0]
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
