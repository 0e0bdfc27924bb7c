"""``python -m core index``: make an index, bring it up to date, mend it, move it along with its images.

Flow: source -> scanning -> encoding -> storage, a segment at a time; then what makes searching fast.
A build that was killed goes on from its last segment, and its bytes are those of one that was not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.data.errors import BadRow
from core.search.errors import IndexFolderError
from core.search.index.acceleration import describe, layout, update_acceleration
from core.search.index.manifest import BLOCK, MOST_REMOVED, Identity, Manifest, read_manifest
from core.search.index.source_changes import Changes, Found, Scan, compare, scan
from core.search.index.storage import GOOD, UNREADABLE, Entry, IndexReader, IndexWriter
from core.spec.config import expand_user
from core.spec.paths import is_folder
from core.spec.run.model_names import exact_name
from core.spec.shards import absolute_pattern, file_of, is_shards

if TYPE_CHECKING:
    from core.search.index.encoding import Encoder

Progress = Callable[[str, int, int], None]  # (doing, done, total); may raise to end the work
Log = Callable[[str], None]

COMPACT_FROM = 0.2  # share of removed rows from which on the files are written anew
LISTED = 100  # unreadable and moved images kept in a report


@dataclass
class Report:
    """What a build did."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    away: int = 0  # kept though their folder does not answer now
    rebuilt: int = 0  # rows of damaged segments
    images: int = 0  # that can be found, after it
    captions: int = 0
    bad: list[BadRow] = field(default_factory=list)  # the first of them
    moved: list[tuple[str, str]] = field(default_factory=list)
    nearest: str = ""  # how the index is searched
    seconds: float = 0.0


def build_index(
    model: str,
    source: str,
    folder: Path | str,
    progress: Progress,
    log: Log,
    *,
    weights: str = "",
    drop_missing: bool = False,
) -> Report:
    """Make the index ``folder`` of ``source`` by ``model``, or bring it up to date; only new images are encoded.

    Raises IndexFolderError when the index is of another model or source, or is being written elsewhere, and what
    `open_model` and the source raise. Whatever ends it, what was committed stays.
    """
    began = time.monotonic()
    path = absolute_pattern(source) if is_shards(source) else str(expand_user(source).absolute())
    name, chosen = exact_name(model, weights)
    with closing(IndexWriter(folder)) as writer:
        work = _Build(writer, progress, log)
        progress("scanning the source", 0, 0)
        before = read_manifest(writer.folder)
        if before is None:
            writer.refuse_foreign()
        else:
            _same(before, name, chosen, path, writer.folder)
            before = work.mend(before)
        scanned = scan(path)
        if before is None and not scanned.found:
            raise IndexFolderError(f"{source} holds no image; give a folder of images, or a manifest that names some.")
        changes = compare(work.reader, scanned, drop_missing)
        encoder: Encoder | None = None
        if before is None:
            encoder = _open(name, chosen)
            before = Manifest(encoder.identity, path)
        elif changes.fresh:
            encoder = _open(name, chosen)
            check_identity(before.identity, encoder.identity, writer.folder)
        manifest = work.update(before, changes, encoder, scanned)
        work.account(changes, scanned, manifest)
    work.report.seconds = time.monotonic() - began
    return work.report


def _open(name: str, weights: str) -> Encoder:
    from core.search.index.encoding import open_encoder  # noqa: PLC0415  (loads torch, which takes longer than finding no change)

    return open_encoder(name, weights)


