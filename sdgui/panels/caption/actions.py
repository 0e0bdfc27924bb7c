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
    """What actions work on, and what the panel itself does."""

    view: CaptionView
    edits: CaptionEdits
    files: CaptionFiles
    undo: QUndoStack
    caption_uncaptioned: Callable[[], None]
    caption_selected: Callable[[], None]
    caption_shown: Callable[[], None]


@dataclass(frozen=True)
class CaptionActions:
    """The actions of the list's context menu."""

    menu: Sequence[QAction]
    export: Sequence[QAction]


@dataclass(frozen=True)
class _Action:
    """``name`` is part of the action's id; ``menu``: the button whose menu has it, "" for none."""

    name: str
    title: str
    tip: str
    run: Callable[[Commands], object]
    keys: str | tuple[str, ...] = ()
    menu: str = ""


_ACTIONS = (
    _Action(
        "files", "Add &pictures …", "Choose pictures to caption", lambda c: c.view.ask_files(), "Ctrl+Shift+A", "add"
    ),
    _Action(
        "folder",
        "Add a &folder …",
        "Caption all pictures of a folder",
        lambda c: c.view.ask_folder(),
        "Ctrl+Alt+A",
        "add",
    ),
    _Action(
        "paste", "P&aste", "Caption pictures from the clipboard (Ctrl+V)", lambda c: c.view.target.paste(), menu="add"
    ),
    _Action(
        "waiting",
        "U&ncaptioned",
        "Caption all pictures without a caption",
        lambda c: c.caption_uncaptioned(),
        "Ctrl+Shift+G",
        "again",
    ),
    _Action(
        "chosen",
        "Re-caption &selected",
        "Caption the selected pictures again",
        lambda c: c.caption_selected(),
        "Ctrl+G",
        "again",
    ),
    _Action(
        "all",
        "Re-caption &all shown",
        "Caption all pictures in the current view again",
        lambda c: c.caption_shown(),
        menu="again",
    ),
    _Action(
        "how",
        "&Generation settings …",
        "Search method, beams, sampling, lengths",
        lambda c: c.view.open_settings(),
        "Ctrl+,",
        "again",
    ),
    _Action(
        "compare", "Com&pare models", "Compare with a second model", lambda c: c.view.tools.compare.toggle(), "Ctrl+M"
    ),
    _Action("undo", "&Undo", "Undo the last caption edit", lambda c: c.undo.undo(), "Ctrl+Z"),
    _Action("redo", "&Redo", "Redo the last undone edit", lambda c: c.undo.redo(), ("Ctrl+Shift+Z", "Ctrl+Y")),
    _Action("edit", "&Edit the caption", "Edit the caption in place (F2)", lambda c: c.view.list.edit_current()),
    _Action(
        "take_a",
        "Accept the model's &best",
        "Use the model's best candidate as the caption",
        lambda c: c.edits.take_first(),
        "Ctrl+B",
    ),
    _Action(
        "take_b",
        "Accept the s&econd model's",
        "Use the second model's best candidate as the caption",
        lambda c: c.edits.take_second(),
        "Ctrl+U",
    ),
    _Action(
        "replace", "Find and &replace …", "Find and replace in captions", lambda c: c.view.replace.open(), "Ctrl+H"
    ),
    _Action("copy", "&Copy", "Copy captions and files (Ctrl+C)", lambda c: c.view.list.copy()),
    _Action("show", "En&large the picture", "Show a large preview (Space)", lambda c: c.view.list.preview_current()),
    _Action(
        "remove",
        "Re&move from the list",
        "Remove the selected pictures from the list",
        lambda c: c.edits.remove(),
        "Del",
    ),
    _Action(
        "source",
        "Save as &training data",
        "Save captions as training data for an experiment",
        lambda c: c.files.save_training_data(),
        "Ctrl+S",
    ),
)
_CONTEXT_MENU = ("edit", "take_a", "take_b", "chosen", "copy", "show", "remove", "source")


def add_actions(actions: Actions, scope: QWidget, commands: Commands) -> CaptionActions:
    """Register everything that can be done, and fill the buttons' menus. Shortcuts hold within ``scope``."""
    tools = commands.view.tools

    def add(name: str, text: str, keys: str | tuple[str, ...], tip: str, slot: Callable[[], object]) -> QAction:
        shortcuts = keys if isinstance(keys, str) else list(keys)
        return actions.add(f"captions_{name}", _GROUP, text, shortcuts, tip, slot, scope=scope)

    added = {one.name: add(one.name, one.title, one.keys, one.tip, partial(one.run, commands)) for one in _ACTIONS}
    for one in _ACTIONS:
        if one.menu:
            {"add": tools.add, "again": tools.again}[one.menu].menu().addAction(added[one.name])
    for number in range(9):
        tip = f"Use candidate {number + 1} as the caption"
        add(f"candidate_{number + 1}", tip, f"Alt+{number + 1}", tip, partial(commands.view.detail.take, number))
    slots = commands.files.slots()
    exports = [(one.target, add(f"export_{one.name}", one.title, (), one.tip, slot)) for one, slot in slots]
    folders = [action for target, action in exports if target == "folder"]
    export = (*(action for target, action in exports if target != "folder"), added["source"], *folders)
    tools.export.menu().addActions(export)
    _connect_buttons(tools, added)
    _follow(commands.undo, tools, added["undo"], added["redo"])
    return CaptionActions([added[name] for name in _CONTEXT_MENU], export)


def _connect_buttons(tools: CaptionsBar, added: dict[str, QAction]) -> None:
    tools.undo.clicked.connect(added["undo"].trigger)
    tools.redo.clicked.connect(added["redo"].trigger)
    for button, name in ((tools.how, "how"), (tools.compare, "compare"), (tools.replace, "replace")):
        button.setToolTip(added[name].toolTip())


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
