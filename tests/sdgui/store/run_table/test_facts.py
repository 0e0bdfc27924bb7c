"""Every fact of a run in filters, cells and sorting."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.store.queue import Slots
from sdgui.store.records import BestPoint, MetricSummary, Place, Progress
from sdgui.store.run_table.fields import RUN_FACTS, SHARE_FACTS, fact
from sdgui.store.run_table.parser import parse
from sdgui.store.run_table.queries import RunQuery, SortKey
from sdgui.store.store import Store

RECALLS = ("val/student/image_to_text_R@1", "val/teacher/image_to_text_R@1")


def point(value: float, last: float) -> MetricSummary:
    return MetricSummary(last, 9, value, 3)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, dict[int, str]]]:
    """``one`` has failed, ``two`` is running, and ``new`` is queued. Tests only read them."""
    store, ids = Store.open(tmp_path_factory.mktemp("home")), dict[int, str]()
    for name, settings in (
        ("one", ["optim.learning_rate=0.001"]),
        ("two", ["runtime.compile=true", "seed=5"]),
        ("new", []),
    ):
        experiment = store.add_experiment(override(preset_config("clip", "tiny"), settings), f"{name} clip").id
        place = Place("far", "0,1") if name == "two" else Place()
        ids[store.add_run(experiment, queued=name == "new", place=place).id] = name
    one, two, _ = ids
    now = time.time()
    first = {RECALLS[0]: point(0.6, 0.5), RECALLS[1]: point(0.7, 0.1), "train/loss": point(0.5, 0.9)}
    second = {RECALLS[0]: point(0.8, 0.2), "train/loss": point(0.25, 0.3), "val/student/loss": point(0.1, 0.2)}
    best = BestPoint("val/teacher/mean_recall", 0.65, 30)
    store.record(
        one,
        Progress(
            RunState.FAILED,
            9,
            40,
            50,
            now - 500,
            now - 400,
            "failed",
            "No room.",
            best=best,
            summaries=first,
            training_seconds=100,
        ),
    )
    store.record(two, Progress(RunState.RUNNING, 9, 10, 50, now - 1000, summaries=second, training_seconds=1000))
    store.assign_devices(two, Slots(("0", "1", "2")))
    store.record(two, Progress(RunState.RUNNING, 9, 10, 50, now - 1000, summaries=second, training_seconds=1000))
    store.tag_run(one, ["paper", "Night run"])
    store.set_run_note(one, "A 50 % better one")
    store.set_run_note(two, "under_score")
    yield store, ids
    store.close()


EXPECTED = {
    "name = 'one clip'": "one",
    "experiment: TWO": "two",
    "state = failed": "one",
    "state != failed": "two new",
    "note: '50 % b'": "one",
    "note: r_s": "two",
    "note: rXs": "",
    "note = none": "new",
    "note != none": "one two",
    "metric > 60%": "one",
    "metric = none": "two new",
    "metric_step = 30": "one",
    "metric_step = none": "two new",
    "step >= 10": "one two",
    "step < 40": "two new",
    "steps = 50": "one two",
    "progress = 0.8": "one",
    "progress < 50%": "two",
    "not progress < 50%": "one new",
    "created > 1h": "one two new",
    "created < 1h": "",
    "started < 10min": "two",
    "finished > 1h": "one",
    "duration < 3min": "one",
    "duration > 10min": "two",
    "machine = far": "two",
    "machine = none": "one new",
    "devices = '0,1'": "two",
    "failure: room": "one",
    "tag: paper": "one",
    "tag: pap": "",
    "tag = 'night RUN'": "one",
    "tag != paper": "two new",
    "night": "one",
    "tag = none": "two new",
    "paper or far": "one two",
    "FAILED": "one",
    "room": "one",
    "clip": "one two new",
    "owner: '@'": "one two new",
    "owner = none": "",
    "under": "two",
    "new clip": "new",
    "new and one": "",
    "optim.learning_rate = 0.001": "one",
    "optim.learning_rate in (0.001, 1)": "one",
    "runtime.compile = true": "two",
    "runtime.compile != true": "one new",
    "seed = 5": "two",
    "seed != 5": "one new",
    "seed > 4": "two",
    "seed: 5": "two",
    "not seed in (0, 7)": "two",
    "preset: CLI": "one two new",
    "towers.architecture = none": "",
    "val/R@1 > 75%": "two",
    "val/R@1 = 0.7": "one",
    "last(val/R@1) = 0.5": "one",
    "val/loss < 0.2": "two",
    "train/loss = 0.25": "two",
    "last(train/loss) > 0.5": "one",
    "train/loss != 0.25": "one new",
    "train/loss = none": "new",
    "not train/loss > 0.3": "two new",
    "train/loss in (0.25, none)": "two new",
}


def test_filters_by_every_fact(runs: tuple[Store, dict[int, str]]) -> None:
    store, names = runs
    catalogue = store.catalogue()
    actual = {text: [names[run_id] for run_id in store.run_ids(RunQuery(parse(text, catalogue)))] for text in EXPECTED}
    assert {text: " ".join(sorted(some)) for text, some in actual.items()} == {
        text: " ".join(sorted(wanted.split())) for text, wanted in EXPECTED.items()
    }


def test_cells_of_every_fact(runs: tuple[Store, dict[int, str]]) -> None:
    store, names = runs
    one, two, new = names
    keys = [
        key for key in RUN_FACTS if key not in ("created", "started", "finished", "duration", "recipe", "owner", "key")
    ]
    cells = store.run_cells([one, two, new], [fact(key) for key in keys])
    rows = {names[run_id]: dict(zip(keys, values, strict=True)) for run_id, values in cells.items()}
    common = {
        "metric": None,
        "metric_step": None,
        "note": "",
        "parent": "",
        "machine": "",
        "devices": "",
        "failure": "",
    }
    assert rows["one"] | {"name": "", "tag": ""} == {
        **common, "name": "", "experiment": "one clip", "state": "failed", "tag": "", "note": "A 50 % better one",
        "metric": 0.65, "metric_step": 30, "step": 40, "steps": 50, "progress": 0.8, "failure": "No room.",
    }  # fmt: skip
    assert rows["two"] | {"name": "", "tag": ""} == {
        **common, "name": "", "experiment": "two clip", "state": "running", "tag": "", "note": "under_score",
        "step": 10, "steps": 50, "progress": 0.2, "machine": "far", "devices": "0,1",
    }  # fmt: skip
    assert (rows["new"]["state"], rows["new"]["progress"]) == ("queued", None)
    assert "Night run" in str(rows["one"]["tag"])
    assert set(RUN_FACTS) >= SHARE_FACTS


def test_sorting_puts_missing_values_last_in_both_directions(runs: tuple[Store, dict[int, str]]) -> None:
    store, names = runs

    def order(key: str, descending: bool) -> list[str]:
        return [names[run_id] for run_id in store.run_ids(RunQuery(sort=(SortKey(fact(key), descending=descending),)))]

    assert order("step", False)[-2:] == ["two", "one"]
    assert order("progress", False) == ["two", "one", "new"]
    assert order("progress", True) == ["one", "two", "new"]
    assert order("duration", True)[:2] == ["two", "one"]
    assert order("experiment", False) == ["new", "one", "two"]
