"""What changed in a source, by name, size and time of change: no image is opened, nothing is hashed.

Flow: source (a manifest, or any folder of images) -> ``scan`` -> ``compare`` with what the index knows -> build. In a
folder, ``NAME.txt`` beside an image holds its captions, a line each; the folder right under the top is its label
``folder``. Captions are not needed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.data.errors import BadRow
from core.data.sources.folders import IMAGE_SUFFIXES, LONGEST_SIDECAR, leads_to_folder
from core.data.sources.manifests import is_text
from core.data.sources.opening import open_source
from core.data.sources.rows import NO_LABELS, SCAN_FROM, clean_caption
from core.search.errors import IndexFolderError
from core.search.index.storage import UNREADABLE, IndexReader, Mask
from core.spec.config import expand_user
from core.spec.errors import UserError
from core.spec.paths import is_folder
from core.spec.reading import read_text
from core.spec.shards import is_shards, split_member

MISSING = -1  # size of a file that is not there


@dataclass(frozen=True, slots=True)
class Found:
    """An image of the source."""

    path: str
    size: int  # bytes; MISSING when it could not be read
    time: int  # of its last change, nanoseconds
    captions: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)


@dataclass
class Scan:
    """All images of a source in its order; ``unreachable`` are folders that cannot be read."""

    source: str
    found: list[Found]
    bad: list[BadRow] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)
    is_folder: bool = False


@dataclass
class Changes:
    """What is new against an index."""

    gone: Mask  # (N,) rows of images that are no more, or have changed
    fresh: list[Found]  # to be encoded, in the order of the source
    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0  # of the source, or kept
    away: int = 0  # kept though their folder does not answer
    moved: list[tuple[str, str]] = field(default_factory=list)  # removed and added under the same name, size and time


def scan(source: str) -> Scan:
    """The images of ``source``, a manifest or a folder.

    Raises DataError for a manifest that cannot be read, IndexFolderError for a folder that is not there.
    """
    path = expand_user(source)
    if is_folder(path) and not is_shards(source):
        return _scan_folder(path)
    if not is_shards(source) and not os.path.exists(path):  # noqa: PTH110
        raise IndexFolderError(
            f"{source} is not there now; if it is a network folder, connect it and run again: the index stays as it is."
        )
    rows = open_source(source)
    facts = _stat_all([row.file for row in rows.rows])
    found = [Found(row.file, *facts[row.file], row.captions, row.labels) for row in rows.rows]
    return Scan(str(path), found, list(rows.bad))


def _stat_all(files: list[str]) -> dict[str, tuple[int, int]]:
    """Size and time of each file; a folder with many of them is listed once."""
    folders: dict[str, list[str]] = {}
    for file in files:
        folders.setdefault(file.rpartition(os.sep)[0], []).append(file)
    facts: dict[str, tuple[int, int]] = {}
    for folder, members in folders.items():
        wanted = set(members)
        if len(members) >= SCAN_FROM:
            with contextlib.suppress(OSError), os.scandir(folder or os.sep) as entries:
                for entry in entries:
                    file = f"{folder}{os.sep}{entry.name}"
                    if file in wanted:
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
        status = os.stat(member.tar if member else file)  # noqa: PTH116  (once for each of perhaps a million)
    except OSError:
        return MISSING, 0
    return member.size if member else status.st_size, status.st_mtime_ns


def _scan_folder(root: Path) -> Scan:
    top = str(root.absolute())
    scanned = Scan(str(root), [], is_folder=True)
    for folder in _walk(top, scanned, set()):
        inside = folder[len(top) :].strip(os.sep).partition(os.sep)[0]
        labels = {"folder": inside} if inside else NO_LABELS
        _take(folder, labels, scanned)
    return scanned


def _walk(path: str, scanned: Scan, seen: set[tuple[int, int]]) -> Iterator[str]:
    """``path`` and the folders under it, sorted by name; hidden ones are left out, a cycle of links ends."""
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
    for one in inner:
        yield from _walk(one, scanned, seen)


def _leads_to_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _take(folder: str, labels: Mapping[str, str], scanned: Scan) -> None:
    """The images right in ``folder``."""
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
            shown = file.encode("utf-8", "replace").decode()
            scanned.bad.append(BadRow(shown, "its name is not valid text; rename it"))
            continue
        stem = name.rpartition(".")[0]
        captions = _sidecar(f"{folder}{os.sep}{stem}.txt", scanned) if stem in texts else ()
        scanned.found.append(Found(file, size, time, captions, labels))


def _sidecar(path: str, scanned: Scan) -> tuple[str, ...]:
    try:
        lines = read_text(path, LONGEST_SIDECAR, encoding="utf-8-sig").splitlines()
    except (OSError, UserError) as error:
        scanned.bad.append(BadRow(path, f"the captions cannot be read and are left out: {error}"))
        return ()
    return tuple(dict.fromkeys(filter(None, map(clean_caption, lines))))


@dataclass(frozen=True, slots=True)
class _Known:
    """A row of the index."""

    row: int
    size: int
    time: int
    state: int
    captions: tuple[str, ...]
    labels: Mapping[str, str]

    def is_still(self, one: Found) -> bool:
        """Whether nothing changed, and there is no reason to try again."""
        same = (self.size, self.time) == (max(one.size, 0), one.time)
        return same and self.state != UNREADABLE and self.captions == one.captions and self.labels == one.labels


def compare(reader: IndexReader | None, scanned: Scan, drop_missing: bool = False) -> Changes:
    """What a build has to do, so that the index holds what ``scanned`` found.

    Images in folders that did not answer are kept, unless ``drop_missing``. Raises IndexFolderError when nothing of
    what the index holds is there any more, which is a folder that went away rather than a wish.
    """
    if reader is None:
        return Changes(np.zeros(0, np.bool_), scanned.found, added=len(scanned.found))
    before = _known(reader)
    known = len(before)
    changes = Changes(~reader.known(), [])
    for one in scanned.found:
        old = before.pop(one.path, None)
        if old is not None and old.is_still(one):
            changes.unchanged += 1
            continue
        if old is None:
            changes.added += 1
        else:
            changes.changed += 1
            changes.gone[old.row] = True
        changes.fresh.append(one)
    _drop(changes, before, scanned, drop_missing)
    if known and changes.removed == known and not drop_missing:
        raise IndexFolderError(
            f"none of the {known} images of the index is in {scanned.source} any more; if they moved, run "
            "`index` with --relocate OLD NEW, and if they are really gone, with --drop-missing. Nothing was changed."
        )
    return changes


def _known(reader: IndexReader) -> dict[str, _Known]:
    """Every row that counts, by path."""
    rows = np.flatnonzero(reader.known())
    facts = reader.facts[rows]
    numbers = zip(rows.tolist(), facts["size"].tolist(), facts["time"].tolist(), facts["state"].tolist(), strict=True)
    return {
        record.path: _Known(*four, record.captions, dict(record.labels))
        for record, four in zip(reader.records(rows.tolist()), numbers, strict=True)
    }


def _drop(changes: Changes, before: Mapping[str, _Known], scanned: Scan, drop_missing: bool) -> None:
    """Rows that the source no longer has are gone, but for those in folders that did not answer."""
    new = {(one.path.rpartition(os.sep)[2], one.size, one.time): one.path for one in changes.fresh}
    unreachable = tuple(folder + os.sep for folder in scanned.unreachable)
    answers: dict[str, bool] = {}
    for path, old in before.items():
        folder, _, name = path.rpartition(os.sep)
        away = path.startswith(unreachable) if unreachable else False
        if not scanned.is_folder:
            if folder not in answers:
                member = split_member(path)
                answers[folder] = is_folder(Path(member.tar).parent if member else folder)
            away = not answers[folder]
        if away and not drop_missing:
            changes.unchanged += 1
            changes.away += 1
            continue
        changes.removed += 1
        changes.gone[old.row] = True
        moved = new.get((name, old.size, old.time))
        if moved is not None:
            changes.moved.append((path, moved))
