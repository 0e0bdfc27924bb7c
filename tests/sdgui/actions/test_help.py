"""F1 opens the panel's page in the browser, offline; what the pages print in bold exists in the window."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QDesktopServices
from PySide6.QtWidgets import QAbstractButton, QComboBox, QLabel, QTabBar
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from core.spec.resources import pages_folder
from sdgui.actions.failure_dialog import FailureDialog
from sdgui.actions.help_pages import help_page, read_pages
from sdgui.app.main_window import MainWindow
from sdgui.panels.registry import PANELS
from tests.sdgui.driving import OpenWindow, add, press

BOLD = re.compile(r"\*\*([^*]+)\*\*")
NAMED = ("tutorial.md", "panels/", "howto/")  # pages whose bold words are buttons, menus and panels


def names_in(window: MainWindow) -> set[str]:
    """The texts of all actions, buttons, tabs and choices of a window whose panels are all built."""
    found = [action.text() for action in window.findChildren(QAction)]
    found += [button.text() for button in window.findChildren(QAbstractButton)]
    for bar in window.findChildren(QTabBar):
        found += [bar.tabText(index) for index in range(bar.count())]
    for box in window.findChildren(QComboBox):
        found += [box.itemText(index) for index in range(box.count())]
    return {text.replace("&", "") for text in found}


def test_f1_opens_the_page_of_each_panel_and_its_bold_words_exist(
    open_window: OpenWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(Path(url.toLocalFile())) or True)
    window = open_window()
    add(window)
    for number, panel in enumerate(PANELS, 1):
        window.show_panel(panel.name)
        press(qtbot, window, Qt.Key.Key_F1, Qt.KeyboardModifier.NoModifier)
        qtbot.waitUntil(lambda number=number: len(opened) == number)
        assert opened[-1].name == f"{panel.name}.html"
        assert panel.title in opened[-1].read_text(encoding="utf-8")
    existing = names_in(window)
    bold = {name: set(BOLD.findall(text)) for name, text in read_pages(pages_folder()).items()}
    missing = {name: words - existing for name, words in bold.items() if name.startswith(NAMED) and words - existing}
    assert missing == {}
    assert {"Launch", "Runs", "Search", "Define"} <= bold["tutorial.md"]


def test_without_a_browser_the_page_is_named(
    open_window: OpenWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: False)
    window = open_window()
    window.dialogs.open_help("tutorial.md")
    qtbot.waitUntil(lambda: bool(window.findChildren(FailureDialog)))
    (dialog,) = window.findChildren(FailureDialog)
    assert any("tutorial.html" in label.text() for label in dialog.findChildren(QLabel))


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    texts = {
        "tutorial.md": "# Tutorial\n\n![An image](a.png)\n\n[Search](panels/search.md#top), [all](generated/all.md).",
        "panels/search.md": "# Search\n\nFinds <b>images</b>. [Back](../tutorial.md), [away](https://a.org/a.md).",
        "generated/all.md": "# All",
        "index.md": "# Index",
    }
    for name, text in texts.items():
        (tmp_path / "docs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "docs" / name).write_text(text, encoding="utf-8")
    return tmp_path / "docs"


def test_links_lead_to_html_pages_and_html_in_a_page_is_text(pages: Path, tmp_path: Path) -> None:
    assert list(read_pages(pages)) == ["panels/search.md", "tutorial.md"]
    tutorial = help_page("panels/none.md", pages, tmp_path)
    assert tutorial.name == "tutorial.html"
    text = tutorial.read_text(encoding="utf-8")
    assert 'href="panels/search.html#top"' in text
    assert "An image" not in text
    assert "generated" not in text
    search = help_page("panels/search.md", pages, tmp_path)
    assert search == tutorial.parent / "panels" / "search.html"
    text = search.read_text(encoding="utf-8")
    assert 'href="../tutorial.html"' in text
    assert 'href="https://a.org/a.md"' in text
    assert "&lt;b&gt;" in text


def test_changed_pages_are_written_again(pages: Path, tmp_path: Path) -> None:
    before = help_page("tutorial.md", pages, tmp_path)
    assert help_page("tutorial.md", pages, tmp_path) == before
    (pages / "tutorial.md").write_text("# Other", encoding="utf-8")
    after = help_page("tutorial.md", pages, tmp_path)
    assert after != before
    assert "Other" in after.read_text(encoding="utf-8")
    with pytest.raises(UserError, match="reinstall"):
        help_page("tutorial.md", tmp_path / "nowhere", tmp_path)


def test_formulas_are_mathml_and_pages_load_nothing_from_the_network(tmp_path: Path) -> None:
    method = help_page("method.md", cache=tmp_path)
    assert method.read_text(encoding="utf-8").count("<math") > 10
    for page in method.parent.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "$$" not in text, page.name
        assert not re.search(r"<(script|link|img|iframe)|url\(", text), page.name
