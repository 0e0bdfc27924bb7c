"""The Caption place's actions: menus, shortcuts, F1 and Ctrl+K all read them; shortcuts hold within the place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtGui import QAction
from shiboken6 import isValid

from sdgui.widgets.actions import Actions
from sdgui.widgets.plain_text import plain_tip

if TYPE_CHECKING:
    from sdgui.panels.caption.panel import CaptionsPanel

_GROUP = "Captions"


def add_actions(place: CaptionsPanel, actions: Actions) -> None:
    """Register everything that can be done, and fill the buttons' menus."""

    def add(name: str, text: str, keys: str | list[str], tip: str, slot: Callable[[], object]) -> QAction:
        return actions.add(f"captions_{name}", _GROUP, text, keys, tip, slot, scope=place)

    edits = place.edits
    files = add("files", "Add &pictures …", "Ctrl+Shift+A", "Choose pictures to caption", place.ask_files)
    folder = add("folder", "Add a &folder …", "Ctrl+Alt+A", "Caption all pictures of a folder", place.ask_folder)
    paste = add("paste", "P&aste", [], "Caption pictures from the clipboard (Ctrl+V)", place.target.paste)
    waiting = add(
        "waiting", "U&ncaptioned", "Ctrl+Shift+G", "Caption all pictures without a caption", place.caption_waiting
    )
    chosen = add(
        "chosen", "Re-caption &selected", "Ctrl+G", "Caption the selected pictures again", place.caption_selected
    )
    everything = add(
        "all", "Re-caption &all shown", [], "Caption all pictures in the current view again", place.caption_all
    )
    how = add("how", "&Generation settings …", "Ctrl+,", "Search method, beams, sampling, lengths", place.open_settings)
    compare = add("compare", "Com&pare models", "Ctrl+M", "Compare with a second model", place.tools.compare.toggle)
    undo = add("undo", "&Undo", "Ctrl+Z", "Undo the last caption edit", place.undo.undo)
    redo = add("redo", "&Redo", ["Ctrl+Shift+Z", "Ctrl+Y"], "Do it again", place.undo.redo)
    edit = add("edit", "&Edit the caption", [], "Edit the caption in place (F2)", place.list.edit_current)
    take = add(
        "take_a",
        "Accept the model's &best",
        "Ctrl+B",
        "Use the model's best candidate as the caption",
        place.edits.take_first,
    )
    second = add(
        "take_b",
        "Accept the s&econd model's",
        "Ctrl+U",
        "Use the second model's best candidate as the caption",
        edits.take_second,
    )
    replace = add("replace", "Find and &replace …", "Ctrl+H", "Find and replace in captions", place.replace.open)
    copy = add("copy", "&Copy", [], "Copy captions and files (Ctrl+C)", place.list.copy)
    show = add("show", "En&large the picture", [], "Show a large preview (Space)", place.list.preview_current)
    remove = add("remove", "Re&move from the list", "Del", "Remove the selected pictures from the list", edits.remove)
    save = add(
        "source",
        "Save as &training data",
        "Ctrl+S",
        "Save captions as training data for an experiment",
        place.files.source,
    )
    for number in range(9):
        tip = f"Candidate {number + 1} is the caption"
        add(f"candidate_{number + 1}", tip, f"Alt+{number + 1}", tip, partial(place.detail.take, number))
    tools = place.tools
    for action in (files, folder, paste):
        tools.add.menu().addAction(action)
    for action in (waiting, chosen, everything, how):
        tools.again.menu().addAction(action)
    ways = [add(f"export_{name}", text, [], tip, slot) for name, text, tip, slot in place.files.kinds()]
    place.export_actions = (*ways[:-1], save, ways[-1])
    tools.export.menu().addActions(place.export_actions)
    for button, action in ((tools.undo, undo), (tools.redo, redo)):
        button.clicked.connect(action.trigger)
    for button, action in ((tools.undo, undo), (tools.redo, redo), (tools.how, how), (tools.compare, compare)):
        button.setToolTip(action.toolTip())
    tools.replace.setToolTip(replace.toolTip())
    place.menu_actions = (edit, take, second, chosen, copy, show, remove, save)
    _follow(place, undo, redo)


def _follow(place: CaptionsPanel, undo: QAction, redo: QAction) -> None:
    """Undo and redo say what they would do, and are grey when there is nothing."""
    stack, tools = place.undo, place.tools

    def show() -> None:
        if not isValid(stack):  # it tells once more while it is taken down
            return
        for action, button, can, what, word in (
            (undo, tools.undo, stack.canUndo(), stack.undoText(), "Undo"),
            (redo, tools.redo, stack.canRedo(), stack.redoText(), "Redo"),
        ):
            action.setEnabled(can)
            button.setEnabled(can)
            action.setText(f"{word}: {what}" if can and what else word)
            button.setAccessibleName(action.text())
            keys = action.shortcut().toString()
            button.setToolTip(plain_tip(f"{action.text()} ({keys})"))

    stack.indexChanged.connect(lambda _index: show())
    stack.canUndoChanged.connect(lambda _can: show())
    stack.canRedoChanged.connect(lambda _can: show())
    show()
