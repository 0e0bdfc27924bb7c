"""Reads manifests with one row per line: CSV and TSV tables, and JSON lines.

Flow: ``open_source`` chooses a reader by extension; the reader adds rows to a ``RowBuilder``. A malformed line is a
single bad row: an unclosed quote does not swallow the following lines.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from core.data.errors import DataError, json_problem
from core.data.sources.rows import RowBuilder, Source
from core.spec.cells import unescape_cell
from core.spec.reading import excerpt, open_regular

PATH_NAMES = ("filepath", "file_path", "image", "image_path", "path", "filename", "file_name", "file")
TITLE_NAMES = ("title", "caption", "text")
CAPTIONS_KEY = "captions"  # JSON key of a list of captions
MAX_LINE_LENGTH = 4 << 20  # characters
MAX_NAME_LENGTH = 60  # longer column names and keys are shortened in messages
MAX_LISTED_NAMES = 20  # column names and keys in a message
MAX_LABELS = 1000  # columns or keys other than image and caption
DELIMITERS = (",", "\t", ";", "|")


def open_text(path: Path, limit: int | None = None) -> TextIO:
    """Open ``path`` as UTF-8 with or without BOM, or UTF-16 with BOM; invalid bytes become lone surrogates.

    Raises DataError unless ``path`` is a regular file of at most ``limit`` bytes.
    """
    file = open_regular(path, error=DataError, limit=limit)
    start = file.read(2)
    file.seek(0)
    encoding = "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    errors = "replace" if encoding == "utf-16" else "surrogateescape"
    return io.TextIOWrapper(file, encoding=encoding, errors=errors, newline="")


def is_text(text: str) -> bool:
    """Whether ``text`` was valid in its encoding (see ``open_text``)."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def pick(names: Sequence[str], synonyms: Sequence[str]) -> str | None:
    """The element of ``names`` that comes first in ``synonyms``, ignoring case; None if there is none."""
    lowered = {name.strip().lower(): name for name in reversed(names)}
    return next((lowered[name] for name in synonyms if name in lowered), None)


def bounded_lines(path: Path, file: TextIO) -> Iterator[str]:
    """The lines of ``file``. Raises DataError for a line with more than `MAX_LINE_LENGTH` characters."""
    number = 0
    while line := file.readline(MAX_LINE_LENGTH + 1):
        number += 1
        if len(line) > MAX_LINE_LENGTH:
            raise DataError(
                f"{path}, line {number} has more than {MAX_LINE_LENGTH:,} characters; write one image per line."
            )
        yield line


class _Lines:
    """The lines of a file; remembers the lines of the current record, so that they can be read again."""

    def __init__(self, file: Iterator[str]) -> None:
        self._file = file
        self._pushed_back: list[str] = []
        self.record: list[str] = []
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._pushed_back.pop() if self._pushed_back else next(self._file)
        self.record.append(line)
        self.number += 1
        return line

    def push_back_all_but_first(self) -> None:
        """Push back the lines of the current record except the first, to be read again."""
        self._pushed_back.extend(reversed(self.record[1:]))
        self.number -= len(self.record) - 1


def read_table(path: Path) -> Source:
    """Read a CSV or TSV with columns ``filepath`` and ``title`` (or common synonyms); other columns are labels."""
    builder = RowBuilder(str(path), path.parent)
    with open_text(path) as file:
        lines = _Lines(bounded_lines(path, file))
        header, delimiter = _header(path, lines)
        columns = _Columns(path, header)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            lines.record = []
            first = lines.number + 1
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                builder.reject(first, f"the line is malformed: {error}")
                lines.push_back_all_but_first()
                continue
            columns.add(builder, [unescape_cell(cell) for cell in cells], first)
    return builder.finish("TSV" if delimiter == "\t" else "CSV", columns.labels)


def _header(path: Path, lines: _Lines) -> tuple[list[str], str]:
    """The cells of the first line, and the delimiter that separates them."""
    line = next(lines, "").rstrip("\r\n")
    if not line.strip():
        raise DataError(f"{path} has no header; its first line must be filepath,title.")
    if not is_text(line):
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8.")
    usual = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    try:
        headers = {
            delimiter: [unescape_cell(cell) for cell in next(csv.reader([line], delimiter=delimiter))]
            for delimiter in (usual, *DELIMITERS)
        }
    except csv.Error as error:
        raise DataError(
            f"{path} has a malformed header: {error}; its first line must contain the column names."
        ) from error
    for delimiter, header in headers.items():
        if pick(header, PATH_NAMES) and pick(header, TITLE_NAMES):
            return header, delimiter
    # No delimiter yields both columns: report the columns for the most likely delimiter.
    return max(headers.items(), key=lambda item: len(item[1]))[1], usual


def quote_names(names: Sequence[str]) -> str:
    """The first of ``names`` for a message, quoted and shortened."""
    return ", ".join(repr(excerpt(name, MAX_NAME_LENGTH)) for name in names[:MAX_LISTED_NAMES])


