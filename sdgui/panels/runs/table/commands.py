"""Commands on the selected rows: overlay curves, edit tags and notes, filter, copy, delete.

Flow: actions and the context menu -> ``TableCommands`` -> the store's writer, or a signal to the window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from PySide6.QtCore import QObject, QPoint, Qt, Signal
from PySide6.QtWidgets import QMenu

from core.spec.errors import UserError
from sdgui.panels.runs.table.bulk_edit import BulkEdit, BulkEditSheet
from sdgui.panels.runs.table.run_table import RunTable
from sdgui.shared.menus import RUN_MENU
from sdgui.shared.services import Services
from sdgui.store.changes import Changes
from sdgui.store.run_table.fields import fact
from sdgui.store.run_table.tagging import TagChange
from sdgui.widgets.actions import Action, Actions, MenuItem, Section
from sdgui.widgets.formats import count, count_with_unit
from sdgui.widgets.message import Remedy, info, warning
from sdgui.widgets.style.theme import SPACE

MAX_TICKED = 200  # more curves are unreadable and use gigabytes of memory
ROWS_MENU = "rows"  # menu of any selection; RUN_MENU is added for one run, SEVERAL_RUNS_MENU for several
SEVERAL_RUNS_MENU = "many rows"


class TableCommands(QObject):
    """Runs the commands. ``ticks_requested``: the frozenset of runs to overlay."""

    changed = Signal(object)  # Changes
    message_requested = Signal(object)  # Message
    ticks_requested = Signal(object)

    def __init__(self, table: RunTable, services: Services, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.table = table
        self._services = services
        self._actions: Actions | None = None
        self._sheet: BulkEditSheet | None = None
        table.ticked.connect(self.tick)
        table.menu_requested.connect(self._menu)
        table.selection_changed.connect(lambda _runs: self._actions.update(self) if self._actions else None)

    def set_actions(self, actions: Actions) -> None:
        self._actions = actions
        actions.register(_ACTIONS, self, self.table)

    def _menu(self, position: QPoint) -> None:
        if self._actions is None or not self.table.view.currentIndex().isValid():
            return
        self._actions.update(self)
        menu = QMenu(self.table)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._actions.fill_menu(
            menu, ROWS_MENU, RUN_MENU if len(self.table.view.selected_runs()) == 1 else SEVERAL_RUNS_MENU
        )
        menu.popup(position)

    # Ticks
    def tick(self, run_ids: Sequence[int], on: bool) -> None:
        """Overlay these runs, or hide their curves."""
        ticked = dict.fromkeys(sorted(self.table.model.ticks))
        after = (
            [*ticked, *(run_id for run_id in run_ids if run_id not in ticked)]
            if on
            else [run_id for run_id in ticked if run_id not in set(run_ids)]
        )
        if len(after) > MAX_TICKED:
            overlaid = f"Only the first {MAX_TICKED} of {count(len(after))} runs are overlaid."
            text = f"{overlaid} Group the runs to see means instead."
            self.message_requested.emit(info(text))
        self.ticks_requested.emit(frozenset(after[:MAX_TICKED]))

    # Tags and notes
    def bulk_edit(self) -> None:
        """Open the sheet to edit tags and notes of the selected runs."""
        selected_runs = self.table.view.selected_runs()
        if not selected_runs:
            return
        store = self._services.store

        def read() -> tuple[dict[int, list[str]], list[str]]:
            cells = store.run_cells(selected_runs, [fact("tag")])
            return {run_id: values[0] for run_id, values in cells.items()}, store.tags()

        self.table.reader.run(read, lambda result: self._open_sheet(*result))

    def _open_sheet(self, tags: Mapping[int, Sequence[str]], all_tags: Sequence[str]) -> None:
        if self._sheet is None:
            self._sheet = BulkEditSheet(self.table)
            self._sheet.edited.connect(self.apply)
        rect = self.table.view.visualRect(self.table.view.currentIndex())
        self._sheet.open(
            tags, all_tags, self.table.view.viewport().mapToGlobal(rect.bottomLeft() + QPoint(3 * SPACE, 0))
        )

    def apply(self, edit: BulkEdit) -> None:
        """Write tags and notes, with undo."""
        store = self._services.store

        def write() -> tuple[Mapping[int, TagChange], Mapping[int, str]]:
            tags = store.change_tags(dict.fromkeys(edit.run_ids, TagChange(edit.add, edit.remove)))
            if edit.note is None:
                return tags, {}
            notes = store.run_cells(edit.run_ids, [fact("note")])
            return tags, store.change_notes({run_id: edit.note_of(values[0] or "") for run_id, values in notes.items()})

        def done(undo: tuple[Mapping[int, TagChange], Mapping[int, str]]) -> None:
            touched = undo[0].keys() | undo[1].keys()
            self.changed.emit(Changes(runs=frozenset(touched)))
            remedy = Remedy("Undo", partial(self._undo_edit, *undo)) if touched else None
            runs = count_with_unit(len(touched), "run")
            self.message_requested.emit(info(f"Changed {runs}.", remedy=remedy))

        self._services.writer.submit(write, done)

    def _undo_edit(self, tags: Mapping[int, TagChange], notes: Mapping[int, str]) -> None:
        store = self._services.store

        def write() -> None:
            store.change_tags(tags)
            store.change_notes(notes)

        touched = frozenset(tags.keys() | notes.keys())
        self._services.writer.submit(write, lambda _: self.changed.emit(Changes(runs=touched)))

    # Deletion
    def delete(self) -> None:
        """Move the selected runs to the bin, with undo; none of them may train."""
        store, run_ids = self._services.store, self.table.view.selected_runs()
        changes = Changes(runs=frozenset(run_ids))

        def write() -> str:
            runs = [store.run(run_id) for run_id in run_ids]
            if alive := [run for run in runs if run.state.alive]:
                raise UserError(f"Run {alive[0].key} is training. Stop the run before you delete it.")
            for run_id in run_ids:
                store.delete_run(run_id)
            return f"run {runs[0].key}" if len(runs) == 1 else count_with_unit(len(runs), "run")

        def restore() -> None:
            for run_id in run_ids:
                store.restore_run(run_id)

        def done(message: str) -> None:
            self.changed.emit(changes)
            undo = Remedy("Undo", lambda: self._services.writer.submit(restore, lambda _: self.changed.emit(changes)))
            self.message_requested.emit(info(f"Moved {message} to the bin.", remedy=undo))

        if run_ids:
            self._services.writer.submit(write, done, lambda error: self.message_requested.emit(warning(str(error))))


def _has_runs(commands: TableCommands) -> bool:
    return bool(commands.table.view.selected_runs())


def _tick_title(commands: TableCommands) -> str:
    selected_runs = commands.table.view.selected_runs()
    all_overlaid = bool(selected_runs) and all(run_id in commands.table.model.ticks for run_id in selected_runs)
    return "&Hide curves" if all_overlaid else "Overlay &curves"


def _edit_title(commands: TableCommands) -> str:
    number = len(commands.table.view.selected_runs())
    return f"Tags and notes of {count(number)} runs…" if number > 1 else "Add or remove tags…"


def _item(section: Section, order: int = 0, menu: str = ROWS_MENU) -> tuple[MenuItem, ...]:
    return (MenuItem(menu, section, order),)


_GROUP = "Runs"
_ACTIONS: tuple[Action[TableCommands], ...] = (
    Action(
        "rows_tick",
        _GROUP,
        "Overlay &curves",
        "Show or hide the curves of the selected runs (Space in the table)",
        lambda commands: commands.table.view.tick_selected(),
        "Ctrl+Shift+T",
        enabled=lambda commands: bool(commands.table.view.selected_rows()),
        current_title=_tick_title,
        icon="ph.chart-line",
        menus=_item(Section.OPEN),
    ),
    Action(
        "rows_untick",
        _GROUP,
        "Hide all curves",
        "Hide all curves",
        lambda commands: commands.ticks_requested.emit(frozenset()),
        enabled=lambda commands: bool(commands.table.model.ticks),
        menus=_item(Section.OPEN, 1),
    ),
    Action(
        "rows_tags",
        _GROUP,
        "Tags and notes of several runs…",
        "Edit tags and notes of all selected runs",
        TableCommands.bulk_edit,
        "Ctrl+Alt+T",
        enabled=_has_runs,
        current_title=_edit_title,
        icon="ph.tag",
        menus=_item(Section.EDIT, menu=SEVERAL_RUNS_MENU),
    ),
    Action(
        "rows_filter",
        _GROUP,
        "&Filter to this value",
        "Show only runs with the value of the current cell",
        lambda commands: commands.table.add_to_filter(commands.table.filter_text_of_cell()),
        "Ctrl+Alt+F",
        enabled=lambda commands: bool(commands.table.filter_text_of_cell()),
        icon="ph.funnel",
        menus=_item(Section.CONTROL),
    ),
    Action(
        "rows_copy",
        _GROUP,
        "&Copy rows",
        "Copy the selected rows as tab-separated text",
        lambda commands: commands.table.copy(),
        enabled=lambda commands: bool(commands.table.view.selected_rows()),
        icon="ph.copy",
        menus=_item(Section.EDIT, 1),
    ),
    Action(
        "rows_delete",
        _GROUP,
        "D&elete",
        "Move the selected runs to the bin (can be undone)",
        TableCommands.delete,
        "Del",
        enabled=_has_runs,
        icon="ph.trash",
        menus=_item(Section.REMOVE),
    ),
)
