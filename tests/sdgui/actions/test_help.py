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


def rows(browser: HelpBrowser) -> list[str]:
    return [browser.list.item(row).text() for row in range(browser.list.count())]


def test_pages_are_turned_by_the_list_and_by_keys(qtbot: QtBot, browser: HelpBrowser) -> None:
    def state() -> tuple[str, bool, bool, str]:
        return browser.page, browser.back.isEnabled(), browser.forward.isEnabled(), browser.list.currentItem().text()

    browser.open_page("tutorial.md")
    qtbot.waitUntil(browser.isActiveWindow)
    assert state() == ("tutorial.md", False, False, "Tutorial")
    assert rows(browser) == ["Start", "Tutorial", "Panels", "Search", "Clean"]
    assert browser.list.item(0).flags() == Qt.ItemFlag.NoItemFlags
    assert browser.windowTitle() == "Tutorial – Help"
    assert not browser.text.openLinks(), "links are followed here"
    qtbot.waitUntil(browser.text.hasFocus)
    browser.open_page("tutorial.md")
    assert not browser.back.isEnabled(), "it is shown already"
    browser.list.setCurrentRow(3)
    assert state() == ("panels/search.md", True, False, "Search")
    for key, shown in (
        (Qt.Key.Key_Left, ("tutorial.md", False, True, "Tutorial")),
        (Qt.Key.Key_Left, ("tutorial.md", False, True, "Tutorial")),
        (Qt.Key.Key_Right, ("panels/search.md", True, False, "Search")),
        (Qt.Key.Key_Right, ("panels/search.md", True, False, "Search")),
        (Qt.Key.Key_Left, ("tutorial.md", False, True, "Tutorial")),
    ):
        qtbot.keyClick(browser.text, key, Qt.KeyboardModifier.AltModifier)
        assert state() == shown
    browser.list.setCurrentRow(4)
    assert state() == ("panels/clean.md", True, False, "Clean"), "there is nothing ahead of a page that was chosen"
    browser.list.setCurrentRow(2)
    assert browser.page == "panels/clean.md", "a heading is no page"


def test_words_are_found_in_the_page_and_then_in_the_first_of_the_list(qtbot: QtBot, browser: HelpBrowser) -> None:
    browser.open_page("tutorial.md")
    qtbot.waitUntil(browser.isActiveWindow)
    qtbot.keyClick(browser.text, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    assert browser.box.hasFocus()

    def find(words: str) -> tuple[str, str]:
        browser.box.setText(words)
        qtbot.keyClick(browser.box, Qt.Key.Key_Return)
        return browser.page, browser.text.textCursor().selectedText()

    assert find("  ") == ("tutorial.md", "")
    assert find("search") == ("tutorial.md", "Search")
    assert find("nowhere") == ("tutorial.md", "Search")
    assert rows(browser) == []
    assert find("PAIRS") == ("panels/clean.md", "pairs")
    assert find("PAIRS") == ("panels/clean.md", "pairs"), "from its top again"
    browser.box.clear()
    assert rows(browser) == ["Start", "Tutorial", "Panels", "Search", "Clean"]
    assert browser.list.currentItem().text() == "Clean"


def test_pages_that_are_not_installed_or_cannot_be_read(qtbot: QtBot, tmp_path: Path) -> None:
    over = QWidget()
    qtbot.addWidget(over)
    empty = HelpBrowser(over, tmp_path / "nowhere")
    empty.open_page("tutorial.md")
    assert "not installed" in empty.text.toPlainText()
    empty.close()
    folder = tmp_path / "pages"
    (folder / "howto").mkdir(parents=True)
    for name in ("versions.md", "glossary.md", "method.md", "howto/b.md", "other.md"):
        (folder / name).write_text(f"# {name}", encoding="utf-8")
    (folder / "howto" / "a.md").write_text("no title", encoding="utf-8")
    (folder / "howto" / "c.md").write_bytes(b"# \xff\xfe")
    pages = read_pages(folder)
    assert list(pages) == ["howto/a.md", "howto/b.md", "method.md", "glossary.md", "versions.md", "other.md"]
    assert pages["howto/a.md"].title == "howto/a.md"


def test_formulas_are_shown_as_text() -> None:
    assert as_text(r"With $\bar\theta \leftarrow m_t\,\bar\theta$, `$HOME`") == "With θ̄ ← mₜ θ̄, `$HOME`"
    assert as_text("$$\n\\frac{1}{2B} \\sum_i e^{z_{ij}}\n$$").strip() == "1/(2B) Σᵢ e^(zᵢⱼ)"
    for tex, text in (
        (r"\left(a \leftarrow b\right) \to c^\top", "(a ← b) → cᵀ"),
        (r"\mathrm{KL}(p \| q) \quad \mathcal L", "KL(p ‖ q) L"),
        (r"\frac{a+b}c + \frac 1{2\tau} + \tfrac12", "(a+b)/c + 1/(2τ) + ½"),
        (r"\tilde{x}_{b} + x^{ab} + x^2 + y_{12}", r"x̃\_b + x^(ab) + x² + y₁₂"),
        (r"\unknown{x} * a_b | c", r"unknownx \* a\_b \| c"),
    ):
        assert as_text(f"${tex}$") == text
    assert as_text("```sh\n$ echo $HOME $x$\n```\n") == "```sh\n$ echo $HOME $x$\n```\n"
    for page in read_pages(pages_folder()).values():
        prose = re.sub(r"^```.*?^```$|`[^`]*`", "", page.text, flags=re.MULTILINE | re.DOTALL)
        assert "$" not in prose, page.name
        assert not re.search(r"\\[a-z]", prose), page.name
