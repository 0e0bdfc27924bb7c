"""Actions of the Experiment menu: create, import, edit, delete; and quit."""

from __future__ import annotations

from PySide6.QtCore import QPoint
from PySide6.QtWidgets import QAbstractItemView, QApplication

from sdgui.actions.window import Window, has_experiment
from sdgui.shared.menus import EXPERIMENT_MENU, RUN_MENU, STUDY_MENU
from sdgui.widgets.actions import Action, MenuItem, Section
from sdgui.widgets.file_dialogs import ask_folder, ask_open
from sdgui.widgets.style.theme import SPACE


def _new_from_file(window: Window) -> None:
    if path := ask_open(window.dialogs.window, "Open a config", "Experiments (*.json)"):
        window.experiment_commands.new_from_file(path)


def _new_from_folder(window: Window) -> None:
    if path := ask_folder(window.dialogs.window, "A folder of images with captions, or of classes"):
        window.experiment_commands.new_from_data(path)


def _import_run(window: Window) -> None:
    if path := ask_folder(window.dialogs.window, "Import a run folder"):
        window.experiment_commands.import_run(path)


def _duplicate(window: Window) -> None:
    if (experiment_id := window.selection.experiment_id) is not None:
        window.save_config()
        window.experiment_commands.duplicate(experiment_id)


def _describe(window: Window) -> None:
    selection, store, model = window.selection, window.services.store, window.experiments.model
    experiment_id, run_id = selection.experiment_id, selection.run_id
    if experiment_id is None:
        return
    record = store.experiment(experiment_id) if run_id is None else store.run(run_id)
    name = model.experiment_name(experiment_id) if run_id is None else model.name(run_id)
    position = _popup_position(window.experiments.tree)
    window.dialogs.sheet.open((experiment_id, run_id), name, record.tags, record.note, store.tags(), position)


def _popup_position(tree: QAbstractItemView) -> QPoint:
    """Screen position of a popup about a row: in the list with the focus, otherwise in the tree."""
    focus = QApplication.focusWidget()
    view = focus if isinstance(focus, QAbstractItemView) else tree
    rect = view.visualRect(view.currentIndex())
    return view.viewport().mapToGlobal(rect.bottomLeft() if rect.isValid() else QPoint(SPACE, SPACE))


def _changes(window: Window) -> None:
    selection, model = window.selection, window.experiments.model
    experiment_id, run_id = selection.experiment_id, selection.run_id
    if experiment_id is not None:
        name = model.experiment_name(experiment_id) if run_id is None else model.name(run_id)
        window.dialogs.activity.open_for(experiment_id, run_id, name)


def _alerts(window: Window) -> None:
    if (experiment_id := window.selection.experiment_id) is not None:
        window.dialogs.alerts.open_for(experiment_id, window.experiments.model.experiment_name(experiment_id))


def _report(window: Window) -> None:
    model, store = window.experiments.model, window.services.store
    if (experiment_id := window.target.experiment_id) is not None:
        window.dialogs.report.open_for(model.experiment_name(experiment_id), (experiment_id,))
    elif (study_id := window.target.study_id) is not None:
        study = store.study(study_id)
        window.dialogs.report.open_for(study.name, tuple(study.arms), study.folder)


def _delete(window: Window) -> None:
    experiment_id, study_id = window.experiments.selected_ids()
    if experiment_id is not None:
        window.experiment_commands.delete(experiment_id)
    elif study_id is not None:
        window.experiment_commands.delete_study(study_id)


