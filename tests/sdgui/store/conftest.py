"""Stores on SQLite and PostgreSQL, each in its own home folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sdgui.store.registry.address import parse_address
from sdgui.store.store import Store
from sdgui.store.tables import Base
from tests.postgres import PostgresServer

OpenStore = Callable[[Path], Store]


@pytest.fixture(scope="session")
def registry(postgres: PostgresServer) -> str:
    """The address of a database that is emptied before each test."""
    return postgres.new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def open_store(request: pytest.FixtureRequest) -> Iterator[OpenStore]:
    """Opens the store in a home; all stores are closed after the test."""
    address = None
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        text: str = request.getfixturevalue("registry")
        address = parse_address(text)
        database = str(address.url.database)
        if server.execute("SELECT 1 FROM pg_tables WHERE tablename = 'runs'", database):
            names = ", ".join(Base.metadata.tables)
            server.execute(f"TRUNCATE {names} RESTART IDENTITY CASCADE", database)
    opened: list[Store] = []

    def open_it(home: Path) -> Store:
        opened.append(Store.open(home, address))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore, tmp_path: Path) -> Store:
    return open_store(tmp_path / "home")


@pytest.fixture
def file_store(tmp_path: Path) -> Iterator[Store]:
    """A store in an SQLite file."""
    store = Store.open(tmp_path / "home")
    yield store
    store.close()
