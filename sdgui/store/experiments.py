"""Experiment records of the store."""

from __future__ import annotations

import functools
import itertools
import json
import time
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.spec.config import ConfigError, RunConfig, parse_config
from core.spec.run.logged import parse_logged
from sdgui.store.records import Experiment, StoreError
from sdgui.store.registry.activity import record_activity, record_edit
from sdgui.store.sessions import (
    NAME_LENGTH,
    Sessions,
    check_unedited,
    clean_name,
    merged_tags,
    parse_object,
    storable,
    tag_rows,
)
from sdgui.store.tables import ExperimentRow, TagRow


class ExperimentRecords(Sessions):
    """Reads and writes experiments."""

    def experiments(self, deleted: bool = False) -> list[Experiment]:
        """Experiments outside the bin, or with ``deleted`` those in it; oldest first."""
        is_listed = ExperimentRow.deleted.is_not(None) if deleted else ExperimentRow.deleted.is_(None)
        query = select(ExperimentRow).where(is_listed).order_by(ExperimentRow.id)
        with self._read() as session:
            return [experiment_record(row) for row in session.scalars(query)]

    def changed_times(self) -> dict[int, float]:
        """Times of the last edit or rename of the experiments outside the bin, in seconds since the epoch."""
        with self._read() as session:
            query = select(ExperimentRow.id, ExperimentRow.changed).where(ExperimentRow.deleted.is_(None))
            return {row.id: row.changed for row in session.execute(query)}

    def experiment(self, experiment_id: int) -> Experiment:
        """One experiment, in the bin or not. Raises StoreError for an unknown id."""
        with self._read() as session:
            return experiment_record(experiment_row(session, experiment_id))

    def add_experiment(self, config: RunConfig | str, name: str | None = None) -> Experiment:
        """Add an experiment; ``name`` defaults to the name in the config."""
        text = _text(config)
        name = clean_name(name if name is not None else _name_in(text) or "untitled")
        with self._write() as session:
            return experiment_record(new_experiment(session, text, name))

    def rename_experiment(self, experiment_id: int, name: str) -> Experiment:
        """Rename an experiment, in its config too. Runs keep the config that they were launched with."""
        name = clean_name(name)
        with self._write() as session:
            row = experiment_row(session, experiment_id)
            old_name, row.name = row.name, name
            row.config, row.changed = _with_name(row.config, name), time.time()
            record_activity(session, "renamed", row, old_name)
            return experiment_record(row)

    def duplicate_experiment(self, experiment_id: int) -> Experiment:
        """Copy an experiment as "... copy", with its tags and note but without runs."""
        with self._write() as session:
            row = experiment_row(session, experiment_id)
            used_names = set(session.scalars(select(ExperimentRow.name)))
            copy = new_experiment(session, row.config, _copy_name(row.name, used_names))
            copy.note, copy.tags = row.note, list(row.tags)
            return experiment_record(copy)

    def edit_experiment(self, experiment_id: int, config: RunConfig | str, before: str | None = None) -> Experiment:
        """Replace the config of an experiment; a draft that does not validate yet can be passed as text.

        ``before``: the config at the start of the edit. A new name from another window is kept; raises
        ChangedElsewhereError if another window has changed anything else.
        """
        text = _text(config)
        with self._write() as session:
            row = experiment_row(session, experiment_id)
            check_unedited(f"The config of “{row.name}”", before, row.config, text, _settings)
            record_edit(session, row, row.config)
            name = _name_in(text)
            if before is None or name != _name_in(before):
                row.name = clean_name(name or row.name)
            row.config, row.changed = _with_name(text, row.name), time.time()
            return experiment_record(row)

    def restore_experiment(self, experiment_id: int) -> Experiment:
        """Restore an experiment from the bin."""
        with self._write() as session:
            row = experiment_row(session, experiment_id)
            row.deleted = None
            record_activity(session, "restored", row)
            return experiment_record(row)

    def tag_experiment(
        self, experiment_id: int, tags: Iterable[str], before: Iterable[str] | None = None
    ) -> Experiment:
        """Replace the tags; if ``before`` (the tags at the start of the edit) is given, apply only what was edited."""
        with self._write() as session:
            row = experiment_row(session, experiment_id)
            current = [tag.name for tag in row.tags]
            row.tags = tag_rows(session, tags if before is None else merged_tags(before, current, tags))
            session.flush()
            session.refresh(row)
            record_activity(session, "tagged", row)
            return experiment_record(row)

    def set_experiment_note(self, experiment_id: int, note: str, before: str | None = None) -> Experiment:
        """Replace the note. Raises ChangedElsewhereError if it has changed since the edit began (``before``)."""
        with self._write() as session:
            row = experiment_row(session, experiment_id)
            check_unedited(f"The note of “{row.name}”", before, row.note, note)
            record_activity(session, "wrote the note of", row, row.note)
            row.note = storable(note)
            return experiment_record(row)

    def tags(self) -> list[str]:
        """Every tag ever used, alphabetically, to choose from."""
        with self._read() as session:
            return list(session.scalars(select(TagRow.name).order_by(TagRow.name)))


