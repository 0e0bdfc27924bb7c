"""The parts of the Classify panel that need no worker: the list of results, notes, settings of an evaluation."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from PySide6.QtCore import QSettings, Qt
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from sdgui.panels.classify import results as result_list
from sdgui.panels.classify.model import Confusion
from sdgui.panels.classify.notes import Notes, skipped_rows
from sdgui.panels.classify.options import OptionsRow
from sdgui.panels.classify.results import ResultList
from sdgui.panels.classify.tabs.try_it import TryTab, refused_text
from sdgui.panels.classify.verbs import Cells
from tests.sdgui.panels.classify.classifying import a_measure, a_result


@pytest.fixture
def shown(qtbot: QtBot) -> ResultList:
    made = ResultList()
    qtbot.addWidget(made)
    return made


def test_a_repeated_evaluation_replaces_its_result(shown: ResultList, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_list, "MAX_RESULTS", 3)
    first, again = a_result(), a_result()
    shown.add(first)
    shown.add(a_result(a_measure("knn")))
    shown.add(again)
    assert [result.measure.method for result in shown.results()] == ["image", "knn"]
    assert shown.current() is again
    beside = a_result(a_measure("zero-shot"))
    shown.add(beside, show=False)
    assert shown.current() is again
    assert shown.results()[0] is beside
    shown.add(a_result(a_measure("fused")))
    assert len(shown.results()) == 3, "the oldest is gone"


def test_a_line_names_the_network_where_there_are_two(shown: ResultList) -> None:
    measure = a_measure("knn", k=5)
    shown.add(a_result(measure))
    shown.add(a_result(measure.other(model="open_clip:ViT-B-32", weights="", title="ViT-B-32")))
    lines = [shown.list.item(row).text() for row in range(2)]
    spoken = shown.list.item(1).data(Qt.ItemDataRole.AccessibleTextRole)
    assert spoken == ("75.0 %  5 nearest, teacher · demo · teacher, 95 %: 50.0 to 90.0 %, /data/images.csv, label kind")
    assert shown.list.item(1).toolTip().endswith("/data/images.csv, label kind")
    assert lines == ["75.0 %  5 nearest\nViT-B-32", "75.0 %  5 nearest\nteacher · demo · teacher"]


def test_a_result_replaces_the_one_it_supersedes(shown: ResultList) -> None:
    gone, told = list[object](), list[object]()
    shown.removed.connect(gone.append)
    shown.added.connect(told.append)
    first, second, third, other = (
        a_result(a_measure("zero-shot", templates=f"a {name}")) for name in ("one", "two", "three", "four")
    )
    shown.add(first)
    shown.add(other)
    shown.replace(first, second, show=False)
    assert (shown.results(), shown.current()) == ([second, other], other)
    assert (gone, told[-1]) == ([first], second), "what is in the store goes too"
    shown.choose(second.measure)
    shown.replace(second, third, show=False)
    assert (shown.results(), shown.current(), gone[1:]) == ([third, other], third, [second])
    shown.replace(first, third)
    shown.replace(None, third)
    assert (shown.results(), len(gone)) == ([third, other], 2), "it was gone before"
    shown.restore([a_result(third.measure), first])
    assert (shown.results(), shown.current()) == ([third, other, first], third), "what is there is newer"
    shown.choose(other.measure)
    shown.restore([first, second])
    assert (shown.results(), shown.current()) == ([third, other, first, second], other), "what is shown stays so"
    again = ResultList()
    again.restore([])
    assert again.current() is None
    again.restore([first, other])
    assert again.current() is first


def test_removing_a_result_shows_the_next_one(shown: ResultList) -> None:
    made = [a_result(a_measure("knn", k=k)) for k in (1, 2, 3)]
    for one in made:
        shown.add(one)
    shown.choose(made[1].measure)
    shown.remove_current()
    assert shown.current() is made[0]
    shown.remove_current()
    assert shown.current() is made[2]
    shown.remove_current()
    assert shown.current() is None
    shown.remove_current()
    assert shown.results() == []


def test_skipped_rows_are_reported_once_per_source(qtbot: QtBot) -> None:
    split = {"source": "a.csv", "skipped": [{"where": "row 7", "reason": "no label"}], "skipped_count": 3}
    other: dict[str, Any] = {"source": "b.csv", "skipped": [], "skipped_count": 0}
    assert skipped_rows({"data": split, "train": split, "val": None}) == (["row 7: no label"], 2)
    assert skipped_rows({"data": split, "train": other}) == (["row 7: no label"], 2)
    notes = Notes()
    qtbot.addWidget(notes)
    notes.show_notes(["C was chosen."], ["row 7: no label"], 2)
    assert notes.button.text() == "1 note, 3 rows skipped: C was chosen."
    assert notes.button.accessibleName() == "1 note, 3 rows skipped"
    assert notes.text().splitlines() == ["C was chosen.", "", "Skipped:", "row 7: no label", "and 2 more"]
    notes.button.click()
    assert not notes.list.isHidden()
    notes.button.click()
    assert notes.list.isHidden()
    notes.show_notes(["one", "two " * 60])
    assert notes.button.text() == "2 notes: one"
    notes.show_notes(["two " * 60], ["row 7: no label"])
    assert notes.button.text().startswith("1 note, 1 row skipped: two")
    assert (len(notes.button.text()), notes.button.text()[-1]) == (110, "…")
    notes.show_notes([])
    assert notes.isHidden()


def test_evaluation_settings_are_edited_and_kept(qtbot: QtBot, tmp_path: Path) -> None:
    kept = QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)
    row = OptionsRow(kept)
    qtbot.addWidget(row)
    row._k.setValue(5)
    row._standardise.setChecked(True)
    row._text.setCurrentIndex(row._text.findData("caption"))
    mine = tmp_path / "mine.txt"
    mine.write_text("a drawing of {}\n")
    row.set_prompts(str(mine))
    row.save()
    again = OptionsRow(kept)
    qtbot.addWidget(again)
    by = again.settings()
    assert (by.k, by.standardise, by.text, by.templates) == (5, True, "caption", str(mine))
    assert a_measure("knn", k=5).request() == ("classify_knn", {"k": 5})
    assert a_measure("fused", text="caption", templates="photo").request() == (
        "classify_probe",
        {"kind": "fused", "standardise": False, "text": "caption", "templates": "photo"},
    )
    mine.unlink()
    gone = OptionsRow(kept)
    qtbot.addWidget(gone)
    assert gone.settings().templates == "photo"
    texts = [gone._prompts.itemText(row) for row in range(gone._prompts.count())]
    assert (texts[0], texts[-1], len(set(texts))) == ("photo", "from a file …", len(texts)), "each is there once"
    for template in ("a {}", "the {}"):
        gone.set_prompts(json.dumps({"templates": [template]}))
        assert (gone._prompts.currentText(), gone._prompts.count()) == ("edited", len(texts) + 1)
        assert gone._prompts.currentIndex() == 0
        assert json.loads(gone.settings().templates)["templates"] == [template]
    gone._k.setValue(9)
    gone.save()
    edited = OptionsRow(kept)
    qtbot.addWidget(edited)
    assert (edited._prompts.currentText(), edited.settings()) == ("edited", gone.settings())
    kept.setValue("classify/k", "many")
    kept.setValue("classify/text", "none")
    usual = OptionsRow(kept)
    qtbot.addWidget(usual)
    assert (usual.settings().k, usual.settings().text, usual.layer()) == (20, "predicted", "before the projection")


def test_the_layer_is_kept_where_the_model_has_it(qtbot: QtBot, tmp_path: Path) -> None:
    row = OptionsRow(QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(row)
    row.set_layers(["before the projection", "embedding", "block 1"])
    row._layer.setCurrentIndex(1)
    row.set_layers(["block 1", "embedding"])
    assert row.layer() == "embedding"
    row.set_layers(["block 1", "block 2"])
    assert row.layer() == "block 1"


def test_a_cancelled_prompts_dialog_keeps_the_default(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = OptionsRow(QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(row)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("", ""))
    last = row._prompts.count() - 1
    row._prompts.setCurrentIndex(last)
    row._prompts.activated.emit(last)
    assert row.settings().templates == "photo"


def test_the_most_frequent_mistakes_come_first() -> None:
    true, predicted, count = (np.array(values, dtype=np.int32) for values in ([0, 0, 1, 2], [0, 1, 2, 0], [9, 1, 5, 3]))
    assert Confusion(true, predicted, count).wrong().count.tolist() == [5, 3, 1]


def test_files_that_were_refused_are_counted() -> None:
    assert refused_text([("/a/film.mp4", "it is a video")]) == (
        "film.mp4: it is a video.",
        "/a/film.mp4: it is a video",
    )
    assert refused_text([("/a", "x"), ("/b", "y")])[0] == "a: x. 1 more were skipped."


@pytest.mark.parametrize("packed", ["AAAA", "not base64!", base64.b64encode(bytes(6)).decode()])
def test_truncated_numbers_are_refused(packed: str) -> None:
    """An answer of another program: the panel says so, and nothing raises in the window."""
    cells, whole = TypeAdapter(Cells), base64.b64encode(bytes(8)).decode()
    good = {"true": whole, "predicted": [0, 1], "count": whole}
    assert cells.validate_python(good) == good
    with pytest.raises(ValidationError, match="count"):
        cells.validate_python(good | {"count": packed})


def test_images_to_classify_are_requested_a_few_at_a_time(qtbot: QtBot, tmp_path: Path) -> None:
    settings = QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)
    tab, asked = TryTab(tmp_path, settings), list[tuple[list[str], bool]]()
    qtbot.addWidget(tab)
    tab.predictions_requested.connect(lambda paths, _names, current: asked.append((paths, current)))
    tab.ask_more()
    assert asked == [], "there is no image"
    paths = [f"/{number}.png" for number in range(40)]
    tab._waiting = list(paths)
    tab.ask_more()
    tab._answers |= {path: {} for path in paths[:16]}
    tab._answers[paths[20]] = {}
    tab.ask_more()
    assert asked == [(paths[:16], False), ([*paths[16:20], *paths[21:33]], False)]


def test_the_split_of_the_try_tab_is_remembered(qtbot: QtBot, tmp_path: Path) -> None:
    settings = QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)
    sizes = []
    for _ in range(2):
        tab = TryTab(tmp_path, settings)
        qtbot.addWidget(tab)
        tab.resize(1000, 500)
        tab.show()
        sizes.append(tab.split.sizes())
        tab.split.setSizes([250, 700])
        settings.setValue("classify/try", tab.split.saveState())
    assert sizes[1][0] < sizes[0][0] - 50
