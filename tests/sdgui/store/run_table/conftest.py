"""A store of known runs, on either database, for tests that only read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sdgui.store.registry.address import parse_address
from sdgui.store.store import Store
from tests.postgres import PostgresServer
from tests.sdgui.store.run_table.listing import fill


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Store, list[int]]]:
    address = None
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        address = parse_address(server.new_database())
    home: Path = tmp_path_factory.mktemp("filled")
    store = Store.open(home, address)
    yield store, fill(store)
    store.close()
