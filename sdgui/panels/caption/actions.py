"""The Caption panel's actions: menus, shortcuts (within the panel), the F1 list and Ctrl+K."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtGui import QAction, QUndoStack
from PySide6.QtWidgets import QWidget
from shiboken6 import isValid

from core.spec.data.fixes import Fix
from sdgui.panels.caption.bar import CaptionsBar
from sdgui.panels.caption.files import CaptionFiles, CaptionFormat
from sdgui.panels.caption.layout import CaptionView
from sdgui.panels.caption.list.edits import CaptionEdits
from sdgui.shared.basket import Basket, Finding, basket_action
from sdgui.widgets.actions import Action, Actions, MenuItem, Section
from sdgui.widgets.plain_text import plain_tip

_GROUP = "Captions"


@dataclass(frozen=True)
class Commands:
    """The objects that actions work on, and the panel's own commands.

    ``caption_uncaptioned``: caption images without a caption; ``caption_selected``, ``caption_shown``: caption again.
    """

    view: CaptionView
    edits: CaptionEdits
    files: CaptionFiles
    undo: QUndoStack
    caption_uncaptioned: Callable[[], None]
    caption_selected: Callable[[], None]
    caption_shown: Callable[[], None]
    basket: Basket


_ADD = MenuItem("captions_add", Section.OPEN)  # in the menu of the Add button
_CAPTION = MenuItem("captions_again", Section.OPEN)  # in the menu of the Caption button


def _action(
    name: str,
    title: str,
    tip: str,
    run: Callable[[Commands], object],
    shortcuts: str | tuple[str, ...] = (),
    menu: MenuItem | None = None,
    **more: Any,
) -> Action[Commands]:
    menus = () if menu is None else (menu,)
    return Action(f"captions_{name}", _GROUP, title, tip, run, shortcuts, menus=menus, **more)


def _candidate(number: int) -> Action[Commands]:
    tip = f"Use candidate {number} as the caption"
    return _action(f"candidate_{number}", tip, tip, lambda c: c.view.detail.accept(number - 1), f"Alt+{number}")


def _caption_fixes(commands: Commands) -> Finding | None:
    """Fixes that replace the captions of the selected images in the data."""
    entries = [entry for entry in commands.view.list.selected() if entry.text]
    fixes = [Fix(kind="recaptioned", path=entry.path, value=entry.text, panel="Caption") for entry in entries]
    return Finding("", tuple(fixes)) if fixes else None


_ACTIONS: tuple[Action[Commands], ...] = (
    _action(
        "files", "Add &images…", "Choose images to caption", lambda c: c.view.ask_files(), "Ctrl+Shift+A", menu=_ADD
    ),
    _action(
        "folder",
        "Add a &folder…",
        "Caption all images of a folder",
        lambda c: c.view.ask_folder(),
        "Ctrl+Alt+A",
        menu=_ADD,
    ),
    _action(
        "paste", "P&aste", "Caption images from the clipboard (Ctrl+V)", lambda c: c.view.target.paste(), menu=_ADD
    ),
    _action(
        "uncaptioned",
        "U&ncaptioned",
        "Caption all images without a caption",
        lambda c: c.caption_uncaptioned(),
        "Ctrl+Shift+G",
        menu=_CAPTION,
    ),
    _action(
        "selected",
        "Re-caption &selected",
        "Caption the selected images again",
        lambda c: c.caption_selected(),
        "Ctrl+G",
        menu=_CAPTION,
    ),
    _action(
        "all",
        "Re-caption &all shown",
        "Caption all images in the current view again",
        lambda c: c.caption_shown(),
        menu=_CAPTION,
    ),
    _action(
        "settings",
        "&Generation settings…",
        "Search method, beams, sampling, lengths",
        lambda c: c.view.open_settings(),
        "Ctrl+,",
        menu=_CAPTION,
    ),
    _action(
        "compare", "Com&pare models", "Compare with a second model", lambda c: c.view.tools.compare.toggle(), "Ctrl+M"
    ),
    _action(
        "undo",
        "&Undo",
        "Undo the last caption edit",
        lambda c: c.undo.undo(),
        "Ctrl+Z",
        enabled=lambda c: c.undo.canUndo(),
        current_title=lambda c: f"Undo: {c.undo.undoText()}".rstrip(": "),
    ),
    _action(
        "redo",
        "&Redo",
        "Redo the last undone edit",
        lambda c: c.undo.redo(),
        ("Ctrl+Shift+Z", "Ctrl+Y"),
        enabled=lambda c: c.undo.canRedo(),
        current_title=lambda c: f"Redo: {c.undo.redoText()}".rstrip(": "),
    ),
    _action("edit", "&Edit the caption", "Edit the caption in place (F2)", lambda c: c.view.list.edit_current()),
    _action(
        "accept_best",
        "Accept the &best candidate",
        "Use the first model's best candidate as the caption",
        lambda c: c.edits.accept_best("a"),
        "Ctrl+B",
    ),
    _action(
        "accept_second",
        "Accept the s&econd model's caption",
        "Use the second model's best candidate as the caption",
        lambda c: c.edits.accept_best("b"),
        "Ctrl+U",
    ),
    _action("replace", "Find and &replace…", "Find and replace in captions", lambda c: c.view.replace.open(), "Ctrl+H"),
    _action("copy", "&Copy", "Copy captions and files (Ctrl+C)", lambda c: c.view.list.copy()),
    _action("enlarge", "En&large the image", "Show a large preview (Space)", lambda c: c.view.list.preview_current()),
    _action(
        "remove", "Re&move from the list", "Remove the selected images from the list", lambda c: c.edits.remove(), "Del"
    ),
    _action(
        "training",
        "Save as &training data",
        "Save captions as training data for an experiment",
        lambda c: c.files.save_training_data(),
        "Ctrl+S",
    ),
    basket_action(
        "captions_basket",
        _GROUP,
        "Add to the basket of data fixes: replaces the captions in the data set",
        _caption_fixes,
        lambda c: c.basket,
    ),
    *map(_candidate, range(1, 10)),
)
_CONTEXT_MENU = [
    "edit",
    "accept_best",
    "accept_second",
    "selected",
    "copy",
    "enlarge",
    "remove",
    "training",
    "basket",
]


def add_actions(actions: Actions, scope: QWidget, commands: Commands) -> tuple[Sequence[QAction], Sequence[QAction]]:
    """Register the actions and fill the buttons' menus; returns those of the context menu and of its submenu Export.

    Shortcuts work within ``scope``.
    """
    tools = commands.view.tools
    actions.register(_ACTIONS, commands, scope)
    actions.fill_menu(tools.add.menu(), _ADD.menu)
    actions.fill_menu(tools.caption_button.menu(), _CAPTION.menu)
    exports = [(kind.target, _export(kind, slot)) for kind, slot in commands.files.slots()]
    actions.register([record for _, record in exports], commands, scope)
    files = [actions[record.id] for target, record in exports if target != "folder"]
    folders = [actions[record.id] for target, record in exports if target == "folder"]
    export = (*files, actions["captions_training"], *folders)
    tools.export.menu().addActions(export)
    _connect_buttons(tools, actions)
    _follow_undo_stack(commands, actions)
    return [actions[f"captions_{name}"] for name in _CONTEXT_MENU], export


def _export(kind: CaptionFormat, slot: Callable[[], object]) -> Action[Commands]:
    return _action(f"export_{kind.name}", kind.title, kind.tip, lambda _: slot())


def _connect_buttons(tools: CaptionsBar, actions: Actions) -> None:
    tools.undo.clicked.connect(actions["captions_undo"].trigger)
    tools.redo.clicked.connect(actions["captions_redo"].trigger)
    for button, name in ((tools.settings_button, "settings"), (tools.compare, "compare"), (tools.replace, "replace")):
        button.setToolTip(actions[f"captions_{name}"].toolTip())


def _follow_undo_stack(commands: Commands, actions: Actions) -> None:
    """Keep the undo and redo buttons up to date."""
    stack, tools = commands.undo, commands.view.tools

    def show() -> None:
        if not isValid(stack):  # the stack emits once more while it is destroyed
            return
        actions.update(commands)
        for name, button in (("captions_undo", tools.undo), ("captions_redo", tools.redo)):
            action = actions[name]
            button.setEnabled(action.isEnabled())
            button.setAccessibleName(action.text())
            button.setToolTip(plain_tip(f"{action.text()} ({action.shortcut().toString()})"))

    stack.indexChanged.connect(lambda _index: show())
    show()
