"""Filters, order, groups and cells are the same on SQLite and PostgreSQL."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
from scipy import stats

from core.spec.config import get_field, override
from core.spec.presets import preset_config
from sdgui.store.run_table import configs
from sdgui.store.run_table.fields import fact, metric, setting, settings
from sdgui.store.run_table.parser import parse
from sdgui.store.run_table.queries import RunQuery, SortKey
from sdgui.store.run_table.tagging import TagChange
from sdgui.store.store import Store
from sdgui.store.tables import ConfigRow, RunRow
from tests.sdgui.store.folders import make_folder
from tests.sdgui.store.run_table.listing import TEACHER, fill, recall

RATE = setting("optim.learning_rate")
GONE = range(10_000, 10_600)  # runs that are not there, more than one statement takes


def fitting(store: Store, text: str) -> set[int]:
    return set(store.run_ids(RunQuery(parse(text, store.catalogue()))))


FITTING = {
    "": range(9),
    "optim.learning_rate < 1e-3": [0, 1, 2],
    "optim.learning_rate >= 1e-3 and val/R@1 > 37% and not state:failed": [6, 7],
    "optim.learning_rate < 1e-3 and val/R@1 > 0.3 and tag:paper": [0],
    "tag:paper": [0, 4],
    "tag != paper seed = 0": [3, 6],
    "tag:pap": [],
    "tag = paper": [0, 4],
    "tag = pap": [],
    "pap": [0, 4],
    "seed in (1, 2) optim.learning_rate in (0.001)": [4, 5],
    "100%": [8],
    "memory_limit": [8],
    "memoryXlimit": [],
    "note = none": range(8),
    "views.shared = false": range(9),
    "views.shared = true or towers.architecture = SD-TINY": range(9),
    "towers.architecture : tin": range(9),
    "towers.architecture > 3": [],
    "last(train/loss) <= 1": [0, 3, 6],
    "train/loss < 0.5005": [0, 1, 2],
    "not (train/loss < 0.5005)": range(3, 9),
    "duration > 1min and duration <= 2min": [1, 4, 7],
    "created > 1h": range(9),
    "created < 2001": [],
    "name: 0.002 seed = 1": [7],
    '"; DROP TABLE runs; --"': [],
    "progress = 100%": range(9),
    "data.train = none": range(9),
}


def test_filters(filled: tuple[Store, list[int]]) -> None:
    store, ids = filled
    found = {text: fitting(store, text) for text in FITTING}
    assert found == {text: {ids[number] for number in numbers} for text, numbers in FITTING.items()}


def test_text_of_any_script_is_found_in_any_case(store: Store) -> None:
    run = store.add_run(store.add_experiment(preset_config("clip", "tiny"), "Übung Straße Ä").id)
    store.add_run(store.add_experiment(preset_config("clip", "tiny"), "Ubung Strasse A").id)
    store.tag_run(run.id, ["Überprüft"])
    texts = (
        "übung",
        "ÜBUNG STRASSE",
        'experiment = "übung STRASSE Ä"',
        'experiment : "straße ä"',
        "tag:überprüft",
        "tag:ÜBERPRÜFT",
    )
    assert {text: fitting(store, text) for text in texts} == {text: {run.id} for text in texts}


def test_a_moment_equals_its_day_or_minute(store: Store) -> None:
    run = store.add_run(store.add_experiment(preset_config("clip", "tiny")).id)
    for form in ("%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"):
        date = time.strftime(form, time.localtime(run.created))
        assert fitting(store, f'created = "{date}"') == fitting(store, f'created in (2001, "{date}")') == {run.id}
        assert fitting(store, f'created != "{date}"') == set()
    assert fitting(store, "created = 2001-12-31") == fitting(store, "finished = 2001") == set()
    assert fitting(store, "finished = none") == fitting(store, "finished != 2001-01-31") == {run.id}


def test_a_short_name_is_the_best_of_its_metrics(filled: tuple[Store, list[int]]) -> None:
    store, ids = filled
    short, whole = store.catalogue().field("val/R@1"), metric(TEACHER)
    cells = store.run_cells(ids, [short, whole])
    assert [cells[one][0] for one in ids] == [cells[one][1] for one in ids]
    last = store.catalogue().field("last(val/student/R@1)")
    assert store.run_cells(ids[:1], [last])[ids[0]] == (pytest.approx(recall(1e-4, 0) - 0.1),)


def test_order(filled: tuple[Store, list[int]]) -> None:
    store, ids = filled
    worst_rate_first = RunQuery(sort=(SortKey(RATE, descending=True), SortKey(metric(TEACHER))))
    assert store.run_ids(worst_rate_first) == [*ids[6:], *ids[3:6], *ids[:3]]
    assert store.run_ids(RunQuery()) == ids[::-1], "newest first"
    nulls_last = RunQuery(sort=(SortKey(metric("nowhere"), descending=True),))
    assert store.run_ids(nulls_last) == ids[::-1]


def test_groups_have_means_with_intervals(filled: tuple[Store, list[int]]) -> None:
    store, ids = filled
    shown = [metric(TEACHER), RATE, fact("state"), metric("nowhere")]
    query = RunQuery(sort=(SortKey(metric(TEACHER), descending=True),), group_by=(RATE,))
    groups = store.run_groups(query, shown)
    assert [store.run_ids(query, group) for group in groups] == [ids[8:5:-1], ids[5:2:-1], ids[2::-1]]
    values = [recall(2e-3, seed) for seed in (0, 1, 2)]
    found = groups[0].means[TEACHER]
    low, _ = stats.t.interval(0.95, 2, loc=sum(values) / 3, scale=stats.sem(values))
    assert (found.count, found.mean - found.half) == (3, pytest.approx(low, rel=1e-6))
    assert "nowhere" not in groups[0].means
    alone = store.run_groups(RunQuery(group_by=(RATE, setting("seed"))), [metric(TEACHER)])
    assert len(alone) == 9
    assert math.isnan(alone[0].means[TEACHER].half)


def test_seeds_of_one_recipe_are_one_group(filled: tuple[Store, list[int]]) -> None:
    store, _ = filled
    assert [group.count for group in store.run_groups(RunQuery(group_by=(fact("recipe"),)), [])] == [3, 3, 3]
    by_tag = store.run_groups(RunQuery(parse("tag:paper", store.catalogue()), group_by=(fact("tag"),)), [])
    assert sorted(group.count for group in by_tag) == [1, 1]


def test_cells_keep_their_types(filled: tuple[Store, list[int]]) -> None:
    store, ids = filled
    fields = [
        setting("views.shared"),
        RATE,
        fact("tag"),
        setting("towers.architecture"),
        fact("state"),
        setting("seed"),
    ]
    assert store.run_cells([ids[0], 12345], fields) == {
        ids[0]: (False, 1e-4, ["paper", "Zürich"], "sd-tiny", "done", 0)
    }
    assert store.run_cells(ids, []) == dict.fromkeys(ids, ())
    assert store.run_cells([ids[0], *GONE, ids[1]], [setting("seed")]) == {ids[0]: (0,), ids[1]: (1,)}
    every = [setting(name) for name in settings()]
    (values,) = store.run_cells(ids[:1], every).values()
    config = override(preset_config("sd-clip", "tiny"), ["optim.learning_rate=1e-4", 'name="rate 0.0001"'])
    assert dict(zip(settings(), values, strict=True)) == {name: get_field(config, name) for name in settings()}


def test_only_differing_columns(filled: tuple[Store, list[int]]) -> None:
    store, ids = filled
    assert store.differing_settings(ids[:3]) == ["seed"]
    assert set(store.differing_settings(ids)) == {"name", "seed", "optim.learning_rate"}
    assert store.differing_settings(ids[:1]) == []
    assert store.differing_settings([ids[0], *GONE, ids[1]]) == ["seed"]


def test_tags_and_notes_of_many_runs_are_changed_and_undone(store: Store) -> None:
    ids = fill(store)
    before = {one: (store.run(one).tags, store.run(one).note) for one in ids}
    undo = store.change_tags(dict.fromkeys([*ids, 999], TagChange(add=("PAPER", "new"), remove=("zürich", "absent"))))
    assert {len(store.run(one).tags) for one in ids} == {2}
    assert store.run(ids[0]).tags == ("new", "paper")
    assert fitting(store, "tag:new tag:paper") == set(ids)
    notes = store.change_notes(dict.fromkeys(ids, "seen"))
    assert fitting(store, "note = seen") == set(ids)
    store.tag_run(ids[1], [*store.run(ids[1]).tags, "meanwhile"])
    store.change_tags(undo)
    store.change_notes(notes)
    assert store.run(ids[1]).tags == ("meanwhile",)
    store.change_tags({ids[1]: TagChange(remove=("meanwhile",))})
    assert {one: (store.run(one).tags, store.run(one).note) for one in ids} == before


def test_runs_in_the_bin_are_not_listed(file_store: Store) -> None:
    ids = fill(file_store)
    file_store.delete_run(ids[0])
    file_store.delete_experiment(file_store.run(ids[4]).experiment_id)
    assert len(file_store.run_ids(RunQuery())) == 7


def test_a_run_without_a_known_config_has_no_settings(store: Store) -> None:
    ids = fill(store)
    with store._write() as session:
        lost = session.get_one(RunRow, ids[1]).digest
        session.delete(session.get_one(ConfigRow, lost))
    fits = ("data.train = none", "seed in (none, 7)", "seed != 0", "not seed = 0", "not seed >= 0")
    others = ("seed = 0", "data.train != none", "seed in (1, 2)", "seed >= 0", "towers.architecture : tiny")
    assert [text for text in (*fits, *others) if ids[1] in fitting(store, text)] == [*fits]


@pytest.mark.parametrize("binary", [True, False])
def test_configs_are_read_from_the_folders(
    file_store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, binary: bool
) -> None:
    """For runs of an earlier version; and for runs that an older SQLite cannot read."""
    run = file_store.add_run(file_store.add_experiment(preset_config("sd-clip", "tiny")).id)
    make_folder(run, file_store)
    waits = file_store.add_run(file_store.add_experiment(preset_config("coca", "tiny")).id, queued=True)
    for one in (run, waits):  # of the second there is no folder yet, and nothing tells what it was launched with
        file_store.edit_experiment(one.experiment_id, preset_config("clip", "tiny"))
    if binary:
        with file_store._write() as session:
            session.connection().exec_driver_sql("DELETE FROM configs")
    monkeypatch.setattr(configs, "BINARY_JSON", binary)
    assert (file_store.fill_configs(), file_store.fill_configs()) == (1, 0)
    assert file_store.run_cells([run.id], [setting("preset")]) == {run.id: ("sd-clip",)}
