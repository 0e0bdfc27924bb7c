"""Writes captions with provenance; never overwrites an existing file unless forced. No torch.

Flow: the verb ``caption`` and the window's export -> ``.txt`` sidecars, a CSV for ``data.train``, JSON lines, or COCO
JSON. Provenance is plain data: model, step, digest of the weights, settings and seed; sidecars do not contain it.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, TextIO

from core.spec.cells import marked_row
from core.spec.errors import UserError, is_full
from core.spec.files import write_whole

Provenance = Mapping[str, Any]  # model, pretrained, weights, step, digest, precision, settings
COLUMNS = ("filepath", "title", "rank", "log_prob", "score", "model", "pretrained", "weights", "step", "digest")
_SETTINGS = ("seed", "settings")


class CaptionFileError(UserError):
    """Captions that cannot be written; the message names the file and the remedy."""


class CaptionFileExistsError(CaptionFileError):
    """The file ``path`` already exists and is not overwritten."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} already exists; overwrite it with --force, or move the file.")
        self.path = path


class CaptionTableError(CaptionFileError):
    """A table that can no longer be written. The file ends with the last complete line."""


@dataclass(frozen=True)
class Candidate:
    """A caption of an image; the scores are None if a person wrote it."""

    text: str
    log_prob: float | None = None
    score: float | None = None


@dataclass(frozen=True)
class CaptionedImage:
    """An image and its captions, best first."""

    path: str
    captions: Sequence[Candidate] = field(default_factory=tuple)
    provenance: Provenance = field(default_factory=dict)


class Sidecars:
    """Writes ``NAME.txt`` next to ``NAME.jpg``, one caption per line, as data sources read it."""

    def __init__(self, force: bool = False) -> None:
        self._force = force
        self._written: dict[str, str] = {}

    def write(self, image: CaptionedImage) -> Path:
        """Write the sidecar of ``image``. CaptionFileError if it exists (unless forced) or cannot be written."""
        path = sidecar_of(image.path)
        first_image = self._written.get(str(path))
        if first_image is not None and first_image != image.path:
            raise CaptionFileError(
                f"{path} already contains the caption of {first_image}; rename one of the two images."
            )
        text = "".join(f"{' '.join(caption.text.split())}\n" for caption in image.captions)
        write_new(path, text, self._force or first_image is not None)
        self._written[str(path)] = image.path
        return path


def sidecar_of(image: str) -> Path:
    """The sidecar file of an image."""
    return Path(image).with_suffix(".txt")


def write_new(path: Path, text: str, force: bool = False) -> None:
    """Write a text file; with ``force`` an existing file is replaced atomically.

    Raises CaptionFileExistsError if the file exists without ``force``, CaptionFileError if it cannot be written.
    """
    try:
        if force:
            write_whole(path, text.encode("utf-8", "surrogateescape"))
        else:
            _write_once(path, text.encode("utf-8", "surrogateescape"))
    except FileExistsError as error:
        raise CaptionFileExistsError(path) from error
    except OSError as error:
        raise _not_written(path, error) from error


def _write_once(path: Path, content: bytes) -> None:
    """Create a new file; remove the file again if the disk is full."""
    with path.open("xb") as file:
        try:
            file.write(content)
            file.flush()
        except OSError:
            path.unlink(missing_ok=True)
            raise


def _not_written(path: Path, error: OSError) -> CaptionFileError:
    reason = error.strerror or str(error)
    remedy = "free some space and try again" if is_full(error) else "choose a folder that you may write to"
    return CaptionFileError(f"{path} cannot be written: {reason}; {remedy}.")


