"""Manifests of one row a line: CSV and TSV tables, and JSON lines.

Flow: ``open_source`` picks a reader by extension; the reader feeds a ``RowBuilder``. A malformed line is a bad row,
also when its unclosed quote would swallow the lines after it.
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
from core.spec.cells import unmarked
from core.spec.reading import excerpt, open_regular

PATH_NAMES = ("filepath", "file_path", "image", "image_path", "path", "filename", "file_name", "file")
TITLE_NAMES = ("title", "caption", "text")
LIST_NAME = "captions"  # a list of them, in JSON
LONGEST_LINE = 4 << 20  # characters
LONGEST_NAME = 60  # of a column or key that a message shows
MOST_LABELS = 1000  # columns or keys besides image and caption
DELIMITERS = (",", "\t", ";", "|")


def open_text(path: Path, limit: int | None = None) -> TextIO:
    """``path`` as text: UTF-8 with or without its mark, or UTF-16 with it; other bytes become lone surrogates.

    DataError for what is not a regular file, or one of more than ``limit`` bytes.
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


def pick(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    """The one of ``names`` that is the first of ``wanted``, whatever its case."""
    lowered = {name.strip().lower(): name for name in reversed(names)}
    return next((lowered[name] for name in wanted if name in lowered), None)


def bounded_lines(path: Path, file: TextIO) -> Iterator[str]:
    """The lines of ``file``; DataError for one of more than `LONGEST_LINE` characters, which is not read whole."""
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise DataError(
                f"{path}, line {number}: it has more than {LONGEST_LINE:,} characters; give one image per line."
            )
        yield line


class _Lines:
    """Lines of a file, which remembers those of the current record so that they can be read anew."""

    def __init__(self, file: Iterator[str]) -> None:
        self._file = file
        self._again: list[str] = []
        self.taken: list[str] = []
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else next(self._file)
        self.taken.append(line)
        self.number += 1
        return line

    def skip_first(self) -> None:
        """Give back all lines of the current record but its first."""
        self._again.extend(reversed(self.taken[1:]))
        self.number -= len(self.taken) - 1


def read_table(path: Path, images_root: Path | None) -> Source:
    """A CSV or TSV with columns ``filepath`` and ``title`` (or usual synonyms); further columns are labels."""
    builder = RowBuilder(str(path), images_root or path.parent)
    with open_text(path) as file:
        lines = _Lines(bounded_lines(path, file))
        header, delimiter = _header(path, lines)
        columns = _Columns(path, header)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            lines.taken = []
            first = lines.number + 1
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                builder.reject(first, f"the line is malformed: {error}")
                lines.skip_first()
                continue
            columns.add(builder, [unmarked(cell) for cell in cells], first)
    return builder.finish("TSV" if delimiter == "\t" else "CSV", columns.labels)


def _header(path: Path, lines: _Lines) -> tuple[list[str], str]:
    """The first line's cells, and the delimiter under which it names the columns."""
    line = next(lines, "").rstrip("\r\n")
    if not line.strip():
        raise DataError(f"{path} has no header; its first line must name the columns filepath and title.")
    if not is_text(line):
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8.")
    usual = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    try:
        found = {
            delimiter: [unmarked(cell) for cell in next(csv.reader([line], delimiter=delimiter))]
            for delimiter in (usual, *DELIMITERS)
        }
    except csv.Error as error:
        raise DataError(f"{path} has a malformed header: {error}; its first line must name the columns.") from error
    for delimiter, header in found.items():
        if pick(header, PATH_NAMES) and pick(header, TITLE_NAMES):
            return header, delimiter
    # No delimiter gives both: report what the likeliest one gives.
    return max(found.items(), key=lambda item: len(item[1]))[1], usual


def shown(names: Sequence[str], most: int = 20) -> str:
    """The first of foreign ``names`` for a message, each quoted and cut."""
    return ", ".join(repr(excerpt(name, LONGEST_NAME)) for name in names[:most])


def check_labels(origin: str, names: Collection[str]) -> None:
    """DataError when there are more labels than `MOST_LABELS`."""
    if len(names) > MOST_LABELS:
        raise DataError(
            f"{origin} has {len(names):,} labels (columns or keys besides image and caption), more than "
            f"{MOST_LABELS:,}; leave out those that are no labels."
        )


class _Columns:
    """Which cell of a table's line is what."""

    def __init__(self, path: Path, header: list[str]) -> None:
        file, title = pick(header, PATH_NAMES), pick(header, TITLE_NAMES)
        if file is None or title is None:
            needed = " and ".join(name for name, got in (("filepath", file), ("title", title)) if got is None)
            found = shown(header)
            raise DataError(f"{path} has the columns {found}; it needs {needed} too (filepath,title[,labels...]).")
        self.width = len(header)
        self.file, self.title = header.index(file), header.index(title)
        others = [i for i in range(self.width) if i not in (self.file, self.title) and header[i].strip()]
        self._labels = {header[i].strip(): i for i in others}
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


def read_json_lines(path: Path, images_root: Path | None) -> Source:
    """An object a line: ``filepath`` or ``image``, ``title`` or ``caption`` or ``captions``; other keys are labels."""
    builder = RowBuilder(str(path), images_root or path.parent)
    names: dict[str, None] = {}
    found: set[str] = set()
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
            add_record(builder, record, number, names, found)
    check_keys(path, builder, found)
    return builder.finish("JSON lines", tuple(names))


def check_keys(path: Path, builder: RowBuilder, found: set[str]) -> None:
    """DataError when no record of ``path`` had what a row needs, naming the keys that there were."""
    if builder.rows or not found:
        return
    has_path = pick(sorted(found), PATH_NAMES) is not None
    if not has_path or pick(sorted(found), (*TITLE_NAMES, LIST_NAME)) is None:
        keys = shown(sorted(found))
        raise DataError(f"{path} has the keys {keys}; it needs filepath (or image) and title (or caption, captions).")


def add_record(builder: RowBuilder, record: Any, line: int, names: dict[str, None], found: set[str]) -> None:
    """One JSON object as a row; ``names`` gathers the label names, ``found`` every key."""
    if not isinstance(record, dict):
        builder.reject(line, f"it holds {type(record).__name__}, not an object")
        return
    found.update(record)
    keys = list(record)
    file, title = pick(keys, PATH_NAMES), pick(keys, TITLE_NAMES)
    many = pick(keys, (LIST_NAME,))
    if file is None or not isinstance(record[file], str):
        builder.reject(line, "it has no filepath" if file is None else f"its {excerpt(file)} is not text")
        return
    captions = _texts(record.get(title)) + _texts(record.get(many))
    labels = _labels(record, {file, title, many})
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


def _labels(record: Mapping[str, Any], taken: set[str | None]) -> dict[str, str]:
    """Plain values of the other keys, as text; nested ones are no labels."""
    labels = {}
    for name, value in record.items():
        if name in taken or not isinstance(value, (str, bool, int, float)):
            continue
        labels[name] = value if isinstance(value, str) else json.dumps(value)
    return labels
