"""Reads and writes the data files of an index: vectors, facts and records of images, and vectors of captions.

Flow: build -> ``IndexWriter`` -> append-only files -> ``IndexReader`` -> collection. The manifest defines their valid
length. For each image, ``images`` has its vector (fp16), ``facts`` numbers for filters, ``records`` a line of JSON
(path, captions, labels), and ``texts`` the vectors of its captions (fp16).

Legend: N rows, M captions, D embed.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import filelock
import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, TypeAdapter, ValidationError

from core.data.sources.manifests import is_text
from core.search.errors import IndexFolderError, UnusableIndexError
from core.search.index.files import FACTS, checksum_of, covered_bytes, data_file, sizes_of, spans, truncate_to_files
from core.search.index.manifest import (
    DATA_FILES,
    SEGMENT_ROWS,
    Manifest,
    Segment,
    as_checksums,
    read_manifest,
    write_manifest,
)
from core.spec.errors import UserError, writing
from core.spec.files import write_whole

Vectors = npt.NDArray[np.float16]
Mask = npt.NDArray[np.bool_]

HAS_VECTOR, UNUSABLE, RETRY_LATER = 0, 1, 2  # states of a row; the next update tries to open RETRY_LATER again
_OWN_FILES = re.compile(  # data files, acceleration files, and leftovers of killed builds
    r"(images|facts|records|texts)-\d{4,}\.bin(\.\d+-[0-9a-f]{12}\.tmp)?"
    r"|(scan|ivf)-\d{4,}-(images|texts)-\d{10,}(\.4bit)?\.(faiss|tmp)"  # .4bit: the former name of ivf files
)
MAX_RECORD_BYTES = 8 << 20  # a foreign record of this size takes up to 20 times as much memory


def _check_text(value: str) -> str:
    """Raise ValueError for lone surrogates, which cannot be encoded."""
    if not is_text(value):
        raise ValueError("not valid text")
    return value


def _check_path(value: str) -> str:
    if not value or "\0" in value:
        raise ValueError("not a path")
    return _check_text(value)


Text = Annotated[str, AfterValidator(_check_text)]


@dataclass(frozen=True)
class Record:
    """The text data of an image. ``reason``: why the image has no vector."""

    path: Annotated[str, AfterValidator(_check_path)]
    captions: tuple[Text, ...] = ()
    labels: Mapping[Text, Text] = field(default_factory=dict)
    reason: Text = ""


@dataclass(frozen=True)
class Entry:
    """A row to append: ``vector`` (D,) and ``texts`` (captions, D), both fp16. ``vector`` is None if unreadable."""

    record: Record
    size: int
    time: int
    vector: Vectors | None
    texts: Vectors | None = None
    state: int = HAS_VECTOR


class IndexReader:
    """An index in the state of its manifest when it was opened. Data is loaded lazily."""

    def __init__(self, folder: Path | str) -> None:
        """Raises IndexFolderError if the index is missing or unreadable."""
        self.folder = Path(folder)
        for _ in range(3):  # a rewrite may remove the files after the manifest was read
            self.manifest = existing_manifest(self.folder)
            try:
                self._map()
                break
            except FileNotFoundError:
                continue
            except OSError as error:
                raise IndexFolderError(f"cannot read the index {self.folder}: {error.strerror or error}.") from error
        else:
            raise IndexFolderError(
                f"data files of the index {self.folder} are missing; run sdgui-core index again to rebuild them."
            )

    def _map(self) -> None:
        claimed = self.manifest
        with contextlib.ExitStack() as stack:
            files = {kind: stack.enter_context(data_file(self.folder, claimed, kind)) for kind in DATA_FILES}
            sizes = {kind: os.fstat(file.fileno()).st_size for kind, file in files.items()}
            manifest = self.manifest = truncate_to_files(claimed, sizes)
            self.lost = len(claimed.segments) - len(manifest.segments)  # segments at the end that the files lack
            self.damaged: list[int] = []  # numbers of segments found by `check`
            dim = manifest.identity.dim
            self.images: Vectors = _map_array(files["images"], np.dtype("<f2"), (manifest.rows, dim))
            self.texts: Vectors = _map_array(files["texts"], np.dtype("<f2"), (manifest.texts, dim))
            self.facts: npt.NDArray[Any] = _map_array(files["facts"], FACTS, (manifest.rows,))
            self._records: npt.NDArray[np.uint8] = _map_array(
                files["records"], np.dtype(np.uint8), (covered_bytes(manifest)["records"],)
            )

    def __len__(self) -> int:
        return self.manifest.rows

    def check(self) -> dict[int, tuple[int, int, int, int]]:
        """The segments with wrong checksums, by number, with their actual checksums.

        Reads everything once and sets ``damaged``.
        """
        wrong: dict[int, tuple[int, int, int, int]] = {}
        with contextlib.ExitStack() as stack:
            files = {kind: stack.enter_context(data_file(self.folder, self.manifest, kind)) for kind in DATA_FILES}
            for number, span in enumerate(spans(self.manifest)):
                extents = span.extents(self.manifest.identity.dim)
                checksums = as_checksums(checksum_of(files[kind], *extents[kind]) for kind in DATA_FILES)
                if checksums != span.segment.checksums:
                    wrong[number] = checksums
        self.damaged = list(wrong)
        return wrong

    def valid_rows(self) -> Mask:
        """Valid rows (N,): not removed and not in a damaged segment; includes unreadable images."""
        is_valid = ~self.manifest.removed_rows()
        damaged = set(self.damaged)
        for number, span in enumerate(spans(self.manifest)):
            if number in damaged:
                is_valid[span.row : span.row + span.segment.rows] = False
        return is_valid

    def alive(self) -> Mask:
        """Searchable rows (N,): valid and with a vector."""
        alive: Mask = self.valid_rows() & (self.facts["state"] == HAS_VECTOR)
        return alive

    def text_rows(self) -> npt.NDArray[np.int64]:
        """The row of each caption: (M,)."""
        owner = np.full(self.manifest.texts, -1, dtype=np.int64)
        counts = self.facts["texts"].astype(np.int64)
        if int(counts.sum()) == len(owner):
            return np.repeat(np.arange(len(self), dtype=np.int64), counts)
        previous_end = 0
        for row in np.flatnonzero(self.valid_rows()):  # counts in a damaged segment are wrong
            first = int(self.facts["first_text"][row])
            end = first + int(counts[row])
            if previous_end <= first and end <= len(owner):
                owner[first:end] = row
                previous_end = end
        return owner

    def records(self, rows: Iterable[int]) -> list[Record]:
        """The records of ``rows``, in order."""
        rows = list(rows)
        extents = zip(rows, self.facts["offset"][rows].tolist(), self.facts["length"][rows].tolist(), strict=True)
        records, content = [], self._records.data
        for row, start, length in extents:
            message = f"the record of row {row} of the index {self.folder} is damaged; run `index` again."
            if start + length > len(content) or length > MAX_RECORD_BYTES:
                raise UnusableIndexError(message)
            records.append(parse_record(bytes(content[start : start + length]), message))
        release_pages(self._records)
        return records


def _map_array(file: BinaryIO, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    """Map ``file`` as an array of ``shape``."""
    return np.memmap(file, dtype, "r", shape=shape) if shape[0] else np.zeros(shape, dtype)


def release_pages(mapped: npt.NDArray[Any]) -> None:
    """Release the resident pages of a mapped array; they stay in the page cache.

    Linux maps 64 KiB to 2 MiB around each row that is read, so that soon the process would map the full file.
    """
    file: object = mapped.base
    if isinstance(file, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        file.madvise(mmap.MADV_DONTNEED)


def existing_manifest(folder: Path) -> Manifest:
    """The manifest of the index in ``folder``. Raises IndexFolderError if there is none."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise IndexFolderError(f"there is no index in {folder}; create it: sdgui-core index MODEL SOURCE {folder}.")
    return manifest


