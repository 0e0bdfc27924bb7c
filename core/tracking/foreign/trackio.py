"""Reads Trackio's runs from a SQLite file per project, ``PROJECT.db`` (see trackio/sqlite_storage.py)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from core.spec.reading import excerpt
from core.tracking.foreign.databases import database_files, query, sqlite_tables
from core.tracking.foreign.runs import (
    MAX_NUMBERS,
    PART_BYTES,
    ForeignRun,
    Part,
    Position,
    as_step,
    flat_numbers,
    lenient_json,
)
from core.tracking.foreign.tables import iso_time

TOOL = "Trackio"
_MAX_RUNS = 100_000
_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def find(folder: Path, files: set[str], root: Path) -> list[ForeignRun]:
    """The runs of the projects in ``folder``."""
    runs = []
    for name in database_files(files):
        path = folder / name
        columns = sqlite_tables(path, root).get("metrics", set())
        if {"id", "run_name", "step", "timestamp", "metrics"} <= columns:
            key = _key(columns)
            sql = f"SELECT {key}, MAX(run_name) FROM metrics GROUP BY {key} ORDER BY MIN(id) LIMIT ?"
            project = excerpt(path.stem, 200) or "trackio"
            runs += [
                ForeignRun(TOOL, path, root, excerpt(str(run_name), 200), project, str(run_id))
                for run_id, run_name in query(path, sql, (_MAX_RUNS,))
            ]
    return runs


def read(run: ForeignRun, position: Position) -> Iterator[Part]:
    """Metrics and system metrics after ``position``, and the config."""
    tables = sqlite_tables(run.path, run.root)
    position = {"step": 0, **position}
    if not position.get("metrics"):
        yield Part(position=dict(position), config=_config(run, tables.get("configs", set())))
    for table, prefix in (("metrics", ""), ("system_metrics", "system/")):
        columns = tables.get(table, set())
        if not {"id", "run_name", "timestamp", "metrics"} <= columns:
            continue
        step = "step" if "step" in columns else "NULL"
        sql = (
            f"SELECT id, timestamp, {step}, metrics FROM {table}"
            f" WHERE {_key(columns)} = ? AND id > ? ORDER BY id LIMIT ?"
        )
        while rows := query(run.path, sql, (run.key, position.get(table, 0), PART_BYTES // 500)):
            part, size = Part(), 0
            for row, time, row_step, metrics in rows:
                position[table] = row
                position["step"] = max(position["step"], as_step(row_step) or 0)
                content = metrics if isinstance(metrics, (str, bytes)) else ""
                values = dict(islice(flat_numbers(_finite(lenient_json(content)), prefix), MAX_NUMBERS))
                part.add(position["step"] if row_step is None else row_step, iso_time(str(time)) or 0.0, values)
                size += len(content)
                if size > PART_BYTES:
                    part.position = dict(position)
                    yield part
                    part, size = Part(), 0
            part.position = dict(position)
            yield part


def _key(columns: set[str]) -> str:
    """The column that identifies a run; older files have only the name."""
    return "run_id" if "run_id" in columns else "run_name"


def _finite(value: Any) -> dict[str, Any]:
    """Metrics; non-finite numbers are encoded as text."""
    items = value.items() if isinstance(value, dict) else ()
    decoded = ((name, _NOT_FINITE.get(item, item) if isinstance(item, str) else item) for name, item in items)
    return {name: _finite(item) if isinstance(item, dict) else item for name, item in decoded}


def _config(run: ForeignRun, columns: set[str]) -> dict[str, Any]:
    if not {"run_name", "config"} <= columns:
        return {}
    rows = query(run.path, f"SELECT config FROM configs WHERE {_key(columns)} = ? LIMIT 1", (run.key,))
    config = lenient_json(rows[0][0]) if rows else None
    return {name: value for name, value in config.items() if name[:1] != "_"} if isinstance(config, dict) else {}
