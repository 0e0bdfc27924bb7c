"""Creates, updates, repairs and relocates an index (``sdgui-core index``).

Flow: source -> scan -> encoding -> storage, one segment at a time; then acceleration files. A killed build resumes at
its last segment and gives the same bytes as an uninterrupted one.
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
from core.search.errors import IndexFolderError, NoImagesError, UnusableIndexError
from core.search.index.acceleration import describe, layout, update_acceleration
from core.search.index.files import sizes_of, truncate_to_files
from core.search.index.manifest import MAX_REMOVED_RANGES, SEGMENT_ROWS, Identity, Manifest, read_manifest
from core.search.index.source_changes import Changes, Scan, SourceImage, compare, scan
from core.search.index.storage import HAS_VECTOR, RETRY_LATER, Entry, IndexReader, IndexWriter
from core.spec.config import expand_user
from core.spec.paths import is_folder
from core.spec.reading import excerpt
from core.spec.reporter import Progress
from core.spec.run.model_names import exact_name
from core.spec.shards import absolute_pattern, file_of, is_shards

if TYPE_CHECKING:
    from core.search.index.encoding import Encoder

Log = Callable[[str], None]

COMPACT_FROM = 0.2  # share of removed rows above which the files are rewritten
MAX_LISTED = 100  # unreadable images that a report lists


@dataclass
class Report:
    """The result of a build."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    unreachable: int = 0  # images that are kept although their folder is unreachable
    rebuilt: int = 0  # rows of damaged segments
    images: int = 0  # searchable images afterwards
    captions: int = 0
    bad: list[BadRow] = field(default_factory=list)  # at most `MAX_LISTED`
    search_method: str = ""
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
    """Create or update the index ``folder`` of ``source`` with ``model``; encode only new images.

    Raises IndexFolderError if the index has another model or source or is locked by another process, and the errors of
    `open_model` and of the source. Committed data is always kept.
    """
    start = time.monotonic()
    path = absolute_pattern(source) if is_shards(source) else str(expand_user(source).absolute())
    name, exact_weights = exact_name(model, weights)
    with closing(IndexWriter(folder)) as writer:
        work = _Build(writer, progress, log)
        progress("scanning the source", 0, 0)
        before = read_manifest(writer.folder)
        if before is None:
            writer.require_empty_or_index()
        else:
            _check_same_source(before, name, exact_weights, path, writer.folder)
            before = work.repair(before)
        scanned = scan(path)
        if before is None and not scanned.images:
            raise NoImagesError(f"{source} contains no images; choose a folder of images, or a manifest.")
        changes = compare(work.reader, scanned, drop_missing)
        encoder: Encoder | None = None
        if before is None:
            encoder = _open_encoder(name, exact_weights)
            before = Manifest(encoder.identity, path)
        elif changes.pending:
            encoder = _open_encoder(name, exact_weights)
            check_identity(before.identity, encoder.identity, writer.folder)
        manifest = work.update(before, changes, encoder, scanned)
        work.fill_report(changes, scanned, manifest)
    work.report.seconds = time.monotonic() - start
    return work.report


def _open_encoder(name: str, weights: str) -> Encoder:
    from core.search.index.encoding import open_encoder  # noqa: PLC0415  (loads torch, slower than finding no change)

    return open_encoder(name, weights)


