"""The data files of an index: vectors, facts and records of pictures, and the vectors of their captions.

Flow: build -> ``IndexWriter`` -> files -> ``IndexReader`` -> collection. Files are only appended to; the manifest says
how far they count. A picture is a row: ``pictures`` holds its vector (fp16), ``facts`` what is compared and filtered
by number, ``records`` a line of JSON (path, captions, labels), ``texts`` the vectors of its captions (fp16).

Legend: N rows, M captions, D embed.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import filelock
import numpy as np
import numpy.typing as npt

from core.index.errors import IndexFolderError
from core.index.manifest import BLOCK, KINDS, Manifest, Segment, four, read_manifest, write_manifest
from core.rundir import write_whole

Vectors = npt.NDArray[np.float16]
Mask = npt.NDArray[np.bool_]

GOOD, BROKEN, UNREADABLE = 0, 1, 2  # states of a row: with a vector; no picture; could not be opened, to be tried again
FACTS = np.dtype(
    [
        ("offset", "<u8"),  # of the record
        ("size", "<u8"),  # bytes of the picture's file
        ("time", "<i8"),  # of its last change, nanoseconds since the epoch
        ("first_text", "<u8"),
        ("length", "<u4"),  # of the record, bytes
        ("texts", "<u4"),  # captions
        ("state", "<u4"),
        ("reserved", "<u4"),
    ]
)

_OURS = re.compile(  # data files, what is made to search them, and what a killed build leaves of either
    r"(pictures|facts|records|texts)-\d{4,}\.bin(\.\d+\.tmp)?"
    r"|(scan|ivf)-\d{4,}-(pictures|texts)-\d{10,}(\.4bit)?\.(faiss|tmp)"
)


@dataclass(frozen=True)
class Record:
    """What is known of a picture in words; ``reason`` says why it has no vector."""

    path: str
    captions: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Entry:
    """A row to be appended: ``vector`` (D,) and ``texts`` (captions, D), both fp16; ``vector`` None when unreadable."""

    record: Record
    size: int
    time: int
    vector: Vectors | None
    texts: Vectors | None = None
    state: int = GOOD


@dataclass(frozen=True)
class _Span:
    """Where a segment lies: first row, first caption, first byte of its records."""

    row: int
    text: int
    byte: int
    segment: Segment


def spans(manifest: Manifest) -> Iterator[_Span]:
    """Every segment and where it begins."""
    row = text = byte = 0
    for segment in manifest.segments:
        yield _Span(row, text, byte, segment)
        row, text, byte = row + segment.rows, text + segment.texts, byte + segment.record_bytes


class IndexReader:
    """An index as its manifest was when it was opened. Nothing is loaded before it is asked for."""

    def __init__(self, folder: Path | str) -> None:
        """Raises IndexFolderError when there is no index, or it cannot be read."""
        self.folder = Path(folder)
        for _ in range(3):  # a rewrite may take the files away after the manifest was read
            self.manifest = _manifest(self.folder)
            try:
                self._map()
                break
            except FileNotFoundError:
                continue
            except OSError as error:
                raise IndexFolderError(f"cannot read the index {self.folder}: {error.strerror or error}.") from error
        else:
            raise IndexFolderError(
                f"data files of the index {self.folder} are missing; run `index` again to make them anew."
            )

    def _map(self) -> None:
        manifest, dim = self.manifest, self.manifest.identity.dim
        sizes = {kind: manifest.file(self.folder, kind).stat().st_size for kind in KINDS}
        self.damaged: list[int] = [  # numbers of segments that lie beyond the end of a file
            number
            for number, span in enumerate(spans(manifest))
            if any(end > sizes[kind] for kind, (_, end) in _extent(span, dim).items())
        ]
        self.pictures: Vectors = self._array("pictures", np.dtype("<f2"), (manifest.rows, dim), sizes)
        self.texts: Vectors = self._array("texts", np.dtype("<f2"), (manifest.texts, dim), sizes)
        self.facts: npt.NDArray[Any] = self._array("facts", FACTS, (manifest.rows,), sizes)

    def _array(self, kind: str, dtype: np.dtype[Any], shape: tuple[int, ...], sizes: dict[str, int]) -> Any:
        """The file, mapped; where it was cut off, rows that are not there read as zeros."""
        width = dtype.itemsize * int(np.prod(shape[1:]))
        whole = min(shape[0], sizes[kind] // width)
        if whole == 0:
            return np.zeros(shape, dtype)
        mapped = np.memmap(self.manifest.file(self.folder, kind), dtype, "r", shape=(whole, *shape[1:]))
        if whole == shape[0]:
            return mapped
        return np.concatenate([mapped, np.zeros((shape[0] - whole, *shape[1:]), dtype)])

    def __len__(self) -> int:
        return self.manifest.rows

    def check(self) -> dict[int, tuple[int, int, int, int]]:
        """The segments whose bytes differ from their checksums, by number, with those of the bytes that are there.

        Reads everything once; from then on ``damaged`` knows them.
        """
        wrong: dict[int, tuple[int, int, int, int]] = {}
        files = {kind: self.manifest.file(self.folder, kind).open("rb") for kind in KINDS}
        try:
            for number, span in enumerate(spans(self.manifest)):
                extents = _extent(span, self.manifest.identity.dim)
                found = four(_checksum_of(files[kind], *extents[kind]) for kind in KINDS)
                if found != span.segment.checksums:
                    wrong[number] = found
        finally:
            for file in files.values():
                file.close()
        self.damaged = list(wrong)
        return wrong

    def known(self) -> Mask:
        """(N,) rows that count: not removed, not in a damaged segment; unreadable pictures too."""
        known = ~self.manifest.removed_rows()
        bad = set(self.damaged)
        for number, span in enumerate(spans(self.manifest)):
            if number in bad:
                known[span.row : span.row + span.segment.rows] = False
        return known

    def alive(self) -> Mask:
        """(N,) rows that can be found: known, and with a vector."""
        alive: Mask = self.known() & (self.facts["state"] == GOOD)
        return alive

    def text_rows(self) -> npt.NDArray[np.int64]:
        """(M,) the row that each caption belongs to."""
        owner = np.full(self.manifest.texts, -1, dtype=np.int64)
        counts = self.facts["texts"].astype(np.int64)
        if int(counts.sum()) == len(owner):
            return np.repeat(np.arange(len(self), dtype=np.int64), counts)
        for row in np.flatnonzero(self.known()):  # a damaged segment misleads the count
            first = int(self.facts["first_text"][row])
            owner[first : first + int(counts[row])] = row
        return owner

    def records(self, rows: Iterable[int]) -> list[Record]:
        """The records of ``rows``, in their order."""
        facts = self.facts
        with self.manifest.file(self.folder, "records").open("rb") as file:
            found = []
            for row in rows:
                file.seek(int(facts["offset"][row]))
                found.append(parse_record(file.read(int(facts["length"][row]))))
        return found


def give_back(mapped: npt.NDArray[Any]) -> None:
    """Unmap what was touched of an array that is a mapped file, whole; the page cache keeps it.

    Linux maps 64 KiB to 2 MiB around each row that is read, so that soon all of the file would count as this process's.
    """
    file: object = mapped.base
    if isinstance(file, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        file.madvise(mmap.MADV_DONTNEED)


def _manifest(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    if manifest is None:
        raise IndexFolderError(f"there is no index in {folder}; make one: sdgui-core index MODEL SOURCE {folder}.")
    return manifest


def parse_record(line: bytes) -> Record:
    """A record from its line. IndexFolderError when it is none."""
    try:
        raw = json.loads(line)
        return Record(raw["path"], tuple(raw.get("captions", ())), raw.get("labels", {}), raw.get("reason", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IndexFolderError("a record of the index is damaged; run `index` again to rebuild it.") from error


def _line(record: Record) -> bytes:
    content: dict[str, Any] = {"path": record.path}
    for name in ("captions", "labels", "reason"):
        if value := getattr(record, name):
            content[name] = dict(value) if isinstance(value, Mapping) else value
    return json.dumps(content, ensure_ascii=False).encode() + b"\n"


def _extent(span: _Span, dim: int) -> dict[str, tuple[int, int]]:
    """First and last byte of a segment in each file."""
    width, segment = 2 * dim, span.segment
    return {
        "pictures": (span.row * width, (span.row + segment.rows) * width),
        "facts": (span.row * FACTS.itemsize, (span.row + segment.rows) * FACTS.itemsize),
        "records": (span.byte, span.byte + segment.record_bytes),
        "texts": (span.text * width, (span.text + segment.texts) * width),
    }


def _checksum_of(file: BinaryIO, start: int, end: int) -> int:
    file.seek(start)
    return zlib.crc32(file.read(end - start))


class IndexWriter:
    """The one process that changes an index; release it with ``close``."""

    def __init__(self, folder: Path | str) -> None:
        """Raises IndexFolderError when another process is writing, or the folder cannot be written."""
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = filelock.FileLock(self.folder / ".lock", timeout=0)
            self._lock.acquire()
        except filelock.Timeout as error:
            raise IndexFolderError(
                f"the index {self.folder} is being written by another process; wait until it is done."
            ) from error
        except OSError as error:
            raise IndexFolderError(
                f"cannot write the index {self.folder}: {error.strerror}; choose another."
            ) from error

    def close(self) -> None:
        """Let others write."""
        self._lock.release()

    def refuse_foreign(self) -> None:
        """Where there is no manifest: IndexFolderError for data files that no build of ours can have left."""
        exact, foreign = set(), []
        for path in self.folder.iterdir():
            if _OURS.fullmatch(path.name):
                exact.add(path)
            elif path.suffix in (".bin", ".faiss", ".tmp") and path.name.partition("-")[0] in (*KINDS, "scan", "ivf"):
                foreign.append(path.name)
        filled = [path.name for path in exact if path.suffix == ".bin" and path.stat().st_size]
        if set(KINDS) - {path.name.partition("-")[0] for path in exact}:  # a build begins with a file of each kind
            foreign += filled
        if foreign:
            raise IndexFolderError(f"{self.folder} holds {min(foreign)} but is not an index; choose an empty folder.")

    def prepare(self, manifest: Manifest) -> None:
        """Cut the files to what the manifest counts, and forget those of former generations."""
        kept = {manifest.file(self.folder, kind).name for kind in KINDS} | set(manifest.nearest.get("files", {}))
        for path in self.folder.iterdir():
            if _OURS.fullmatch(path.name) and path.name not in kept:
                path.unlink(missing_ok=True)
        last = dict.fromkeys(KINDS, 0)
        for span in spans(manifest):
            last = {kind: end for kind, (_, end) in _extent(span, manifest.identity.dim).items()}
        for kind in KINDS:
            path = manifest.file(self.folder, kind)
            path.touch()
            os.truncate(path, last[kind])  # grows a file that was cut off, so that what follows keeps its place

    def commit(self, manifest: Manifest) -> Manifest:
        """Make ``manifest`` the one that readers see."""
        write_manifest(self.folder, manifest)
        return manifest

    def append(self, manifest: Manifest, entries: Sequence[Entry]) -> Manifest:
        """Add a segment of ``entries``; returns the manifest that counts it, already committed."""
        dim = manifest.identity.dim
        texts = manifest.texts
        byte = sum(segment.record_bytes for segment in manifest.segments)
        facts = np.zeros(len(entries), FACTS)
        lines, captions = [], []
        for i, entry in enumerate(entries):
            line = _line(entry.record)
            count = 0 if entry.texts is None else len(entry.texts)
            facts[i] = (byte, entry.size, entry.time, texts, len(line), count, entry.state, 0)
            byte, texts = byte + len(line), texts + count
            lines.append(line)
            captions.append(entry.texts if entry.texts is not None else np.zeros((0, dim), np.float16))
        zero = np.zeros(dim, np.float16)
        content = {
            "pictures": np.stack([zero if e.vector is None else e.vector for e in entries]).astype("<f2").tobytes(),
            "facts": facts.tobytes(),
            "records": b"".join(lines),
            "texts": np.concatenate(captions).astype("<f2").tobytes(),
        }
        for kind in KINDS:
            with manifest.file(self.folder, kind).open("ab") as file:
                file.write(content[kind])
                file.flush()
                os.fsync(file.fileno())
        checksums = four(zlib.crc32(content[kind]) for kind in KINDS)
        segment = Segment(len(entries), texts - manifest.texts, len(content["records"]), checksums)
        return self.commit(replace(manifest, segments=(*manifest.segments, segment)))

    def rewrite(self, reader: IndexReader, manifest: Manifest, rename: Mapping[str, str] | None = None) -> Manifest:
        """A new generation with the known rows of ``reader`` alone; paths that begin with a key of ``rename`` change.

        Readers go on with the old files until the new manifest is there.
        """
        rows = np.flatnonzero(reader.known())
        new = replace(manifest, generation=manifest.generation + 1, segments=(), removed=(), nearest={})
        for kind in KINDS:
            write_whole(new.file(self.folder, kind), b"")
        quiet = _Uncommitted(self.folder)
        for start in range(0, len(rows), BLOCK):
            new = quiet.append(new, list(_entries(reader, rows[start : start + BLOCK].tolist(), rename or {})))
        return self.commit(new)


class _Uncommitted(IndexWriter):
    """Appends without a commit: nobody knows of the new generation yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def commit(self, manifest: Manifest) -> Manifest:
        return manifest


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
            np.array(reader.pictures[row]) if state == GOOD else None,
            np.array(reader.texts[first : first + count]) if count else None,
            state,
        )
