"""F1: the documentation in a window of its own, offline; it opens at the page of the panel that is shown.

Flow: ``docs/*.md`` (in a wheel ``sdgui/resources/docs``) -> `read_pages` -> list and text. Links between pages are
followed here, others by the desktop. Pictures and generated references are left to the site.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices, QKeySequence, QShortcut, QTextCursor
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSplitter,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from core.spec.errors import UserError
from core.spec.reading import MEGABYTE, read_text
from core.spec.resources import pages_folder
from sdgui.actions.equations import as_text
from sdgui.panels.registry import PANELS
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.style.theme import SPACE

FIRST = "tutorial.md"
_ORDER = ("tutorial.md", "panels/", "howto/", "method.md", "results.md", "glossary.md", "versions.md")
_HEADINGS = {"tutorial.md": "Start", "panels/": "Panels", "howto/": "How to", "method.md": "Background"}
_PICTURE = re.compile(r"^!\[[^\]]*\]\([^)]*\)\s*$", re.MULTILINE)
_GENERATED = re.compile(r"\[([^\]]*)\]\((?:\.\./)*generated/[^)]*\)")
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """``name`` is its path in the folder, such as ``panels/search.md``."""

    name: str
    title: str
    text: str


@functools.cache
def read_pages(folder: Path) -> Mapping[str, Page]:
    """Every page, in the order of the list, read once. Empty where the folder is not there."""
    found = []
    for path in folder.rglob("*.md"):
        name = path.relative_to(folder).as_posix()
        if name == "index.md" or name.startswith("generated/"):
            continue
        try:
            text = read_text(path, MEGABYTE)
        except (OSError, UserError):
            continue
        title = _TITLE.search(text)
        shown = as_text(_GENERATED.sub(r"\1", _PICTURE.sub("", text)))
        found.append(Page(name, title[1] if title else name, shown))
    found.sort(key=lambda page: (_rank(page.name), page.title))
    return {page.name: page for page in found}


def _rank(name: str) -> tuple[int, int]:
    """By kind; the pages of panels as the rail has them."""
    kind = next((rank for rank, start in enumerate(_ORDER) if name.startswith(start)), len(_ORDER))
    panels = [f"panels/{panel.name}.md" for panel in PANELS]
    return kind, panels.index(name) if name in panels else len(panels)


class HelpBrowser(QDialog):
    """Beside the window, made once. ``shortcuts``: the button that opens the list of shortcuts."""

    def __init__(self, parent: QWidget, folder: Path | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Help")
        self.setModal(False)
        self.setWindowFlag(Qt.WindowType.WindowMaximizeButtonHint)
        self.pages = read_pages(folder or pages_folder())
        self._shown = ""
        self._before: list[str] = []
        self._after: list[str] = []
        self.back = IconButton("ph.arrow-left", "Previous page (Alt+Left)", parent=self)
        self.forward = IconButton("ph.arrow-right", "Next page (Alt+Right)", parent=self)
        self.box = QLineEdit(self)
        self.box.setPlaceholderText("Search the pages")
        self.box.setAccessibleName("Search the pages")
        self.box.setClearButtonEnabled(True)
        self.shortcuts = QPushButton("&Shortcuts", self)
        self.shortcuts.setAutoDefault(False)  # Enter searches
        self.list = QListWidget(self)
        self.list.setAccessibleName("Pages")
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.text = QTextBrowser(self)
        self.text.setOpenLinks(False)
        self.text.setAccessibleName("Page")
        self.text.document().setDocumentMargin(2 * SPACE)
        self._arrange()
        self.back.clicked.connect(self._go_back)
        self.forward.clicked.connect(self._go_forward)
        self.box.textChanged.connect(self._filter)
        self.box.returnPressed.connect(self._find_next)
        self.list.currentItemChanged.connect(self._listed)
        self.text.anchorClicked.connect(self._follow)
        for keys, do in (("Alt+Left", self._go_back), ("Alt+Right", self._go_forward), ("Ctrl+F", self.box.setFocus)):
            QShortcut(QKeySequence(keys), self).activated.connect(do)
        self._filter("")

    def _arrange(self) -> None:
        head = QHBoxLayout()
        head.setSpacing(SPACE)
        for widget in (self.back, self.forward):
            head.addWidget(widget)
        head.addWidget(self.box, 1)
        head.addWidget(self.shortcuts)
        split = QSplitter(self)
        split.addWidget(self.list)
        split.addWidget(self.text)
        split.setStretchFactor(1, 1)
        split.setSizes([28 * SPACE, 84 * SPACE])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(SPACE, SPACE, SPACE, SPACE)
        layout.setSpacing(SPACE)
        layout.addLayout(head)
        layout.addWidget(split, 1)
        self.resize(114 * SPACE, 84 * SPACE)

    def open_page(self, name: str) -> None:
        """Show the page ``name`` ("panels/search.md"), or the first where there is none of that name."""
        if not self.pages:
            self.text.setPlainText("The pages of the documentation are not installed; reinstall sdgui.")
        else:
            self._turn_to(name if name in self.pages else FIRST)
        self.show()
        self.raise_()
        self.activateWindow()
        self.text.setFocus()

    @property
    def page(self) -> str:
        """The name of the page that is shown."""
        return self._shown

    def _turn_to(self, name: str) -> None:
        if name != self._shown:
            if self._shown:
                self._before.append(self._shown)
            self._after.clear()
            self._show(name)

    def _show(self, name: str) -> None:
        self._shown = name
        self.text.setMarkdown(self.pages[name].text)
        self.text.moveCursor(QTextCursor.MoveOperation.Start)
        self.setWindowTitle(f"{self.pages[name].title} – Help")
        self.list.blockSignals(True)
        for row in range(self.list.count()):
            item = self.list.item(row)
            if item.data(Qt.ItemDataRole.UserRole) == name:
                self.list.setCurrentItem(item)
        self.list.blockSignals(False)
        self.back.setEnabled(bool(self._before))
        self.forward.setEnabled(bool(self._after))

    def _go_back(self) -> None:
        if self._before:
            self._after.append(self._shown)
            self._show(self._before.pop())

    def _go_forward(self) -> None:
        if self._after:
            self._before.append(self._shown)
            self._show(self._after.pop())

    def _filter(self, words: str) -> None:
        """List the pages that have all of the words."""
        wanted = words.casefold().split()
        self.list.blockSignals(True)
        self.list.clear()
        headings = dict(_HEADINGS)
        for page in self.pages.values():
            if all(word in page.text.casefold() for word in wanted):
                self._add_heading(headings, page.name)
                item = QListWidgetItem(page.title)
                item.setData(Qt.ItemDataRole.UserRole, page.name)
                self.list.addItem(item)
                if page.name == self._shown:
                    self.list.setCurrentItem(item)
        self.list.blockSignals(False)

    def _add_heading(self, headings: dict[str, str], name: str) -> None:
        """Above the first page of its kind that is listed."""
        for start in [start for start in headings if name.startswith(start)]:
            head = QListWidgetItem(headings.pop(start), self.list)
            head.setFlags(Qt.ItemFlag.NoItemFlags)

    def _find_next(self) -> None:
        """The next place of what is typed, in this page and then in the first of the list."""
        words = self.box.text().strip()
        if words and not self.text.find(words) and self.list.count():
            self._listed(self.list.currentItem() or self.list.item(1))  # the first is a heading
            self.text.moveCursor(QTextCursor.MoveOperation.Start)
            self.text.find(words)

    def _listed(self, item: QListWidgetItem | None) -> None:
        if item is not None and item.data(Qt.ItemDataRole.UserRole):
            self._turn_to(str(item.data(Qt.ItemDataRole.UserRole)))

    def _follow(self, url: QUrl) -> None:
        if url.scheme() in ("http", "https"):
            QDesktopServices.openUrl(url)
            return
        target = QUrl(self._shown).resolved(url).path()
        if target in self.pages:
            self._turn_to(target)
