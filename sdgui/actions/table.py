"""All actions of the window, in menu order; panels add their own actions when they are built."""

from __future__ import annotations

from sdgui.actions.experiment import EXPERIMENT_ACTIONS
from sdgui.actions.help import HELP_ACTIONS
from sdgui.actions.run import RUN_ACTIONS
from sdgui.actions.view import USE_ACTIONS, VIEW_ACTIONS
from sdgui.actions.window import Window
from sdgui.widgets.actions import Action

WINDOW_ACTIONS: tuple[Action[Window], ...] = (
    *RUN_ACTIONS,
    *USE_ACTIONS,
    *EXPERIMENT_ACTIONS,
    *VIEW_ACTIONS,
    *HELP_ACTIONS,
)
