"""What the actions of the menus do, to which experiment or run, and what they are called in each state."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig
from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.actions.table import WINDOW_ACTIONS
from sdgui.actions.window import Target, Window
from sdgui.panels.registry import PANELS
from sdgui.runs.stopping import Stopping, StopStage
from sdgui.shared.panel import DefiningPanel
from sdgui.shared.services import Selection
from sdgui.store.records import Run
from sdgui.widgets.actions import Action
from sdgui.widgets.style.theme import theme

RECORDS = {record.id: record for record in WINDOW_ACTIONS}
TREE = SimpleNamespace(
    model=SimpleNamespace(name=lambda run: f"run {run}", experiment_name=lambda one: f"experiment {one}"),
    tree=None,
)
HERE = Run(3, 7, "k3", Path("/r"), "d", 0.0, RunState.DONE)
FAR = Run(4, 7, "k4", Path("/f"), "d", 0.0, RunState.DONE, machine="far")


class Noted:
    """Notes what is called on it in ``told``, by the path of names that led there; ``answers`` are given back."""

    def __init__(self, told: list[Any], path: str = "", **answers: Any) -> None:
        self._told, self._path, self._answers = told, path, answers

    def __getattr__(self, name: str) -> Any:
        return self._answers[name] if name in self._answers else Noted(self._told, f"{self._path}.{name}".strip("."))

    def __call__(self, *given: Any) -> Any:
        self._told.append((self._path, *given))
        return None


class Define(DefiningPanel):
    """A form whose values are valid or not."""

    valid = True

    def ready_to_launch(self) -> bool:
        return self.valid

    def config(self, experiment_id: int) -> RunConfig | None:
        return preset_config("clip", "tiny") if experiment_id == 7 else None


def do(told: list[Any], action: str, target: Target | None = None, **parts: Any) -> list[Any]:
    """What the action calls of a window with these parts."""
    told.clear()
    target = target or Target()
    made = {"panels": {}, "panel_name": "define", "selection": Selection(), "target": target} | parts
    RECORDS[action].run(cast(Window, Noted(told, **made)))
    return list(told)


def state_of(action: str, target: Target, **parts: Any) -> tuple[bool, str]:
    """Whether it is enabled, and its title."""
    record: Action[Window] = RECORDS[action]
    window = cast(Window, Noted([], **({"target": target, "panel_name": "define"} | parts)))
    assert record.enabled is not None
    return record.enabled(window), record.title if record.current_title is None else record.current_title(window)


def test_a_launch_uses_typed_values_and_shows_an_invalid_field(qtbot: QtBot) -> None:
    define, told = Define(), list[Any]()
    qtbot.addWidget(define)
    chosen, other = Selection(experiment_id=7), Selection(experiment_id=8)
    typed = preset_config("clip", "tiny")
    for action in ("launch", "queue"):
        call = f"run_commands.{action}"
        assert do(told, action) == [], "nothing is chosen"
        assert do(told, action, selection=chosen) == [(call, 7, None)]
        assert do(told, action, selection=chosen, panels={"define": define}) == [(call, 7, typed)]
        assert do(told, action, selection=other, panels={"define": define}) == [(call, 8, None)]
        define.valid = False
        assert do(told, action, selection=chosen, panels={"define": define}) == [("show_panel", "define")]
        define.valid = True


def test_places_where_an_experiment_can_be_launched() -> None:
    launching = {panel.name for panel in PANELS if panel.launches}
    assert launching
    for panel in PANELS:
        for action in ("launch", "queue"):
            assert state_of(action, Target(7), panel_name=panel.name)[0] is (panel.name in launching)
            assert not state_of(action, Target(), panel_name=panel.name)[0]
    waiting = Target(7, waiting_for_data=True)
    assert (state_of("launch", waiting)[0], state_of("queue", waiting)[0]) == (False, True)


def test_actions_on_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    told, opened = list[Any](), list[QUrl]()
    monkeypatch.setattr(QDesktopServices, "openUrl", opened.append)
    target = Target(7, HERE)
    ((call, folder, name),) = do(told, "export_model", target, experiments=TREE)
    assert (call, folder.path, name) == ("dialogs.open_export", HERE.folder, "run 3")
    assert do(told, "open_folder", target) == []
    assert opened == [QUrl.fromLocalFile(str(HERE.folder))]
    for panel in PANELS:
        if panel.use:
            assert do(told, f"use_{panel.name}", target) == [("use_run", panel.name, 3)]
            assert do(told, f"use_{panel.name}") == []
    assert do(told, "pause", target) == [("run_commands.pause", HERE)]
    for action in ("pause", "resume", "stop", "export_model", "open_folder", "fetch"):
        assert do(told, action) == [], "without a run nothing is done"
    assert len(opened) == 1


def test_a_checkpoint_is_fetched_and_the_fetch_cancelled() -> None:
    told, active = list[Any](), False

    def fetches() -> Any:
        return SimpleNamespace(
            active=lambda run: active and run == 4,
            start=lambda *what: told.append(("start", *what)),
            cancel=lambda run: told.append(("cancel", run)),
        )

    services = SimpleNamespace(hosts=SimpleNamespace(fetches=fetches()))
    assert do(told, "fetch", Target(7, FAR), services=services) == [("start", 4, FAR.folder), ("show_panel", "runs")]
    assert state_of("fetch", Target(7, FAR), services=services) == (True, "F&etch checkpoint")
    active = True
    assert do(told, "fetch", Target(7, FAR), services=services) == [("cancel", 4)]
    assert state_of("fetch", Target(7, FAR), services=services) == (True, "Cancel &fetching")
    assert state_of("fetch", Target(7, HERE), services=services) == (False, "F&etch checkpoint")
    assert state_of("fetch", Target(7), services=services) == (False, "F&etch checkpoint")


@pytest.mark.parametrize(
    ("state", "stage", "stop", "end"),
    [
        (RunState.QUEUED, None, (True, "Remove from queue"), (False, "End now")),
        (RunState.RUNNING, None, (True, "&Stop"), (False, "End now")),
        (RunState.RUNNING, StopStage.PAUSING, (True, "&Stop"), (False, "End now")),
        (RunState.RUNNING, StopStage.ASKED, (False, "&Stop"), (True, "End now")),
        (RunState.RUNNING, StopStage.TERMINATED, (False, "&Stop"), (True, "Kill")),
        (RunState.STOPPED, StopStage.ENDED, (False, "&Stop"), (False, "End now")),
    ],
)
def test_a_stopping_run_can_be_ended_sooner(
    state: RunState, stage: StopStage | None, stop: tuple[bool, str], end: tuple[bool, str]
) -> None:
    target = Target(7, HERE, state, None if stage is None else Stopping(3, stage, None))
    assert (state_of("stop", target), state_of("end_now", target)) == (stop, end)
    assert not state_of("stop", Target(7))[0]


@pytest.mark.parametrize("system_dark", [False, True])
def test_the_theme_cycles_and_is_remembered(qapp: object, monkeypatch: pytest.MonkeyPatch, system_dark: bool) -> None:
    told, before, looks = list[Any](), theme().scheme, list[bool]()
    theme().set_scheme("system")
    monkeypatch.setattr(theme(), "_system_dark", system_dark)
    seen = []
    for _ in range(3):
        kept, said = do(told, "appearance")
        looks.append(theme().dark)
        assert kept == ("services.settings.setValue", "window/scheme", theme().scheme)
        seen.append((theme().scheme, said[1]))
    assert theme().scheme == "system"
    theme().set_scheme(before)
    assert looks[0] is not system_dark, "the first switch is visible"
    texts = {"system": "follows the system", "light": "light", "dark": "dark"}
    assert sorted(seen) == sorted((name, f"Appearance: {text}") for name, text in texts.items())


def test_an_experiment_is_created_from_a_file_a_folder_or_a_selected_run(monkeypatch: pytest.MonkeyPatch) -> None:
    told, answers = list[Any](), list[str]()
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (answers.pop(), ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: answers.pop())
    calls = {"new_from_file": "new_from_file", "new_from_folder": "new_from_data", "import_run": "import_run"}
    for action, call in calls.items():
        answers[:] = ["/a/chosen", ""]
        assert do(told, action) == [], "none was chosen"
        assert do(told, action) == [(f"experiment_commands.{call}", Path("/a/chosen"))]
    assert do(told, "new") == [("dialogs.chooser.open",)]
    assert do(told, "rebuild") == [("experiment_commands.rebuild",)]
    assert do(told, "demo") == [("experiment_commands.add_demo", "search")]
    assert do(told, "train_demo") == [("experiment_commands.add_demo", "define")]
    assert do(told, "empty_bin", dialogs=SimpleNamespace(window=1)) == [("experiment_commands.empty_bin", 1)]
    search = Noted(told, "search")
    assert do(told, "pretrained", show_panel={"search": search}.get) == [("search.ask_model",)]


def test_actions_on_experiments_runs_and_studies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdgui.actions.experiment._popup_position", lambda _tree: "below it")
    told = list[Any]()
    store = SimpleNamespace(
        experiment=lambda one: SimpleNamespace(tags=("e",), note=f"of {one}"),
        run=lambda one: SimpleNamespace(tags=("r",), note=f"of {one}"),
        tags=lambda: ["e", "r"],
    )
    parts = {"services": SimpleNamespace(store=store), "experiments": TREE}
    chosen, run = Selection(experiment_id=7, current_run_id=3), Selection(experiment_id=7, run_id=3)
    assert do(told, "duplicate", selection=chosen) == [("save_config",), ("experiment_commands.duplicate", 7)]
    assert do(told, "describe", selection=chosen, **parts) == [
        ("dialogs.sheet.open", (7, None), "experiment 7", ("e",), "of 7", ["e", "r"], "below it")
    ]
    assert do(told, "describe", selection=run, **parts) == [
        ("dialogs.sheet.open", (7, 3), "run 3", ("r",), "of 3", ["e", "r"], "below it")
    ]
    assert do(told, "changes", selection=chosen, **parts) == [("dialogs.activity.open_for", 7, None, "experiment 7")]
    assert do(told, "alerts", selection=run, **parts) == [("dialogs.alerts.open_for", 7, "experiment 7")]
    assert do(told, "changes", selection=run, **parts) == [("dialogs.activity.open_for", 7, 3, "run 3")]
    for row, deleted in (((7, 5), ("delete", 7)), ((None, 5), ("delete_study", 5))):
        tree = SimpleNamespace(selected_ids=lambda row=row: row)
        assert do(told, "delete", experiments=tree) == [(f"experiment_commands.{deleted[0]}", deleted[1])]
    for action in ("duplicate", "describe", "changes", "alerts"):
        assert do(told, action) == [], "nothing is chosen"
    for target, some, all_of_them in (
        (Target(), False, False),
        (Target(study_id=5), True, False),
        (Target(7), True, True),
    ):
        tree = SimpleNamespace(selected_ids=lambda target=target: (target.experiment_id, target.study_id))
        assert state_of("delete", target, experiments=tree)[0] is some
        for action in ("duplicate", "rename", "describe", "changes"):
            assert state_of(action, target)[0] is all_of_them
