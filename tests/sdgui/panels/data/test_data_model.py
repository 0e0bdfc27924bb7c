"""Rows of a source: filtered, excluded, taken back, kept until the next start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from pytestqt.qtbot import QtBot

from sdgui.panels.data import exclusions
from sdgui.panels.data.figures import caption_bars, word_bars
from sdgui.panels.data.groups import groups_of, problem_rows
from sdgui.panels.data.model import NO_VALUE, Filter, SourceRows
from sdgui.panels.data.work import DataWork
from sdgui.worker.data_verbs import Checked
from sdgui.worker.pool import CHECK_WORKER, DATA_WORKER, WorkerPool
from sdgui.worker.replies import Cancelled, Failure
from tests.sdgui.panels.data.conftest import checked, facts, part
from tests.sdgui.panels.scripted_workers import Workers


def rows() -> SourceRows:
    source_rows = SourceRows("/pairs.csv")
    source_rows.append(["/a", "/b"], [["A red Hat", "hat"], ["a blue hat"]], {"kind": ["hat", ""]})
    assert list(source_rows.append(["/c", "/d"], [["a red boat"], []], {"kind": ["boat", "hat"]})) == [2, 3]
    return source_rows


def test_rows_are_found_by_words_labels_and_properties() -> None:
    source_rows = rows()
    assert source_rows.filtered(Filter("RED hat")) == [0]
    assert source_rows.filtered(Filter("red"), range(2, 4)) == [2]
    assert source_rows.filtered(Filter(label="kind", value="hat")) == [0, 3]
    assert source_rows.filtered(Filter(label="kind", value=NO_VALUE)) == [1]
    assert source_rows.values("kind") == ["boat", "hat", NO_VALUE]
    assert source_rows.filtered(Filter(subset="uncaptioned")) == [3]
    source_rows.exclude([1, 2])
    assert source_rows.filtered(Filter(subset="kept")) == [0, 3]
    assert source_rows.filtered(Filter(subset="excluded")) == [1, 2]
    source_rows.problem_rows = {"broken": frozenset({3})}
    assert source_rows.filtered(Filter(subset="broken")) == [3]
    assert source_rows.filtered(Filter(subset="duplicates")) == []


def test_a_label_only_in_later_rows_is_found() -> None:
    source_rows = SourceRows("/pairs.csv")
    source_rows.append(["/a", "/b"], [[], []], {})
    source_rows.append(["/c"], [[]], {"kind": ["hat"]})
    assert source_rows.filtered(Filter(label="kind", value="hat")) == [2]
    assert source_rows.values("kind") == ["hat", NO_VALUE]


def test_exclusions_are_undone_one_by_one() -> None:
    source_rows = rows()
    assert source_rows.toggle([0, 1]) == [0, 1]
    assert source_rows.toggle([1, 2]) == [2]  # not all were out: all are now
    assert source_rows.toggle([1, 2]) == [1, 2]
    assert source_rows.excluded_paths() == ["/a"]
    assert sorted(source_rows.undo()) == [1, 2]
    assert source_rows.exclude([0]) == [], "it is out"
    assert source_rows.undo() == [2]
    assert source_rows.undo() == [0, 1]
    assert (source_rows.undo(), source_rows.excluded) == ([], set())


def test_the_first_kept_duplicate_stays() -> None:
    source_rows = rows()
    source_rows.exclude([0])
    assert source_rows.copies([[0, 1, 2], [3]]) == [2]


def test_exclusions_of_each_source_are_stored_in_their_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exclusions.file_of(tmp_path, "a.csv") == exclusions.file_of(tmp_path, str(tmp_path / "a.csv"))
    tmp_path = tmp_path / "home" / "that is new"
    exclusions.update(tmp_path, "/pairs.csv", [], ["/c"])  # nothing was excluded
    exclusions.update(tmp_path, "/pairs.csv", ["/a", "/b\udc80"])
    assert exclusions.read(tmp_path, "/pairs.csv") == ["/a", "/b\udc80"]
    assert exclusions.read(tmp_path, "/other.csv") == []
    exclusion_file = exclusions.file_of(tmp_path, "/pairs.csv").relative_to(tmp_path)
    assert exclusion_file == Path("exclusions/254087f22f0fca736cf06af946d920d0.json"), (
        "where every version looks for them"
    )
    for unusable in ('{"excluded": 3}', "[1]", "{"):
        exclusions.file_of(tmp_path, "/pairs.csv").write_text(unusable)
        assert exclusions.read(tmp_path, "/pairs.csv") == []
    exclusions.update(tmp_path, "/pairs.csv", ["/a", "/b"])
    exclusions.update(tmp_path, "/pairs.csv", [], ["/a", "/b"])
    assert not exclusions.file_of(tmp_path, "/pairs.csv").exists()


def test_groups_are_leaks_exact_and_near_duplicates() -> None:
    leak = {"row": 1, "file": "/b", "split": "this", "other_split": "val", "path": "/v", "kind": "same bytes"}
    checked: Checked = {
        "source": "/pairs.csv", "images": 4, "broken": [{"row": 3, "why": "cut off"}], "exact": [[0, 2]],
        "near": [[0, 1, 3]], "exact_groups": 1, "near_groups": 1, "leak_count": 1, "unreadable": {},
        "leaks": [leak],  # type: ignore[list-item]
    }  # fmt: skip
    assert [group.title("kite") for group in groups_of(checked)] == [
        "exact duplicate in val · kite",
        "2 exact duplicates · kite",
        "3 nearly the same · kite",
    ]
    assert problem_rows(checked) == {"duplicates": frozenset({0, 1, 2, 3}), "broken": frozenset({3})}


def test_bars_end_with_the_longest_caption() -> None:
    words = [0] * 65
    words[2], words[64] = 3, 1
    bars = word_bars(words)
    assert (bars[1].value, bars[-1].label, bars[-1].value, len(bars)) == (3, "64+", 1, 64)
    assert bars[0].tip.startswith("1 word: ")
    assert bars[-1].tip == "64+ words: 1 caption"
    assert [(bar.label, bar.tip) for bar in caption_bars([[1, 7], [5, 1]])] == [
        ("1", "1 caption: 7 images"),
        ("5", "5 captions: 1 image"),
    ]


class Works(Workers):
    """The work over workers in miniature, by what they are for, and what it told."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self.work = DataWork(cast(WorkerPool, self), home)
        self.signals: list[str] = []
        for name in (
            "opened",
            "open_failed",
            "part",
            "checked",
            "check_failed",
            "saved",
            "save_failed",
            "exclusions_failed",
        ):
            getattr(self.work, name).connect(lambda _content, name=name: self.signals.append(name))
        self.work.progress.connect(lambda purpose, *_: self.signals.append(f"{purpose} goes on"))


