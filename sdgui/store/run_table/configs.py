"""The launched configs of runs, as JSON that the database can query.

Flow: code that adds a run stores its config; ``fill_configs`` reads the configs of runs that were added by an earlier
version or on another computer from their folders. Runs with the same config share a row.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, literal, or_, select
from sqlalchemy.orm import Session

from core.spec.config import ConfigError, RunConfig, parse_config
from core.spec.run.logged import LoggedConfig, read_any_config
from sdgui.store.registry.dialect import insert, is_postgres
from sdgui.store.sessions import Sessions, batches
from sdgui.store.tables import ConfigRow, ExperimentRow, RunRow

_FOLDERS = 200  # that are read between two writes
BINARY_JSON = sqlite3.sqlite_version_info >= (3, 45)  # whether this SQLite has jsonb(): read six times as fast


class ConfigRecords(Sessions):
    """The frozen configs of runs."""

    def fill_configs(self) -> int:
        """Store missing configs from the run folders; returns how many were added.

        Skips folders that are deleted, on another computer or unreadable; their runs then have no settings to list.
        """
        count = 0
        with self._read() as session:
            missing = session.execute(_missing(session)).all()
        for part in batches(missing, _FOLDERS):
            configs: dict[str, RunConfig | LoggedConfig] = {}
            for digest, *description in part:
                if digest not in configs and (config := self._find_config(digest, *description)) is not None:
                    configs[digest] = config
            with self._write() as session:
                for digest, config in configs.items():
                    save_config(session, digest, config)
            count += len(configs)
        return count

    def _find_config(
        self, digest: str, folder: str, experiment_config: str, name: str
    ) -> RunConfig | LoggedConfig | None:
        """The config that a run was launched with; None if it cannot be found."""
        try:
            return read_any_config(self._folder_path(folder) / "config.json")
        except ConfigError:
            pass
        try:  # without a local folder: the experiment's config, if it has not been edited since
            config = parse_config(experiment_config, name)
        except ConfigError:
            return None
        return config if config.digest() == digest else None


def _missing(session: Session) -> Any:
    """Runs without a config that this library can read: digest, folder, the experiment's config and name."""
    lacks: ColumnElement[bool] = ConfigRow.digest.is_(None)
    if not is_postgres(session) and not BINARY_JSON:
        lacks = or_(lacks, func.typeof(ConfigRow.config) == "blob")
    return (
        select(RunRow.digest, RunRow.folder, ExperimentRow.config, ExperimentRow.name)
        .join(ExperimentRow, ExperimentRow.id == RunRow.experiment_id)
        .outerjoin(ConfigRow, ConfigRow.digest == RunRow.digest)
        .where(lacks)
        .order_by(RunRow.id)
    )


def save_config(session: Session, digest: str, config: RunConfig | LoggedConfig) -> None:
    """Save the config of the runs with ``digest``."""
    raw = config.config if isinstance(config, LoggedConfig) else config.model_dump(mode="json")
    statement = insert(session, ConfigRow).values(digest=digest, recipe=recipe_of(raw), config=_document(session, raw))
    updates = {"config": statement.excluded["config"]}
    session.execute(statement.on_conflict_do_update(index_elements=["digest"], set_=updates))


def recipe_of(raw: dict[str, Any]) -> str:
    """The digest of a config without its name and seed: the same for all seeds of an experiment."""
    recipe = {name: value for name, value in raw.items() if name not in ("name", "seed")}
    return hashlib.sha256(json.dumps(recipe, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:12]


def _document(session: Session, raw: dict[str, Any]) -> Any:
    text = json.dumps(raw, separators=(",", ":"), ensure_ascii=False)
    if is_postgres(session):
        return cast(literal(text, Text()), ConfigRow.config.type)
    # without the cast, SQLite stores these bytes as a blob, which an older library does not accept as JSON
    return func.jsonb(literal(text, Text())) if BINARY_JSON else cast(literal(text, Text()), Text())