_RECORD = TypeAdapter(Record)


def parse_record(line: bytes, message: str = "a record is damaged; index into another folder.") -> Record:
    """Parse the line of a record. Raises UnusableIndexError with ``message`` if it is invalid."""
    try:
        return _RECORD.validate_json(line)  # all fields are texts, so that numbers and nesting need no bounds
    except ValidationError as error:
        raise UnusableIndexError(message) from error


def _record_line(record: Record) -> bytes:
    values = {**vars(record), "labels": dict(record.labels)}
    content = {name: value for name, value in values.items() if value}
    return json.dumps(content, ensure_ascii=False).encode() + b"\n"


def is_too_large(record: Record) -> bool:
    """Whether `IndexReader.records` would refuse the record."""
    texts = (record.path, *record.captions, *record.labels, *record.labels.values())
    # A character has at most six bytes in JSON. Only the records of very long captions are written to be measured.
    return 6 * sum(map(len, texts)) > MAX_RECORD_BYTES // 2 and len(_record_line(record)) > MAX_RECORD_BYTES


class IndexWriter:
    """Exclusive write access to an index; release it with ``close``."""

    def __init__(self, folder: Path | str) -> None:
        """Raises IndexFolderError if another process is writing, or the folder cannot be written."""
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = filelock.FileLock(self.folder / ".lock", timeout=0)
            self._lock.acquire()
        except filelock.Timeout as error:
            message = f"the index {self.folder} is being written by another process; wait until it is done."
            raise IndexFolderError(message) from error
        except OSError as error:
            message = f"cannot write the index {self.folder}: {error.strerror}; choose another folder."
            raise IndexFolderError(message) from error

    def close(self) -> None:
        """Release the lock."""
        self._lock.release()

    def require_empty_or_index(self) -> None:
        """Raise IndexFolderError if the folder, which has no manifest, contains files that are not from a build."""
        own_files, foreign, file_kinds = set(), [], (*DATA_FILES, "scan", "ivf")
        for path in self.folder.iterdir():
            if _OWN_FILES.fullmatch(path.name):
                own_files.add(path)
            elif path.suffix in (".bin", ".faiss", ".tmp") and path.name.partition("-")[0] in file_kinds:
                foreign.append(path.name)
        non_empty = [path.name for path in own_files if path.suffix == ".bin" and path.stat().st_size]
        if set(DATA_FILES) - {path.name.partition("-")[0] for path in own_files}:  # a build starts with all of them
            foreign += non_empty
        if foreign:
            message = f"{self.folder} contains {min(foreign)} but is not an index; choose an empty folder."
            raise UnusableIndexError(message)

    def prepare(self, manifest: Manifest) -> None:
        """Truncate the files to the length of the manifest, and remove files of earlier generations.

        Raises IndexFolderError, without changes, when a file is a link, a pipe or too short.
        """
        sizes, covered = sizes_of(self.folder, manifest), covered_bytes(manifest)
        if any(sizes[kind] < covered[kind] for kind in DATA_FILES):
            raise IndexFolderError(f"data files of the index {self.folder} are truncated; run sdgui-core index again.")
        data_files = {manifest.file(self.folder, kind).name for kind in DATA_FILES}
        current_files = data_files | set(manifest.nearest.get("files", {}))
        with self._writing():
            for path in self.folder.iterdir():
                if _OWN_FILES.fullmatch(path.name) and path.name not in current_files:
                    path.unlink(missing_ok=True)
            for kind in DATA_FILES:
                path = manifest.file(self.folder, kind)
                path.touch()
                os.truncate(path, covered[kind])

    def commit(self, manifest: Manifest) -> Manifest:
        """Publish ``manifest`` to readers."""
        with self._writing():
            write_manifest(self.folder, manifest)
        return manifest

    def append(self, manifest: Manifest, entries: Sequence[Entry]) -> Manifest:
        """Append a segment of ``entries``, and return the new, committed manifest.

        On a full disk, undoes its writes and raises IndexFolderError.
        """
        before = covered_bytes(manifest)
        try:
            return self.commit(self._write_segment(manifest, entries))
        except IndexFolderError:
            self._undo_append(manifest, before)
            raise

    def _write_segment(self, manifest: Manifest, entries: Sequence[Entry]) -> Manifest:
        """Append a segment to the data files, and return the manifest that includes it."""
        content, texts = _content(manifest, entries)
        with self._writing():
            for kind in DATA_FILES:
                with manifest.file(self.folder, kind).open("ab") as file:
                    file.write(content[kind])
                    file.flush()
                    os.fsync(file.fileno())
        checksums = as_checksums(zlib.crc32(content[kind]) for kind in DATA_FILES)
        segment = Segment(len(entries), texts, len(content["records"]), checksums)
        return replace(manifest, segments=(*manifest.segments, segment))

    def _undo_append(self, manifest: Manifest, before: Mapping[str, int]) -> None:
        """Truncate appended data, unless the manifest already includes it."""
        with contextlib.suppress(OSError, UserError):
            current = read_manifest(self.folder)
            is_same_generation = current is not None and current.generation == manifest.generation
            if current is None or not is_same_generation or len(current.segments) <= len(manifest.segments):
                for kind in DATA_FILES:
                    os.truncate(manifest.file(self.folder, kind), before[kind])

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        return writing(self.folder, IndexFolderError, "committed data are kept")

    def rewrite(self, reader: IndexReader, manifest: Manifest, rename: Mapping[str, str] | None = None) -> Manifest:
        """Write a new generation with only the valid rows of ``reader``. ``rename``: old and new path prefix.

        Readers use the old files until the new manifest is committed. On a full disk the new files are removed.
        """
        rows = np.flatnonzero(reader.valid_rows())
        new = replace(manifest, generation=manifest.generation + 1, segments=(), removed=(), nearest={})
        try:
            with self._writing():
                for kind in DATA_FILES:
                    write_whole(new.file(self.folder, kind), b"")
            for start in range(0, len(rows), SEGMENT_ROWS):
                entries = list(_entries(reader, rows[start : start + SEGMENT_ROWS].tolist(), rename or {}))
                new = self._write_segment(new, entries)
            return self.commit(new)
        except IndexFolderError:
            current = read_manifest(self.folder)
            if current is not None and current.generation == manifest.generation:  # otherwise the new one is committed
                self.prepare(current)
            raise