class _Build:
    """One build of an index, with its report."""

    def __init__(self, writer: IndexWriter, progress: Progress, log: Log) -> None:
        self.writer, self.progress, self.log = writer, progress, log
        self.reader: IndexReader | None = None
        self.report = Report()
        self._parts = 0

    def repair(self, manifest: Manifest) -> Manifest:
        """Truncate uncommitted data, and remove rows with wrong checksums so that they are encoded again."""
        claimed, manifest = manifest, truncate_to_files(manifest, sizes_of(self.writer.folder, manifest))
        self.writer.prepare(manifest)
        if manifest is not claimed:  # the data files are shorter than the manifest says
            self.writer.commit(manifest)
        self.reader = IndexReader(self.writer.folder)
        wrong = self.reader.check()
        lost_segments = len(claimed.segments) - len(manifest.segments)
        if not wrong and not lost_segments:
            return manifest
        invalid = ~self.reader.valid_rows()
        lost = claimed.rows - manifest.rows - sum(count for _, count in claimed.removed)
        self.report.rebuilt = int(invalid.sum()) + lost
        segments = list(manifest.segments)
        for number, checksums in wrong.items():
            segments[number] = replace(segments[number], checksums=checksums)
        self.log(
            f"{len(wrong) + lost_segments} of {len(claimed.segments)} segments of {self.writer.folder} are damaged; "
            f"their {self.report.rebuilt} images are encoded again."
        )
        manifest = replace(manifest, segments=tuple(segments), complete=False, nearest={})
        manifest = self.writer.commit(manifest.with_removed(invalid))
        self.reader = IndexReader(self.writer.folder)
        return manifest

    def update(self, manifest: Manifest, changes: Changes, encoder: Encoder | None, scanned: Scan) -> Manifest:
        """Remove outdated rows, append pending images, and update acceleration files."""
        if (changes.outdated != manifest.removed_rows()).any():  # more rows are outdated than are already removed
            manifest = self._commit_removals(replace(manifest.with_removed(changes.outdated), complete=False))
        if not manifest.rows:
            self.writer.prepare(manifest)
        if encoder is not None:
            manifest = self._append(manifest, changes.pending, encoder, scanned)
        if manifest.rows and manifest.removed_rows().mean() > COMPACT_FROM:
            manifest = self._compact(IndexReader(self.writer.folder), manifest)
        if not manifest.complete:
            self.writer.commit(manifest)
        nearest = update_acceleration(self.writer.folder, manifest, self.progress)
        if not manifest.complete or nearest != manifest.nearest:
            manifest = self.writer.commit(replace(manifest, complete=True, nearest=nearest))
            self.writer.prepare(manifest)
        return manifest

    def _commit_removals(self, manifest: Manifest) -> Manifest:
        """Commit removed rows. Rewrite the files if the removed rows are too scattered to list."""
        if len(manifest.removed) <= MAX_REMOVED_RANGES:
            return self.writer.commit(manifest)
        reader = IndexReader(self.writer.folder)
        reader.manifest = manifest
        return self._compact(reader, manifest)

    def _compact(self, reader: IndexReader, manifest: Manifest) -> Manifest:
        self.progress("rewriting the index without removed images", 0, 0)
        manifest = self.writer.rewrite(reader, manifest)
        self.writer.prepare(manifest)
        return manifest

    def _append(self, manifest: Manifest, pending: Sequence[SourceImage], encoder: Encoder, scanned: Scan) -> Manifest:
        encoded = 0
        segment: list[Entry] = []
        if pending:
            self.progress("encoding images", 0, len(pending))
        with closing(encoder.entries(pending)) as batches:
            for batch in batches:
                _check_images_exist(batch, scanned, self.writer.folder)
                segment.extend(batch)
                encoded += len(batch)
                if len(segment) >= SEGMENT_ROWS or encoded == len(pending):
                    manifest = self.writer.append(replace(manifest, complete=False), segment)
                    segment = []
                    manifest = self._accelerate(manifest)
                self.progress("encoding images", encoded, len(pending))
        return manifest

    def _accelerate(self, manifest: Manifest) -> Manifest:
        """Update the acceleration files whenever the growing index has filled another part."""
        parts = sum(part.kind != "memory" for part in layout(manifest.rows, manifest.identity.dim))
        if parts <= self._parts:
            return manifest
        self._parts = parts
        acceleration = update_acceleration(self.writer.folder, manifest, self.progress, trust=True)
        return self.writer.commit(replace(manifest, nearest=acceleration))

    def fill_report(self, changes: Changes, scanned: Scan, manifest: Manifest) -> None:
        """Fill in the report and log notes."""
        report, reader = self.report, IndexReader(self.writer.folder)
        report.added, report.changed, report.removed = changes.added, changes.changed, changes.removed
        report.unchanged, report.unreachable = changes.unchanged, changes.unreachable
        valid = reader.valid_rows()
        alive = reader.alive()
        report.images = int(alive.sum())
        report.captions = int(reader.facts["texts"][alive].sum())
        bad_rows = np.flatnonzero(valid & (reader.facts["state"] != HAS_VECTOR))
        report.bad = scanned.bad[:MAX_LISTED]
        report.bad += [BadRow(record.path, record.reason) for record in reader.records(bad_rows[:MAX_LISTED].tolist())]
        report.search_method = describe(manifest)
        for folder in scanned.unreachable:
            self.log(f"{folder} is unreachable; its images stay in the index.")