EXPERIMENT_ACTIONS: tuple[Action[Window], ...] = (
    Action(
        "new",
        "Experiment",
        "&New",
        "New experiment from a preset",
        lambda window: window.dialogs.chooser.open(),
        "Ctrl+N",
        icon="ph.plus",
    ),
    Action(
        "new_from_file",
        "Experiment",
        "New from a &file…",
        "New experiment from a config in a JSON file",
        _new_from_file,
        "Ctrl+O",
    ),
    Action(
        "new_from_folder",
        "Experiment",
        "New from my fo&lder…",
        "New experiment that trains on a folder of your images",
        _new_from_folder,
        "Ctrl+Alt+N",
    ),
    Action(
        "import_run",
        "Experiment",
        "&Import a run folder…",
        "Add a run from a folder, or all runs in the logs of TensorBoard, W&B, MLflow and other tools",
        _import_run,
        "Ctrl+I",
    ),
    Action(
        "rebuild",
        "Experiment",
        "Reb&uild the database from run folders",
        "Read every run folder again",
        lambda window: window.experiment_commands.rebuild(),
        "Ctrl+Alt+R",
    ),
    Action(
        "duplicate",
        "Experiment",
        "&Duplicate",
        "Make an editable copy of the experiment",
        _duplicate,
        "Ctrl+D",
        enabled=has_experiment,
        icon="ph.copy",
        menus=(MenuItem(EXPERIMENT_MENU, Section.EDIT, 1),),
    ),
    Action(
        "rename",
        "Experiment",
        "&Rename",
        "Rename the experiment",
        lambda window: window.experiments.rename(),
        "F2",
        enabled=has_experiment,
        menus=(MenuItem(EXPERIMENT_MENU, Section.EDIT),),
        scope=lambda window: window.experiments,
    ),
    Action(
        "describe",
        "Experiment",
        "&Tags and note…",
        "Edit the tags and the note of the experiment or run",
        _describe,
        "Ctrl+T",
        enabled=has_experiment,
        icon="ph.tag",
        menus=(MenuItem(EXPERIMENT_MENU, Section.EDIT, 2), MenuItem(RUN_MENU, Section.EDIT)),
    ),
    Action(
        "alerts",
        "Experiment",
        "&Alerts…",
        "Set when runs of the experiment send alerts, and how: notification, command or webhook",
        _alerts,
        "Ctrl+Alt+L",
        enabled=has_experiment,
        icon="ph.bell",
        menus=(MenuItem(EXPERIMENT_MENU, Section.EDIT, 4),),
    ),
    Action(
        "report",
        "Experiment",
        "Rep&ort…",
        "Show and export a report: note, runs, curves and samples of the experiment or study",
        _report,
        "Ctrl+Alt+Y",
        enabled=lambda window: window.target.experiment_id is not None or window.target.study_id is not None,
        icon="ph.article",
        menus=(MenuItem(EXPERIMENT_MENU, Section.EDIT, 5), MenuItem(STUDY_MENU, Section.EDIT)),
    ),
    Action(
        "changes",
        "Experiment",
        "&Who changed what…",
        "Show who changed the experiment or run, and the replaced texts",
        _changes,
        "Ctrl+Shift+H",
        enabled=has_experiment,
        icon="ph.clock-counter-clockwise",
        menus=(MenuItem(EXPERIMENT_MENU, Section.EDIT, 3), MenuItem(RUN_MENU, Section.EDIT, 2)),
    ),
    Action(
        "delete",
        "Experiment",
        "D&elete",
        "Move the experiment or study to the bin (can be undone)",
        _delete,
        "Del",
        enabled=lambda window: window.experiments.selected_ids() != (None, None),
        icon="ph.trash",
        menus=(MenuItem(EXPERIMENT_MENU, Section.REMOVE), MenuItem(STUDY_MENU, Section.REMOVE)),
        scope=lambda window: window.experiments,
    ),
    Action(
        "empty_bin",
        "Experiment",
        "Empty the &bin…",
        "Permanently delete everything in the bin",
        lambda window: window.experiment_commands.empty_bin(window.dialogs.window),
        "Ctrl+Shift+Del",
    ),
    Action(
        "demo",
        "Experiment",
        "Try the de&mo",
        "Create the demo data and two experiments",
        lambda window: window.experiment_commands.add_demo("search"),
        "Ctrl+Shift+D",
    ),
    Action(
        "train_demo",
        "Experiment",
        "Train t&he demo",
        "Show the demo's experiment, ready to launch; it trains in a few minutes without a GPU",
        lambda window: window.experiment_commands.add_demo("define"),
        "Ctrl+Alt+D",
    ),
    Action(
        "pretrained",
        "Experiment",
        "Try a &pretrained model",
        "Search your images with a published model, without training",
        lambda window: window.show_panel("search").ask_model(),
        "Ctrl+Alt+P",
    ),
    Action(
        "quit",
        "Experiment",
        "&Quit",
        "Close the window; runs can continue in the background",
        lambda window: window.close(),
        "Ctrl+Q",
    ),
)
