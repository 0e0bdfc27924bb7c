"""Reads MLflow's runs from file stores (``mlruns/EXPERIMENT/RUN``) and SQLite stores.

File store: mlflow/store/tracking/file_store.py; tables: mlflow/store/tracking/dbmodels/models.py. Artifacts are neither
opened nor looked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.spec.reading import excerpt
from core.tracking.foreign.databases import database_files, query, sqlite_tables
from core.tracking.foreign.runs import (
    PART_BYTES,
    ForeignError,
    ForeignRun,
    Part,
    Position,
    as_number,
    as_step,
    as_text,
    new_lines,
    plain_values,
    small_text,
)

TOOL = "MLflow"
_STATES = {1: "running", 2: "running", 3: "done", 4: "failed", 5: "stopped"}  # RunStatus
_STATE_NAMES = {"RUNNING": 1, "SCHEDULED": 2, "FINISHED": 3, "FAILED": 4, "KILLED": 5}
_MAX_RUNS = 100_000
_MAX_FILES = 10_000  # files of metrics, params and tags per run
_TABLES = {
    "experiments": {"experiment_id", "name"},
    "runs": {"run_uuid", "name", "status", "start_time", "end_time", "lifecycle_stage", "experiment_id"},
    "metrics": {"key", "value", "timestamp", "run_uuid", "step", "is_nan"},
    "params": {"key", "value", "run_uuid"},
    "tags": {"key", "value", "run_uuid"},
}


def find(folder: Path, files: set[str], root: Path) -> list[ForeignRun]:
    """The run of a file store in ``folder``, and the runs of SQLite stores in it."""
    runs = []
    if "meta.yaml" in files:
        meta = _meta(folder, root)
        if "run_id" in meta and meta.get("lifecycle_stage") != "deleted":
            project = str(_meta(folder.parent, root).get("name") or folder.parent.name) if folder != root else "mlflow"
            runs.append(ForeignRun(TOOL, folder, root, _text(meta.get("run_name")) or folder.name, _text(project)))
    for name in database_files(files):
        path = folder / name
        if _is_store(sqlite_tables(path, root)):
            rows = query(
                path,
                "SELECT r.run_uuid, r.name, e.name FROM runs r JOIN experiments e USING (experiment_id)"
                " WHERE r.lifecycle_stage = 'active' ORDER BY r.start_time LIMIT ?",
                (_MAX_RUNS,),
            )
            runs += [ForeignRun(TOOL, path, root, _text(n) or _text(k), _text(e), str(k)) for k, n, e in rows]
    return runs


def read(run: ForeignRun, position: Position) -> Iterator[Part]:
    """Params, tags and state whenever they have changed; metrics after ``position``."""
    return _read_rows(run, position) if run.key else _read_files(run, position)


def _is_store(tables: dict[str, set[str]]) -> bool:
    return all(columns <= tables.get(name, set()) for name, columns in _TABLES.items())


def _read_files(run: ForeignRun, position: Position) -> Iterator[Part]:
    offsets = dict(position)
    # Read before the metrics, so that the metrics of a run that has ended are complete.
    meta = _meta(run.path, run.root)
    values = {name: small_text(path, run.root) for path, name in _files(run.path / "params", run.root)}
    tags = [(name, small_text(path, run.root)) for path, name in _files(run.path / "tags", run.root)]
    yield _facts(Part(position=dict(offsets)), meta, values, tags)
    for path, name in _files(run.path / "metrics", run.root):
        for lines, offset in new_lines(path, run.root, offsets.get(name, 0)):
            part = Part()
            for line in lines:
                _add_line(part, name, line)
            offsets[name] = offset
            part.position = dict(offsets)
            yield part


def _files(folder: Path, root: Path) -> list[tuple[Path, str]]:
    """The files below ``folder`` and their names. Links to folders are not followed."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    paths = []
    for parent, _, names in os.walk(folder):
        paths += [(path, as_text(path.relative_to(folder).as_posix())) for path in (Path(parent, n) for n in names)]
        if len(paths) > _MAX_FILES:
            raise ForeignError(f"{excerpt(str(folder))} has more than {_MAX_FILES} files; import another folder.")
    return sorted(paths)


def _add_line(part: Part, name: str, line: bytes) -> None:
    """Parse a line "TIMESTAMP VALUE STEP": milliseconds, a float and an int."""
    words = line.split()
    try:
        time, value, step = int(words[0]) / 1000, float(words[1]), int(words[2]) if len(words) > 2 else 0
    except (ValueError, IndexError, OverflowError):
        part.problems["lines that are not a metric's time, value and step"] += 1
        return
    part.add(step, time, {name: value})


def _read_rows(run: ForeignRun, position: Position) -> Iterator[Part]:
    meta = query(run.path, "SELECT status, start_time, end_time FROM runs WHERE run_uuid = ?", (run.key,))
    if not meta:
        return
    facts = dict(zip(("status", "start_time", "end_time"), meta[0], strict=True))
    facts["status"] = _STATE_NAMES.get(str(facts["status"]), 1)
    pairs = "SELECT key, value FROM {} WHERE run_uuid = ? ORDER BY key LIMIT 10000"
    values = {str(key): value for key, value in query(run.path, pairs.format("params"), (run.key,))}
    tags = [(str(key), str(value)) for key, value in query(run.path, pairs.format("tags"), (run.key,))]
    yield _facts(Part(position=dict(position)), facts, values, tags)
    last = position.get("row", 0)
    while rows := query(
        run.path,
        "SELECT rowid, key, CASE WHEN is_nan THEN 'nan' ELSE value END, timestamp, step FROM metrics"
        " WHERE run_uuid = ? AND rowid > ? ORDER BY rowid LIMIT ?",
        (run.key, last, PART_BYTES // 100),
    ):
        part = Part()
        for _, key, value, time, step in rows:
            part.add(step, (as_number(time) or 0) / 1000, {str(key): float("nan") if value == "nan" else value})
        last = rows[-1][0]
        part.position = {"row": last}
        yield part


def _facts(part: Part, meta: dict[str, Any], params: dict[str, Any], tags: list[tuple[str, str]]) -> Part:
    part.config = params
    part.tags = [f"{key}={value}" if value else key for key, value in tags if not key.startswith("mlflow.")]
    part.state = _STATES.get(as_step(meta.get("status", 1)) or 1, "running")
    part.started, part.ended = (
        number / 1000 if (number := as_number(meta.get(name))) else None for name in ("start_time", "end_time")
    )
    return part


def _meta(folder: Path, root: Path) -> dict[str, Any]:
    with suppress(OSError, ForeignError):
        return plain_values(small_text(folder / "meta.yaml", root))
    return {}


def _text(value: Any) -> str:
    return excerpt(str(value), 200) if value not in (None, "") else ""