def relocate(folder: Path | str, old: str, new: str, progress: Progress) -> int:
    """Change paths of images from ``old`` to ``new`` and keep the vectors. Returns the number of images.

    Raises IndexFolderError if no image is under ``old``, the index is damaged, or the folder ``new`` is missing.
    """
    before, after = (str(expand_user(path).absolute()).rstrip(os.sep) for path in (old, new))
    if not is_folder(after):
        raise IndexFolderError(f"there is no folder {after}; choose the folder that now contains the images.")
    with closing(IndexWriter(folder)) as writer:
        reader = IndexReader(writer.folder)
        if reader.check() or reader.lost:  # rewriting would write valid checksums for damaged vectors
            raise IndexFolderError(f"the index {folder} is damaged; run sdgui-core index without --relocate first.")
        manifest = reader.manifest
        rows = np.flatnonzero(reader.valid_rows()).tolist()
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
    """Raise UnusableIndexError, with both names, if vectors of ``model`` and the index are not comparable."""
    if index.digest != model.digest:
        raise UnusableIndexError(
            f"the index {folder} was built with {excerpt(index.title)} (weights {excerpt(index.digest)}), not "
            f"{model.title} (weights {model.digest}); use that model, or index into another folder."
        )
    for name, value in model.preprocessing.items():
        if index.preprocessing.get(name) != value:
            raise UnusableIndexError(
                f"the index {folder} was built with {excerpt(index.title)} from images with {name} "
                f"{excerpt(index.preprocessing.get(name))}, but {model.title} uses {name} {value}; "
                "index into another folder."
            )


def _check_same_source(manifest: Manifest, name: str, weights: str, source: str, folder: Path) -> None:
    identity = manifest.identity
    if (identity.model, identity.weights) != (name, weights):
        requested = f"{name} ({weights})" if weights else name
        raise IndexFolderError(
            f"the index {folder} was built with {identity.title}, not {requested}; index into another folder, "
            f"or use that model."
        )
    if manifest.source != source:
        raise IndexFolderError(
            f"the index {folder} was built from {manifest.source}, not from {source}; index into another folder, "
            f"or, if the images moved, run the command with --relocate {manifest.source} {source}."
        )


def _check_images_exist(batch: Sequence[Entry], scanned: Scan, folder: Path) -> None:
    """Raise IndexFolderError if no image of a batch can be opened, and the first does not exist."""
    if any(entry.state != RETRY_LATER for entry in batch):
        return
    first = Path(file_of(batch[0].record.path))
    root = Path(scanned.source) if scanned.is_folder else first.parent
    try:
        is_reachable = root.is_dir() and first.exists()
    except OSError:
        is_reachable = False
    if not is_reachable:
        raise IndexFolderError(
            f"{first} no longer exists: it was moved or deleted, or {root} was disconnected, while images were "
            f"encoded. The images encoded so far are saved in {folder}. Check {root} and run the same command again."
        )
