"""Actions of the Help menu."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from sdgui.actions.failure_dialog import FailureDialog
from sdgui.actions.tour import start_tour
from sdgui.actions.window import Window
from sdgui.widgets.actions import Action


def program_version() -> str:
    """The installed version; a note if the package is not installed."""
    try:
        return version("sdgui")
    except PackageNotFoundError:
        return "not installed"


def _about(window: Window) -> None:
    home = window.services.store.home
    text = f"sdgui {program_version()}\n\nExperiments and runs: {home}\nLog of unexpected errors: {home / 'sdgui.log'}"
    FailureDialog(text, "", window.dialogs.window).show()


HELP_ACTIONS: tuple[Action[Window], ...] = (
    Action(
        "help",
        "Help",
        "&Help on this panel",
        "Show the help page of this panel",
        lambda window: window.dialogs.open_help(f"panels/{window.panel_name}.md"),
        "F1",
        icon="ph.question",
    ),
    Action(
        "tutorial",
        "Help",
        "&Tutorial",
        "Show the tutorial: from the demo to a search",
        lambda window: window.dialogs.open_help("tutorial.md"),
        "Ctrl+F1",
    ),
    Action("tour", "Help", "T&our", "Introduce the window in five steps", start_tour, "Ctrl+Shift+F1"),
    Action(
        "shortcuts",
        "Help",
        "&Shortcuts",
        "Show all keyboard shortcuts",
        lambda window: window.dialogs.open_shortcuts(),
        ("Ctrl+/", "Ctrl+?"),
    ),
    Action("about", "Help", "&About sdgui", "Version, and location of data and log", _about, "Shift+F1"),
)