def new_experiment(session: Session, config: str, name: str) -> ExperimentRow:
    """The row of a new experiment, with its id."""
    now = time.time()
    row = ExperimentRow(name=name, config=_with_name(config, name), created=now, changed=now, note="")
    session.add(row)
    session.flush()
    record_activity(session, "made", row)
    return row


def experiment_row(session: Session, experiment_id: int) -> ExperimentRow:
    """The row of an experiment. Raises StoreError if it was deleted, perhaps by another window."""
    row = session.get(ExperimentRow, experiment_id)
    if row is None:
        raise StoreError(f"Experiment {experiment_id} does not exist: it was deleted.")
    return row


def experiment_record(row: ExperimentRow) -> Experiment:
    config, problem = _parse(row.config, row.name)
    return Experiment(
        id=row.id,
        name=row.name,
        config_json=row.config,
        config=config,
        problem=problem,
        logged_project=_logged_project(row.config) if config is None else "",
        created=row.created,
        changed=row.changed,
        tags=tuple(tag.name for tag in row.tags),
        note=row.note,
        deleted=row.deleted,
    )


@functools.lru_cache(maxsize=4096)
def _parse(text: str, name: str) -> tuple[RunConfig | None, str]:
    try:
        return parse_config(text, f'The experiment "{name}"'), ""
    except ConfigError as error:
        return None, str(error)


@functools.lru_cache(maxsize=4096)
def _logged_project(text: str) -> str:
    try:
        logged = parse_logged(text, "the experiment")
    except ConfigError:
        return ""
    return logged.project if logged is not None else ""


def _text(config: RunConfig | str) -> str:
    return config.to_json() if isinstance(config, RunConfig) else storable(config)


def _name_in(text: str) -> str:
    """The name in a config; "" if the config cannot be read."""
    name = (parse_object(text) or {}).get("name")
    return name if isinstance(name, str) else ""


def _settings(text: str) -> object:
    """The settings of a config without its name; the text itself if it cannot be read."""
    raw = parse_object(text)
    return text if raw is None else {key: value for key, value in raw.items() if key != "name"}


def _with_name(text: str, name: str) -> str:
    """The config text with another name; unchanged if it is not an experiment's JSON."""
    raw = parse_object(text)
    if raw is None or raw.get("name") == name:
        return text
    return storable(json.dumps(raw | {"name": name}, indent=2, ensure_ascii=False)) + "\n"


def _copy_name(name: str, used_names: set[str]) -> str:
    endings = itertools.chain([" copy"], (f" copy {number}" for number in itertools.count(2)))
    candidates = (name[: NAME_LENGTH - len(ending)] + ending for ending in endings)
    return next(candidate for candidate in candidates if candidate not in used_names)
