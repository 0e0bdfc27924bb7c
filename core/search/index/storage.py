"""The data files of an index: vectors, facts and records of images, and the vectors of their captions.

Flow: build -> ``IndexWriter`` -> files -> ``IndexReader`` -> collection. Files are only appended to; the manifest says
how far they count. An image is a row: ``images`` holds its vector (fp16), ``facts`` what is compared and filtered
by number, ``records`` a line of JSON (path, captions, labels), ``texts`` the vectors of its captions (fp16).

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
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import filelock
import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, TypeAdapter

from core.data.sources.manifests import is_text
from core.search.errors import IndexFolderError
from core.search.index.files import FACTS, borne_out, checksum_of, data_file, ends, sizes_of, spans
from core.search.index.manifest import BLOCK, KINDS, Manifest, Segment, four, read_manifest, write_manifest
from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.reading import checked_as, parse_json

Vectors = npt.NDArray[np.float16]
Mask = npt.NDArray[np.bool_]

GOOD, BROKEN, UNREADABLE = 0, 1, 2  # states of a row: with a vector; no image; could not be opened, to be tried again
_OURS = re.compile(  # data files, what is made to search them, and what a killed build leaves of either
    r"(images|facts|records|texts)-\d{4,}\.bin(\.\d+-[0-9a-f]{12}\.tmp)?"
    r"|(scan|ivf)-\d{4,}-(images|texts)-\d{10,}(\.4bit)?\.(faiss|tmp)"
)
LONGEST_RECORD = 64 << 20  # bytes


def _text(value: str) -> str:
    """Refuses lone surrogates, which no writer can have encoded."""
    if not is_text(value):
        raise ValueError("it is not text")
    return value


def _path(value: str) -> str:
    if not value or "\0" in value:
        raise ValueError("it is no path")
    return _text(value)


Text = Annotated[str, AfterValidator(_text)]


@dataclass(frozen=True)
class Record:
    """What is known of an image as text; ``reason`` is why it has no vector."""

    path: Annotated[str, AfterValidator(_path)]
    captions: tuple[Text, ...] = ()
    labels: Mapping[Text, Text] = field(default_factory=dict)
    reason: Text = ""


@dataclass(frozen=True)
class Entry:
    """A row to be appended: ``vector`` (D,) and ``texts`` (captions, D), both fp16; ``vector`` None when unreadable."""

    record: Record
    size: int
    time: int
    vector: Vectors | None
    texts: Vectors | None = None
    state: int = GOOD


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
                f"data files of the index {self.folder} are missing; run `index` again to rebuild them."
            )

    def _map(self) -> None:
        claimed = self.manifest
        with ExitStack() as stack:
            files = {kind: stack.enter_context(data_file(self.folder, claimed, kind)) for kind in KINDS}
            sizes = {kind: os.fstat(file.fileno()).st_size for kind, file in files.items()}
            manifest = self.manifest = borne_out(claimed, sizes)
            self.lost = len(claimed.segments) - len(manifest.segments)  # segments at the end that the files lack
            self.damaged: list[int] = []  # numbers of segments that `check` found to be
            dim = manifest.identity.dim
            self.images: Vectors = _mapped(files["images"], np.dtype("<f2"), (manifest.rows, dim))
            self.texts: Vectors = _mapped(files["texts"], np.dtype("<f2"), (manifest.texts, dim))
            self.facts: npt.NDArray[Any] = _mapped(files["facts"], FACTS, (manifest.rows,))
            self._record_bytes = ends(manifest)["records"]

    def __len__(self) -> int:
        return self.manifest.rows

    def check(self) -> dict[int, tuple[int, int, int, int]]:
        """The segments whose bytes differ from their checksums, by number, with those of the bytes that are there.

        Reads everything once; from then on ``damaged`` knows them.
        """
        wrong: dict[int, tuple[int, int, int, int]] = {}
        with ExitStack() as stack:
            files = {kind: stack.enter_context(data_file(self.folder, self.manifest, kind)) for kind in KINDS}
            for number, span in enumerate(spans(self.manifest)):
                extents = span.extents(self.manifest.identity.dim)
                found = four(checksum_of(files[kind], *extents[kind]) for kind in KINDS)
                if found != span.segment.checksums:
                    wrong[number] = found
        self.damaged = list(wrong)
        return wrong

    def known(self) -> Mask:
        """(N,) rows that count: not removed, not in a damaged segment; unreadable images too."""
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
        end = 0
        for row in np.flatnonzero(self.known()):  # a damaged segment misleads the count
            first, last = int(self.facts["first_text"][row]), int(self.facts["first_text"][row]) + int(counts[row])
            if end <= first and last <= len(owner):
                owner[first:last] = row
                end = last
        return owner

    def records(self, rows: Iterable[int]) -> list[Record]:
        """The records of ``rows``, in their order."""
        facts = self.facts
        found = []
        with data_file(self.folder, self.manifest, "records") as file:
            for row in rows:
                start, length = int(facts["offset"][row]), int(facts["length"][row])
                if start + length > self._record_bytes or length > LONGEST_RECORD:
                    raise IndexFolderError(_damaged_record(self.folder, row))
                file.seek(start)
                found.append(parse_record(file.read(length), _damaged_record(self.folder, row)))
        return found


def _mapped(file: BinaryIO, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    """``file`` as an array of ``shape``, which it holds."""
    return np.memmap(file, dtype, "r", shape=shape) if shape[0] else np.zeros(shape, dtype)


def _damaged_record(folder: Path, row: int) -> str:
    return f"the record of row {row} of the index {folder} is damaged; run `index` again, or index into another folder."


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


_RECORD = TypeAdapter(Record)


def parse_record(line: bytes, otherwise: str = "a record is damaged; index into another folder.") -> Record:
    """A record from its line; IndexFolderError saying ``otherwise`` when it is none."""
    try:
        return checked_as(_RECORD, parse_json(line, "a record", error=IndexFolderError), "a record")
    except UserError as error:
        raise IndexFolderError(otherwise) from error


def _line(record: Record) -> bytes:
    content: dict[str, Any] = {"path": record.path}
    for name in ("captions", "labels", "reason"):
        if value := getattr(record, name):
            content[name] = dict(value) if isinstance(value, Mapping) else value
    return json.dumps(content, ensure_ascii=False).encode() + b"\n"


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

    def borne_out(self, manifest: Manifest) -> Manifest:
        """As much of ``manifest`` as the data files hold; raises as `data_file` does."""
        return borne_out(manifest, sizes_of(self.folder, manifest))

    def prepare(self, manifest: Manifest) -> None:
        """Cut the files to what the manifest counts, and remove those of earlier generations.

        Raises IndexFolderError, and changes nothing, where a file is a link, a pipe or shorter than what is counted.
        """
        sizes, last = sizes_of(self.folder, manifest), ends(manifest)
        if any(sizes[kind] < last[kind] for kind in KINDS):
            raise IndexFolderError(f"data files of the index {self.folder} are cut off; run `index` again.")
        kept = {manifest.file(self.folder, kind).name for kind in KINDS} | set(manifest.nearest.get("files", {}))
        with self._writing():
            for path in self.folder.iterdir():
                if _OURS.fullmatch(path.name) and path.name not in kept:
                    path.unlink(missing_ok=True)
            for kind in KINDS:
                path = manifest.file(self.folder, kind)
                path.touch()
                os.truncate(path, last[kind])

    def commit(self, manifest: Manifest) -> Manifest:
        """Make ``manifest`` the one that readers see."""
        with self._writing():
            write_manifest(self.folder, manifest)
        return manifest

    def append(self, manifest: Manifest, entries: Sequence[Entry]) -> Manifest:
        """Add a segment of ``entries``; returns the manifest that counts it, already committed.

        Raises IndexFolderError, and takes back what it wrote, where the disk is full.
        """
        content, texts = _content(manifest, entries)
        before = ends(manifest)
        try:
            with self._writing():
                for kind in KINDS:
                    with manifest.file(self.folder, kind).open("ab") as file:
                        file.write(content[kind])
                        file.flush()
                        os.fsync(file.fileno())
            checksums = four(zlib.crc32(content[kind]) for kind in KINDS)
            segment = Segment(len(entries), texts, len(content["records"]), checksums)
            return self.commit(replace(manifest, segments=(*manifest.segments, segment)))
        except IndexFolderError:
            self._take_back(manifest, before)
            raise

    def _take_back(self, manifest: Manifest, before: Mapping[str, int]) -> None:
        """Cut off what was appended, unless the manifest counts it by now."""
        with contextlib.suppress(OSError, UserError):
            found = read_manifest(self.folder)
            counted = found is not None and found.generation == manifest.generation
            if found is None or not counted or len(found.segments) <= len(manifest.segments):
                for kind in KINDS:
                    os.truncate(manifest.file(self.folder, kind), before[kind])

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        return writing(self.folder, IndexFolderError, "what was committed is kept")

    def rewrite(self, reader: IndexReader, manifest: Manifest, rename: Mapping[str, str] | None = None) -> Manifest:
        """A new generation with the known rows of ``reader`` alone; paths that begin with a key of ``rename`` change.

        Readers go on with the old files until the new manifest is there. On a full disk the new ones are removed.
        """
        rows = np.flatnonzero(reader.known())
        new = replace(manifest, generation=manifest.generation + 1, segments=(), removed=(), nearest={})
        quiet = _Uncommitted(self.folder)
        try:
            with self._writing():
                for kind in KINDS:
                    write_whole(new.file(self.folder, kind), b"")
            for start in range(0, len(rows), BLOCK):
                new = quiet.append(new, list(_entries(reader, rows[start : start + BLOCK].tolist(), rename or {})))
            return self.commit(new)
        except IndexFolderError:
            found = read_manifest(self.folder)
            if found is not None and found.generation == manifest.generation:  # else the new one counts already
                self.prepare(found)
            raise


class _Uncommitted(IndexWriter):
    """Appends without a commit: nobody knows of the new generation yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def commit(self, manifest: Manifest) -> Manifest:
        return manifest


def _content(manifest: Manifest, entries: Sequence[Entry]) -> tuple[dict[str, bytes], int]:
    """What ``entries`` append to each file, and how many captions that is."""
    dim = manifest.identity.dim
    first = texts = manifest.texts
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
            np.array(reader.images[row]) if state == GOOD else None,
            np.array(reader.texts[first : first + count]) if count else None,
            state,
        )