@pytest.fixture
def works(qapp: object, tmp_path: Path) -> Iterator[Works]:
    works = Works(tmp_path)
    yield works
    works.work.wait()


def test_one_source_is_read_at_a_time_and_a_check_has_its_own_process(works: Works) -> None:
    work, data, checks = works.work, works[DATA_WORKER], works[CHECK_WORKER]
    work.open("/one.csv")
    assert data.asked == [("data_open", {"source": "/one.csv", "images_only": True})]
    data.progress.emit(1, "reading", 1, 2)
    data.partial.emit(1, part("a"))
    data.done.emit(1, facts("/one.csv", 1))
    work.check("/one.csv", {"val": "/val.csv"}, "split")
    assert checks.asked == [
        ("data_check", {"source": "/one.csv", "others": {"val": "/val.csv"}, "label": "split"}),
    ]  # fmt: skip
    checks.progress.emit(1, "reading", 1, 2)
    assert works.signals == ["open goes on", "part", "opened", "check goes on"]
    work.save("/one.csv", Path("/kept.csv"), ["/a"], ["/b"], True)
    assert data.asked[1] == (
        "data_save", {"source": "/one.csv", "to": "/kept.csv", "excluded": ["/a"], "only": ["/b"], "replace": True},
    )  # fmt: skip
    work.open("/two.csv")
    assert (data.cancelled, checks.cancelled) == ([], [1]), "the check was of the source before; saving goes on"
    checks.done.emit(1, checked("/one.csv"))
    data.done.emit(2, {"path": "/kept.csv", "record": "/kept.provenance.json", "images": 1, "captions": 1})
    assert works.signals[4:] == ["saved"]
    work.open("/three.csv")
    assert data.cancelled == [3]
    data.partial.emit(3, part("b"))
    assert len(works.signals) == 5, "of a source that was left nothing comes any more"
    work.check("/three.csv", {}, "")
    work.save("/three.csv", Path("/kept.csv"), [], [], False)
    work.cancel()
    assert (data.cancelled[1:], checks.cancelled[1:]) == ([4, 5], [2])
    data.failed.emit(4, Cancelled())
    data.failed.emit(5, Failure("The disk is full."))
    checks.failed.emit(2, Cancelled())
    assert works.signals[5:] == ["open_failed", "save_failed", "check_failed"]


def test_exclusions_of_two_windows_are_joined_in_the_home_and_a_full_disk_is_reported(
    qtbot: QtBot, works: Works, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    excluded: list[list[str]] = []
    exclusions.update(tmp_path, "/one.csv", ["/a"])  # by another window
    works.work.update_exclusions("/one.csv", ["/b"], [])
    works.work.wait()
    assert exclusions.read(tmp_path, "/one.csv") == ["/a", "/b"]
    works.work.read_exclusions("/one.csv", excluded.append)
    qtbot.waitUntil(lambda: excluded == [["/a", "/b"]])

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exclusions, "update", full)
    works.work.update_exclusions("/one.csv", ["/c"], [])
    qtbot.waitUntil(lambda: works.signals == ["exclusions_failed"])


def test_exclusions_that_cannot_be_read_are_reported_and_not_taken_for_none(
    qtbot: QtBot, works: Works, tmp_path: Path
) -> None:
    read: list[list[str]] = []
    exclusions.file_of(tmp_path, "/one.csv").mkdir(parents=True)
    works.work.read_exclusions("/one.csv", read.append)
    qtbot.waitUntil(lambda: works.signals == ["exclusions_failed"])
    assert not read
    works.work.update_exclusions("/one.csv", ["/a"], [])
    qtbot.waitUntil(lambda: works.signals == ["exclusions_failed"] * 2)
    assert exclusions.file_of(tmp_path, "/one.csv").is_dir(), "nothing was overwritten"
