"""A shared registry: versions, error messages, concurrent edits and authors."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.store import migration
from sdgui.store.database import MIGRATIONS
from sdgui.store.queue import Slots
from sdgui.store.records import ChangedElsewhereError, Progress, StoreError, StoreUnavailableError
from sdgui.store.registry import server as registry_server
from sdgui.store.registry.address import RegistryAddress, parse_address
from sdgui.store.registry.server import registry_error, upgrade_registry
from sdgui.store.store import Store
from sdgui.store.tables import SCHEMA_VERSION, Base
from tests.postgres import PostgresServer
from tests.sdgui.store.conftest import OpenStore
from tests.sdgui.store.test_database import scripts_with


def test_the_migrations_create_the_declared_tables(postgres: PostgresServer) -> None:
    empty = registry_server.make_engine(parse_address(postgres.new_database()))
    with empty.begin() as connection:
        migration.run_revisions(connection, MIGRATIONS)
    with empty.connect() as connection:
        assert set(inspect(connection).get_table_names()) == {*Base.metadata.tables, "alembic_version"}
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    empty.dispose()


def test_an_older_registry_is_upgraded_on_request(postgres: PostgresServer, tmp_path: Path) -> None:
    """By a later release with an additional migration."""
    address = parse_address(postgres.new_database())
    store = Store.open(tmp_path / "home", address)
    store.add_experiment(preset_config("clip", "tiny"))
    store.close()
    newest = f"{int(SCHEMA_VERSION) + 1:04}"
    scripts = scripts_with(tmp_path, recreate="auto")  # PostgreSQL alters a table in place
    assert upgrade_registry(address, scripts, newest) == (SCHEMA_VERSION, newest)
    (row,) = postgres.execute("SELECT name, colour FROM experiments", str(address.url.database))
    assert row == ("clip", "grey")


def test_tables_of_another_program_are_left_alone(postgres: PostgresServer, tmp_path: Path) -> None:
    address = postgres.new_database()
    postgres.execute("CREATE TABLE runs (id int)", str(parse_address(address).url.database))
    with pytest.raises(StoreError, match="another program"):
        Store.open(tmp_path, parse_address(address))


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("mysql://a@b/c", "needs PostgreSQL"),
        ("no address", "write it as"),
        ("postgresql://ann@host", "contains no database name"),
        ("postgresql://ann@host:port/db", "write it as"),
    ],
)
def test_an_invalid_address_is_refused(text: str, remedy: str) -> None:
    with pytest.raises(StoreError, match=remedy):
        parse_address(text)


def test_a_password_is_never_shown() -> None:
    address = parse_address("postgres://ann:se%40cret@db:5433/group?sslmode=require")
    assert str(address) == "postgresql+psycopg://ann@db:5433/group"
    assert "cret" not in str(registry_error(OSError("connection refused"), address))


def test_an_unreachable_server_is_reported(postgres: PostgresServer, tmp_path: Path) -> None:
    for text, remedy in (
        ("postgresql://sdgui@127.0.0.1:1/x", "cannot be reached"),
        (postgres.address("nowhere"), "createdb"),
        (postgres.address(user="nobody"), "has no user nobody"),
    ):
        with pytest.raises(StoreError, match=remedy):
            Store.open(tmp_path, parse_address(text))


def test_a_wrong_password_is_reported(postgres: PostgresServer, tmp_path: Path) -> None:
    postgres.execute("CREATE ROLE carl LOGIN PASSWORD 'right'")
    rules = postgres.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all carl scram-sha-256\n{before}")
    try:
        postgres.execute("SELECT pg_reload_conf()")
        address = parse_address(postgres.address(user="carl").replace("carl@", "carl:wrong@"))
        with pytest.raises(StoreError, match="rejected the user name or password of carl") as caught:
            _open_until_refused(tmp_path, address)
        assert "wrong" not in str(caught.value)
    finally:
        rules.write_text(before)
        postgres.execute("SELECT pg_reload_conf()")


def _open_until_refused(home: Path, address: RegistryAddress) -> None:
    for _ in range(50):  # the server reads its rules again in a moment
        Store.open(home, address).close()


def test_the_recipe_of_the_how_to_page_works_for_two_users(postgres: PostgresServer, tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "howto" / "registry.md").read_text(encoding="utf-8")
    recipe = page.partition("```sql\n")[2].partition("```")[0]
    statements = [one.strip() for one in recipe.split(";") if one.strip()]
    assert len(statements) == 5
    for statement in statements:
        postgres.execute(statement)
    postgres.execute("CREATE ROLE eve LOGIN")
    with pytest.raises(StoreError, match=r"The user eve may not use the tables of .* “Add the members of a group”"):
        Store.open(tmp_path / "eve", parse_address(postgres.address("sdgui", "eve")))
    for user in ("ann", "bob"):
        with closing(Store.open(tmp_path / user, parse_address(postgres.address("sdgui", user)))) as store:
            store.add_run(store.add_experiment(preset_config("clip", "tiny"), user).id)
            names = [one.name for one in store.experiments()]
    assert names == ["ann", "bob"]


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
    other = threading.Thread(target=store.experiments)  # as the follower asks again and again
    other.start()
    other.join()
    assert [one.name for one in store.experiments()] == ["clip"]


def test_editing_what_another_window_changed_is_refused(open_store: OpenStore, tmp_path: Path) -> None:
    ann, bob = open_store(tmp_path / "ann"), open_store(tmp_path / "ann")
    experiment = ann.add_experiment(preset_config("clip", "tiny"), "first")
    run, began, config = ann.add_run(experiment.id), experiment.config_json, experiment.config
    assert config is not None
    edited = ann.edit_experiment(experiment.id, override(config, ["optim.learning_rate=0.009"]), began)
    with pytest.raises(ChangedElsewhereError, match="The config of “first” was changed in another window") as caught:
        bob.edit_experiment(experiment.id, override(config, ["seed=7"]), began)
    assert caught.value.stored == edited.config_json == bob.experiment(experiment.id).config_json
    mine = override(config, ["seed=7"])
    assert bob.edit_experiment(experiment.id, mine, caught.value.stored).config == mine
    again = override(mine, ["seed=8"])
    ann.rename_experiment(experiment.id, "second")
    assert bob.edit_experiment(experiment.id, again, mine.to_json()).name == "second", "a new name is no conflict"
    assert bob.edit_experiment(experiment.id, again, began).config == override(again, ["name=second"]), (
        "the first change is kept"
    )

    for note in (
        lambda store, *texts: store.set_run_note(run.id, *texts).note,
        lambda store, *texts: store.set_experiment_note(experiment.id, *texts).note,
    ):
        assert note(ann, "one\ntwo", "") == "one\ntwo"
        with pytest.raises(ChangedElsewhereError) as caught:
            note(bob, "three", "")
        assert caught.value.stored == "one\ntwo"
        assert note(bob, "one\ntwo", "") == "one\ntwo", "equal edits do not conflict"
        assert note(bob, "three", "one\ntwo") == "three"


def test_the_author_of_each_action_is_kept(open_store: OpenStore, tmp_path: Path) -> None:
    ann, bob = open_store(tmp_path), open_store(tmp_path)
    ann.user, bob.user = "ann@desk", "bob@lab"
    experiment = ann.add_experiment(preset_config("clip", "tiny"))
    seen = bob.last_activity()
    first = ann.experiment(experiment.id).config_json
    ann.edit_experiment(experiment.id, preset_config("sd-clip", "tiny"))
    ann.edit_experiment(experiment.id, preset_config("coca", "tiny"))
    run = ann.add_run(experiment.id, queued=True)
    bob.set_run_note(run.id, "a note")
    bob.delete_run(run.id, permanently=True)
    news = bob.activity_of_others(seen)
    assert [(one.who, one.what) for one in news] == [("ann@desk", "edited"), ("ann@desk", "queued")]
    assert news[0].detail == first, "the replaced value is kept; of one editing session, the first"
    kept = ann.activity(experiment.id)
    assert [one.what for one in kept] == ["deleted permanently", "wrote the note of", "queued", "edited", "made"]
    assert ann.activity(run_id=run.id)[0].who == "bob@lab"


def test_folders_name_their_computer(postgres: PostgresServer, tmp_path: Path) -> None:
    address = parse_address(postgres.new_database())
    ann = Store.open(tmp_path / "ann", address)
    run = ann.add_run(ann.add_experiment(preset_config("clip", "tiny")).id, queued=True)
    assert run.is_local
    assert run.folder.parent == ann.runs_folder
    database = str(address.url.database)
    postgres.execute("UPDATE runs SET folder = 'other-computer::/home/bob/runs/x'", database)
    found = ann.run(run.id)
    assert (found.owner_host, found.is_local, found.folder) == ("other-computer", False, Path("/home/bob/runs/x"))
    assert ann.take_next({"": Slots(at_once=5)}) is None, "only the computer with its folder can start it"
    ann.record(run.id, Progress(state=RunState.RUNNING, offset=1))
    postgres.execute("UPDATE runs SET state = 'running', queue_position = NULL", database)
    with pytest.raises(StoreError, match="still active on other-computer"):
        ann.delete_run(run.id)
    postgres.execute("UPDATE runs SET state = 'done'", database)
    ann.delete_run(run.id)
    ann.close()
