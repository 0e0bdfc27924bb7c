"""The basket of data fixes: problems found in panels, stored until they are applied or removed.

Flow: panel -> ``Basket.add(Finding)`` -> store (in the writer's thread) -> ``changed`` -> the button with its count and
the open dialog. A change is an exchange of entries; the reverse exchange undoes it.

A panel adds `basket_action` to its table of actions, or calls `offer_in_menu` for a gallery without one. Both ask the
panel for a `Finding`; the rest of the panel does not know the basket.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QMenu

from core.spec.config import expand_user
from core.spec.data.fixes import Fix
from core.spec.shards import names_shards
from sdgui.runs.background_tasks import StoreWriter
from sdgui.store.local.fixes import BasketChange, StoredFix
from sdgui.store.store import Store
from sdgui.widgets.actions import Action
from sdgui.widgets.plain_text import plain_tip

if TYPE_CHECKING:  # the window opens before a gallery is needed
    from sdgui.widgets.gallery.gallery import Gallery

C = TypeVar("C")

BASKET_SHORTCUT = "Ctrl+Alt+B"  # adds the selection to the basket, in every panel
_MAX_UNDO = 100  # number of changes that can be undone


@dataclass(frozen=True)
class Finding:
    """Fixes of the data ``source``; "" if they apply to any data with these images."""

    source: str
    fixes: tuple[Fix, ...]


class Basket(QObject):
    """The stored fixes. Lives in the window's thread; the writer's thread reads and writes in order."""

    changed = Signal(int)  # number of fixes

    def __init__(self, store: Store, writer: StoreWriter) -> None:
        super().__init__()
        self._store, self._writer = store, writer
        self._undo: list[BasketChange] = []
        self.count = 0

    def read_count(self) -> None:
        """Read the number of fixes from the store; emits ``changed``."""
        self._writer.submit(self._store.fix_count, self._on_counted)

    def add(self, finding: Finding) -> None:
        """Add fixes, replacing earlier fixes of the same pair, image or label."""
        if finding.fixes:
            self._change(lambda: self._store.add_fixes(_normalised(finding.source), finding.fixes))

    def remove(self, ids: list[int]) -> None:
        """Remove entries."""
        if ids:
            self._change(lambda: self._store.remove_fixes(ids))

    @property
    def can_undo(self) -> bool:
        """Whether a change of this window can be undone."""
        return bool(self._undo)

    def undo(self) -> None:
        """Undo this window's last change: remove what it added, and restore what it removed."""
        if self._undo:
            last = self._undo.pop()
            back = BasketChange(added=last.removed, removed=last.added)
            self._writer.submit(lambda: (self._store.change_basket(back), self._store.fix_count())[1], self._on_counted)

    def read(self, done: Callable[[tuple[StoredFix, ...]], object]) -> None:
        """Call ``done`` with all entries, after pending changes."""
        self._writer.submit(self._store.fixes, done)

    def _change(self, write: Callable[[], BasketChange]) -> None:
        self._writer.submit(lambda: (write(), self._store.fix_count()), self._on_changed)

    def _on_changed(self, outcome: tuple[BasketChange, int]) -> None:
        exchange, number = outcome
        self._undo.append(exchange)
        del self._undo[:-_MAX_UNDO]
        self._on_counted(number)

    def _on_counted(self, number: int) -> None:
        self.count = number
        self.changed.emit(number)


def _normalised(source: str) -> str:
    """Normalise a source, so that all panels use the same spelling."""
    if not source or names_shards(source):
        return source
    path = expand_user(source)
    return str(path.resolve()) if path.exists() else source


def basket_action(
    name: str,
    group: str,
    tip: str,
    find: Callable[[C], Finding | None],
    basket: Callable[[C], Basket],
) -> Action[C]:
    """Make the action "Add to the basket" for a panel's table of actions.

    ``find`` returns the fixes for the selection, None if nothing is selected. For example, in a panel on ``Commands``:

        basket_action("captions_basket", "Captions", "Put the edited captions in the basket",
                      lambda c: c.edited(), lambda c: c.services.basket)
    """

    def run(context: C) -> None:
        finding = find(context)
        if finding is not None:
            basket(context).add(finding)

    return Action(name, group, "Add to the &basket", tip, run, BASKET_SHORTCUT, icon="ph.shopping-bag")


def offer_in_menu(
    gallery: Gallery, basket: Basket, title: str, tip: str, find: Callable[[list[int]], Finding | None]
) -> None:
    """Add ``title`` to the context menu of ``gallery``; ``find`` returns the fixes for the items at given indices."""

    def fill(menu: QMenu, rows: list[int]) -> None:
        finding = find(rows)
        menu.addSeparator()
        action = menu.addAction(title)
        action.setToolTip(plain_tip(tip))
        action.setEnabled(finding is not None)
        if finding is not None:
            action.triggered.connect(lambda _checked=False: basket.add(finding))

    gallery.menu_opening.connect(fill)
