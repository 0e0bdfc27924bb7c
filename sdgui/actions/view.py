"""Actions of the View menu: find, theme, one action per panel, and actions that use a run in a panel."""

from __future__ import annotations

from functools import partial

from sdgui.actions.window import Window, has_run
from sdgui.panels.registry import PANELS
from sdgui.shared.menus import RUN_MENU
from sdgui.shared.panel import PanelSpec
from sdgui.widgets.actions import Action, MenuItem, Section
from sdgui.widgets.style.theme import Scheme, theme

_SCHEMES: dict[Scheme, str] = {"system": "follows the system", "light": "light", "dark": "dark"}


def _find(window: Window) -> None:
    panel = window.panels.get(window.panel_name)
    if panel is not None:
        panel.focus_search()


def _filter(window: Window) -> None:
    window.ensure_tree()
    window.experiments.filter_box.setFocus()
    window.experiments.filter_box.selectAll()


def _go_to_tree(window: Window) -> None:
    window.ensure_tree()
    window.experiments.tree.setFocus()


def _open_palette(window: Window) -> None:
    launches = any(spec.launches for spec in PANELS if spec.name == window.panel_name)
    window.dialogs.open_palette(first_group="Run" if launches else "View")


def _switch_appearance(window: Window) -> None:
    cycle: list[Scheme] = ["system", "light", "dark"] if theme().system_dark else ["system", "dark", "light"]
    scheme = cycle[(cycle.index(theme().scheme) + 1) % len(cycle)]  # the first switch is visible
    theme().set_scheme(scheme)
    window.services.settings.setValue("window/scheme", scheme)
    window.status.showMessage(f"Appearance: {_SCHEMES[scheme]}", 3000)


def _show_panel(name: str, window: Window) -> None:
    window.bar.leave()
    window.show_panel(name)


def _use_run(name: str, window: Window) -> None:
    if window.target.run is not None:
        window.use_run(name, window.target.run.id)


def _use_action(spec: PanelSpec) -> Action[Window]:
    return Action(
        f"use_{spec.name}",
        "Run",
        spec.use,
        f"Show {spec.title} with the selected run",
        partial(_use_run, spec.name),
        f"Ctrl+Alt+{spec.shortcut[-1]}",  # the digit of the panel's shortcut
        enabled=has_run,
        icon=spec.icon,
        menus=(MenuItem(RUN_MENU, Section.OPEN),),
    )


def _panel_action(spec: PanelSpec) -> Action[Window]:
    return Action(
        spec.name,
        "View",
        spec.title,
        spec.tip,
        partial(_show_panel, spec.name),
        spec.shortcut,
        icon=spec.icon,
        menus=spec.menus,
    )


VIEW_ACTIONS: tuple[Action[Window], ...] = (
    Action("find", "View", "&Find", "Search in the current panel: a field, a plot, an image", _find, "Ctrl+F"),
    Action(
        "filter",
        "View",
        "F&ilter experiments",
        "Filter experiments by name, tag, note or state, of the experiment or its runs",
        _filter,
        "Ctrl+L",
    ),
    Action(
        "tree",
        "View",
        "&Go to the experiments",
        "Move the focus to the experiments",
        _go_to_tree,
        "Ctrl+E",
    ),
    Action(
        "palette",
        "View",
        "G&o to…",
        "Search all actions, runs and panels",
        _open_palette,
        "Ctrl+K",
        icon="ph.magnifying-glass",
    ),
    Action(
        "basket",
        "View",
        "&Basket",
        "Show the data fixes in the basket; save the fixed data and retrain",
        lambda window: window.dialogs.open_basket(),
        "Ctrl+Shift+B",
        icon="ph.shopping-bag",
    ),
    Action(
        "appearance",
        "View",
        "Switch a&ppearance",
        "Cycle between system, light and dark",
        _switch_appearance,
        "Ctrl+Shift+L",
    ),
    *map(_panel_action, PANELS),
)
USE_ACTIONS: tuple[Action[Window], ...] = tuple(_use_action(spec) for spec in PANELS if spec.use)
