"""Actions of the Run menu: launch, queue, pause, resume, stop; export and open the folder."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices

from core.spec.config import RunConfig
from core.spec.run.status import RunState
from sdgui.actions.window import Window, has_experiment, has_run
from sdgui.experiments.run_commands import RESUMABLE
from sdgui.panels.registry import PANELS
from sdgui.runs.stopping import StopStage
from sdgui.shared.menus import EXPERIMENT_MENU, RUN_MENU
from sdgui.shared.panel import DefiningPanel
from sdgui.shared.run_texts import stop_text
from sdgui.store.records import Run
from sdgui.widgets.actions import Action, MenuItem, Section

_LAUNCHING = {spec.name for spec in PANELS if spec.launches}


def _begin(window: Window, begin: Callable[[int, RunConfig | None], object]) -> None:
    """Start with the values in the form; if one is invalid, show the form instead."""
    experiment_id, define = window.selection.experiment_id, window.panels.get("define")
    if isinstance(define, DefiningPanel) and not define.ready_to_launch():
        window.show_panel("define")
        return
    if experiment_id is not None:
        begin(experiment_id, define.config(experiment_id) if isinstance(define, DefiningPanel) else None)


def _on_current_run(act: Callable[[Window, Run], object]) -> Callable[[Window], None]:
    """Make an action that calls ``act`` with the window and its current run."""

    def run(window: Window) -> None:
        if window.target.run is not None:
            act(window, window.target.run)

    return run


def _start_from(kind: str) -> Callable[[Window], None]:
    return _on_current_run(lambda window, run: window.experiment_commands.start_from(run, kind))


# The first request stops a run; another, while the run is stopping, ends it at once.
_STOP = _on_current_run(lambda window, run: window.run_commands.stop(run))


def _refusal(window: Window) -> str:
    """Why the run cannot be started or stopped here (it belongs to another person); "" if it can."""
    return window.target.run.refusal if window.target.run is not None else ""


def _folder_refusal(window: Window) -> str:
    """Why the run folder cannot be read (it is on another computer, or deleted); "" if it can."""
    run = window.target.run
    if run is None or (run.is_local and not window.target.folder_missing):
        return ""
    if run.is_local:
        return f"The folder {run.folder} no longer exists."
    return f"The folder of this run is on {run.owner_host}."


def _pause_refusal(window: Window) -> str:
    run = window.target.run
    if run is not None and run.is_logged:
        return "A script logs this run, so it cannot be paused or resumed from here; run the script again."
    return _refusal(window)


def _start_refusal(window: Window) -> str:
    run = window.target.run
    if run is not None and run.is_logged:
        return "A script logged this run; it has no checkpoints to start from."
    return _folder_refusal(window)


def _launches(window: Window) -> bool:
    """Whether an experiment is selected and visible in the current panel."""
    return has_experiment(window) and window.panel_name in _LAUNCHING


def _can_pause(window: Window) -> bool:
    return window.target.state in (RunState.STARTING, RunState.RUNNING) and window.target.stopping is None


def _can_stop(window: Window) -> bool:
    state = window.target.state
    return state is not None and (state.alive or state == RunState.QUEUED) and not _can_end(window)


def _can_end(window: Window) -> bool:
    """Whether the run was asked to stop and can be terminated from this computer."""
    state, stopping = window.target.state, window.target.stopping
    if state is None or not state.alive or stopping is None or stopping.host:
        return False
    return stopping.stage not in (StopStage.PAUSING, StopStage.ENDED)


def _fetch(window: Window, run: Run) -> None:
    fetches = window.services.hosts.fetches
    if fetches.active(run.id):
        fetches.cancel(run.id)
    else:
        fetches.start(run.id, run.folder)
        window.show_panel("runs")


def _fetch_title(window: Window) -> str:
    run = window.target.run
    active = run is not None and window.services.hosts.fetches.active(run.id)
    return "Cancel &fetching" if active else "F&etch checkpoint"


RUN_ACTIONS: tuple[Action[Window], ...] = (
    Action(
        "launch",
        "Run",
        "&Launch",
        "Start training the current experiment",
        lambda window: _begin(window, window.run_commands.launch),
        ("Ctrl+Return", "Ctrl+Enter"),
        enabled=lambda window: _launches(window) and not window.target.waiting_for_data,
        current_title=lambda window: "Waiting for data" if window.target.waiting_for_data else "&Launch",
        icon="ph.play-fill",
        icon_color="on_accent",
        menus=(MenuItem(EXPERIMENT_MENU, Section.CONTROL),),
    ),
    Action(
        "queue",
        "Run",
        "&Queue",
        "Start training when a device is free",
        lambda window: _begin(window, window.run_commands.queue),
        ("Ctrl+Shift+Return", "Ctrl+Shift+Enter"),
        enabled=_launches,
        icon="ph.clock",
        menus=(MenuItem(EXPERIMENT_MENU, Section.CONTROL),),
    ),
    Action(
        "pause",
        "Run",
        "&Pause",
        "Save a checkpoint and end the trainer; Resume continues from it",
        _on_current_run(lambda window, run: window.run_commands.pause(run)),
        "Ctrl+P",
        enabled=_can_pause,
        refusal=_pause_refusal,
        icon="ph.pause",
        menus=(MenuItem(RUN_MENU, Section.CONTROL),),
    ),
    Action(
        "resume",
        "Run",
        "&Resume",
        "Continue the run from its last checkpoint",
        _on_current_run(lambda window, run: window.run_commands.resume(run)),
        "Ctrl+R",
        enabled=lambda window: window.target.state in RESUMABLE,
        refusal=lambda window: _pause_refusal(window) or _folder_refusal(window),
        icon="ph.play",
        menus=(MenuItem(RUN_MENU, Section.CONTROL),),
    ),
    Action(
        "stop",
        "Run",
        "&Stop",
        "Ask the trainer to save a checkpoint and stop",
        _STOP,
        "Ctrl+.",
        enabled=_can_stop,
        refusal=_refusal,
        current_title=lambda window: "Remove from queue" if window.target.state == RunState.QUEUED else "&Stop",
        icon="ph.stop",
        menus=(MenuItem(RUN_MENU, Section.CONTROL),),
    ),
    Action(
        "end_now",
        "Run",
        "End now",
        "End a stopping run at once, without waiting for its checkpoint",
        _STOP,
        "Ctrl+Alt+.",
        enabled=_can_end,
        refusal=_refusal,
        current_title=lambda window: stop_text(window.target.stopping)[0] if _can_end(window) else "End now",
        icon="ph.x-circle",
        menus=(MenuItem(RUN_MENU, Section.CONTROL),),
    ),
    Action(
        "fetch",
        "Run",
        "F&etch checkpoint",
        "Copy the last checkpoint from the run's machine to this computer",
        _on_current_run(_fetch),
        "Ctrl+Shift+E",
        enabled=lambda window: window.target.run is not None and bool(window.target.run.machine),
        refusal=_folder_refusal,
        current_title=_fetch_title,
        icon="ph.download-simple",
        menus=(MenuItem(RUN_MENU, Section.EDIT, 2),),
    ),
    Action(
        "export_model",
        "Run",
        "E&xport model…",
        "Write the run's model for other programs: open_clip, Hugging Face, ONNX",
        _on_current_run(lambda window, run: window.dialogs.open_export(run.dir, window.experiments.model.name(run.id))),
        "Ctrl+Shift+X",
        enabled=has_run,
        refusal=_folder_refusal,
        icon="ph.export",
        menus=(MenuItem(RUN_MENU, Section.EDIT, 1),),
    ),
    Action(
        "continue_from",
        "Run",
        "&Continue from checkpoint",
        "Prepare a new run that continues from a checkpoint with the same settings",
        _start_from("continue"),
        "Ctrl+Alt+C",
        enabled=has_run,
        refusal=_start_refusal,
        icon="ph.fast-forward",
        menus=(MenuItem(RUN_MENU, Section.CONTROL, 1),),
    ),
    Action(
        "fork",
        "Run",
        "For&k…",
        "Prepare a new run that continues from a checkpoint with different settings",
        _start_from("fork"),
        "Ctrl+Alt+K",
        enabled=has_run,
        refusal=_start_refusal,
        icon="ph.git-fork",
        menus=(MenuItem(RUN_MENU, Section.CONTROL, 1),),
    ),
    Action(
        "fine_tune",
        "Run",
        "Fi&ne-tune…",
        "Prepare a new run that starts with only the weights of a checkpoint",
        _start_from("fine-tune"),
        "Ctrl+Alt+U",
        enabled=has_run,
        refusal=_start_refusal,
        icon="ph.sliders",
        menus=(MenuItem(RUN_MENU, Section.CONTROL, 1),),
    ),
    Action(
        "reproduce",
        "Run",
        "Reprod&uce",
        "Prepare the same run again, and show differences in code, packages, machine and data",
        _on_current_run(lambda window, run: window.experiment_commands.reproduce(run)),
        "Ctrl+Alt+E",
        enabled=has_run,
        refusal=_folder_refusal,
        icon="ph.repeat",
        menus=(MenuItem(RUN_MENU, Section.EDIT, 1),),
    ),
    Action(
        "open_folder",
        "Run",
        "Open the run's &folder",
        "Open the run's folder in the file manager",
        _on_current_run(lambda _window, run: QDesktopServices.openUrl(QUrl.fromLocalFile(str(run.folder)))),
        "Ctrl+Shift+O",
        enabled=has_run,
        refusal=_folder_refusal,
        icon="ph.folder-open",
        menus=(MenuItem(RUN_MENU, Section.EDIT, 1),),
    ),
)
