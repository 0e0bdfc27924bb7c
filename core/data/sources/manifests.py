"""Manifests with one row per line: CSV and TSV tables, and JSON lines.

Flow: ``open_source`` picks a reader by extension; the reader feeds a ``RowBuilder``. A malformed line is a bad row,
even if its unclosed quote would swallow the lines after it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from core.data.errors import DataError
from core.data.sources.rows import RowBuilder, Source
from core.spec.cells import unescape_cell
from core.spec.reading import excerpt, open_regular

PATH_NAMES = ("filepath", "file_path", "image", "image_path", "path", "filename", "file_name", "file")
TITLE_NAMES = ("title", "caption", "text")
LIST_NAME = "captions"  # a list of them, in JSON
LONGEST_LINE = 4 << 20  # characters
LONGEST_NAME = 60  # of a column or key that a message shows
MOST_LABELS = 1000  # columns or keys besides image and caption
DELIMITERS = (",", "\t", ";", "|")


def open_text(path: Path, limit: int | None = None) -> TextIO:
    """``path`` as text: UTF-8 with or without BOM, or UTF-16 with BOM; other bytes become lone surrogates.

    DataError unless it is a regular file of at most ``limit`` bytes.
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
    """The name among ``names`` that comes first in ``synonyms``, ignoring case."""
    lowered = {name.strip().lower(): name for name in reversed(names)}
    return next((lowered[name] for name in synonyms if name in lowered), None)


def bounded_lines(path: Path, file: TextIO) -> Iterator[str]:
    """The lines of ``file``; DataError for a line of more than `LONGEST_LINE` characters, before it is read fully."""
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise DataError(
                f"{path}, line {number}: it has more than {LONGEST_LINE:,} characters; give one image per line."
            )
        yield line


class _Lines:
    """Lines of a file that remembers those of the current record, so that they can be read again."""

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
        """Return all lines of the current record but its first, to be read again."""
        self._pushed_back.extend(reversed(self.record[1:]))
        self.number -= len(self.record) - 1


def read_table(path: Path) -> Source:
    """A CSV or TSV with columns ``filepath`` and ``title`` (or usual synonyms); further columns are labels."""
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
        raise DataError(f"{path} has no header; its first line must name the columns filepath and title.")
    if not is_text(line):
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8.")
    usual = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    try:
        headers = {
            delimiter: [unescape_cell(cell) for cell in next(csv.reader([line], delimiter=delimiter))]
            for delimiter in (usual, *DELIMITERS)
        }
    except csv.Error as error:
        raise DataError(f"{path} has a malformed header: {error}; its first line must name the columns.") from error
    for delimiter, header in headers.items():
        if pick(header, PATH_NAMES) and pick(header, TITLE_NAMES):
            return header, delimiter
    # No delimiter gives both columns: report those of the likeliest delimiter.
    return max(headers.items(), key=lambda item: len(item[1]))[1], usual


def quoted(names: Sequence[str], limit: int = 20) -> str:
    """The first of ``names`` for a message, each quoted and shortened."""
    return ", ".join(repr(excerpt(name, LONGEST_NAME)) for name in names[:limit])


def check_labels(origin: str, names: Collection[str]) -> None:
    """DataError when there are more labels than `MOST_LABELS`."""
    if len(names) > MOST_LABELS:
        raise DataError(
            f"{origin} has {len(names):,} labels (columns or keys besides image and caption), more than "
            f"{MOST_LABELS:,}; remove the columns or keys that are not labels."
        )


class _Columns:
    """Positions of the columns of a table."""

    def __init__(self, path: Path, header: list[str]) -> None:
        file, title = pick(header, PATH_NAMES), pick(header, TITLE_NAMES)
        if file is None or title is None:
            needed = " and ".join(name for name, column in (("filepath", file), ("title", title)) if column is None)
            columns = quoted(header)
            raise DataError(f"{path} has the columns {columns}; it needs {needed} too (filepath,title[,labels...]).")
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
            builder.reject(line, f"the line has {len(cells)} cells, the header {self.width}; quote cells with commas")
        elif not all(map(is_text, cells)):
            builder.reject(line, "the line is not UTF-8 text")
        elif len(cells) <= max(self.file, self.title):
            builder.reject(line, f"the line has {len(cells)} of the header's {self.width} cells")
        else:
            # A short line has no more labels than cells, or a small file would take rows x columns of memory.
            labels = {name: cells[i].strip() for name, i in self._labels.items() if i < len(cells)}
            builder.add(cells[self.file], [cells[self.title]], labels, line)


def read_json_lines(path: Path) -> Source:
    """One object per line: ``filepath`` or ``image``, ``title``, ``caption`` or ``captions``; other keys are labels."""
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
                builder.reject(number, f"the line is not JSON: {excerpt(str(error))}")
                continue
            add_record(builder, record, number, names, seen_keys)
    check_keys(path, builder, seen_keys)
    return builder.finish("JSON lines", tuple(names))


def check_keys(path: Path, builder: RowBuilder, seen_keys: set[str]) -> None:
    """DataError naming the keys of ``path`` when no record had a path and a caption."""
    if builder.rows or not seen_keys:
        return
    has_path = pick(sorted(seen_keys), PATH_NAMES) is not None
    if not has_path or pick(sorted(seen_keys), (*TITLE_NAMES, LIST_NAME)) is None:
        keys = quoted(sorted(seen_keys))
        raise DataError(f"{path} has the keys {keys}; it needs filepath (or image) and title (or caption, captions).")


def add_record(builder: RowBuilder, record: Any, line: int, names: dict[str, None], seen_keys: set[str]) -> None:
    """Add a JSON object as a row; collects label names in ``names`` and all keys in ``seen_keys``."""
    if not isinstance(record, dict):
        builder.reject(line, f"it holds {type(record).__name__}, not an object")
        return
    seen_keys.update(record)
    keys = list(record)
    file, title = pick(keys, PATH_NAMES), pick(keys, TITLE_NAMES)
    caption_list = pick(keys, (LIST_NAME,))
    if file is None or not isinstance(record[file], str):
        builder.reject(line, "it has no filepath" if file is None else f"its {excerpt(file)} is not text")
        return
    captions = _texts(record.get(title)) + _texts(record.get(caption_list))
    labels = _labels(record, {file, title, caption_list})
    if not all(map(is_text, (record[file], *captions, *labels, *labels.values()))):
        builder.reject(line, "it holds text that is not Unicode (a lone surrogate)")
        return
    names.update(dict.fromkeys(labels))
    check_labels(builder.origin, names)
    builder.add(record[file], captions, labels, line)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _labels(record: Mapping[str, Any], used: set[str | None]) -> dict[str, str]:
    """Plain values of the keys that are not ``used``, as text; nested values are not labels."""
    labels = {}
    for name, value in record.items():
        if name in used or not isinstance(value, (str, bool, int, float)):
            continue
        labels[name] = value if isinstance(value, str) else json.dumps(value)
    return labels
