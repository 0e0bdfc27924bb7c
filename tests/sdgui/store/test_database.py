"""The database file: versions, migrations, copies, refusals."""

from __future__ import annotations

import hashlib
import math
import shutil
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.store.database import MIGRATIONS, open_database, read_version
from sdgui.store.records import MetricSummary, Progress, StoreError
from sdgui.store.store import Store
from sdgui.store.tables import SCHEMA_VERSION, Base

NEXT = f"{int(SCHEMA_VERSION) + 1:04}"  # what a later release will have
LATER = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "{next}", "{newest}", None, None

def upgrade():
    with op.batch_alter_table("experiments", recreate="{recreate}") as batch:
        batch.add_column(sa.Column("colour", sa.String(), nullable=False, server_default="grey"))
    {extra}
"""


@pytest.fixture(autouse=True)
def made_from_a_copy() -> None:
    """Create every database by its migrations."""


def scripts_with(folder: Path, extra: str = "", recreate: str = "always") -> Path:
    """The migrations and an additional one, as in a later release."""
    scripts = folder / "migrations"
    shutil.copytree(MIGRATIONS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    text = LATER.format(extra=extra or "pass", next=NEXT, newest=SCHEMA_VERSION, recreate=recreate)
    (scripts / "versions" / f"v{NEXT}_colour.py").write_text(text)
    return scripts


def filled(home: Path) -> Path:
    store = Store.open(home)
    store.add_run(store.add_experiment(preset_config("clip", "tiny")).id)
    store.close()
    return store.local_file


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_the_migrations_create_the_declared_tables(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "sdgui.db").reader
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()
    never_twice = {name for name, table in Base.metadata.tables.items() if table.dialect_kwargs["sqlite_autoincrement"]}
    made = query(tmp_path / "sdgui.db", "SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'")
    assert {name for (name,) in made} == never_twice != set()
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA_VERSION
    assert read_version(tmp_path / "sdgui.db") == SCHEMA_VERSION


def test_a_metric_of_a_run_is_found_by_the_key_of_summaries(tmp_path: Path) -> None:
    """The run table queries it thousands of times."""
    path = filled(tmp_path)
    store = Store.open(tmp_path)
    (run,) = store.runs()
    kept = {f"val/{name}": MetricSummary(last, 7, 0.5, 3) for name, last in (("loss", 0.75), ("recall", math.nan))}
    store.record(run.id, Progress(RunState.DONE, 1, 9, 9, 1.0, 2.0, "done", summaries=kept))
    ((*_, plan),) = query(
        path, "EXPLAIN QUERY PLAN SELECT best FROM summaries WHERE run_id = 1 AND metric = 'val/loss'"
    )
    assert "USING PRIMARY KEY" in str(plan)
    rows = query(path, "SELECT metric, last, last_step, best, best_step FROM summaries ORDER BY metric")
    assert rows == [("val/loss", 0.75, 7, 0.5, 3), ("val/recall", None, 7, 0.5, 3)]
    store.delete_run(run.id, permanently=True)
    store.close()
    assert query(path, "SELECT count(*) FROM summaries") == [(0,)], "they are deleted with their run"


def test_the_database_uses_wal_and_enforces_foreign_keys(tmp_path: Path) -> None:
    path = filled(tmp_path)
    assert query(path, "PRAGMA journal_mode") == [("wal",)]
    engine = open_database(path).reader
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    engine.dispose()


def test_an_older_database_is_copied_then_migrated_with_its_rows(tmp_path: Path) -> None:
    path = filled(tmp_path)
    engine = open_database(path, scripts_with(tmp_path), NEXT).reader
    engine.dispose()
    assert read_version(path) == NEXT
    assert query(path, "SELECT name, colour FROM experiments") == [("clip", "grey")]
    assert query(path, "SELECT count(*) FROM runs") == [(1,)], "replacing the table must not delete referring rows"
    (copy,) = tmp_path.glob(f"sdgui-version-{SCHEMA_VERSION}-*.db")
    assert read_version(copy) == SCHEMA_VERSION
    assert query(copy, "SELECT name FROM experiments") == [("clip",)]


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = filled(tmp_path)
    scripts = scripts_with(tmp_path, extra='op.execute("INSERT INTO nowhere VALUES (1)")')
    with pytest.raises(StoreError, match="nowhere"):
        open_database(path, scripts, NEXT)
    assert read_version(path) == SCHEMA_VERSION
    assert "colour" not in {row[1] for row in query(path, "PRAGMA table_info(experiments)")}
    store = Store.open(tmp_path)
    assert len(store.runs()) == 1
    store.close()


@pytest.mark.parametrize("version", [NEXT, "9f3ab2"])
def test_a_newer_database_is_refused_untouched(tmp_path: Path, version: str) -> None:
    path = filled(tmp_path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
    before = hashlib.sha256(path.read_bytes()).digest()
    files = sorted(file.name for file in tmp_path.iterdir())
    with pytest.raises(StoreError) as caught:
        Store.open(tmp_path)
    for part in (version, SCHEMA_VERSION, str(path), "--home"):
        assert part in str(caught.value)
    assert hashlib.sha256(path.read_bytes()).digest() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == files


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "sdgui.db")) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")
    with pytest.raises(StoreError, match="another program"):
        Store.open(tmp_path)


def test_a_truncated_database_is_reported_as_damaged(tmp_path: Path) -> None:
    path = filled(tmp_path)
    path.write_bytes(path.read_bytes()[:5000])

    def use() -> None:
        store = Store.open(tmp_path)
        try:
            store.experiments()
        finally:
            store.close()

    with pytest.raises(StoreError, match="damaged"):
        use()
    assert path.stat().st_size == 5000


def test_a_home_that_is_a_file_is_refused_with_a_message(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(StoreError, match="--home"):
        Store.open(tmp_path / "home")


def test_concurrent_first_openings_create_one_database(tmp_path: Path) -> None:
    failures: list[Exception] = []

    def open_once() -> None:
        try:
            store = Store.open(tmp_path)
            store.add_experiment(preset_config("clip", "tiny"))
            store.close()
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=open_once) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    store = Store.open(tmp_path)
    assert len(store.experiments()) == 2
    store.close()


def test_a_locked_database_is_reported_as_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdgui.store.engine.BUSY_SECONDS", 0.05)
    path = filled(tmp_path)
    store = Store.open(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked by another program"):
            store.add_experiment(preset_config("clip", "tiny"))
        assert len(store.experiments()) == 1, "reading goes on meanwhile"
        other.execute("ROLLBACK")
    store.close()


def test_a_closed_store_opens_no_further_connection(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.close()
    with pytest.raises(StoreError, match="has been closed"):
        store.experiments()


def test_an_up_to_date_database_opens_without_alembic(tmp_path: Path) -> None:
    filled(tmp_path)
    loaded = sys.modules.pop("sdgui.store.migration")
    try:
        Store.open(tmp_path).close()
        assert "sdgui.store.migration" not in sys.modules
    finally:
        sys.modules["sdgui.store.migration"] = loaded


def test_a_foreign_key_is_checked_after_a_migration(tmp_path: Path) -> None:
    path = filled(tmp_path)
    scripts = scripts_with(tmp_path, extra='op.execute("UPDATE runs SET experiment_id = 77")')
    with pytest.raises(StoreError, match="broken references"):
        open_database(path, scripts, NEXT)
    assert read_version(path) == SCHEMA_VERSION


def test_existing_dangling_references_do_not_prevent_opening(tmp_path: Path) -> None:
    path = filled(tmp_path)
    with closing(sqlite3.connect(path)) as other, other:  # without references checked, as other programs write
        other.execute("INSERT INTO tags (id, name) VALUES (1, 'left')")
        other.execute("INSERT INTO run_tags (owner_id, tag_id) VALUES (99, 1)")
    open_database(path, scripts_with(tmp_path), NEXT)
    assert read_version(path) == NEXT
