"""F1 opens the page of the panel that is shown; what the pages print in bold is there in the window."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QAction, QDesktopServices
from PySide6.QtWidgets import QAbstractButton, QComboBox, QTabBar, QWidget
from pytestqt.qtbot import QtBot

from core.spec.resources import pages_folder
from sdgui.actions.equations import as_text
from sdgui.actions.help_browser import HelpBrowser, read_pages
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


def test_f1_explains_each_panel_and_names_what_is_there(open_window: OpenWindow, qtbot: QtBot) -> None:
    window = open_window()
    add(window)
    for panel in PANELS:
        window.show_panel(panel.name)
        press(qtbot, window, Qt.Key.Key_F1, Qt.KeyboardModifier.NoModifier)
        browser = window.findChild(HelpBrowser)
        assert isinstance(browser, HelpBrowser)
        assert browser.page == f"panels/{panel.name}.md"
        assert panel.title in browser.text.toPlainText()
    browser.shortcuts.click()
    assert any(widget.windowTitle() == "Shortcuts" for widget in window.findChildren(QWidget))
    there = names_in(window)
    bold = {page.name: set(BOLD.findall(page.text)) for page in read_pages(pages_folder()).values()}
    missing = {name: words - there for name, words in bold.items() if name.startswith(NAMED) and words - there}
    assert missing == {}
    assert {"Launch", "Runs", "Search", "Define"} <= bold["tutorial.md"]


@pytest.fixture
def browser(qtbot: QtBot, tmp_path: Path) -> Iterator[HelpBrowser]:
    (tmp_path / "panels").mkdir()
    (tmp_path / "generated").mkdir()
    pages = {
        "tutorial.md": "# Tutorial\n\n![A picture](a.png)\n\nSee [Search](panels/search.md), [all](generated/all.md).",
        "panels/search.md": "# Search\n\nFinds <b>pictures</b>. [Back](../tutorial.md) or [away](https://example.org).",
        "panels/clean.md": "# Clean\n\nMarks pairs.",
        "generated/all.md": "# All",
        "index.md": "# Index",
    }
    for name, text in pages.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    over = QWidget()
    qtbot.addWidget(over)
    browser = HelpBrowser(over, tmp_path)
    yield browser
    over.close()  # kept until here: the browser is its child


def test_links_are_followed_and_gone_back(browser: HelpBrowser, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(browser.pages) == ["tutorial.md", "panels/search.md", "panels/clean.md"]  # as the rail has them
    browser.open_page("panels/none.md")
    assert browser.page == "tutorial.md"
    assert "A picture" not in browser.text.toPlainText()
    browser.text.anchorClicked.emit(QUrl("panels/search.md"))
    assert browser.page == "panels/search.md"
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    browser.text.anchorClicked.emit(QUrl("https://example.org"))
    browser.text.anchorClicked.emit(QUrl("../../secret.md"))
    assert (browser.page, opened) == ("panels/search.md", ["https://example.org"])
    browser.text.anchorClicked.emit(QUrl("../tutorial.md"))
    browser.back.click()
    assert browser.page == "panels/search.md"
    browser.forward.click()
    assert browser.page == "tutorial.md"
    browser.box.setText("marks PAIRS")
    assert [browser.list.item(row).text() for row in range(browser.list.count())] == ["Panels", "Clean"]


def test_formulas_are_shown_as_text() -> None:
    assert as_text(r"With $\bar\theta \leftarrow m_t\,\bar\theta$, `$HOME`") == "With θ̄ ← mₜ θ̄, `$HOME`"
    assert as_text("$$\n\\frac{1}{2B} \\sum_i e^{z_{ij}}\n$$").strip() == "1/(2B) Σᵢ e^(zᵢⱼ)"
    assert as_text("```sh\n$ echo $HOME $x$\n```\n") == "```sh\n$ echo $HOME $x$\n```\n"
    for page in read_pages(pages_folder()).values():
        prose = re.sub(r"^```.*?^```$|`[^`]*`", "", page.text, flags=re.MULTILINE | re.DOTALL)
        assert "$" not in prose, page.name
        assert not re.search(r"\\[a-z]", prose), page.name
