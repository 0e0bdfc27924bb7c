"""Database errors as messages with a remedy; and a server that is unreachable does not block the window."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from sdgui.store import engine as engine_module
from sdgui.store.engine import Database, Outage, ServerGoneError, store_error
from sdgui.store.records import StoreError, StoreUnavailableError
from sdgui.store.registry.address import parse_address
from sdgui.store.registry.server import registry_error
from sdgui.store.sessions import merged_tags

PATH = Path("/home/x/sdgui.db")
ADDRESS = parse_address("postgresql://ann:secret@db.lab:5433/group")


def wrapped(message: str) -> OperationalError:
    return OperationalError("SELECT 1", {}, Exception(message))


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (wrapped("file is not a database"), StoreError, "is damaged (file is not a database). Rebuild it from the run"),
        (wrapped("database disk image is malformed"), StoreError, "is damaged (database disk image is malformed)."),
        (wrapped("database is locked"), StoreUnavailableError, "is locked by another program. Close it and try again."),
        (
            wrapped("database or disk is full"),
            StoreUnavailableError,
            "The disk with /home/x/sdgui.db is full. Free some",
        ),
        (OSError(28, "No space"), StoreUnavailableError, "The disk with /home/x/sdgui.db is full."),
        (OSError(errno.EDQUOT, "Quota exceeded"), StoreUnavailableError, "The disk with /home/x/sdgui.db is full."),
        (OSError(27, "Too large"), StoreUnavailableError, "cannot be used: [Errno 27] Too large."),
        (
            wrapped("attempt to write a readonly database"),
            StoreUnavailableError,
            "cannot be written (attempt to write a",
        ),
        (wrapped("unable to open database file"), StoreUnavailableError, "cannot be written (unable to open database"),
        (PermissionError(13, "Denied"), StoreUnavailableError, "cannot be written ([Errno 13] Denied). Fix its"),
        (wrapped("no such table: x"), StoreUnavailableError, "cannot be used: no such table: x."),
    ],
)
def test_errors_of_a_file(error: Exception, kind: type[StoreError], message: str) -> None:
    translated = store_error(error, PATH)
    assert type(translated) is kind, "temporary errors can be retried"
    assert message in str(translated)
    assert str(PATH) in str(translated)


def refused(message: str, state: str = "", invalid: bool = False) -> StoreError:
    cause: Any = Exception(message)
    cause.sqlstate = state
    error: Any = OperationalError("SELECT 1", {}, cause)
    error.connection_invalidated = invalid
    return registry_error(error, ADDRESS)


@pytest.mark.parametrize(
    ("message", "state", "kind", "sentence"),
    [
        ("x", "28P01", StoreError, "rejected the user name or password of ann. Correct the password in ~/.pgpass"),
        ('password authentication failed for user "ann"', "", StoreError, "rejected the user name or password of ann."),
        ("x", "28000", StoreError, "does not admit the user ann to this database"),
        ('role "ann" does not exist', "", StoreError, "The server db.lab:5433 has no user ann. Correct the user"),
        ('role "ann" is not permitted to log in', "", StoreError, "ask its administrator for LOGIN"),
        ("no password supplied", "", StoreError, "requires a password for the user ann; provide it in ~/.pgpass"),
        ("no pg_hba.conf entry for host", "", StoreError, "its administrator to add a line to pg_hba.conf"),
        ("x", "3D000", StoreError, "There is no database group on db.lab:5433; create it with createdb"),
        ('database "group" does not exist', "", StoreError, "There is no database group"),
        ("denied for  table\nruns", "42501", StoreError, "(denied for table runs). Its administrator can grant access"),
        ("x", "55P03", StoreUnavailableError, "is busy: another window is writing. Try again."),
        ("canceling due to lock timeout", "", StoreUnavailableError, "is busy"),
        (
            "canceling statement due to statement timeout",
            "57014",
            StoreUnavailableError,
            "cancelled a request that took longer than 60 s; try again when it is less busy.",
        ),
        ("too many clients", "53300", StoreUnavailableError, "is out of room or connections (too many clients)."),
        ("x", "08006", ServerGoneError, "cannot be reached"),
        ("x", "57P01", ServerGoneError, "cannot be reached"),
        (
            "Connection refused",
            "",
            ServerGoneError,
            "Check the network, and that PostgreSQL runs on db.lab:5433; runs continue",
        ),
        ("connection timeout expired", "", ServerGoneError, "cannot be reached"),
        ("could not translate host name", "", ServerGoneError, "cannot be reached"),
        ("syntax error at x", "42601", StoreUnavailableError, "cannot be used: syntax error at x."),
        ("role of the table", "", StoreUnavailableError, "cannot be used"),
        ("the relation does not exist", "", StoreUnavailableError, "cannot be used"),
    ],
)
def test_errors_of_a_server(message: str, state: str, kind: type[StoreError], sentence: str) -> None:
    translated = refused(message, state)
    assert type(translated) is kind
    assert sentence in str(translated)
    assert "secret" not in str(translated)


def test_a_lost_connection_is_recognised_by_the_drivers_message() -> None:
    assert type(refused("odd", invalid=True)) is ServerGoneError
    long = "connection failed: connection to server at 10.0.0.1 failed: No route to host. Is the server running there?"
    assert "cannot be reached (No route to host). Check" in str(refused(long))
    assert "x" * 300 + "." in str(refused("x" * 400))
    nobody = parse_address("postgresql:///group")
    assert nobody.server == "the local socket:5432"
    assert "the user without a name" in str(registry_error(Exception("no password supplied"), nobody))
    assert str(ADDRESS) == "postgresql+psycopg://ann@db.lab:5433/group"


def test_a_recently_unreachable_server_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, outage = [100.0], Outage()
    monkeypatch.setattr(engine_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    answers: list[StoreError] = []
    database = Database("db", *(Any,) * 3, explain=lambda error: answers.pop(0), outage=outage)  # type: ignore[arg-type]

    def ask(fails: StoreError | None = None) -> str:
        try:
            with database.translating_errors():
                if fails is not None:
                    answers.append(fails)
                    raise SQLAlchemyError("x")
        except StoreError as error:
            return str(error)
        return "asked"

    def elsewhere() -> str:
        results: list[str] = []
        thread = threading.Thread(target=lambda: results.append(ask()))
        thread.start()
        thread.join()
        return results[0]

    assert [ask(), ask(StoreError("No such table.")), ask()] == ["asked", "No such table.", "asked"]
    assert ask(ServerGoneError("It is gone.")) == "It is gone."
    now[0] += 9.9
    assert ask() == "It is gone.", "at once"
    now[0] += 0.1
    assert ask() == "asked", "after ten seconds it is tried again"
    assert ask(ServerGoneError("It is gone.")) == "It is gone."
    assert elsewhere() == "asked", "other threads do wait"
    assert ask() == "asked", "it was reached meanwhile"
    plain = Database("db", *(Any,) * 3, explain=lambda error: StoreError("It is odd."))  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="It is odd"), plain.translating_errors():
        raise SQLAlchemyError("x")
    with pytest.raises(KeyError), plain.translating_errors():
        raise KeyError("a fault of ours")


def test_concurrent_tag_changes_are_merged() -> None:
    assert merged_tags(["a", "b"], ["A", "b", "theirs"], ["a", "Mine"]) == ["A", "theirs", "Mine"]
    assert merged_tags(["a", "b"], ["b"], ["a", "b", "B"]) == ["b"], "the other user removed a, and you did not add it"
    assert merged_tags([], ["x"], ["X", "y"]) == ["x", "y"]
