"""The tree's model by itself: rows, names of runs and sums follow what the store has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from core.spec.presets import PRESETS, preset_config
from core.spec.run.status import RunState
from sdgui.experiments.filter import ExperimentFilter, Role
from sdgui.experiments.tree_model import ExperimentModel
from sdgui.store.changes import Changes
from sdgui.store.records import BestPoint, Progress, Run
from sdgui.store.store import Store
from tests.sdgui.store.folders import link_arm


class Follower:
    """Knows of no progress that the store does not have."""

    def progress(self, run_id: int) -> None:
        return None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "home")
    yield store
    store.close()


@pytest.fixture
def model(qapp: object, store: Store) -> ExperimentModel:
    return ExperimentModel(store, cast(Any, Follower()))


def an_experiment(store: Store, name: str) -> int:
    return store.add_experiment(preset_config("clip", "tiny"), name).id


def a_run(store: Store, experiment: int, state: RunState = RunState.DONE, best: float | None = None) -> Run:
    run = store.add_run(experiment)
    point = BestPoint("val/mean_recall", best, 3) if best is not None else None
    store.record(run.id, Progress(state, 1, step=5, total_steps=10, best=point))
    return store.run(run.id)


def rows(model: ExperimentModel) -> list[str]:
    return [str(model.index(row, 0).data()) for row in range(model.rowCount())]


def test_the_newest_come_first_below_the_row_of_all_runs(model: ExperimentModel, store: Store) -> None:
    model.reload()
    assert rows(model) == []
    first, second = an_experiment(store, "first"), an_experiment(store, "second")
    runs = [a_run(store, first).id for _ in range(3)]
    alive = a_run(store, second, RunState.RUNNING)
    model.reload()
    assert rows(model) == ["All runs", "second", "first"]
    assert model.index(0, 0) == model.all_index()
    assert model.all_index().data(Role.DETAIL) == "4 runs \u00b7 1 running"
    assert (model.experiments_of(model.all_index()), model.study_of(model.all_index())) == (None, None)
    assert model.experiments_of(model.experiment_index(first)) == [first]
    assert model.experiment_ids() == [second, first]
    assert (model.runs_of(first), model.runs_of(99)) == (tuple(reversed(runs)), ())
    assert (model.name(runs[1]), model.name(99)) == ("first \u00b7 run 2", "run 99")
    store.delete_run(runs[0])
    model.refresh(Changes.of(run=runs[0]))
    assert (model.name(runs[1]), model.run(runs[0])) == ("first \u00b7 run 1", None)
    assert model.experiment_index(first).data(Role.DETAIL).endswith("2 runs")
    store.restore_run(runs[0])
    model.refresh(Changes.of(run=runs[0]))
    assert [run.id for run in sorted(model.runs(), key=lambda run: run.id)] == [*runs, alive.id]
    assert (model.name(runs[1]), model.runs_of(first)) == ("first \u00b7 run 2", tuple(reversed(runs)))
    for experiment in (first, second):
        store.delete_experiment(experiment, permanently=True)
    model.refresh(Changes())
    assert rows(model) == []


def test_reloading_removes_deleted_rows_and_summarises_studies(
    model: ExperimentModel, store: Store, tmp_path: Path
) -> None:
    one, other = an_experiment(store, "one"), an_experiment(store, "other")
    runs = [a_run(store, one), a_run(store, one), a_run(store, other)]
    study = store.add_study(tmp_path / "study", "mine").id
    link_arm(store, study, "a", one)
    model.reload()
    parent = model.experiment_index(one).parent()
    assert (parent.data(), parent.data(Role.DETAIL)) == ("mine", "Study \u00b7 1 arm \u00b7 2 runs")
    store.delete_run(runs[0].id)
    store.delete_experiment(other, permanently=True)
    model.reload()
    assert (model.experiment_ids(), [run.id for run in model.runs()]) == ([one], [runs[1].id])
    assert not model.experiment_index(other).isValid()
    assert model.experiment_index(one).parent().data(Role.DETAIL) == "Study \u00b7 1 arm \u00b7 1 run"


def test_an_experiment_shows_its_best_run_and_activity(model: ExperimentModel, store: Store) -> None:
    mine = an_experiment(store, "mine")
    a_run(store, mine, best=0.5)
    alive = a_run(store, mine, RunState.RUNNING, best=0.25)
    model.reload()
    item = model.experiment_index(mine)
    assert (item.data(Role.STATE), item.data(Role.BEST)) == ("running", "50.0 %")
    store.record(alive.id, Progress(RunState.FAILED, 2, ending="failed", failure="no memory"))
    model.refresh_run(alive.id)
    assert model.experiment_index(mine).data(Role.STATE) == "failed", "the newest run"
    assert model.all_index().data(Role.DETAIL) == "2 runs"
    store.delete_run(alive.id, permanently=True)
    model.refresh_run(alive.id)
    assert (model.run(alive.id), model.experiment_index(mine).data(Role.DETAIL)) == (
        None,
        f"{PRESETS['clip'].title} · 1 run",
    )
    model.refresh_run(99)


def test_an_arm_of_a_study_shows_the_mean_of_its_seeds(model: ExperimentModel, store: Store, tmp_path: Path) -> None:
    arm, alone = an_experiment(store, "arm"), an_experiment(store, "alone")
    a_run(store, arm, best=0.5)
    a_run(store, arm, best=0.25)
    a_run(store, alone, best=0.5)
    study = store.add_study(tmp_path / "study", "mine").id
    for name, experiment in (("arm", arm), ("alone", alone)):
        link_arm(store, study, name, experiment)
    model.reload()
    assert model.experiment_index(arm).data(Role.BEST) == "mean 37.5 %"
    assert model.experiment_index(alone).data(Role.BEST) == "50.0 %", "of one seed there is no mean"


def test_changes_by_another_window_are_shown(model: ExperimentModel, store: Store) -> None:
    mine, other = an_experiment(store, "mine"), an_experiment(store, "other")
    run = a_run(store, mine)
    model.reload()
    store.rename_experiment(other, "renamed")
    model.refresh(Changes())
    assert model.experiment_name(other) == "renamed"
    store.delete_experiment(mine)
    for changes in (Changes(), Changes.of(run=run.id)):
        model.refresh(changes)
        assert (model.experiment_ids(), model.runs()) == ([other], [])
    store.restore_experiment(mine)
    model.refresh(Changes())
    assert (model.runs_of(mine), model.experiment_name(mine)) == ((run.id,), "mine")
    store.delete_experiment(mine)
    model.reload()
    assert (model.experiment_ids(), model.runs()) == ([other], [])


def test_the_arms_of_a_study_are_below_it(model: ExperimentModel, store: Store, tmp_path: Path) -> None:
    arms = [an_experiment(store, name) for name in ("a", "b")]
    alone = an_experiment(store, "alone")
    runs = [a_run(store, arm) for arm in (*arms, arms[0])]
    model.reload()
    study = store.add_study(tmp_path / "study", "mine")
    for name, arm in zip("ab", arms, strict=True):
        link_arm(store, study.id, name, arm)
    model.refresh(Changes(studies=frozenset((study.id,)), experiments=frozenset(arms)))
    item = model.study_index(study.id)
    assert [model.index(row, 0, item).data() for row in range(model.rowCount(item))] == ["a", "b"]
    assert item.data(Role.DETAIL) == "Study · 2 arms · 3 runs"
    assert rows(model) == ["All runs", "mine", "alone"]
    assert (model.experiments_of(item), model.runs_of(arms[0])) == (arms, (runs[2].id, runs[0].id))
    assert [model.study_of(model.experiment_index(one)) for one in (arms[0], alone)] == [study.id, None]
    store.delete_study(study.id)
    model.refresh(Changes(studies=frozenset((study.id,))))
    assert model.experiment_ids() == [alone]
    assert (model.runs(), model.study_index(study.id).isValid()) == ([], False)


def test_rows_are_found_by_words_of_name_tag_note_and_state(model: ExperimentModel, store: Store) -> None:
    mine, other = an_experiment(store, "mine"), an_experiment(store, "other")
    store.tag_experiment(mine, ["draft"])
    store.set_experiment_note(other, "Too hot")
    store.tag_run(a_run(store, mine, RunState.FAILED).id, ["noisy"])
    model.reload()
    shown = ExperimentFilter()
    shown.setSourceModel(model)

    def found(text: str) -> list[str]:
        shown.set_text(text)
        return [str(shown.index(row, 0).data()) for row in range(shown.rowCount())]

    assert found("") == ["All runs", "other", "mine"]
    assert found("#DRAFT min") == ["mine"]
    assert found("hot") == ["other"]
    assert found("failed") == found("#noisy") == ["mine"], "of a run"
    assert found("draft hot") == []


def test_incremental_updates_match_a_full_reload(model: ExperimentModel, store: Store) -> None:
    one, two = an_experiment(store, "one"), an_experiment(store, "two")
    model.reload()
    runs = [store.add_run(experiment).id for experiment in (one, one, two, one)]

    def contents(tree: ExperimentModel) -> list[Any]:
        roles = (0, int(Role.DETAIL), int(Role.STATE), int(Role.STATES), int(Role.TAGS), int(Role.SEARCH))
        return [[tree.index(row, 0).data(role) for role in roles] for row in range(tree.rowCount())]

    def reloaded() -> list[Any]:
        fresh = ExperimentModel(store, cast(Any, Follower()))
        fresh.reload()
        return contents(fresh)

    model.refresh(Changes(runs=frozenset(runs[2:])))
    model.refresh(Changes(runs=frozenset(runs[:2])))
    assert contents(model) == reloaded()
    store.record(runs[0], Progress(RunState.DONE, 1))
    store.delete_run(runs[0])
    model.refresh(Changes(runs=frozenset(runs[:1])))
    assert contents(model) == reloaded()
    store.restore_run(runs[0])
    store.tag_run(runs[1], ["new"])
    model.refresh(Changes(runs=frozenset(runs[:2])))
    assert contents(model) == reloaded()
    for run in runs:
        store.record(run, Progress(RunState.DONE, 1))
    store.delete_experiment(one)
    model.refresh(Changes.of(experiment=one))
    assert model.experiment_ids() == [two]
    store.restore_experiment(one)
    store.rename_experiment(two, "zwei")
    model.refresh(Changes(frozenset((one, two)), frozenset(runs)))
    assert sorted(map(str, contents(model))) == sorted(map(str, reloaded()))
