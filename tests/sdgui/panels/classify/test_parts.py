"""The parts of the Classify panel that need no worker: the list of results, notes, settings of an evaluation."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from PySide6.QtCore import QSettings
from pytestqt.qtbot import QtBot

from sdgui.panels.classify import results as result_list
from sdgui.panels.classify.model import Confusion
from sdgui.panels.classify.results import ResultList
from sdgui.panels.classify.tabs.try_it import TryTab
from sdgui.panels.classify.verbs import Cells
from tests.sdgui.panels.classify.classifying import a_result, an_evaluation


@pytest.fixture
def shown(qtbot: QtBot) -> ResultList:
    made = ResultList()
    qtbot.addWidget(made)
    return made


def test_a_repeated_evaluation_replaces_its_result(shown: ResultList, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_list, "MAX_RESULTS", 3)
    first, again = a_result(), a_result()
    shown.add(first)
    shown.add(a_result(an_evaluation("knn")))
    shown.add(again)
    assert [result.evaluation.method for result in shown.results()] == ["image", "knn"]
    assert shown.current() is again
    beside = a_result(an_evaluation("zero-shot"))
    shown.add(beside, show=False)
    assert shown.current() is again
    assert shown.results()[0] is beside
    shown.add(a_result(an_evaluation("fused")))
    assert len(shown.results()) == 3, "the oldest is gone"


def test_a_result_replaces_the_one_it_supersedes(shown: ResultList) -> None:
    gone, told = list[object](), list[object]()
    shown.removed.connect(gone.append)
    shown.added.connect(told.append)
    first, second, third, other = (
        a_result(an_evaluation("zero-shot", templates=f"a {name}")) for name in ("one", "two", "three", "four")
    )
    shown.add(first)
    shown.add(other)
    shown.add(second, show=False, previous=first)
    assert (shown.results(), shown.current()) == ([second, other], other)
    assert (gone, told[-1]) == ([first], second), "what is in the store goes too"
    shown.choose(second.evaluation)
    shown.add(third, show=False, previous=second)
    assert (shown.results(), shown.current(), gone[1:]) == ([third, other], third, [second])
    shown.add(third, previous=first)
    shown.add(third)
    assert (shown.results(), len(gone)) == ([third, other], 2), "it was gone before"
    shown.restore([a_result(third.evaluation), first])
    assert (shown.results(), shown.current()) == ([third, other, first], third), "what is there is newer"
    shown.choose(other.evaluation)
    shown.restore([first, second])
    assert (shown.results(), shown.current()) == ([third, other, first, second], other), "what is shown stays so"
    again = ResultList()
    again.restore([])
    assert again.current() is None
    again.restore([first, other])
    assert again.current() is None, "the panel chooses"
    again.choose_first(lambda result: result is other)
    assert again.current() is other


def test_the_most_frequent_mistakes_come_first() -> None:
    true, predicted, count = (np.array(values, dtype=np.int32) for values in ([0, 0, 1, 2], [0, 1, 2, 0], [9, 1, 5, 3]))
    assert Confusion(true, predicted, count).mistakes().count.tolist() == [5, 3, 1]


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
