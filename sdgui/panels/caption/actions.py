"""The Caption panel's actions: menus, shortcuts, F1 and Ctrl+K all read them; shortcuts hold within the panel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from PySide6.QtGui import QAction, QUndoStack
from PySide6.QtWidgets import QWidget
from shiboken6 import isValid

from sdgui.panels.caption.bar import CaptionsBar
from sdgui.panels.caption.files import CaptionFiles
from sdgui.panels.caption.layout import CaptionView
from sdgui.panels.caption.list.edits import CaptionEdits
from sdgui.widgets.actions import Actions
from sdgui.widgets.plain_text import plain_tip

_GROUP = "Captions"


@dataclass(frozen=True)
class Commands:
    """Actions that the panel itself carries out."""

    caption_uncaptioned: Callable[[], None]
    caption_selected: Callable[[], None]
    caption_shown: Callable[[], None]


@dataclass(frozen=True)
class CaptionActions:
    """The actions of the list's context menu."""

    menu: Sequence[QAction]
    export: Sequence[QAction]


def add_actions(
    actions: Actions,
    scope: QWidget,
    commands: Commands,
    view: CaptionView,
    edits: CaptionEdits,
    files: CaptionFiles,
    undo_stack: QUndoStack,
) -> CaptionActions:
    """Register everything that can be done, and fill the buttons' menus. Shortcuts hold within ``scope``."""
    tools = view.tools

    def add(name: str, text: str, keys: str | list[str], tip: str, slot: Callable[[], object]) -> QAction:
        return actions.add(f"captions_{name}", _GROUP, text, keys, tip, slot, scope=scope)

    pictures = add("files", "Add &pictures …", "Ctrl+Shift+A", "Choose pictures to caption", view.ask_files)
    folder = add("folder", "Add a &folder …", "Ctrl+Alt+A", "Caption all pictures of a folder", view.ask_folder)
    paste = add("paste", "P&aste", [], "Caption pictures from the clipboard (Ctrl+V)", view.target.paste)
    waiting = add(
        "waiting",
        "U&ncaptioned",
        "Ctrl+Shift+G",
        "Caption all pictures without a caption",
        commands.caption_uncaptioned,
    )
    chosen = add(
        "chosen", "Re-caption &selected", "Ctrl+G", "Caption the selected pictures again", commands.caption_selected
    )
    everything = add(
        "all", "Re-caption &all shown", [], "Caption all pictures in the current view again", commands.caption_shown
    )
    how = add("how", "&Generation settings …", "Ctrl+,", "Search method, beams, sampling, lengths", view.open_settings)
    compare = add("compare", "Com&pare models", "Ctrl+M", "Compare with a second model", tools.compare.toggle)
    undo = add("undo", "&Undo", "Ctrl+Z", "Undo the last caption edit", undo_stack.undo)
    redo = add("redo", "&Redo", ["Ctrl+Shift+Z", "Ctrl+Y"], "Redo the last undone edit", undo_stack.redo)
    edit = add("edit", "&Edit the caption", [], "Edit the caption in place (F2)", view.list.edit_current)
    take = add(
        "take_a",
        "Accept the model's &best",
        "Ctrl+B",
        "Use the model's best candidate as the caption",
        edits.take_first,
    )
    second = add(
        "take_b",
        "Accept the s&econd model's",
        "Ctrl+U",
        "Use the second model's best candidate as the caption",
        edits.take_second,
    )
    replace = add("replace", "Find and &replace …", "Ctrl+H", "Find and replace in captions", view.replace.open)
    copy = add("copy", "&Copy", [], "Copy captions and files (Ctrl+C)", view.list.copy)
    show = add("show", "En&large the picture", [], "Show a large preview (Space)", view.list.preview_current)
    remove = add("remove", "Re&move from the list", "Del", "Remove the selected pictures from the list", edits.remove)
    save = add(
        "source",
        "Save as &training data",
        "Ctrl+S",
        "Save captions as training data for an experiment",
        files.save_training_data,
    )
    for number in range(9):
        tip = f"Candidate {number + 1} is the caption"
        add(f"candidate_{number + 1}", tip, f"Alt+{number + 1}", tip, partial(view.detail.take, number))
    for action in (pictures, folder, paste):
        tools.add.menu().addAction(action)
    for action in (waiting, chosen, everything, how):
        tools.again.menu().addAction(action)
    exports = [(one.target, add(f"export_{one.name}", one.title, [], one.tip, slot)) for one, slot in files.slots()]
    folders = [action for target, action in exports if target == "folder"]
    export = (*(action for target, action in exports if target != "folder"), save, *folders)
    tools.export.menu().addActions(export)
    for button, action in ((tools.undo, undo), (tools.redo, redo)):
        button.clicked.connect(action.trigger)
    for button, action in ((tools.undo, undo), (tools.redo, redo), (tools.how, how), (tools.compare, compare)):
        button.setToolTip(action.toolTip())
    tools.replace.setToolTip(replace.toolTip())
    _follow(undo_stack, tools, undo, redo)
    return CaptionActions((edit, take, second, chosen, copy, show, remove, save), export)


def _follow(stack: QUndoStack, tools: CaptionsBar, undo: QAction, redo: QAction) -> None:
    """Show on undo and redo what they would do; disable them when there is nothing."""

    def show() -> None:
        if not isValid(stack):  # it emits once more while it is destroyed
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
