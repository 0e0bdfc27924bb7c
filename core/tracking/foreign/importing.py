"""Imports runs of other tools into run folders, once or continuously while they are written.

``import.json`` in the run folder contains the reader's position and the size of ``events.jsonl`` at that position. If
an import is interrupted after writing events but before ``import.json``, the next import truncates ``events.jsonl`` to
the recorded size, so that no event is written twice.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.reading import MEGABYTE, UnreadableError, excerpt, open_regular, read_json, validate
from core.spec.run.events import (
    LATEST_TIME,
    MAX_STEP,
    Event,
    EventWriter,
    Log,
    Metrics,
    Outcome,
    RunFailed,
    RunFinished,
    RunStarted,
    encode,
)
from core.spec.run.folder import RunDir, new_name
from core.spec.run.logged import LoggedConfig, read_logged
from core.spec.run.status import own_status
from core.tracking.foreign.finding import find_runs, nothing_found, reader_of, search_folders
from core.tracking.foreign.runs import ForeignError, ForeignRun, Part, ReplacedError, as_text
from core.tracking.starting import to_json_value

_RECORD_FILE = "import.json"
POLL_SECONDS = 0.5
_HEARTBEAT_SECONDS = 10.0
_POLLS_PER_SEARCH = 5  # polls between two searches for new runs
_SEARCH_SECONDS = 0.1  # time per poll spent searching, so that a thousand runs' new points do not wait for it
_MAX_CONFIG_BYTES = MEGABYTE


class ImportRecord(BaseModel):
    """``import.json``. ``size``: bytes of ``events.jsonl``. ``step``: the last step.

    ``state``: the run's state as recorded by the tool.
    """

    model_config = ConfigDict(strict=True, extra="ignore", defer_build=True)

    tool: str = ""
    source: str = ""
    key: str = ""
    position: dict[str, Any] = Field(default_factory=dict)
    size: Annotated[int, Field(ge=0)] = 0
    step: Annotated[int, Field(ge=0, le=MAX_STEP)] = 0
    last_time: Annotated[float, Field(ge=0)] = 0.0
    state: str = ""
    ended: bool = False  # the events end with a terminal event


class Importer:
    """Imports one run into ``folder``."""

    def __init__(self, run: ForeignRun, folder: Path) -> None:
        self.run, self.dir = run, RunDir(folder)
        self.record = _read_record(self.dir, run)
        self.points = 0  # values that this object has written
        self.problems: Counter[str] = Counter()
        self._heartbeat = -math.inf

    @property
    def ended(self) -> bool:
        """Whether the tool has recorded the end of the run."""
        return self.record.state in ("done", "stopped", "failed")

    def catch_up(self, following: bool = False) -> None:
        """Import new records. Unless ``following``, a run whose tool does not record an end is then marked as done.

        Raises UserError if the source cannot be read or the folder is in use, OSError if it cannot be written.
        """
        if self.record.size == 0:
            self.dir.create()
        elif following and not self._has_news():
            self._write_heartbeat()
            return
        with self.dir.claim():
            self.record = _read_record(self.dir, self.run)  # another program may have imported more
            if not _truncate(self.dir.events, self.record.size):
                self._start_over()
            try:
                self._read(following)
            except ReplacedError:
                self._start_over()
                self._read(following)
            self._write_heartbeat()

    def _has_news(self) -> bool:
        record = self.record
        try:
            return any(
                part.events or part.position != record.position or part.state not in ("", record.state)
                for part in reader_of(self.run).read(self.run, dict(record.position))
            )
        except ReplacedError:
            return True

    def _start_over(self) -> None:
        self.record = ImportRecord.model_validate(_identity(self.run))
        _truncate(self.dir.events, 0)

    def _read(self, following: bool) -> None:
        writer = EventWriter(self.dir.events)
        problems: Counter[str] = Counter()
        try:
            for part in reader_of(self.run).read(self.run, dict(self.record.position)):
                problems += part.problems
                self._write(part, writer)
            self._finish(writer, problems, following)
        finally:
            writer.close()
        self.problems += problems

    def _write_heartbeat(self) -> None:
        if self.record.ended:
            self.dir.status.unlink(missing_ok=True)  # the status names this process, which started after the run ended
        elif time.monotonic() - self._heartbeat > _HEARTBEAT_SECONDS:
            self._heartbeat = time.monotonic() - random.uniform(0, _HEARTBEAT_SECONDS / 2)  # not all runs in one poll
            self.dir.write_status(own_status(self.record.step, 0, "importing"), durable=False)

    def _write(self, part: Part, writer: EventWriter) -> None:
        """Append the events of ``part`` and record the position after it."""
        config = self._update_config(part)
        if part.state:
            self.record.state = part.state
        if not part.events and part.position == self.record.position and self.record.size:
            return
        events: list[Event] = []
        if self.record.size == 0 or (self.record.ended and part.events):
            # The tool's start time, for the first start and if it is plausible; otherwise the time of the first event.
            first = next((event.time for event in part.events), self.dir.config.stat().st_mtime)
            recorded = part.started if part.started is not None and not self.record.size else first
            started = recorded if 0 <= recorded <= LATEST_TIME else first
            start = RunStarted(
                step=self.record.step, total_steps=0, config_digest=config.digest(), time=started, provenance={}
            )
            events, self.record.ended = [start], False
        events += part.events
        self.points += sum(len(event.values) for event in part.events if isinstance(event, Metrics))
        self.record.step = max([self.record.step, *(e.step for e in part.events if isinstance(e, Metrics))])
        ended = part.ended if part.ended is not None and 0 <= part.ended <= LATEST_TIME else 0.0
        self.record.last_time = max([ended, self.record.last_time, *(event.time for event in part.events)])
        self.record.position = part.position
        self._append(writer, events)

    def _append(self, writer: EventWriter, events: Iterable[Event]) -> None:
        lines = b"".join(encode(event) for event in events)
        writer.append(lines)
        self.record.size += len(lines)
        write_whole(self.dir.path / _RECORD_FILE, self.record.model_dump_json().encode(), durable=False)

    def _finish(self, writer: EventWriter, problems: Counter[str], following: bool) -> None:
        """Report skipped records, and write the terminal event."""
        events: list[Event] = [
            Log(level="warning", message=f"Skipped {what}: {count}.", time=self.record.last_time)
            for what, count in problems.items()
        ]
        state, ended = self.record.state, self.record.last_time
        if not self.record.ended and self.record.size and (self.ended or (not state and not following)):
            self.record.ended = True
            if state == "failed":
                message = f"{self.run.tool} recorded that the run failed."
                events.append(RunFailed(step=self.record.step, error="Failed", message=message, time=ended))
            else:
                outcome: Outcome = "stopped" if state == "stopped" else "done"
                events.append(RunFinished(step=self.record.step, outcome=outcome, time=ended))
        if events:
            self._append(writer, events)

    def _update_config(self, part: Part) -> LoggedConfig:
        """``config.json`` with the additions of ``part``."""
        old = read_logged(self.dir.config) if self.dir.config.exists() else None
        values = dict(old.config) if old else {}
        with suppress(UserError):  # nested too deep
            added = json.loads(json.dumps(to_json_value(part.config, 0)))
            if len(json.dumps({**values, **added})) <= _MAX_CONFIG_BYTES:
                values |= added
        config = LoggedConfig(
            name=_line(part.name) or (old.name if old else self.run.name),
            project=_line(part.project) or (old.project if old else self.run.project),
            config=values,
            tags=[_line(tag) for tag in part.tags if _line(tag)][:100] or (old.tags if old else []),
        )
        if config != old:
            write_whole(self.dir.config, config.to_json().encode("utf-8", "backslashreplace"), durable=False)
        return config


def new_importers(
    runs: Iterable[ForeignRun], runs_folder: Path, existing: Mapping[str, Importer]
) -> dict[str, Importer]:
    """Importers by run ID for ``runs`` that are not ``existing``. A run that was imported before keeps its folder."""
    new = {digest: run for run in runs if (digest := _digest(run)) not in existing}
    folders: dict[str, str] = {}
    if new:
        with suppress(FileNotFoundError), os.scandir(runs_folder) as entries:
            folders = {entry.name.rpartition("-")[2]: entry.name for entry in entries}
    importers: dict[str, Importer] = {}
    for digest, run in new.items():
        name = folders.get(digest) or f"{new_name(run.name).rsplit('-', 2)[0]}-{digest}"
        importers[digest] = Importer(run, runs_folder / name)
    return importers


def _search_again(source: Path) -> Iterator[list[ForeignRun]]:
    """Search ``source`` every `_POLLS_PER_SEARCH` polls; each item has the runs found during one poll."""
    while True:
        yield from ([] for _ in range(_POLLS_PER_SEARCH - 1))
        runs: list[ForeignRun] = []
        deadline = time.monotonic() + _SEARCH_SECONDS
        with suppress(UserError, OSError):  # a database is locked, or a folder was deleted: the next search may differ
            for folder_runs in search_folders(source):
                runs += folder_runs
                if time.monotonic() > deadline:
                    yield runs
                    runs, deadline = [], time.monotonic() + _SEARCH_SECONDS
        yield runs


def import_runs(
    source: Path, runs_folder: Path, follow: bool, report: Callable[[Importer | None, str], object]
) -> None:
    """Import every run in ``source``. With ``follow``, keep importing new records until every run has ended.

    ``report`` gets an importer and "" after its first pass, or a sentence when it cannot be imported; None and a
    sentence for a folder that cannot be searched. Raises UserError when there are no runs; while following, they are
    waited for.
    """
    problems: list[str] = []
    importers = new_importers(find_runs(source, problems.append), runs_folder, {})
    if not importers and not (follow and source.is_dir()):
        raise ForeignError(problems[0]) if problems else nothing_found(source)
    for problem in problems:
        report(None, problem)
    reported: dict[str, str] = {}
    searches = _search_again(source)
    while True:
        for digest, importer in importers.items():
            if digest in reported and importer.ended and importer.record.ended:
                continue
            sentence = _attempt(importer, follow)
            if reported.get(digest) != sentence:
                reported[digest] = sentence
                report(importer, sentence)
        if not follow or (importers and all(item.ended and item.record.ended for item in importers.values())):
            return
        time.sleep(POLL_SECONDS)
        importers |= new_importers(next(searches), runs_folder, importers)


def _attempt(importer: Importer, follow: bool) -> str:
    """Import the new records. Returns an error message, or ""."""
    try:
        importer.catch_up(follow)
    except UserError as error:
        return str(error)
    except OSError as error:
        return f"{excerpt(str(error.filename or importer.run.path))} cannot be used: {error.strerror or error}."
    except Exception as error:  # noqa: BLE001  the other runs are still imported
        return f"{excerpt(str(importer.run.path))} cannot be imported: {type(error).__name__}: {excerpt(str(error))}."
    return ""


def _digest(run: ForeignRun) -> str:
    """The run ID at the end of the run folder's name: 10 hex digits of a digest of the source."""
    return hashlib.sha256("\0".join(_identity(run).values()).encode()).hexdigest()[:10]


