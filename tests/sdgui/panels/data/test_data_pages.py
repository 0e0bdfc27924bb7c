"""Pages of the Data panel by themselves: bars, figures, broken rows, groups; what each shows, says and asks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QItemSelectionModel, Qt
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.panels.data.broken import BrokenPage
from sdgui.panels.data.figures import FiguresPage
from sdgui.panels.data.groups import GroupsPage
from sdgui.panels.data.images import suggested_path
from sdgui.panels.data.model import NO_VALUE, SourceRows
from tests.sdgui.panels.data.conftest import checked, facts


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
    assert [widget.isVisible() for widget in (page.captions, page._captions_heading, page.values, page._no_label)] == [
        True
    ] * 3 + [False]
    assert [bar.label for bar in page.captions._bars] == ["1", "5"]
    assert page.summary.text() == "4 images with 8 captions; the median length is 2 words. 6 captions are distinct."
    assert page.summary.wordWrap(), "a long sentence makes no window wider"
    page.label.setCurrentText("kind")
    model = page.value_rows
    assert [[model.index(row, column).data() for column in range(3)] for row in range(model.rowCount())] == [
        ["<i>x", "3", "75.0 %"], [NO_VALUE, "1", "25.0 %"],
    ]  # fmt: skip
    assert "&lt;i&gt;" in model.index(0, 0).data(Qt.ItemDataRole.ToolTipRole)
    assert model.index(1, 1).data(Qt.ItemDataRole.TextAlignmentRole) & Qt.AlignmentFlag.AlignRight
    values: list[tuple[str, str]] = []
    page.value_chosen.connect(lambda label, value: values.append((label, value)))
    page.values.setCurrentIndex(model.index(1, 0))
    qtbot.keyClick(page.values, Qt.Key.Key_Return)
    page.label.setCurrentText("split")
    page.values.activated.emit(model.index(0, 0))
    assert values == [("kind", NO_VALUE), ("split", "val")]
    page.show_facts(facts("/b.csv", 4, pairs=8, distinct=8, captions=[[2, 4]], labels={}, split=""))
    assert [widget.isVisible() for widget in (page.captions, page._captions_heading, page.values, page._no_label)] == [
        False
    ] * 3 + [True]
    assert not page.label.isEnabled()
    assert page.captions._bars == []
    assert page.summary.text() == "4 images with 8 captions; the median length is 2 words. Every image has 2."
    page.show_facts(facts("/a.csv", 4, labels=labels))
    page.show_facts(None)
    assert (page.summary.text(), page.words._bars, page.label.count(), model.rowCount()) == (
        "",
        [],
        0,
        0,
    )


def test_broken_rows_are_listed_with_reasons_and_copied(qtbot: QtBot) -> None:
    make_application()
    page = BrokenPage()
    qtbot.addWidget(page)
    page.show_broken(5, [("row 3", "<b>no</b> image"), ("row 4", "empty")], None)
    assert page.summary.text() == (
        "5 rows cannot be used (the first 2 are listed). "
        "To find images that cannot be decoded, run the check in Duplicates and leaks."
    )
    page.show_broken(2, [("row 3", "<b>no</b> image"), ("row 4", "empty")], [("/p/a.png", "cut off")])
    assert page.summary.text() == "2 rows cannot be used; 1 image cannot be decoded."
    assert [place for place, _ in page.rows.rows] == ["/p/a.png", "row 3", "row 4"]
    assert "&lt;b&gt;no" in page.rows.index(1, 1).data(Qt.ItemDataRole.ToolTipRole)
    select = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
    for row in (0, 2):
        page.table.selectionModel().select(page.rows.index(row, 0), select)
    page.table.copy()
    assert QGuiApplication.clipboard().text() == "Location\tReason\n/p/a.png\tcut off\nrow 4\tempty"
    QGuiApplication.clipboard().clear()
    page.show_broken(0, [], [])
    assert page.summary.text() == "Every row can be used; every image can be decoded."
    assert page.rows.rowCount() == 0


LEAKS = [
    {"row": row, "file": "", "split": "this", "other_split": split, "path": f"/v/{row}.png", "kind": kind}
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
    buttons = (groups.check_button, groups.exclude_copies, groups.exclude_leaks)
    requests: list[Any] = []
    groups.check_requested.connect(lambda: requests.append("check"))
    groups.other_requested.connect(lambda: requests.append("other"))
    groups.exclude_requested.connect(requests.append)
    groups.show_checked(None, rows())
    groups._exclude_copies()
    groups._exclude_leaks()
    assert requests == [], "nothing is known yet"
    groups.show_compared_splits({"val": "/x/held.csv"})
    assert groups.empty.accessibleDescription().endswith("Compared with val (held.csv).")
    groups.show_compared_splits({})
    assert groups.empty.accessibleDescription().endswith("retouched.")
    assert [button.isVisible() for button in (groups.empty, groups.compare_button, *buttons)] == [True, True] + [
        False
    ] * 3
    report = checked("/pairs.csv", exact=[[0, 1, 9]], near=[[1, 2]], leaks=LEAKS, exact_groups=1, near_groups=1,
                    leak_count=3, unreadable={"test": "it is gone"})  # fmt: skip
    source_rows = rows()
    groups.show_checked(report, source_rows)
    assert groups.summary.text() == (
        "1 group of exact duplicates · 1 nearly the same · 3 leaks · test cannot be read: it is gone"
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
    for button in (
        groups.compare_button,
        groups.check_button,
        groups.exclude_copies,
        groups.exclude_leaks,
    ):
        button.click()
    assert requests == ["other", "check", [9], [0, 2]]
    groups.list.setCurrentRow(-1)
    assert shown(groups) == []


def test_a_new_source_is_saved_beside_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "pairs-kept.csv").touch()
    assert suggested_path(str(tmp_path / "pairs.csv"), "kept") == tmp_path / "pairs-kept-2.csv"
    assert suggested_path(str(tmp_path / "pairs.csv"), "selection") == tmp_path / "pairs-selection.csv"
    assert suggested_path(str(tmp_path / "{00..09}.tar"), "kept").parent == tmp_path