class _Build:
    """One build; gathers its report."""

    def __init__(self, writer: IndexWriter, progress: Progress, log: Log) -> None:
        self.writer, self.progress, self.log = writer, progress, log
        self.reader: IndexReader | None = None
        self.report = Report()
        self._parts = 0

    def mend(self, manifest: Manifest) -> Manifest:
        """Cut off what was never committed, and give up rows whose bytes have changed: they are encoded again."""
        claimed, manifest = manifest, self.writer.borne_out(manifest)
        self.writer.prepare(manifest)
        if manifest is not claimed:  # rows at the end that the files lack
            self.writer.commit(manifest)
        self.reader = IndexReader(self.writer.folder)
        wrong = self.reader.check()
        lost = len(claimed.segments) - len(manifest.segments)
        if not wrong and not lost:
            return manifest
        gone = ~self.reader.known()
        self.report.rebuilt = int(gone.sum() - manifest.removed_rows().sum()) + _living(claimed) - _living(manifest)
        segments = list(manifest.segments)
        for number, found in wrong.items():
            segments[number] = replace(segments[number], checksums=found)
        self.log(
            f"{len(wrong) + lost} of {len(claimed.segments)} segments of {self.writer.folder} are damaged; "
            f"their {self.report.rebuilt} images are encoded again, the others are good."
        )
        manifest = replace(manifest, segments=tuple(segments), complete=False, nearest={})
        manifest = self.writer.commit(manifest.with_removed(gone))
        self.reader = IndexReader(self.writer.folder)
        return manifest

    def update(self, manifest: Manifest, changes: Changes, encoder: Encoder | None, scanned: Scan) -> Manifest:
        """Remove what is gone, append what is fresh, and make it fast to search."""
        if changes.gone.any() and (changes.gone != manifest.removed_rows()).any():
            manifest = self._without(replace(manifest.with_removed(changes.gone), complete=False))
        if not manifest.rows:
            self.writer.prepare(manifest)
        if encoder is not None:
            manifest = self._append(manifest, changes.fresh, encoder, scanned)
        if manifest.rows and manifest.removed_rows().mean() > COMPACT_FROM:
            manifest = self._compact(IndexReader(self.writer.folder), manifest)
        if not manifest.complete:
            self.writer.commit(manifest)
        nearest = update_acceleration(self.writer.folder, manifest, self.progress)
        if not manifest.complete or nearest != manifest.nearest:
            manifest = self.writer.commit(replace(manifest, complete=True, nearest=nearest))
            self.writer.prepare(manifest)
        return manifest

    def _without(self, manifest: Manifest) -> Manifest:
        """Commit that rows are removed; written anew without them where they lie too scattered to be listed."""
        if len(manifest.removed) <= MOST_REMOVED:
            return self.writer.commit(manifest)
        reader = IndexReader(self.writer.folder)
        reader.manifest = manifest
        return self._compact(reader, manifest)

    def _compact(self, reader: IndexReader, manifest: Manifest) -> Manifest:
        self.progress("rewriting the index without removed images", 0, 0)
        manifest = self.writer.rewrite(reader, manifest)
        self.writer.prepare(manifest)
        return manifest

    def _append(self, manifest: Manifest, fresh: Sequence[Found], encoder: Encoder, scanned: Scan) -> Manifest:
        done = 0
        segment: list[Entry] = []
        if fresh:
            self.progress("encoding images", 0, len(fresh))
        with closing(encoder.entries(fresh)) as batches:
            for batch in batches:
                _check_there(batch, scanned, self.writer.folder)
                segment.extend(batch)
                done += len(batch)
                if len(segment) >= BLOCK or done == len(fresh):
                    manifest = self.writer.append(replace(manifest, complete=False), segment)
                    segment = []
                    manifest = self._searchable(manifest)
                self.progress("encoding images", done, len(fresh))
        return manifest

    def _searchable(self, manifest: Manifest) -> Manifest:
        """While the index grows: what makes it fast to search, for each further part."""
        parts = sum(bool(part.kind != "memory") for part in layout(manifest.rows, manifest.identity.dim))
        if parts <= self._parts:
            return manifest
        self._parts = parts
        nearest = update_acceleration(self.writer.folder, manifest, self.progress, trust=True)
        return self.writer.commit(replace(manifest, nearest=nearest))

    def account(self, changes: Changes, scanned: Scan, manifest: Manifest) -> None:
        """Fill in the report and its notes."""
        report, reader = self.report, IndexReader(self.writer.folder)
        report.added, report.changed, report.removed = changes.added, changes.changed, changes.removed
        report.unchanged, report.away, report.moved = changes.unchanged, changes.away, changes.moved[:LISTED]
        known = reader.known()
        alive = reader.alive()
        report.images = int(alive.sum())
        report.captions = int(reader.facts["texts"][alive].sum())
        bad = np.flatnonzero(known & (reader.facts["state"] != GOOD))
        report.bad = scanned.bad[:LISTED]
        report.bad += [BadRow(one.path, one.reason) for one in reader.records(bad[:LISTED].tolist())]
        report.nearest = describe(manifest)
        for folder in scanned.unreachable:
            self.log(f"{folder} cannot be reached; its images stay in the index.")
        if changes.moved:
            old, new = changes.moved[0]
            self.log(f"{len(changes.moved)} images seem to have moved, such as {old} to {new}.")