def _identity(run: ForeignRun) -> dict[str, str]:
    return {"tool": run.tool, "source": as_text(str(run.path)), "key": run.key}


def _read_record(folder: RunDir, run: ForeignRun) -> ImportRecord:
    """The record in ``folder``; an empty record if it is missing, damaged or belongs to another source."""
    try:
        raw = read_json(folder.path / _RECORD_FILE, 4 * MEGABYTE, root=folder.path, error=UnreadableError)
        record = validate(ImportRecord, raw, _RECORD_FILE, error=UnreadableError)
    except (OSError, UserError):
        return ImportRecord.model_validate(_identity(run))
    same = {"tool": record.tool, "source": record.source, "key": record.key} == _identity(run)
    return record if same else ImportRecord.model_validate(_identity(run))


def _truncate(events: Path, size: int) -> bool:
    """Remove events that were appended after the last recorded position. Returns False if events are missing.

    Raises ForeignError if ``events`` is a link out of its folder.
    """
    try:
        with open_regular(events, root=events.parent, error=ForeignError) as file:
            actual = file.seek(0, os.SEEK_END)
    except FileNotFoundError:
        return size == 0
    if actual > size:
        os.truncate(events, size)
    return actual >= size


def _line(text: str) -> str:
    return excerpt(text.strip(), 200) if text.strip() else ""
