"""The menu bar, built from the table of actions; and the entries of Ctrl+K."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QMenuBar

from core.spec.presets import PRESETS, SIZES, Size
from sdgui.actions.palette import Entry
from sdgui.experiments.tree_model import ExperimentModel
from sdgui.widgets.actions import Actions

_MENUS = {"Experiment": "&Experiment", "Run": "&Run", "View": "V&iew", "Help": "&Help"}  # group -> title


def fill_menu_bar(bar: QMenuBar, actions: Actions) -> None:
    """Add one menu per group of actions."""
    groups = actions.groups()
    for group, title in _MENUS.items():
        menu = bar.addMenu(title)
        menu.setToolTipsVisible(True)
        menu.addActions(groups[group])


def palette_entries(
    actions: Actions,
    model: ExperimentModel,
    new: Callable[[str, Size], object],
    select_experiment: Callable[[int], object],
    select_run: Callable[[int], object],
    first_group: str = "View",
) -> list[Entry]:
    """All available actions, presets, experiments and runs.

    Actions of the current panel come first, then those of ``first_group``.
    """
    entries = []
    for action in sorted(
        actions.available(),
        key=lambda action: (not actions.belongs_to_panel(action), actions.group(action) != first_group),
    ):
        keys = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
        hint = " · ".join(part for part in (actions.group(action), keys) if part)
        title, icon = action.text().replace("&", ""), actions.plain_icon(action)
        entries.append(Entry(title, hint, action.trigger, action.statusTip(), icon))
    for preset in PRESETS.values():
        for size in SIZES:
            title = f"New experiment: {preset.title}, {size}"
            entries.append(Entry(title, "Preset", partial(new, preset.name, size)))
    for experiment_id in model.experiment_ids():
        name = model.experiment_name(experiment_id)
        entries.append(Entry(name, "Experiment", partial(select_experiment, experiment_id)))
    for run in reversed(model.runs()):
        hint = f"Run · {run.state}"
        entries.append(Entry(model.name(run.id), hint, partial(select_run, run.id)))
    return entries