class CaptionTable:
    """A CSV with one line per caption, ``filepath,title`` first, written incrementally.

    An existing table is replaced when the new table is complete. After an error or interrupt, the existing table stays,
    and ``partial`` is a file next to it with the captions written so far.
    """

    def __init__(
        self, path: Path | None, stream: TextIO | None = None, force: bool = False, root: Path | None = None
    ) -> None:
        """Write to ``path``, or to ``stream`` with paths relative to ``root``. Raises the errors of ``write_new``."""
        self._root = root if path is None else path.absolute().parent
        self._path, self._written = path, path
        self._file: BinaryIO | None = None
        self._rows = 0
        self.partial: Path | None = None
        if path is not None:
            try:
                self._file = _opened(path, "xb")
            except FileExistsError as error:
                if not force:
                    raise CaptionFileExistsError(path) from error
                if not path.is_file():
                    raise CaptionFileError(f"{path} cannot be overwritten; choose another name.") from error
                self._written = path.with_name(f"{path.stem}.partial-{os.getpid()}{path.suffix}")
                try:
                    self._file = _opened(self._written, "wb")
                except OSError as denied:
                    raise _not_written(path, denied) from denied
            except OSError as error:
                raise _not_written(path, error) from error
        self._stream = stream
        self._complete = 0  # bytes of complete lines
        try:
            self._add([(*COLUMNS, *_SETTINGS)])
        except OSError as error:
            assert path is not None
            self._abandon()
            raise _not_written(path, error) from error

    def __enter__(self) -> CaptionTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None or self._path is None or self._written is None:
            return
        self._file.close()
        if kind is not None and not self._rows:
            self._written.unlink(missing_ok=True)  # nothing was captioned
        elif self._written != self._path:
            self.partial = self._written
            if kind is None:
                try:
                    self._written.replace(self._path)
                except OSError as denied:
                    raise _not_written(self._path, denied) from denied
                self.partial = None

    def _abandon(self) -> None:
        """Remove the unfinished file."""
        if self._file is not None and self._written is not None:
            self._file.close()
            self._file = None
            self._written.unlink(missing_ok=True)

    def _add(self, rows: Iterable[Iterable[Any]]) -> None:
        """Append ``rows``; on an OSError the file is truncated to its previous end."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        if self._file is None:
            assert self._stream is not None
            self._stream.write(text.getvalue())
            return
        content = memoryview(text.getvalue().encode("utf-8", "surrogateescape"))
        try:
            while content:  # a nearly full disk may write only a part
                content = content[self._file.write(content) :]
        except OSError:
            with suppress(OSError):
                self._file.truncate(self._complete)
            raise
        self._complete = self._file.tell()

    def write(self, image: CaptionedImage) -> None:
        """Write one row per caption; paths under the table's folder are relative.

        Raises CaptionTableError if the disk is full; earlier rows stay complete.
        """
        provenance = image.provenance
        settings = provenance.get("settings", {})
        model = [provenance.get(name) for name in COLUMNS[5:]]
        rows = []
        for rank, caption in enumerate(image.captions, start=1):
            numbers = [rank, *(("" if x is None else round(x, 4)) for x in (caption.log_prob, caption.score))]
            settings_cells = [settings.get("seed"), json.dumps(dict(settings), ensure_ascii=False)]
            rows.append(marked_row([self._relative(image.path), caption.text, *numbers, *model, *settings_cells]))
        try:
            self._add(rows)
        except OSError as error:
            if self._path is None:
                raise  # the stream's reader may have closed it
            raise CaptionTableError(str(_not_written(self._path, error))) from error
        self._rows += len(rows)

    def _relative(self, path: str) -> str:
        if self._root is not None and Path(path).is_relative_to(self._root):
            return str(Path(path).relative_to(self._root))
        return path


def _opened(path: Path, mode: Literal["wb", "xb"]) -> BinaryIO:
    return path.open(mode, buffering=0)  # unbuffered, so that a failed write raises immediately


def json_line(image: CaptionedImage) -> str:
    """A JSON object: ``path, captions: [{text, log_prob, score}], provenance``."""
    captions = [{"text": c.text, "log_prob": c.log_prob, "score": c.score} for c in image.captions]
    return json.dumps(
        {"path": image.path, "captions": captions, "provenance": dict(image.provenance)}, ensure_ascii=False
    )


def coco_json(captioned: Iterable[CaptionedImage], root: Path) -> str:
    """COCO's captions format; ``file_name`` is relative to ``root`` for images under it.

    The ``provenance`` of an annotation is an index into ``info.provenance``.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    origins: list[dict[str, Any]] = []
    top = root.absolute()
    for number, image in enumerate(captioned, start=1):
        path = Path(image.path)
        name = path.relative_to(top).as_posix() if path.is_relative_to(top) else image.path
        images.append({"id": number, "file_name": name})
        origin = dict(image.provenance)
        if origin not in origins:
            origins.append(origin)
        annotations += [
            {
                "id": len(annotations) + position,
                "image_id": number,
                "caption": caption.text,
                "provenance": origins.index(origin),
            }
            for position, caption in enumerate(image.captions, start=1)
        ]
    return json.dumps(
        {"info": {"provenance": origins}, "images": images, "annotations": annotations}, ensure_ascii=False
    )
