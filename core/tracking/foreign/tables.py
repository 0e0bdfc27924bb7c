"""Reads tables of metrics with a step column: CSV (Lightning's ``metrics.csv``) and JSON lines (lightly-train).

A table is a run. Values that are not numbers are left out. The config is read from ``hparams.yaml`` next to it. Without
a time column, each point has the time at which the file was last written.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.spec.reading import KILOBYTE, excerpt
from core.tracking.foreign.runs import (
    ForeignError,
    ForeignRun,
    Part,
    Position,
    ReplacedError,
    lenient_json,
    named_after,
    new_lines,
    plain_values,
    small_text,
)

TOOL = "table"
STEPS = ("step", "global_step", "trainer/global_step", "_step", "iteration", "iter", "epoch")
_TIMES = ("time", "timestamp", "_timestamp", "wall_time", "wall time", "created_at")
_MAX_HEADER_BYTES = 64 * KILOBYTE
_MAX_CELL_LENGTH = 100  # characters of a number


def find(folder: Path, files: set[str], root: Path) -> list[ForeignRun]:
    """The tables in ``folder``: .csv, .tsv and .jsonl files whose first line has a step."""
    runs = []
    for name in sorted(name for name in files if name.endswith((".csv", ".tsv", ".jsonl"))):
        path = folder / name
        if _step_column(_first_line(path, root)):
            run_name, project = named_after(folder, root)
            is_run_folder = name in ("metrics.csv", "metrics.jsonl") and folder != root  # then the run has its name
            stem = path.stem if folder == root else f"{run_name}/{path.stem}"
            runs.append(ForeignRun(TOOL, path, root, run_name if is_run_folder else excerpt(stem[-200:]), project))
    return runs


def read(run: ForeignRun, position: Position) -> Iterator[Part]:
    """The rows after ``position``.

    Lightning rewrites the file when a metric is new: then the rows that were read before are skipped in the new file.
    """
    header = _first_line(run.path, run.root)
    step_column = _step_column(header)
    if not step_column:
        raise ForeignError(f"{run.path} no longer has a step column; expected one of {', '.join(STEPS)}.")
    names = _names(header)
    rows = position.get("rows", 0)
    skipped = rows if position and position.get("header") != header else 0
    start = 0 if skipped else position.get("offset", 0)
    time = run.path.stat().st_mtime
    for lines, offset in new_lines(run.path, run.root, start):
        part = Part(config={} if position else _config(run))
        for line in lines:
            row = _row(line.decode("utf-8", "replace"), header, names)
            if not row:
                continue
            if skipped:
                skipped -= 1
                continue
            rows += 1
            _add_row(part, row, step_column, time)
        part.position = {"offset": offset, "rows": rows, "header": header}
        yield part
    if skipped:
        raise ReplacedError


def _first_line(path: Path, root: Path) -> str:
    """The header of a CSV file; "{" for JSON lines whose first object has a step; "" for anything else."""
    try:
        text = small_text(path, root, _MAX_HEADER_BYTES)
    except (OSError, ForeignError):
        return ""
    line, newline, _ = text.partition("\n")
    if not newline:
        return ""
    if line.startswith("{"):
        first = lenient_json(line)
        is_event = isinstance(first, dict) and {"v", "kind"} <= first.keys()  # an event of sdgui's own format
        return "{" if isinstance(first, dict) and not is_event and _find_column(first, STEPS) else ""
    return line.strip().removeprefix("\ufeff")


def _step_column(header: str) -> str:
    """The name of the step column; "{" for JSON lines, in which each row has names; "" if there is no step."""
    return header if header in ("", "{") else _find_column(dict.fromkeys(_names(header)), STEPS)


def _find_column(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The first of ``names`` in ``row``, compared without case."""
    lower = {key.lower(): key for key in row}
    return next((lower[name] for name in names if name in lower), "")


def _names(header: str) -> list[str]:
    return [name.strip() for name in _cells(header, header)]


def _cells(line: str, header: str) -> list[str]:
    delimiter = max(",\t;", key=header.count)
    try:
        return next(csv.reader(io.StringIO(line), delimiter=delimiter), [])
    except csv.Error:
        return []


def _row(line: str, header: str, names: list[str]) -> dict[str, Any]:
    """A row by column; {} for the header, an empty line and anything else that is not a row."""
    if header == "{":
        row = lenient_json(line)
        return row if isinstance(row, dict) else {}
    if not line.strip() or line.strip().removeprefix("\ufeff") == header:
        return {}
    return {name: _number(cell) for name, cell in zip(names, _cells(line, header), strict=False)}


def _number(cell: str) -> Any:
    """A cell as a number if possible, otherwise as text."""
    if cell and len(cell) < _MAX_CELL_LENGTH:
        with suppress(ValueError):
            return float(cell)
    return cell


def _add_row(part: Part, row: Mapping[str, Any], step_column: str, time: float) -> None:
    step_name = step_column if step_column != "{" else _find_column(row, STEPS)
    time_name = _find_column(row, _TIMES)
    values = {name: value for name, value in row.items() if name not in (step_name, time_name)}
    part.add(row.get(step_name), _time(row.get(time_name), time), values)


def _time(value: object, otherwise: float) -> float:
    """Convert a number (seconds or milliseconds) or ISO 8601 to seconds since the epoch, or return ``otherwise``."""
    if isinstance(value, str):
        return iso_time(value) or otherwise
    if isinstance(value, (int, float)) and 1e8 < value < 1e14:
        return value / 1000 if value > 1e11 else float(value)
    return otherwise


def iso_time(value: str) -> float | None:
    """Convert ISO 8601 (UTC unless it has a time zone) to seconds since the epoch; None for other text."""
    with suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(value[:40])
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return None


def _config(run: ForeignRun) -> dict[str, Any]:
    return plain_values(small_text(run.path.parent / "hparams.yaml", run.root))
