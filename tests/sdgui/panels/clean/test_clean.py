"""Clean with a worker in miniature: ranked, marked by keys, threshold, filtered, saved, remembered, refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from sdgui.panels.clean.model import RankedPairs
from sdgui.panels.clean.source import newest_training_data
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.store.store import Store
from sdgui.widgets.message import info
from tests.sdgui.layout_checks import covered
from tests.sdgui.panels.clean.cleaning import Open, close, make_run, press, ranked


def test_a_run_ranks_its_data_which_are_filtered_sorted_cut_at_a_threshold_saved_and_used(
    qtbot: QtBot, open_noise: Open, tmp_path: Path
) -> None:
    place = open_noise()
    request = place.view.source.request()
    assert request == {"model": f"{tmp_path / 'run'}@best", "data": str(tmp_path / "pairs.csv"), "weights": ""}
    pairs = ranked(qtbot, place)
    assert [item.caption for item in place.view.gallery.items()][:2] == ["a cat", "a dog"]
    assert place.view.table.pairs.index(0, 3).data() == "0.050"
    assert "66.7\u00a0%" in place.view.facts.text()
    assert pairs.threshold == 251, "right after the three that are doubted"
    text = "3 below 0.251: 66.7 % of these are shuffled (66.7 % of all shuffled pairs)"
    assert text in place.view.threshold_text.text()
    assert [item.line for item in place.view.gallery.items()].index(True) == 3
    assert place.view.facts.geometry().bottom() < place.view.threshold_text.geometry().top()
    place.view.bar.show_message(info("The pairs were saved."))
    qtbot.waitUntil(lambda: place.view.bar.width() > place.width() // 2)
    assert covered(place.view.bar) == []

    # Filters and sorting apply to the images and to the table.
    place.view.filter_box.setText("A")
    place.view.filter_box.setText("old boat")
    assert [item.rank for item in place.view.gallery.items()] == [5]
    place.view.filter_box.clear()
    place.view.filters.setCurrentIndex(place.view.filters.findData("shuffled"))
    place.show_pairs()
    head = place.view.table.horizontalHeader()
    head.setSortIndicator(1, Qt.SortOrder.DescendingOrder)
    captions = [item.caption for item in place.view.gallery.items()]
    assert captions == ["an old boat", "a dog", "a cat"]
    assert [place.view.table.pairs.index(row, 1).data() for row in range(3)] == captions
    place.view.filters.setCurrentIndex(place.view.filters.findData("all"))
    head.setSortIndicator(0, Qt.SortOrder.AscendingOrder)
    place.show_pairs()
    place._choose(0)

    # The threshold excludes the pairs below it, except those marked as correct.
    assert not place.view.save_button.isEnabled()
    assert not place.view.use_button.isEnabled()
    place.view.histogram.box.setValue(0.4)
    assert pairs.below_count() == 4
    place.view.exclude_below.setChecked(True)
    press(qtbot, place, Qt.Key.Key_Space)
    assert pairs.excluded_count() == 3
    assert [item.faint for item in place.view.gallery.items()] == [False, True, True, True, False, False, False, False]
    place.save(tmp_path / "clean.csv")
    qtbot.waitUntil(lambda: "saved as" in place.view.bar.text, timeout=10000)
    saved: dict[str, Any] = json.loads((tmp_path / "clean.asked.json").read_text(encoding="utf-8"))
    assert sorted(caption for _, caption in saved["pairs"]) == ["a dog", "a hat", "a red kite"]
    assert saved["replace"] is False
    with qtbot.waitSignal(place.new_experiment_requested) as signal:
        place.view.use_button.click()
    config = signal.args[0]
    assert isinstance(config, RunConfig)
    assert config.data.train == str(tmp_path / "clean.csv")


def test_keys_mark_pairs_and_a_ranking_and_its_marks_survive_a_restart(
    qtbot: QtBot, open_noise: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_noise()
    ranked(qtbot, place)
    press(qtbot, place, Qt.Key.Key_X, Qt.Key.Key_Space, Qt.Key.Key_X)
    assert [item.badge for item in place.view.gallery.items()[:4]] == ["mismatched", "correct", "mismatched", ""]
    assert place.view.gallery.current() == 3, "after each mark the next pair is chosen"
    qtbot.keyClick(place.view.gallery.view, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert [item.badge for item in place.view.gallery.items()[:4]] == ["mismatched", "correct", "", ""]
    assert "1 of 8 excluded · 1 marked mismatched, 1 correct" in place.view.counts.text()
    close(place, qtbot)
    again = open_noise()
    qtbot.waitUntil(lambda: again.ranked is not None)
    assert again.ranked is not None
    assert "8 pairs ranked: 3 likely mismatched." in again.view.facts.text()
    assert "Ranked 20" in again.view.facts.text()
    assert not again.work.is_ranking, "no model was loaded for it"
    again.view.basket_button.click()
    qtbot.waitUntil(lambda: again._services.basket.count == 1)
    (entry,) = again._services.store.fixes()
    assert (entry.source, entry.fix.caption, entry.fix.run) == (
        again.ranked.data,
        "a cat",
        again.work.model.removesuffix("@best"),
    )
    pairs = ranked(qtbot, again)
    assert {key[1]: wrong for key, wrong in pairs.marks.items()} == {"a cat": True, "a dog": False}
    again.view.table.setFocus()
    again.view.table.selectRow(0)
    qtbot.keyClick(again.view.table, Qt.Key.Key_X)
    assert again.view.table.pairs.index(0, 5).data() == "", "the same mark again takes it back"
    assert not again.view.basket_button.isEnabled()
    visible: list[int] = []
    monkeypatch.setattr(again.view.gallery, "preview", visible.append)
    again.view.table.selectRow(1)
    qtbot.keyClick(again.view.table, Qt.Key.Key_Return)
    assert visible == [1]


def test_large_selections_are_marked_visible_first_and_the_rest_in_batches(
    qtbot: QtBot, open_noise: Open, tmp_path: Path
) -> None:
    place = open_noise()
    names = [f"words of image {number}" for number in range(1000)]
    pairs = [{"path": f"/{name}.png", "caption": name, "rank": i + 1} for i, name in enumerate(names)]
    answer = {
        "list": [{**pair, "match_score": 0.1, "clean_probability": 0.2} for pair in pairs],
        "model": "m",
        "key": "k",
        "data": str(tmp_path / "pairs.csv"),
        "pairs": 1000,
        "mismatched": 3,
        "groups": 2,
        "shuffled": None,
        "precision": None,
        "bins": [1] * 1000,
    }
    place._show(RankedPairs(answer, {}))
    qtbot.wait(1)
    place.view.gallery.select_all()
    place.mark(True)
    seen, badges = place.view.gallery.visible_rows(), [item.badge for item in place.view.gallery.items()]
    assert {badges[row] for row in seen} == {"mismatched"}
    assert 0 < badges.count("") < 1000, "some are left for the next turns"
    assert place.view.gallery.selected() == list(range(1000)), "what was selected stays so"
    place.mark(False)  # while the others still wait
    qtbot.waitUntil(lambda: {item.badge for item in place.view.gallery.items()} == {"correct"})
    place.mark(True)
    place.view.filter_box.setText("image 99")  # everything is shown anew: nothing waits any more
    qtbot.wait(20)
    assert [item.badge for item in place.view.gallery.items()] == ["mismatched"] * 19


def test_a_failed_ranking_keeps_the_shown_one_and_its_saved_data(
    qtbot: QtBot, open_noise: Open, tmp_path: Path
) -> None:
    place = open_noise("long.csv")
    first_ranking = ranked(qtbot, place)
    press(qtbot, place, Qt.Key.Key_X)
    place.save(tmp_path / "clean.csv")
    qtbot.waitUntil(lambda: place.view.use_button.isEnabled())
    other_run = make_run(place._services, tmp_path / "other", tmp_path / "broken.csv", "other")
    place.use_run(other_run)
    assert place.view.source.run() == tmp_path / "other"
    place.rank()
    qtbot.waitUntil(lambda: "no column title" in place.view.bar.text)
    assert place.ranked is first_ranking
    with qtbot.waitSignal(place.new_experiment_requested) as signal:
        place.view.use_button.click()
    assert signal.args[0].name == "clip cleaned", "of the run that ranked what was saved"
    assert signal.args[0].data.train == str(tmp_path / "clean.csv")
    place.view.exclude_below.setChecked(True)
    place.save(tmp_path / "again.csv")
    qtbot.waitUntil(lambda: "again.csv" in place.view.bar.text)
    saved = json.loads((tmp_path / "again.asked.json").read_text())
    assert saved["ranked"] == [f"{tmp_path / 'run'}@best"], "asked of the worker that knows this ranking"


def test_ranking_can_be_cancelled_and_unreadable_data_give_the_reason(qtbot: QtBot, open_noise: Open) -> None:
    place = open_noise("slow.csv")
    place.rank()
    qtbot.waitUntil(lambda: "Encoding" in place.view.strip.text, timeout=15000)
    place.view.strip.cancelled.emit()
    qtbot.waitUntil(lambda: "cancelled" in place.view.bar.text, timeout=10000)
    assert place.ranked is None
    place.view.source.data.set_source(str(Path(place.view.source.data.source()).with_name("broken.csv")))
    place.rank()
    qtbot.waitUntil(lambda: "no column title" in place.view.bar.text, timeout=10000)
    assert place.view.source.rank_button.isEnabled()


def test_any_model_ranks_and_the_saved_pairs_are_used_in_an_experiment_for_the_users_own_data(
    qtbot: QtBot, open_noise: Open, tmp_path: Path
) -> None:
    place = open_noise()
    place.view.source.model.set_choice(ModelChoice("open_clip:ViT-B-32,openai", "", "ViT-B-32"))
    assert not place.view.source.networks.isEnabled(), "it has one network"
    request = place.view.source.request()
    assert request == {"model": "open_clip:ViT-B-32,openai", "data": str(tmp_path / "pairs.csv"), "weights": ""}
    ranked(qtbot, place)
    place.save(tmp_path / "clean.csv")
    qtbot.waitUntil(place.view.use_button.isEnabled)
    with qtbot.waitSignal(place.new_experiment_requested) as signal:
        place.use_in_experiment()
    assert (signal.args[0].preset, signal.args[0].data.train) == ("sd-coca-adapt", str(tmp_path / "clean.csv"))


def test_the_data_of_the_newest_experiment_are_offered(qtbot: QtBot, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "home")
    assert newest_training_data(store) == ""
    (tmp_path / "pairs.csv").touch()
    for name in ("pairs.csv", "gone.csv"):
        store.add_experiment(override(preset_config("clip", "tiny"), [f"data.train={tmp_path / name}"]))
    assert newest_training_data(store) == str(tmp_path / "pairs.csv")
    store.close()


def test_a_ranking_by_other_weights_than_the_chosen_ones_says_so(qtbot: QtBot, open_noise: Open) -> None:
    place = open_noise()
    ranked(qtbot, place)
    networks, facts = place.view.source.networks, place.view.facts
    for row, is_by_others in ((1, True), (0, False)):
        networks.setCurrentIndex(row)
        networks.activated.emit(row)
        assert facts.text().startswith("This ranking is by") is is_by_others


def test_data_follow_the_run_unless_others_were_chosen(qtbot: QtBot, open_noise: Open, tmp_path: Path) -> None:
    place = open_noise()
    ranked(qtbot, place)
    source = place.view.source
    other_run = make_run(place._services, tmp_path / "other", tmp_path / "other.csv", "other")
    assert source.model.choose_run(other_run), "as the list of models does"
    assert source.data.source() == str(tmp_path / "other.csv"), "not what the former run was trained on"
    assert place.view.facts.text().startswith("This ranking is by clip · run 1")
    assert str(tmp_path / "pairs.csv") in place.view.facts.text()
    ranked(qtbot, place)
    qtbot.waitUntil(lambda: "This ranking is by" not in place.view.facts.text())
    source.data.set_source(str(tmp_path / "chosen.csv"))
    first = next(run.id for run in place._services.store.runs() if run.id != other_run)
    assert source.model.choose_run(first)
    assert source.data.source() == str(tmp_path / "chosen.csv"), "the user's own choice is kept"
    before = source.request()
    place.use_run(make_run(place._services, tmp_path / "fresh", tmp_path / "fresh.csv", checkpoint=False))
    assert source.request() == before, "a run without a checkpoint cannot rank"
    qtbot.waitUntil(lambda: source.data._listed)
    listed = {source.data.box.itemData(row): source.data.box.itemText(row) for row in range(source.data.box.count())}
    assert listed[str(tmp_path / "pairs.csv")] == "pairs.csv · training data of this run"