def _content(manifest: Manifest, entries: Sequence[Entry]) -> tuple[dict[str, bytes], int]:
    """The bytes that ``entries`` append to each file, and the number of captions."""
    dim = manifest.identity.dim
    first = texts = manifest.texts
    byte = sum(segment.record_bytes for segment in manifest.segments)
    facts = np.zeros(len(entries), FACTS)
    lines, captions = [], []
    for i, entry in enumerate(entries):
        line = _record_line(entry.record)
        count = 0 if entry.texts is None else len(entry.texts)
        facts[i] = (byte, entry.size, entry.time, texts, len(line), count, entry.state, 0)
        byte, texts = byte + len(line), texts + count
        lines.append(line)
        captions.append(entry.texts if entry.texts is not None else np.zeros((0, dim), np.float16))
    zero = np.zeros(dim, np.float16)
    content = {
        "images": np.stack([zero if e.vector is None else e.vector for e in entries]).astype("<f2").tobytes(),
        "facts": facts.tobytes(),
        "records": b"".join(lines),
        "texts": np.concatenate(captions).astype("<f2").tobytes(),
    }
    return content, texts - first


def _entries(reader: IndexReader, rows: list[int], rename: Mapping[str, str]) -> Iterator[Entry]:
    for row, record in zip(rows, reader.records(rows), strict=True):
        fact = reader.facts[row]
        for old, new in rename.items():
            if record.path.startswith(old):
                record = replace(record, path=new + record.path[len(old) :])
        first, count, state = int(fact["first_text"]), int(fact["texts"]), int(fact["state"])
        yield Entry(
            record,
            int(fact["size"]),
            int(fact["time"]),
            np.array(reader.images[row]) if state == HAS_VECTOR else None,
            np.array(reader.texts[first : first + count]) if count else None,
            state,
        )
