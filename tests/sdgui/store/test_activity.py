"""Every change by a user is recorded, with the previous value."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.store.records import Progress
from sdgui.store.registry import activity as activity_module
from sdgui.store.registry.activity import Activity
from sdgui.store.run_table.tagging import TagChange
from sdgui.store.store import Store

CONFIG = preset_config("clip", "tiny")
Row = tuple[str, str, int | None, int | None, str]


@pytest.fixture
def store(file_store: Store) -> Store:
    return file_store


def rows(found: list[Activity]) -> list[Row]:
    """Oldest first."""
    return [(one.what, one.name, one.experiment_id, one.run_id, one.detail) for one in reversed(found)]


def test_activity_of_an_experiment(store: Store) -> None:
    made = store.add_experiment(CONFIG, "one").id
    store.rename_experiment(made, "two")
    copy = store.duplicate_experiment(made).id
    before = store.experiment(made).config_json
    store.edit_experiment(made, override(CONFIG, ["name=two", "seed=5"]))
    store.tag_experiment(made, ["a"])
    store.set_experiment_note(made, "first")
    store.set_experiment_note(made, "second")
    store.delete_experiment(made)
    store.restore_experiment(made)
    store.delete_experiment(made, permanently=True)
    assert rows(store.activity(made)) == [
        ("made", "one", made, None, ""),
        ("renamed", "two", made, None, "one"),
        ("edited", "two", made, None, before),
        ("tagged", "two", made, None, ""),
        ("wrote the note of", "two", made, None, ""),
        ("wrote the note of", "two", made, None, "first"),
        ("deleted", "two", made, None, ""),
        ("restored", "two", made, None, ""),
        ("deleted permanently", "two", made, None, ""),
    ]
    assert rows(store.activity(copy)) == [("made", "two copy", copy, None, "")]
    assert {one.who for one in store.activity()} == {store.user}
    assert len(store.activity()) == 10
    assert store.last_activity() == store.activity()[0].id


def test_activity_of_a_run(store: Store, tmp_path: Path) -> None:
    made = store.add_experiment(CONFIG, "one").id
    run, other = store.add_run(made), store.add_run(made, queued=True)
    seen = store.last_activity()
    store.record(run.id, Progress(RunState.PAUSED, 1, ending="paused"))
    store.enqueue(run.id)
    store.enqueue(run.id)
    store.reorder_queue([run.id])
    store.unqueue(run.id)
    store.unqueue(run.id)
    store.tag_run(run.id, ["a"])
    store.set_run_note(run.id, "mine")
    store.change_tags({run.id: TagChange(add=("a", "b"), remove=("c",)), other.id: TagChange(remove=("a",))})
    store.change_notes({run.id: "ours", other.id: ""})
    store.delete_run(run.id)
    store.restore_run(run.id)
    store.delete_run(run.id, permanently=True)
    about = (run.key, made, run.id)
    wanted = [
        ("launched", ""), ("queued", ""), ("removed from the queue", ""), ("tagged", ""), ("wrote the note of", ""),
        ("tagged", ""), ("wrote the note of", "mine"), ("deleted", ""), ("restored", ""),
        ("deleted permanently", ""),
    ]  # fmt: skip
    assert rows(store.activity(run_id=run.id)) == [(what, *about, detail) for what, detail in wanted]
    assert rows(store.activity(run_id=other.id)) == [("queued", other.key, made, other.id, "")]
    assert ("reordered the queue", "", None, None, "") in rows(store.activity())
    assert len(store.activity(made)) == 1 + len(wanted) + 1
    listed = store.add_imported(made, str(tmp_path / "run-abc1"), CONFIG, Progress(RunState.STARTING, 0))
    assert rows(store.activity(run_id=listed)) == [("listed", "abc1", made, listed, "")]
    store.reorder_queue([])
    count = len(store.activity())
    store.unqueue(other.id)
    store.reorder_queue([])
    assert len(store.activity()) == count + 1, "reordering an empty queue is not recorded"
    assert store.activity_of_others(seen) == []
    store.user = "bob@lab"
    assert [one.id for one in store.activity_of_others(seen)] == [
        one.id for one in reversed(store.activity()) if one.id > seen
    ]


def test_activity_of_a_study(store: Store) -> None:
    study = store.add_study(store.studies_folder / "s", "noisy").id
    store.add_study(store.studies_folder / "s", "noisy")
    store.delete_study(study)
    store.restore_study(study)
    whats = ["created the study", "deleted the study", "restored the study"]
    assert rows(store.activity()) == [(what, "noisy", None, None, "") for what in whats]


def test_one_editing_session_is_one_row_and_changes_by_others_are_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.time()]
    monkeypatch.setattr(activity_module, "time", SimpleNamespace(time=lambda: now[0]))
    made = store.add_experiment(CONFIG, "one").id
    texts = [store.experiment(made).config_json]

    def edit(seconds: float, who: str, seed: int) -> None:
        now[0] += seconds
        store.user = who
        texts.append(store.edit_experiment(made, override(CONFIG, ["name=one", f"seed={seed}"])).config_json)

    def edits() -> list[tuple[str, str]]:
        return [(one.who, one.detail) for one in reversed(store.activity(made)) if one.what == "edited"]

    def ids() -> list[Any]:
        return [one.id for one in store.activity(made)]

    edit(0, "ann", 1)
    first = ids()[0]
    edit(599, "ann", 2)
    edit(599, "ann", 3)
    assert edits() == [("ann", texts[0])], "each within ten minutes of the previous one"
    assert ids()[0] > first, "readers that continue after the last row see it"
    edit(600, "ann", 4)
    assert edits() == [("ann", texts[0]), ("ann", texts[3])]
    edit(1, "bob", 5)
    edit(1, "ann", 6)
    assert edits()[2:] == [("bob", texts[4]), ("ann", texts[5])]
    other = store.add_experiment(CONFIG, "two")
    store.edit_experiment(other.id, override(CONFIG, ["name=two", "seed=7"]))
    assert [one.detail for one in store.activity(other.id) if one.what == "edited"] == [other.config_json]
    assert edits()[2:] == [("bob", texts[4]), ("ann", texts[5])], "an edit of another experiment is a separate row"
