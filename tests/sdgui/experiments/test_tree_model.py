"""The tree's model by itself: rows, ordinals, ticks and sums follow what the store has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from core.spec.presets import PRESETS, preset_config
from core.spec.run.status import RunState
from sdgui.experiments.filter import ExperimentFilter
from sdgui.experiments.tree_model import ExperimentModel, Role
from sdgui.shared.run_texts import best_text, best_tip, when
from sdgui.store.changes import Changes
from sdgui.store.records import BestPoint, Progress, Run
from sdgui.store.store import Store
from sdgui.widgets.style.theme import theme


class Tailer:
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
    return ExperimentModel(store, cast(Any, Tailer()))


def an_experiment(store: Store, name: str) -> int:
    return store.add_experiment(preset_config("clip", "tiny"), name).id


def a_run(store: Store, experiment: int, state: RunState = RunState.DONE, best: float | None = None) -> Run:
    run = store.add_run(experiment)
    point = BestPoint("val/mean_recall", best, 3) if best is not None else None
    store.record(run.id, Progress(state, 1, step=5, total_steps=10, best=point))
    return store.run(run.id)


def titles(model: ExperimentModel, experiment: int) -> list[str]:
    item = model.experiment_index(experiment)
    return [str(model.index(row, 0, item).data()) for row in range(model.rowCount(item))]


def test_the_newest_come_first_and_are_numbered_anew(model: ExperimentModel, store: Store) -> None:
    first, second = an_experiment(store, "first"), an_experiment(store, "second")
    runs = [a_run(store, first) for _ in range(3)]
    model.reload()
    assert [model.index(row, 0).data() for row in range(2)] == ["second", "first"]
    assert model.experiment_ids() == [second, first]
    assert [title.split(" ")[1][0] for title in titles(model, first)] == ["3", "2", "1"]
    assert (model.newest_run(first), model.newest_run(second), model.newest_run(99)) == (runs[2].id, None, None)
    assert model.name(runs[1].id).lower().startswith("first · run 2")
    model.set_ticked({runs[0].id, runs[1].id, 99})
    assert model.ticked() == (runs[0].id, runs[1].id)
    store.delete_run(runs[0].id)
    model.refresh(Changes.of(run=runs[0].id))
    assert [title.split(" ")[1][0] for title in titles(model, first)] == ["2", "1"]
    assert model.ticked() == (runs[1].id,)
    assert model.run(runs[0].id) is None
    store.restore_run(runs[0].id)
    model.refresh(Changes.of(run=runs[0].id))
    assert [run.id for run in sorted(model.runs(), key=lambda run: run.id)] == [run.id for run in runs]
    assert model.run_index(runs[0].id).row() == 2, "in its place, not at the top"
    assert [title.split(" ")[1][0] for title in titles(model, first)] == ["3", "2", "1"]


def test_reading_anew_drops_what_is_gone_and_sums_up_studies(
    model: ExperimentModel, store: Store, tmp_path: Path
) -> None:
    one, other = an_experiment(store, "one"), an_experiment(store, "other")
    runs = [a_run(store, one), a_run(store, one), a_run(store, other)]
    study = store.add_study(tmp_path / "study", "mine").id
    store.link_arm(study, "a", one)
    model.reload()
    parent = model.experiment_index(one).parent()
    assert (parent.data(), parent.data(Role.DETAIL)) == ("mine", "Study \u00b7 1 arm \u00b7 2 runs")
    store.delete_run(runs[0].id)
    store.delete_experiment(other, for_good=True)
    model.reload()
    assert (model.experiment_ids(), [run.id for run in model.runs()]) == ([one], [runs[1].id])
    assert not model.experiment_index(other).isValid()
    assert model.experiment_index(one).parent().data(Role.DETAIL) == "Study \u00b7 1 arm \u00b7 1 run"


def test_an_experiment_says_its_best_run_and_whether_one_is_active(model: ExperimentModel, store: Store) -> None:
    mine = an_experiment(store, "mine")
    a_run(store, mine, best=0.5)
    alive = a_run(store, mine, RunState.RUNNING, best=0.25)
    model.reload()
    item = model.experiment_index(mine)
    assert item.data(Role.STATE) == "running"
    assert item.data(Role.BEST) == model.run_index(alive.id - 1).data(Role.BEST)
    assert model.run_index(alive.id).data(Role.SHARE) == 0.5
    assert model.run_index(alive.id - 1).data(Role.SHARE) is None, "of a run that is over"
    store.record(alive.id, Progress(RunState.FAILED, 2, ending="failed", failure="no memory"))
    model.refresh_run(alive.id)
    item = model.experiment_index(mine)
    assert item.data(Role.STATE) == ""
    assert "no memory" in model.run_index(alive.id).data(Qt.ItemDataRole.ToolTipRole)
    store.delete_run(alive.id, for_good=True)
    model.refresh_run(alive.id)
    assert not model.run_index(alive.id).isValid()
    model.refresh_run(99)


def test_an_arm_of_a_study_says_the_mean_of_its_seeds(model: ExperimentModel, store: Store, tmp_path: Path) -> None:
    arm, alone = an_experiment(store, "arm"), an_experiment(store, "alone")
    a_run(store, arm, best=0.5)
    a_run(store, arm, best=0.25)
    a_run(store, alone, best=0.5)
    study = store.add_study(tmp_path / "study", "mine").id
    for name, experiment in (("arm", arm), ("alone", alone)):
        store.link_arm(study, name, experiment)
    model.reload()
    assert model.experiment_index(arm).data(Role.BEST) == "mean 37.5 %"
    assert model.experiment_index(alone).data(Role.BEST) == "50.0 %", "of one seed there is no mean"


def test_what_another_window_did_is_seen(model: ExperimentModel, store: Store) -> None:
    mine, other = an_experiment(store, "mine"), an_experiment(store, "other")
    run = a_run(store, mine)
    model.reload()
    model.set_ticked({run.id})
    store.rename_experiment(other, "renamed")
    model.refresh(Changes())
    assert model.experiment_name(other) == "renamed"
    store.delete_experiment(mine)
    model.refresh(Changes())
    assert model.experiment_ids() == [other]
    assert (model.runs(), model.ticked(), model.run_index(run.id).isValid()) == ([], (), False)
    store.restore_experiment(mine)
    model.refresh(Changes())
    assert titles(model, mine)
    assert model.experiment_name(mine) == "mine"
    store.delete_experiment(mine)
    model.refresh(Changes.of(run=run.id))
    assert not model.run_index(run.id).isValid()


def test_a_tick_is_told_once(qtbot: QtBot, model: ExperimentModel, store: Store) -> None:
    mine = an_experiment(store, "mine")
    runs = [a_run(store, mine) for _ in range(3)]
    model.reload()
    told = list[tuple[int, ...]]()
    model.ticks_changed.connect(lambda: told.append(model.ticked()))
    model.set_ticked({run.id for run in runs})
    assert told == [tuple(run.id for run in runs)]
    model.setData(model.run_index(runs[1].id), Qt.CheckState.Unchecked.value, int(Qt.ItemDataRole.CheckStateRole))
    assert told[1:] == [(runs[0].id, runs[2].id)]
    model.refresh(Changes.of(run=runs[0].id))
    assert len(told) == 2, "what is read anew ticks nothing"


def test_a_name_is_asked_for_when_it_is_another(qtbot: QtBot, model: ExperimentModel, store: Store) -> None:
    mine = an_experiment(store, "mine")
    model.reload()
    index = model.experiment_index(mine)
    with qtbot.assertNotEmitted(model.rename_asked):
        assert model.setData(index, "mine")
        assert not model.setData(index, "  ")
    with qtbot.waitSignal(model.rename_asked) as asked:
        model.setData(index, " new ")
    assert asked.args == [mine, "new"]
    assert index.data() == "new"
    model.refresh(Changes.of(experiment=mine))
    assert model.experiment_index(mine).data() == "mine", "the store refused it"


def test_a_studys_arms_stand_below_it(model: ExperimentModel, store: Store, tmp_path: Path) -> None:
    arms = [an_experiment(store, name) for name in ("a", "b")]
    alone = an_experiment(store, "alone")
    runs = [a_run(store, arm) for arm in (*arms, arms[0])]
    model.reload()
    study = store.add_study(tmp_path / "study", "mine")
    for name, arm in zip("ab", arms, strict=True):
        store.link_arm(study.id, name, arm)
    model.refresh(Changes(studies=frozenset((study.id,)), experiments=frozenset(arms)))
    item = model.study_index(study.id)
    assert [model.index(row, 0, item).data() for row in range(model.rowCount(item))] == ["a", "b"]
    assert item.data(Role.DETAIL) == "Study · 2 arms · 3 runs"
    assert model.runs_of_study(study.id) == (runs[2].id, runs[0].id, runs[1].id)
    assert model.study_of(model.run_index(runs[0].id)) == study.id
    assert model.study_of(model.experiment_index(alone)) is None
    assert [model.run_index(run.id).data(Role.COLOR) for run in runs] == [0, 1, 0]
    store.delete_study(study.id)
    model.refresh(Changes(studies=frozenset((study.id,))))
    assert model.experiment_ids() == [alone]
    assert (model.runs_of_study(study.id), model.study_index(study.id).isValid()) == ((), False)


def test_rows_are_found_by_every_word_of_name_tag_note_and_state(model: ExperimentModel, store: Store) -> None:
    mine, other = an_experiment(store, "mine"), an_experiment(store, "other")
    store.tag_experiment(mine, ["draft"])
    store.note_experiment(other, "Too hot")
    a_run(store, mine, RunState.FAILED)
    model.reload()
    shown = ExperimentFilter()
    shown.setSourceModel(model)

    def found(text: str) -> list[str]:
        shown.set_text(text)
        return [str(shown.index(row, 0).data()) for row in range(shown.rowCount())]

    assert found("") == ["other", "mine"]
    assert found("#DRAFT min") == ["mine"]
    assert found("hot") == ["other"]
    assert found("failed") == ["mine"]
    assert found("draft hot") == []


def test_a_row_tells_in_words_what_it_shows(model: ExperimentModel, store: Store, tmp_path: Path) -> None:
    mine = an_experiment(store, "mine")
    store.tag_experiment(mine, ["draft"])
    store.note_experiment(mine, "why")
    run = a_run(store, mine, RunState.RUNNING, best=0.25)
    store.tag_run(run.id, ["x"])
    store.note_run(run.id, "slow")
    broken = store.add_experiment('{"name": "odd", "optim": {"epochs": -1}}').id
    model.reload()
    tip, spoken = Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole
    row, above = model.run_index(run.id), model.experiment_index(mine)
    assert (above.data(Role.TAGS), above.data(Role.DETAIL)) == ("#draft", f"{PRESETS['clip'].title} · 1 run")
    assert above.data(spoken) == f"mine, {PRESETS['clip'].title} · 1 run, running, #draft"
    assert above.data(tip) == f"mine\nCreated {when(store.experiment(mine).created)}\n\nwhy"
    assert (row.data(Role.TAGS), row.data(Role.SEARCH)) == ("#x", f"{run.key} x slow running")
    point = BestPoint("val/mean_recall", 0.25, 3)
    assert row.data(spoken) == f"Run 1, {row.data(Role.DETAIL)}, {best_text(point)}, #x"
    assert row.data(tip).splitlines() == [
        f"{run.key}: {theme().state_text(RunState.RUNNING)}", best_tip(point), "slow", str(run.folder)
    ]  # fmt: skip
    odd = model.experiment_index(broken)
    assert (odd.data(Role.DETAIL), odd.data(tip)) == ("Config cannot be used", store.experiment(broken).problem)
    editable, checkable = Qt.ItemFlag.ItemIsEditable, Qt.ItemFlag.ItemIsUserCheckable
    assert [bool(one.flags() & flag) for one in (above, row) for flag in (editable, checkable)] == [
        True, False, False, True
    ]  # fmt: skip
    study = store.add_study(tmp_path / "study", "both")
    store.link_arm(study.id, "a", mine)
    model.refresh(Changes(studies=frozenset((study.id,)), experiments=frozenset((mine,))))
    item = model.study_index(study.id)
    assert item.data(spoken) == "both, Study · 1 arm · 1 run, running"
    assert item.data(tip) == f"Study both\n{tmp_path / 'study'}"
    assert (item.data(Role.STATE), item.data(Role.SEARCH)) == ("running", "both study")
    assert not item.flags() & editable
    store.record(run.id, Progress(RunState.DONE, 2, step=10, total_steps=10))
    model.refresh_run(run.id)
    assert item.data(spoken) == "both, Study · 1 arm · 1 run"
