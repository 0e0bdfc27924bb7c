"""Writes captions with provenance; never overwrites an existing file unless forced. No torch.

Flow: the command ``caption`` and the window's export -> ``.txt`` sidecars, a CSV for ``data.train``, JSON lines, or
COCO JSON. Provenance is plain data: model, step, digest of the weights, settings and seed; sidecars do not contain it.
"""

from __future__ import annotations

import csv
import io
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from core.spec.cells import escape_row
from core.spec.errors import UserError, writing
from core.spec.files import write_whole

Provenance = Mapping[str, Any]  # model, pretrained, weights, step, digest, precision, settings
_ORIGIN = ("model", "pretrained", "weights", "step", "digest")
HEADER = ("filepath", "title", "rank", "log_prob", "score", *_ORIGIN, "seed", "settings")


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
        """Write the sidecar of ``image``. Raises CaptionFileError if it exists (unless forced) or cannot be written."""
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
    content = text.encode("utf-8", "surrogateescape")
    with writing(path, CaptionFileError):
        try:
            write_whole(path, content) if force else _write_once(path, content)
        except FileExistsError as error:
            raise CaptionFileExistsError(path) from error


def _write_once(path: Path, content: bytes) -> None:
    """Create a new file; remove the file again if the disk is full."""
    with path.open("xb") as file:
        try:
            file.write(content)
            file.flush()
        except OSError:
            path.unlink(missing_ok=True)
            raise


class CaptionTable:
    """A CSV with one line per caption, ``filepath,title`` first.

    Lines are written to ``partial``, a file next to the table, which becomes the table when it is complete. After an
    error or interrupt, ``partial`` has the captions so far, and an existing table is unchanged.
    """

    def __init__(self, path: Path, force: bool = False) -> None:
        """``force``: replace an existing table. Raises the errors of ``write_new``."""
        if path.exists() and not force:
            raise CaptionFileExistsError(path)
        if path.exists() and not path.is_file():
            raise CaptionFileError(f"{path} cannot be overwritten; choose another name.")
        self._path, self._force, self._rows = path, force, 0
        self.partial = path.with_name(f"{path.stem}.partial-{secrets.token_hex(4)}{path.suffix}")
        self._complete = 0  # bytes of complete lines
        with writing(path, CaptionFileError):
            self._file = self.partial.open("xb", buffering=0)  # unbuffered, so that a failed write raises immediately
            try:
                self._add([HEADER])
            except OSError:
                self._file.close()
                self.partial.unlink(missing_ok=True)
                raise

    def __enter__(self) -> CaptionTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None:
            with writing(self._path, CaptionFileError):
                if not self._force:
                    self._claim()
                try:
                    self.partial.replace(self._path)
                except OSError:
                    if not self._force:
                        self._path.unlink(missing_ok=True)  # the empty file of the claim
                    raise
        elif not self._rows:
            self.partial.unlink(missing_ok=True)

    def _claim(self) -> None:
        """Create the table's file, which another program may have created since this program started."""
        try:
            self._path.open("xb").close()
        except FileExistsError as error:
            raise CaptionFileExistsError(self._path) from error

    def _add(self, rows: Iterable[Iterable[object]]) -> None:
        """Append ``rows``; on an OSError the file is truncated to its previous end."""
        text = io.StringIO()
        csv.writer(text).writerows(rows)  # ends lines with CR LF: otherwise a name with a CR would not be quoted
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
        """Write the rows of ``image``. Raises CaptionTableError if the disk is full; earlier rows stay complete."""
        rows = table_rows(image, self._path.absolute().parent)
        with writing(self._path, CaptionTableError):
            self._add(rows)
        self._rows += len(rows)


def table_rows(image: CaptionedImage, root: Path | None) -> list[list[object]]:
    """One row with the columns of `HEADER` per caption; the path is relative for an image under ``root``."""
    path, provenance = Path(image.path), image.provenance
    shown_path = str(path.relative_to(root)) if root is not None and path.is_relative_to(root) else image.path
    settings = provenance.get("settings", {})
    origin = [*map(provenance.get, _ORIGIN), settings.get("seed"), json.dumps(dict(settings), ensure_ascii=False)]
    rows = []
    for rank, caption in enumerate(image.captions, start=1):
        numbers = [rank, *(("" if x is None else round(x, 4)) for x in (caption.log_prob, caption.score))]
        rows.append(escape_row([shown_path, caption.text, *numbers, *origin]))
    return rows


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