def _living(manifest: Manifest) -> int:
    """Rows that are not removed."""
    return manifest.rows - sum(count for _, count in manifest.removed)


def relocate(folder: Path | str, old: str, new: str, progress: Progress) -> int:
    """The images under ``old`` are under ``new`` now, unchanged; returns how many. Vectors stay.

    Raises IndexFolderError when the index has none under ``old`` or is damaged, or there is no folder ``new``.
    """
    before, after = (str(expand_user(path).absolute()).rstrip(os.sep) for path in (old, new))
    if not is_folder(after):
        raise IndexFolderError(f"there is no folder {after}; name the folder that now holds the images.")
    with closing(IndexWriter(folder)) as writer:
        reader = IndexReader(writer.folder)
        if reader.check() or reader.lost:  # written anew, damaged vectors would have checksums that hold
            raise IndexFolderError(f"the index {folder} is damaged; run `index` without --relocate first.")
        manifest = reader.manifest
        rows = np.flatnonzero(reader.known()).tolist()
        paths = [record.path for record in reader.records(rows)]
        count = sum(path.startswith(before + os.sep) for path in paths)
        if not count:
            example = f", but under folders such as {Path(paths[0]).parent}" if paths else ""
            raise IndexFolderError(f"no image of the index {folder} is under {before}{example}; check --relocate.")
        progress("rewriting the index", 0, count)
        source = manifest.source
        if source == before or source.startswith(before + os.sep):
            source = after + source[len(before) :]
        manifest = writer.rewrite(reader, replace(manifest, source=source), {before + os.sep: after + os.sep})
        writer.prepare(manifest)
        writer.commit(replace(manifest, nearest=update_acceleration(writer.folder, manifest, progress)))
    return count


def check_identity(index: Identity, model: Identity, folder: Path) -> None:
    """IndexFolderError, with both names, when vectors of ``model`` cannot be compared with those of the index."""
    if index.digest != model.digest:
        raise IndexFolderError(
            f"the index {folder} was made by {index.title} (weights {index.digest}), not by {model.title} "
            f"(weights {model.digest}); use that model, or index into another folder."
        )
    for name, value in model.preprocessing.items():
        if index.preprocessing.get(name) != value:
            raise IndexFolderError(
                f"the index {folder} was made by {index.title} from images with {name} "
                f"{index.preprocessing.get(name)}, and {model.title} is shown them with {name} {value}; "
                "index into another folder."
            )


def _same(manifest: Manifest, name: str, weights: str, source: str, folder: Path) -> None:
    identity = manifest.identity
    if (identity.model, identity.weights) != (name, weights):
        asked = f"{name} ({weights})" if weights else name
        raise IndexFolderError(
            f"the index {folder} was made by {identity.title}, not by {asked}; index into another folder, "
            f"or name that model to go on."
        )
    if manifest.source != source:
        raise IndexFolderError(
            f"the index {folder} is of {manifest.source}, not of {source}; index into another folder, "
            f"or, if the images moved: --relocate {manifest.source} {source}."
        )


def _check_there(batch: Sequence[Entry], scanned: Scan, folder: Path) -> None:
    """IndexFolderError when a whole batch cannot be opened because its folder went away."""
    if any(entry.state != UNREADABLE for entry in batch):
        return
    first = Path(file_of(batch[0].record.path))
    root = Path(scanned.source) if scanned.is_folder else first.parent
    try:
        there = root.is_dir() and first.exists()
    except OSError:
        there = False
    if not there:
        raise IndexFolderError(
            f"{root} became unreachable while its images were read; what was encoded is safe in {folder}: "
            "connect it and run the same command again."
        )
