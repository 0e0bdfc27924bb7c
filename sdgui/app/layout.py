"""The layout of the main window: rail, tree of experiments, and the page with the panels."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, QEvent, QObject, QPoint, Qt, QTimer
from PySide6.QtWidgets import QSplitter, QStackedWidget, QVBoxLayout, QWidget

from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.layouts.over import lay_over, set_lift
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.style.theme import SPACE

INITIAL_SIZE = (1280, 800)
_TREE_WIDTH = 280  # a table of differences then fits beside the tree in the smallest window
_LIFT = 6 * SPACE  # height of a one-line message


def fill_page(page: QWidget, panels: QStackedWidget, bar: MessageBar) -> None:
    """Fill the page with the current panel, and place the window's message over it, above the panel's message."""
    column = vbox(panels, margins=(0, SPACE, 0, 0))
    page.installEventFilter(_Above(page, panels, bar, lay_over(page, column, bar, lift=_LIFT)))


class _Above(QObject):
    """Keeps the window's message above the panel's message, which may have several lines."""

    def __init__(self, page: QWidget, panels: QStackedWidget, bar: MessageBar, column: QVBoxLayout) -> None:
        super().__init__(page)
        self._page, self._panels, self._bar, self._column = page, panels, bar, column

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Update the height when a message is shown, hidden or resized, which requests a new layout."""
        moves_bars = event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.Resize)
        if moves_bars and not self._bar.isHidden():
            set_lift(self._column, max(_LIFT, self._covered_height()))
        return False

    def _covered_height(self) -> int:
        """The height of the panel's messages above the margin at the lower edge."""
        panel = self._panels.currentWidget()
        if panel is None:
            return 0
        bars = panel.findChildren(MessageBar)
        tops = [bar.mapTo(self._page, QPoint(0, 0)).y() for bar in bars if bar.isVisible()]
        below = [top for top in tops if top > self._page.height() // 2]
        return self._page.height() - min(below) + SPACE // 2 - 2 * SPACE if below else 0


def tree_beside(tree: QWidget, page: QWidget) -> QSplitter:
    """Place the tree and the page side by side, with a handle between them."""
    split = QSplitter(Qt.Orientation.Horizontal)
    split.addWidget(tree)
    split.addWidget(page)
    split.setStretchFactor(1, 1)
    split.setSizes([_TREE_WIDTH, INITIAL_SIZE[0] - _TREE_WIDTH])
    split.setChildrenCollapsible(False)
    return split


def show_tree(tree: QWidget, page: QWidget, visible: bool) -> None:
    """Show or hide the tree beside the page.

    Qt passes the minimum size of a new panel on in later turns of the event loop. Until then the window would grow to
    hold the tree and the former panel, beyond a small screen.
    """
    page.setMinimumWidth(1)  # instead of the former panel's minimum width
    tree.setVisible(visible)

    def use_panels_minimum() -> None:
        QCoreApplication.sendPostedEvents(None, QEvent.Type.LayoutRequest.value)
        page.setMinimumWidth(0)

    QTimer.singleShot(0, page, use_panels_minimum)


def rail_beside(rail: QWidget, content: QWidget) -> QSplitter:
    """Place the rail at the left edge, with a fixed width."""
    frame = QSplitter(Qt.Orientation.Horizontal)
    frame.addWidget(rail)
    frame.addWidget(content)
    frame.setStretchFactor(1, 1)
    frame.handle(1).setEnabled(False)
    return frame
