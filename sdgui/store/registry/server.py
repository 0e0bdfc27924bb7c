"""PostgreSQL: the engine, serialised writes, versions, and error messages.

Flow: ``Store.open`` with a ``RegistryAddress`` -> ``open_registry``. Transactions have the same guarantees as
in SQLite: writes are serialised by an advisory lock that ends with the transaction, and a reading transaction sees one
snapshot. The frequent updates of a live run lock only that run's row.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

from core.spec.installed import missing_message
from core.spec.reading import excerpt
from sdgui.store.engine import Database, Outage, ServerGoneError
from sdgui.store.records import StoreError, StoreUnavailableError
from sdgui.store.registry.address import RegistryAddress
from sdgui.store.tables import SCHEMA_VERSION, Base

WRITE_LOCK_ID = 7_340_113  # id of the advisory lock; must be unused by other programs in the database
CONNECT_SECONDS = 5
_LOCK_MS, _STATEMENT_MS = 10_000, 60_000


def open_registry(address: RegistryAddress, scripts: Path, newest: str = SCHEMA_VERSION) -> Database:
    """Open a registry; creates the tables if the database is empty.

    Raises StoreError if it cannot be reached or entered, belongs to another program, or has another version. In the
    last case it is not migrated, because others may be using it.
    """
    engine = make_engine(address)
    try:
        with engine.connect() as connection:
            version = read_version(connection, address)
        if version is None:
            _migrate(engine, scripts)
        else:
            _check_version(version, newest, address)
    except SQLAlchemyError as error:
        engine.dispose()
        raise registry_error(error, address) from error
    except StoreError:
        engine.dispose()
        raise
    return Database(
        location=address,
        reader=engine.execution_options(isolation_level="REPEATABLE READ"),
        writer=engine.execution_options(registry_writes=True),
        recorder=engine,
        explain=lambda error: registry_error(error, address),
        shared=True,
        outage=Outage(),
    )


def upgrade_registry(address: RegistryAddress, scripts: Path, newest: str = SCHEMA_VERSION) -> tuple[str, str]:
    """Upgrade an older registry to ``newest`` in one transaction; returns both versions."""
    engine = make_engine(address)
    try:
        with engine.connect() as connection:
            version = read_version(connection, address)
        if version is not None and (not version.isdigit() or int(version) > int(newest)):
            _check_version(version, newest, address)
        _migrate(engine, scripts)
        return version or "0000", newest
    except SQLAlchemyError as error:
        raise registry_error(error, address) from error
    finally:
        engine.dispose()


def make_engine(address: RegistryAddress) -> Engine:
    """An engine whose connections time out in seconds if the server is gone. Raises StoreError without psycopg."""
    try:
        engine = create_engine(
            address.url,
            pool_pre_ping=True,  # reconnects after a restart of the server
            connect_args={
                "connect_timeout": CONNECT_SECONDS,
                "application_name": "sdgui",
                "keepalives_idle": 10,
                "keepalives_interval": 3,
                "keepalives_count": 3,
                "tcp_user_timeout": 8000,
            },
        )
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise StoreError(missing_message("registry", "psycopg")) from error

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {_LOCK_MS}")
            cursor.execute(f"SET statement_timeout = {_STATEMENT_MS}")
        connection.commit()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("registry_writes"):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK_ID})")

    return engine


def read_version(connection: Connection, address: RegistryAddress) -> str | None:
    """The version of the tables; None if the database does not contain them yet."""
    tables = set(inspect(connection).get_table_names())
    if "alembic_version" not in tables:
        if foreign_tables := sorted(tables & set(Base.metadata.tables)):
            raise StoreError(
                f"The database {address} contains the table {foreign_tables[0]} of another program; use "
                "--registry with an empty database."
            )
        return None
    row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
    return str(row[0]) if row else None


def _check_version(version: str, newest: str, address: RegistryAddress) -> None:
    """Raise StoreError, with the remedy, unless ``version`` is ``newest``."""
    if version == newest:
        return
    if not version.isdigit():
        raise StoreError(f"The database {address} belongs to another program; use --registry with a separate database.")
    if int(version) > int(newest):
        raise StoreError(
            f"The registry {address} has version {version}, but this sdgui supports versions up to {newest}. "
            "Update sdgui to the version that the group uses."
        )
    raise StoreError(
        f"The registry {address} has version {version}, but this sdgui needs {newest}. When everyone has closed the "
        "window, make a copy with pg_dump, then run sdgui --registry ADDRESS --upgrade-registry once."
    )


def _migrate(engine: Engine, scripts: Path) -> None:
    """Run the missing revisions under a lock: if two windows find an empty database, the second has nothing to do."""
    migration = importlib.import_module("sdgui.store.migration")  # costs a tenth of a second
    with engine.connect().execution_options(registry_writes=True) as connection, connection.begin():
        migration.run_revisions(connection, scripts)


def registry_error(error: Exception, address: RegistryAddress) -> StoreError:
    """Convert an error of PostgreSQL or of the connection to a message with a remedy."""
    cause = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None) or ""
    reason = " ".join(str(cause).split())
    lower = reason.lower()
    if (refusal := _not_admitted(state, lower, address)) is not None:
        return refusal
    if state == "3D000" or ("database" in lower and "does not exist" in lower):
        return StoreError(
            f"There is no database {address.url.database} on {address.server}; create it with createdb, or correct "
            "--registry."
        )
    if state == "42501":
        return StoreError(
            f"The user {address.url.username or ''} may not use the tables of {address} ({excerpt(reason, 120)}). Its "
            "administrator can grant access: see “Add the members of a group” in the how-to page “A group's registry”."
        )
    if state == "55P03" or "lock timeout" in lower:
        return StoreUnavailableError(f"The registry {address} is busy: another window is writing. Try again.")
    if state == "57014":  # by `_STATEMENT_MS`
        return StoreUnavailableError(
            f"The registry {address} cancelled a request that took longer than {_STATEMENT_MS // 1000} s; try again "
            "when it is less busy."
        )
    if state.startswith("53"):
        return StoreUnavailableError(
            f"The registry {address} is out of room or connections ({reason}). Try again later."
        )
    if getattr(error, "connection_invalidated", False) or state.startswith(("08", "57")) or _unreachable(lower):
        return ServerGoneError(
            f"The registry {address} cannot be reached ({_short(reason)}). Check the network, and that PostgreSQL runs "
            f"on {address.server}; runs continue."
        )
    return StoreUnavailableError(f"The registry {address} cannot be used: {reason[:300]}.")


def _not_admitted(state: str, reason: str, address: RegistryAddress) -> StoreError | None:
    """Why PostgreSQL rejects this user, with a remedy; None for any other error."""
    user, places = address.url.username or "without a name", "in ~/.pgpass, PGPASSWORD or the address"
    if "no password supplied" in reason:
        return StoreError(f"The registry {address} requires a password for the user {user}; provide it {places}.")
    if state == "28P01" or "password authentication failed" in reason:
        return StoreError(
            f"The registry {address} rejected the user name or password of {user}. Correct the password {places}; an "
            "unknown user gives the same error."
        )
    if 'role "' in reason and "does not exist" in reason:
        return StoreError(
            f"The server {address.server} has no user {user}. Correct the user in --registry, or ask its administrator "
            "for one."
        )
    if "not permitted to log in" in reason:
        return StoreError(f"The user {user} of {address.server} may not log in; ask its administrator for LOGIN.")
    if state == "28000" or "no pg_hba.conf entry" in reason:
        return StoreError(
            f"The server {address.server} does not admit the user {user} to this database from this computer; ask "
            "its administrator to add a line to pg_hba.conf."
        )
    return None


def _short(reason: str) -> str:
    """libpq's message without the attempted addresses and its advice."""
    cause = reason.rpartition("failed: ")[2].partition(" Is the server running")[0]
    return excerpt(cause.strip(" .?"), 160)


def _unreachable(reason: str) -> bool:
    signs = ("connection refused", "timeout", "could not translate", "name or service", "server closed", "no route")
    return any(sign in reason for sign in (*signs, "connection is lost", "connection failed", "connection is bad"))
