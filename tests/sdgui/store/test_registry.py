"""A registry that a group shares: versions, errors in words, what two write at once, who did what."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect

from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.store import migration
from sdgui.store.database import MIGRATIONS
from sdgui.store.engine import make_engine
from sdgui.store.records import Progress, StoreError, StoreUnavailableError
from sdgui.store.registry import server as registry_server
from sdgui.store.registry.activity import KEPT_ASIDE
from sdgui.store.registry.address import RegistryAddress, parse_address
from sdgui.store.registry.notes import NoteConflictError, merged_note, merged_tags
from sdgui.store.registry.server import registry_error, upgrade_registry
from sdgui.store.store import Store
from sdgui.store.tables import SCHEMA_VERSION, Base
from tests.postgres import PostgresServer
from tests.sdgui.store.conftest import OpenStore

VERSIONS = [f"{number:04}" for number in range(1, int(SCHEMA_VERSION) + 1)]


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    if request.param == "sqlite":
        return make_engine(tmp_path / "x.db", foreign_keys=False)
    server: PostgresServer = request.getfixturevalue("postgres")
    return registry_server.make_engine(parse_address(server.new_database()))


def test_every_migration_goes_up_and_down(empty: Engine) -> None:
    def run(down_to: str = "") -> set[str]:
        with empty.begin() as connection:
            migration.run_revisions(connection, MIGRATIONS, down_to)
        with empty.connect() as connection:
            return set(inspect(connection).get_table_names())

    assert run() == {*Base.metadata.tables, "alembic_version"}
    with empty.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    for version in reversed(VERSIONS[:-1]):
        assert run(version) <= {*Base.metadata.tables, "alembic_version"}
    assert run("base") == {"alembic_version"}
    assert run() == {*Base.metadata.tables, "alembic_version"}
    empty.dispose()


def test_rows_go_through_the_newest_migrations(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    run = store.add_run(store.add_experiment(preset_config("clip", "tiny")).id)
    store.close()
    engine = make_engine(store.database, foreign_keys=False)
    for down_to in ("0003", ""):
        with engine.begin() as connection:
            migration.run_revisions(connection, MIGRATIONS, down_to)
    engine.dispose()
    again = Store.open(tmp_path)
    found = again.run(run.id)
    assert (found.key, found.host, found.devices, found.owner) == (run.key, "", "", "")
    assert (again.fill_definitions(), again.fill_definitions()) == (1, 0)
    again.close()


def at_version(server: PostgresServer, version: str) -> str:
    """The address of a database whose tables say that they are of ``version``."""
    address = server.new_database()
    Store.open(Path(server.folder) / "home", parse_address(address)).close()
    server.execute(f"UPDATE alembic_version SET version_num = '{version}'", str(parse_address(address).url.database))
    return address


@pytest.mark.parametrize(
    ("version", "remedy"),
    [("9999", "Update sdgui"), ("0003", "--upgrade-registry"), ("9f3ab2", "another program")],
)
def test_a_registry_of_another_version_is_refused(
    postgres: PostgresServer, tmp_path: Path, version: str, remedy: str
) -> None:
    address = parse_address(at_version(postgres, version))
    with pytest.raises(StoreError, match=remedy):
        Store.open(tmp_path, address)


def test_an_older_registry_is_upgraded_when_asked(postgres: PostgresServer, tmp_path: Path) -> None:
    address = parse_address(postgres.new_database())
    store = Store.open(tmp_path, address)
    store.add_experiment(preset_config("clip", "tiny"))
    store.close()
    engine = registry_server.make_engine(address)
    with engine.begin() as connection:
        migration.run_revisions(connection, MIGRATIONS, "0003")
    engine.dispose()
    assert upgrade_registry(address, MIGRATIONS) == ("0003", SCHEMA_VERSION)
    again = Store.open(tmp_path, address)
    assert [one.name for one in again.experiments()] == ["clip"]
    again.close()


def test_another_programs_tables_are_left_alone(postgres: PostgresServer, tmp_path: Path) -> None:
    address = postgres.new_database()
    postgres.execute("CREATE TABLE runs (id int)", str(parse_address(address).url.database))
    with pytest.raises(StoreError, match="another program"):
        Store.open(tmp_path, parse_address(address))


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("mysql://a@b/c", "kept in PostgreSQL"),
        ("no address", "write it as"),
        ("postgresql://ann@host", "names no database"),
        ("postgresql://ann@host:port/db", "write it as"),
    ],
)
def test_an_address_that_is_none_is_refused(text: str, remedy: str) -> None:
    with pytest.raises(StoreError, match=remedy):
        parse_address(text)


def test_a_password_is_shown_nowhere() -> None:
    address = parse_address("postgres://ann:se%40cret@db:5433/group?sslmode=require")
    assert str(address) == "postgresql+psycopg://ann@db:5433/group"
    assert "cret" not in str(registry_error(OSError("connection refused"), address))


def test_a_server_that_is_not_there_is_told_in_words(postgres: PostgresServer, tmp_path: Path) -> None:
    for text, remedy in (
        ("postgresql://sdgui@127.0.0.1:1/x", "cannot be reached"),
        (postgres.address("nowhere"), "createdb"),
        (postgres.address(user="nobody"), "check user and password"),
    ):
        with pytest.raises(StoreError, match=remedy):
            Store.open(tmp_path, parse_address(text))


def test_a_wrong_password_is_told_in_words(postgres: PostgresServer, tmp_path: Path) -> None:
    postgres.execute("CREATE ROLE ann LOGIN PASSWORD 'right'")
    rules = postgres.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all ann scram-sha-256\n{before}")
    try:
        postgres.execute("SELECT pg_reload_conf()")
        address = parse_address(postgres.address(user="ann").replace("ann@", "ann:wrong@"))
        with pytest.raises(StoreError, match="check user and password") as caught:
            _open_until_refused(tmp_path, address)
        assert "wrong" not in str(caught.value)
    finally:
        rules.write_text(before)
        postgres.execute("SELECT pg_reload_conf()")


def _open_until_refused(home: Path, address: RegistryAddress) -> None:
    for _ in range(50):  # the server reads its rules again in a moment
        Store.open(home, address).close()


def test_a_server_that_restarts_is_found_again(tmp_path: Path, postgres: PostgresServer) -> None:
    with closing(Store.open(tmp_path, parse_address(postgres.new_database()))) as store:
        _restart(postgres, store)


def _restart(postgres: PostgresServer, store: Store) -> None:
    store.add_experiment(preset_config("clip", "tiny"))
    postgres.stop()
    try:
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            store.experiments()
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            store.experiments()  # in the window's thread it is not waited for again
    finally:
        postgres.start()
    other = threading.Thread(target=store.experiments)  # as the tailer asks again and again
    other.start()
    other.join()
    assert [one.name for one in store.experiments()] == ["clip"]


def test_notes_of_two_are_merged_line_by_line() -> None:
    before = "lr 0.1\nseed 3\nlooks good"
    assert merged_note(before, "lr 0.1\nseed 3\nlooks good\nAnn: better", "lr 0.2\nseed 3\nlooks good") == (
        "lr 0.2\nseed 3\nlooks good\nAnn: better"
    )
    assert merged_note("a", "a", "b") == merged_note("a", "b", "b") == merged_note("a", "b", "a") == "b"
    assert merged_note("x\ny", "x1\ny", "x1\ny2") == "x1\ny2"
    with pytest.raises(NoteConflictError) as caught:
        merged_note("a\nb", "a\nmine", "a\nyours\nand more")
    assert caught.value.both == "a\nmine\nyours\nand more"
    with pytest.raises(NoteConflictError):
        merged_note("", "hers", "his")


def test_tags_of_two_are_merged() -> None:
    assert merged_tags(["a", "b"], ["a", "B", "c"], ["a", "d"]) == ["a", "c", "d"]
    assert merged_tags([], [], ["x"]) == ["x"]


def test_a_note_that_another_wrote_meanwhile_is_not_lost(open_store: OpenStore, tmp_path: Path) -> None:
    ann, bob = open_store(tmp_path / "ann"), open_store(tmp_path / "ann")
    experiment = ann.add_experiment(preset_config("clip", "tiny"))
    run = ann.add_run(experiment.id)
    for note in (
        lambda store, *texts: store.note_run(run.id, *texts).note,
        lambda store, *texts: store.note_experiment(experiment.id, *texts).note,
    ):
        assert note(ann, "one\n\ntwo", "") == "one\n\ntwo"
        assert note(bob, "one\n\ntwo and a half", "one\n\ntwo") == "one\n\ntwo and a half"
        assert note(ann, "first\n\ntwo", "one\n\ntwo") == "first\n\ntwo and a half"
        with pytest.raises(NoteConflictError) as caught:
            note(bob, "One!", "one\n\ntwo")
        assert caught.value.theirs == "first\n\ntwo and a half"
        aside = ann.activity(experiment.id)[0]
        assert (aside.what, aside.detail) == (KEPT_ASIDE, "One!"), "what is asked about is kept meanwhile"
    assert ann.run(run.id).note == ann.experiment(experiment.id).note == "first\n\ntwo and a half"


def test_who_did_what_is_kept(open_store: OpenStore, tmp_path: Path) -> None:
    ann, bob = open_store(tmp_path), open_store(tmp_path)
    ann.who, bob.who = "ann@desk", "bob@lab"
    experiment = ann.add_experiment(preset_config("clip", "tiny"))
    seen = bob.last_activity()
    first = ann.experiment(experiment.id).config_json
    ann.edit_experiment(experiment.id, preset_config("sd-clip", "tiny"))
    ann.edit_experiment(experiment.id, preset_config("coca", "tiny"))
    run = ann.add_run(experiment.id, queued=True)
    bob.note_run(run.id, "a note")
    bob.delete_run(run.id, for_good=True)
    news = bob.activity_of_others(seen)
    assert [(one.who, one.what) for one in news] == [("ann@desk", "edited"), ("ann@desk", "queued")]
    assert news[0].detail == first, "what was replaced is kept, of one sitting the first"
    kept = ann.activity(experiment.id)
    assert [one.what for one in kept] == ["deleted for good", "wrote the note of", "queued", "edited", "made"]
    assert ann.activity(run_id=run.id)[0].who == "bob@lab"


def test_folders_say_whose_computer_they_are_on(postgres: PostgresServer, tmp_path: Path) -> None:
    address = parse_address(postgres.new_database())
    ann = Store.open(tmp_path / "ann", address)
    run = ann.add_run(ann.add_experiment(preset_config("clip", "tiny")).id, queued=True)
    assert run.here
    assert run.folder.parent == ann.runs_folder
    database = str(address.url.database)
    postgres.execute("UPDATE runs SET folder = 'other-computer::/home/bob/runs/x'", database)
    found = ann.run(run.id)
    assert (found.kept_on, found.here, found.folder) == ("other-computer", False, Path("/home/bob/runs/x"))
    assert ann.take_next(5) is None, "only who has its folder can start it"
    ann.record(run.id, Progress(state=RunState.RUNNING, offset=1))
    postgres.execute("UPDATE runs SET state = 'running', queue_position = NULL", database)
    with pytest.raises(StoreError, match="still active on other-computer"):
        ann.delete_run(run.id)
    ann.close()