def check_labels(origin: str, names: Collection[str]) -> None:
    """Raise DataError if there are more than `MAX_LABELS` labels."""
    if len(names) > MAX_LABELS:
        raise DataError(
            f"{origin} has {len(names):,} labels (columns or keys other than image and caption), more than "
            f"{MAX_LABELS:,}; remove the columns or keys that are not labels."
        )


class _Columns:
    """Positions of the columns of a table."""

    def __init__(self, path: Path, header: list[str]) -> None:
        file, title = pick(header, PATH_NAMES), pick(header, TITLE_NAMES)
        if file is None or title is None:
            needed = " and ".join(name for name, column in (("filepath", file), ("title", title)) if column is None)
            columns = quote_names(header)
            raise DataError(f"{path} has the columns {columns}; add {needed} (filepath,title[,labels...]).")
        self.width = len(header)
        self.file, self.title = header.index(file), header.index(title)
        label_columns = [i for i in range(self.width) if i not in (self.file, self.title) and header[i].strip()]
        self._labels = {header[i].strip(): i for i in label_columns}
        check_labels(str(path), self._labels)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self._labels)

    def add(self, builder: RowBuilder, cells: list[str], line: int) -> None:
        if not any(cell.strip() for cell in cells):
            return  # a blank line
        if len(cells) > self.width:
            builder.reject(
                line, f"the line has {len(cells)} cells, but the header has {self.width}; quote cells with commas"
            )
        elif not all(map(is_text, cells)):
            builder.reject(line, "the line is not UTF-8 text")
        elif len(cells) <= max(self.file, self.title):
            builder.reject(line, f"the line has {len(cells)} of the header's {self.width} cells")
        else:
            # Missing cells are not filled in: a small file would otherwise take rows x columns of memory.
            labels = {name: cells[i].strip() for name, i in self._labels.items() if i < len(cells)}
            builder.add(cells[self.file], [cells[self.title]], labels, line)


def read_json_lines(path: Path) -> Source:
    """Read one object per line: ``filepath`` or ``image``; ``title``, ``caption`` or ``captions``; labels."""
    builder = RowBuilder(str(path), path.parent)
    names: dict[str, None] = {}
    seen_keys: set[str] = set()
    with open_text(path) as file:
        for number, line in enumerate(bounded_lines(path, file), 1):
            if not line.strip():
                continue
            if not is_text(line):
                builder.reject(number, "the line is not UTF-8 text")
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                builder.reject(number, f"the line is not JSON: {json_problem(error)}")
                continue
            add_record(builder, record, number, names, seen_keys)
    check_keys(path, builder, seen_keys)
    return builder.finish("JSON lines", tuple(names))


def check_keys(path: Path, builder: RowBuilder, seen_keys: set[str]) -> None:
    """Raise DataError, listing the keys of ``path``, if no record had a path and a caption."""
    if builder.rows or not seen_keys:
        return
    has_path = pick(sorted(seen_keys), PATH_NAMES) is not None
    if not has_path or pick(sorted(seen_keys), (*TITLE_NAMES, CAPTIONS_KEY)) is None:
        keys = quote_names(sorted(seen_keys))
        raise DataError(f"{path} has the keys {keys}, but needs filepath (or image) and title (or caption, captions).")


def add_record(builder: RowBuilder, record: Any, line: int, names: dict[str, None], seen_keys: set[str]) -> None:
    """Add a JSON object as a row; add label names to ``names``, and all keys to ``seen_keys``."""
    if not isinstance(record, dict):
        builder.reject(line, f"the line is {type(record).__name__}, not an object")
        return
    seen_keys.update(record)
    keys = list(record)
    file, title = pick(keys, PATH_NAMES), pick(keys, TITLE_NAMES)
    caption_list = pick(keys, (CAPTIONS_KEY,))
    if file is None or not isinstance(record[file], str):
        builder.reject(line, "no filepath" if file is None else f"the value of {excerpt(file)} is not text")
        return
    captions = _texts(record.get(title)) + _texts(record.get(caption_list))
    labels = _labels(record, {file, title, caption_list})
    if not all(map(is_text, (record[file], *captions, *labels, *labels.values()))):
        builder.reject(line, "the text is not valid Unicode (a lone surrogate)")
        return
    names.update(dict.fromkeys(labels))
    check_labels(builder.origin, names)
    builder.add(record[file], captions, labels, line)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _labels(record: Mapping[str, Any], used: set[str | None]) -> dict[str, str]:
    """The plain values of all keys not in ``used``, as text; nested values are not labels."""
    labels = {}
    for name, value in record.items():
        if name in used or not isinstance(value, (str, bool, int, float)):
            continue
        labels[name] = value if isinstance(value, str) else json.dumps(value)
    return labels
