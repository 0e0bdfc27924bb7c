"""Pages of the Data panel by themselves: bars, figures, broken rows, groups; what each shows, says and asks for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtGui import QGuiApplication, QHelpEvent, QImage, QShortcut
from PySide6.QtWidgets import QApplication, QToolTip
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.panels.data import exclusions, figures
from sdgui.panels.data import groups as data_groups
from sdgui.panels.data.broken import BrokenPage
from sdgui.panels.data.figures import Bar, Bars, FiguresPage
from sdgui.panels.data.groups import GroupsPage
from sdgui.panels.data.images import item_of, saving_start
from sdgui.panels.data.model import NONE, SourceRows
from sdgui.widgets.style.theme import SPACE, theme
from tests.sdgui.panels.data.conftest import checked, facts


def drawn(qtbot: QtBot, bars: list[Bar], wide: int) -> tuple[Bars, QImage]:
    make_application()
    widget = Bars("Words")
    qtbot.addWidget(widget)
    widget.resize(wide, 18 * SPACE)
    widget.set_bars(bars)
    widget.show()
    return widget, widget.grab().toImage()


def height(image: QImage, x: int) -> int:
    return sum(image.pixelColor(x, y) == theme().color("accent") for y in range(image.height()))


def inked(image: QImage, rows: range, columns: range) -> list[int]:
    """The columns in which something is drawn, in these rows."""
    ground = image.pixelColor(image.width() - 1, 0)
    return [x for x in columns if any(image.pixelColor(x, y) != ground for y in rows)]


def test_bars_are_proportional_and_the_highest_is_marked(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    tips: list[str] = []
    monkeypatch.setattr(QToolTip, "showText", lambda _point, text, _over: tips.append(text))
    bars = [Bar("1", 10, "1 word: 10 captions"), Bar("2", 0, "2 words"), Bar("3", 40, "3 words: <b>40</b>")]
    widget, image = drawn(qtbot, bars, 300)
    assert widget.accessibleDescription() == "most: 3 words: <b>40</b>"
    slot = widget._slot(2)
    room = widget.fontMetrics().height() // 2
    assert [height(image, x) > 0 for x in (50, 150, 250)] == [True, False, True]
    assert abs(4 * height(image, 50) - height(image, 250)) < 6
    assert room < slot.height() - height(image, 250) < 4 * room, "the number stands above the highest bar"
    line = [image.pixelColor(x, slot.bottom()) for x in range(300)]
    assert {color.name() for color in line} == {theme().color("border").name()}
    assert image.pixelColor(slot.right(), slot.bottom() - 9) != theme().color("accent"), "a gap between two bars"
    top = inked(image, range(2, 10), range(300))
    assert top
    assert 220 < min(top) <= max(top) < 280
    below = inked(image, range(slot.bottom() + 2, image.height()), range(300))
    assert {x // 100 for x in below} == {0, 1, 2}
    assert all(30 < x % 100 < 70 for x in below), "each label in the middle of its bar"
    for x, tip in ((50, "1 word: 10 captions"), (250, "&lt;b&gt;40&lt;/b&gt;")):
        point = QPoint(x, 20)
        QApplication.sendEvent(widget, QHelpEvent(QEvent.Type.ToolTip, point, widget.mapToGlobal(point)))
        assert tip in tips[-1]
    widget.set_bars([])
    assert widget.accessibleDescription() == ""
    assert inked(widget.grab().toImage(), range(10), range(300)) == []
    point = QPoint(50, 20)
    QApplication.sendEvent(widget, QHelpEvent(QEvent.Type.ToolTip, point, widget.mapToGlobal(point)))
    assert tips[2:] == [""]


def test_bar_labels_never_overlap(qtbot: QtBot) -> None:
    widget, image = drawn(qtbot, [Bar(f"{number}", 5, "") for number in range(1000, 1060)], 180)
    assert height(image, 60) == height(image, 61) > 0, "narrow bars have no gap"
    below = inked(image, range(widget._slot(0).bottom() + 2, image.height()), range(180))
    gaps = [after - before for before, after in pairwise(below)]
    assert sum(gap >= SPACE for gap in gaps) >= 2
    assert below[0] < 6
    assert below[-1] < 180


def test_statistics_show_values_that_link_to_their_images(qtbot: QtBot) -> None:
    make_application()
    page = FiguresPage()
    qtbot.addWidget(page)
    page.show()
    labels = {
        "kind": [{"value": "<i>x", "images": 3}, {"value": "", "images": 1}],
        "split": [{"value": "val", "images": 4}],
    }
    page.show_facts(facts("/a.csv", 9, listed=4, pairs=8, distinct=6, captions=[[1, 3], [5, 1]], labels=labels))
    assert page.label.currentText() == "split", "the label that names splits comes first"
    assert page.label.isEnabled()
    assert [widget.isVisible() for widget in (page.captions, page._several, page.values, page._no_label)] == [
        True
    ] * 3 + [False]
    assert [bar.label for bar in page.captions._bars] == ["1", "5"]
    assert page.summary.text() == "8 captions of 4 images; the median has 2 words. 6 captions are different."
    assert page.summary.wordWrap(), "a long sentence makes no window wider"
    page.label.setCurrentText("kind")
    items = [page.values.topLevelItem(row) for row in range(page.values.topLevelItemCount())]
    assert [[item.text(column) for column in range(3)] for item in items] == [
        ["<i>x", "3", "75.0 %"], [NONE, "1", "25.0 %"],
    ]  # fmt: skip
    assert items[0].toolTip(0).endswith("&lt;i&gt;x</p>") or "&lt;i&gt;" in items[0].toolTip(0)
    assert items[1].textAlignment(1) & Qt.AlignmentFlag.AlignRight
    values: list[tuple[str, str]] = []
    page.value_chosen.connect(lambda label, value: values.append((label, value)))
    page.values.setCurrentItem(items[1])
    qtbot.keyClick(page.values, Qt.Key.Key_Return)
    page.label.setCurrentText("split")
    page.values.itemActivated.emit(page.values.topLevelItem(0), 0)
    assert values == [("kind", NONE), ("split", "val")]
    page.show_facts(facts("/b.csv", 4, pairs=8, distinct=8, captions=[[2, 4]], labels={}, split=""))
    assert [widget.isVisible() for widget in (page.captions, page._several, page.values, page._no_label)] == [
        False
    ] * 3 + [True]
    assert not page.label.isEnabled()
    assert page.captions._bars == []
    assert page.summary.text() == "8 captions of 4 images; the median has 2 words. Every image has 2."
    page.show_facts(facts("/a.csv", 4, labels=labels))
    page.show_facts(None)
    assert (page.summary.text(), page.words._bars, page.label.count(), page.values.topLevelItemCount()) == (
        "",
        [],
        0,
        0,
    )


def test_statistics_as_text_and_bars() -> None:
    assert figures.summary(facts("/a", 4, pairs=0)) == "4 images without captions."
    assert figures.summary(facts("/a", 4)) == "4 captions of 4 images; the median has 2 words."
    words = [0] * 40
    words[3], words[25] = 7, 2
    assert [bar.label for bar in figures.word_bars(words) if bar.label] == ["1", "10", "20", "25"]
    assert figures.word_bars(words)[2].tip == "3 words: 7 captions"
    assert [bar.label for bar in figures.word_bars([0] * 20 + [1])] == [str(number) for number in range(1, 20)] + [
        "20+"
    ]
    assert figures.word_bars([5]) == [], "captions without words have no bar"
    assert figures.caption_bars([[2, 1000]]) == [Bar("2", 1000, "2 captions: 1\u2009000 images")]


def test_broken_rows_are_listed_with_reasons_and_copied(qtbot: QtBot) -> None:
    make_application()
    page = BrokenPage()
    qtbot.addWidget(page)
    page.show_broken(5, [("row 3", "<b>no</b> image"), ("row 4", "empty")], None)
    assert page.summary.text() == (
        "5 rows cannot be used, of which the first 2 are listed. "
        "Whether every image can be decoded is known after a check (Duplicates)."
    )
    page.show_broken(2, [("row 3", "<b>no</b> image"), ("row 4", "empty")], [("/p/a.png", "cut off")])
    assert page.summary.text() == "2 rows cannot be used; 1 images cannot be decoded."
    assert [page.list.topLevelItem(row).text(0) for row in range(page.list.topLevelItemCount())] == [
        "/p/a.png", "row 3", "row 4",
    ]  # fmt: skip
    assert "&lt;b&gt;no" in page.list.topLevelItem(1).toolTip(1)
    page.list.topLevelItem(0).setSelected(True)
    page.list.topLevelItem(2).setSelected(True)
    page.findChild(QShortcut).activated.emit()
    assert QGuiApplication.clipboard().text() == "/p/a.png\tcut off\nrow 4\tempty"
    QGuiApplication.clipboard().clear()
    page.show_broken(0, [], [])
    assert page.summary.text() == "Every row can be used; every image can be decoded."
    assert page.list.topLevelItemCount() == 0


LEAKS = [
    {"row": row, "file": "", "left": "this", "other": split, "path": f"/v/{row}.png", "kind": kind}
    for row, split, kind in ((2, "val", "same bytes"), (0, "val", "nearly the same"), (2, "test", "same bytes"))
]


@pytest.fixture
def groups(qtbot: QtBot, tmp_path: Path) -> Iterator[GroupsPage]:
    make_application()
    page = GroupsPage(tmp_path)
    qtbot.addWidget(page)
    page.show()
    yield page
    page.gallery.close_threads()


def rows() -> SourceRows:
    source_rows = SourceRows("/pairs.csv")
    source_rows.append([f"/{name}.png" for name in "abc"], [["a kite"], [], ["a hat", "hat"]], {})
    return source_rows


def shown(page: GroupsPage) -> list[tuple[str, str, str, bool]]:
    return [(item.path.name, item.caption, item.badge, item.faint) for item in page.gallery.items()]


def test_groups_show_their_images_and_what_can_be_excluded(groups: GroupsPage) -> None:
    buttons = (groups.check, groups.copies, groups.leaks)
    requests: list[Any] = []
    groups.check_requested.connect(lambda: requests.append("check"))
    groups.other_requested.connect(lambda: requests.append("other"))
    groups.exclude_requested.connect(requests.append)
    groups.show_checked(None, rows())
    groups._exclude_copies()
    groups._exclude_leaks()
    assert requests == [], "nothing is known yet"
    groups.show_others({"val": "/x/held.csv"})
    assert groups.empty.accessibleDescription().endswith("Compared with val (held.csv).")
    groups.show_others({})
    assert groups.empty.accessibleDescription().endswith("retouched.")
    assert [button.isVisible() for button in (groups.empty, groups.other_copies, *buttons)] == [True, True] + [
        False
    ] * 3
    report = checked("/pairs.csv", exact=[[0, 1, 9]], near=[[1, 2]], leaks=LEAKS, exact_groups=1, near_groups=1,
                    leak_count=3, unread={"test": "it is gone"})  # fmt: skip
    source_rows = rows()
    groups.show_checked(report, source_rows)
    assert groups.summary.text() == (
        "1 groups of exact duplicates · 1 nearly the same · 3 leaks · test cannot be read: it is gone"
    )
    assert [button.isVisible() for button in (groups.list, groups.gallery, *buttons)] == [True] * 5
    assert [groups.list.item(row).text() for row in range(groups.list.count())] == [
        "exact duplicate in val, test · a hat",
        "nearly the same in val · a kite",
        "3 exact duplicates · a kite",
        "2 nearly the same",
    ]
    assert groups.list.item(0).toolTip() == groups.list.item(0).text()
    assert groups.list.currentRow() == 0
    assert shown(groups) == [("c.png", "a hat", "", False), ("2.png", "", "val", False), ("2.png", "", "test", False)]
    assert groups.gallery.items()[1].badge_spoken == "in val"
    groups.list.setCurrentRow(2)
    assert [name for name, *_ in shown(groups)] == ["a.png", "b.png"], "a row that is not listed has no image"
    source_rows.exclude([1])
    groups.refresh()
    assert shown(groups)[1] == ("b.png", "", "excluded", True)
    for button in (groups.other_copies, groups.check, groups.copies, groups.leaks):
        button.click()
    assert requests == ["other", "check", [9], [0, 2]]
    groups.list.setCurrentRow(-1)
    assert shown(groups) == []


def test_many_leaks_leave_room_for_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_groups, "_LISTED", 1)
    report = checked("/pairs.csv", exact=[[0, 1], [2, 3]], near=[[4, 5], [6, 7]], leaks=LEAKS)
    assert [(group.kind, group.rows) for group in data_groups.groups_of(report)] == [
        ("exact duplicate", (2,)), ("exact duplicate", (0, 1)), ("nearly the same", (4, 5)),
    ]  # fmt: skip


def test_a_check_without_findings_is_reported(groups: GroupsPage) -> None:
    groups.show_checked(checked("/pairs.csv"), rows())
    assert groups.empty.isVisible()
    assert groups.empty.accessibleName() == "No duplicates"
    assert groups.empty._button.isHidden(), "it is done"
    assert [groups.check.isVisible(), groups.copies.isEnabled(), groups.leaks.isEnabled()] == [True, False, False]
    assert groups.list.count() == 0


def test_an_image_shows_captions_labels_and_exclusion() -> None:
    source_rows = SourceRows("/pairs.csv")
    many = [f"caption {number}" for number in range(12)]
    source_rows.append(
        ["/a.png", "/b.png", "/c.png"], [many, ["one"], []], {"kind": ["x", "", "y"], "set": ["s", "s", ""]}
    )
    source_rows.exclude([1])
    items = [item_of(source_rows, row) for row in range(3)]
    assert [(item.caption, item.badge, item.faint) for item in items] == [
        ("caption 0", "12 captions", False), ("one", "excluded", True), ("", "", False),
    ]  # fmt: skip
    source_rows.captions[2] = ("two", "of them")
    assert item_of(source_rows, 2).badge == "2 captions"
    assert items[0].detail.splitlines() == [*many[1:10], "kind: x", "set: s"]
    assert items[1].detail == "set: s"


def test_a_new_source_is_saved_beside_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "pairs-kept.csv").touch()
    assert saving_start(str(tmp_path / "pairs.csv"), "kept") == tmp_path / "pairs-kept-2.csv"
    assert saving_start(str(tmp_path / "pairs.csv"), "selection") == tmp_path / "pairs-selection.csv"
    assert saving_start(str(tmp_path / "{00..09}.tar"), "kept").parent == tmp_path


def test_exclusions_of_each_source_have_their_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert exclusions.file_of(tmp_path, "a.csv") == exclusions.file_of(tmp_path, str(tmp_path / "a.csv"))
    assert exclusions.file_of(tmp_path, "a.csv") != exclusions.file_of(tmp_path, "b.csv")
    exclusions.write(tmp_path, "never.csv", [])  # nothing was there
    exclusions.write(tmp_path, "a.csv", ["/1"])
    exclusions.write(tmp_path, "b.csv", ["/2"])
    exclusions.file_of(tmp_path, "a.csv").write_text('{"excluded": ["/1", "/3"]}')
    assert exclusions.read(tmp_path, "a.csv") == ["/1", "/3"]
    exclusions.file_of(tmp_path, "a.csv").write_text("[1]")
    assert exclusions.read(tmp_path, "a.csv") == []
    exclusions.file_of(tmp_path, "a.csv").write_text("{")
    assert exclusions.read(tmp_path, "a.csv") == []
    assert exclusions.read(tmp_path, "b.csv") == ["/2"]
