"""The tab Retention: its points against numbers computed here, live; the path, its evaluation, and Search with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyqtgraph as pg
import pytest
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from core.spec.config import override
from core.spec.files import write_whole
from core.spec.presets import preset_config
from core.spec.run.events import Evaluated
from core.spec.run.weight_path import PATH_FILE
from sdgui.panels.runs.panel import RunsPanel
from sdgui.panels.runs.retention.points import read_run, validation_points
from sdgui.panels.runs.retention.tab import RetentionTab
from sdgui.panels.search.panel import SearchPanel
from sdgui.runs.history import RunHistory
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.shared.services import Selection, Services
from sdgui.store.records import Run
from sdgui.widgets.message import Message
from sdgui.worker.pool import WorkerPool
from sdgui.worker.replies import Cancelled, Failure
from tests.sdgui.conftest import OpenWindow
from tests.sdgui.panels.scripted_workers import Workers
from tests.sdgui.panels.search.conftest import add_checkpoint

DATA = ("data.train=/train.csv", "data.val=/val.csv", "data.retain=old=/old.csv; other=/other.csv")
SETTINGS = (*DATA, "towers.pretrained=/models/base")


def validation(step: int, gain: float, **retained: float) -> Evaluated:
    values = {f"retain/{name}/student/mean_recall": value for name, value in retained.items()}
    return Evaluated(step=step, values={"val/student/mean_recall": gain, "val/teacher/mean_recall": 0.9, **values})


INITIAL, LATER = validation(0, 0.1, old=0.8, other=0.4), validation(20, 0.3, old=0.76, other=0.36)


def path(keep: float = 0.9, step: int = 20) -> dict[str, Any]:
    """Three points; the one at 0.5 retains 90 % of "other", which is the least."""

    def point(alpha: float, gain: float, old: float, other: float) -> dict[str, Any]:
        scores = {"gain": gain, "old": old, "other": other}
        return {"alpha": alpha, "metrics": {name: {"mean_recall": value} for name, value in scores.items()}}

    points = [point(0, 0.1, 0.8, 0.4), point(0.5, 0.451, 0.76, 0.36), point(1, 0.6, 0.4, 0.4)]
    return {"step": step, "keep": keep, "alpha": 0.5, "points": points}


def add_run(services: Services, name: str = "adapted", settings: Sequence[str] = SETTINGS) -> Run:
    config = override(preset_config("clip", "tiny"), list(settings))
    run = services.store.add_run(services.store.add_experiment(config, name).id)
    run.dir.create()
    write_whole(run.dir.config, config.to_json().encode())
    add_checkpoint(run.dir.checkpoints / "step-00000020")
    return run


def report(services: Services, run: Run, *events: Evaluated) -> None:
    services.follower.curves_changed.emit(run.id, services.follower.show(run.id).apply(events))


def settle(part: RetentionTab) -> None:
    part._tasks.wait()
    QApplication.processEvents()


def shown(panel: RunsPanel, run: Run, *ticked: Run) -> RetentionTab:
    """Select the run, and show the tab."""
    panel.select(Selection(run.experiment_id, run.id, run.id, tuple(one.id for one in ticked)))
    tabs = panel.tabs.view
    panel._stack.setCurrentWidget(panel.view)
    tabs.tabs.setCurrentWidget(tabs.retention)
    settle(tabs.retention)
    return tabs.retention


def lines(part: RetentionTab) -> list[list[tuple[float, float]]]:
    """The drawn lines, of each run the path before its validations; empty ones are left out."""
    items = [item for item in part.plot.plot.plotItem.items if isinstance(item, pg.PlotDataItem)]
    drawn = [list(zip(*item.getData(), strict=True)) for item in items if item.getData()[0] is not None]
    return [[(float(x), float(y)) for x, y in line] for line in drawn if line]


def near(points: Sequence[tuple[float, float]]) -> list[Any]:
    return [pytest.approx(point) for point in points]


def offered(panel: RunsPanel) -> bool:
    tabs = panel.tabs.view
    return tabs.tabs.isTabVisible(tabs.tabs.indexOf(tabs.retention))


def test_a_validation_retains_the_smallest_share_of_the_initial_recall() -> None:
    history = RunHistory()
    # in another order, with a set without recall at first, a test result, and a metric of the teacher
    history.apply([validation(0, 0.1, old=0.8, other=0.4, never=0.0), LATER, validation(1200, 0.35, old=0.9)])
    history.apply([Evaluated(step=1200, values={"test/student/mean_recall": 0.7})])
    points = validation_points(history)
    assert [point.gained for point in points] == [0.1, 0.3, 0.35]
    assert [point.retained for point in points] == pytest.approx([1.0, min(0.76 / 0.8, 0.36 / 0.4), 0.9 / 0.8])
    assert [point.text for point in points] == [
        "step 0: gained 10.0 %, retained 100.0 % of old, 100.0 % of other",
        "step 20: gained 30.0 %, retained 95.0 % of old, 90.0 % of other",
        "step 1,200: gained 35.0 %, retained 112.5 % of old",
    ]
    assert validation_points(None) == ()
    without_start = RunHistory()
    without_start.apply([LATER])
    assert validation_points(without_start) == (), "there is no initial model to compare with"


def test_a_zoomed_plane_stays_while_the_run_reports_and_a_double_click_resets_it(
    panel: RunsPanel, services: Services
) -> None:
    run = add_run(services)
    report(services, run, INITIAL, LATER)
    part = shown(panel, run)
    box = part.plot.plot.getViewBox()
    everything = box.viewRange()
    box.showAxRect(QRectF(QPointF(89, 29), QPointF(91, 31)), padding=0)  # as a drag does
    QApplication.processEvents()
    assert "Double-click" in part.plot.note.text()
    zoomed = box.viewRange()
    assert zoomed == near([(89, 91), (29, 31)])
    report(services, run, validation(40, 0.31, old=0.76, other=0.36))
    assert box.viewRange() == zoomed
    assert lines(part) == [near([(100, 10), (90, 30), (90, 31)])]
    box.reset_requested.emit()
    QApplication.processEvents()
    assert box.viewRange()[0] == pytest.approx(everything[0])
    assert box.viewRange()[1][1] > everything[1][1], "the new point is in the view"
    assert "Drag to zoom" in part.plot.note.text()


def test_the_tab_is_offered_with_retained_data_and_follows_the_run(panel: RunsPanel, services: Services) -> None:
    run = add_run(services)
    panel.select(Selection(run.experiment_id, run.id, run.id))
    report(services, run, Evaluated(step=0, values={"val/student/mean_recall": 0.1}))
    assert not offered(panel)
    report(services, run, INITIAL)
    assert offered(panel)
    part = shown(panel, run)
    assert lines(part) == [near([(100, 10)])]
    report(services, run, LATER)
    assert lines(part) == [near([(100, 10), (90, 30)])], "live"
    assert part.plot.accessibleDescription().startswith("1 run; adapted · run 1, step 20: gained 30.0 %")
    scene = part.plot.plot.getViewBox().mapViewToScene(QPointF(90, 30))
    assert part.plot.text_at(scene) == (
        "adapted · run 1, step 20: gained 30.0 %, retained 95.0 % of old, 90.0 % of other"
    )
    part.plot._on_mouse_moved(scene)
    assert part.plot.note.text() == part.plot.text_at(scene)
    assert "step 20" in part.plot.plot.toolTip()
    part.plot._on_mouse_moved(part.plot.plot.getViewBox().mapViewToScene(QPointF(95, 12)))
    assert "Point at a dot" in part.plot.note.text()
    assert part.plot.plot.toolTip() == ""
    other = add_run(services, "plain", DATA[:2])
    part = shown(panel, other)
    assert part._stack.currentWidget() is part.empty, "the tab stays while it is the current one"
    assert "data.retain" in part.empty.accessibleDescription()
    report(services, other, Evaluated(step=0, values={"retain/old/student/mean_recall": 0.8}))
    assert "data.val" in part.empty.accessibleDescription()
    tabs = panel.tabs.view
    tabs.tabs.setCurrentWidget(tabs.grid)
    third = add_run(services, "third", DATA[:2])
    panel.select(Selection(third.experiment_id, third.id, third.id))
    assert not offered(panel)


def test_paths_of_the_shown_runs_are_drawn_and_the_chosen_weights_are_named(
    panel: RunsPanel, services: Services
) -> None:
    run, other = add_run(services), add_run(services, "other", [*SETTINGS, "checkpoint.keep_retained=0.8"])
    for one in (run, other):
        report(services, one, INITIAL, LATER)
    write_whole(run.folder / PATH_FILE, json.dumps(path()).encode())
    part = shown(panel, run, other)
    validations = near([(100, 10), (90, 30)])
    assert lines(part) == [near([(100, 10), (90, 45.1), (50, 60)]), validations, validations]
    items = part.plot.plot.plotItem.items
    assert {item.textItem.toPlainText() for item in items if type(item) is pg.TextItem} == {"0", "0.5", "1"}
    (keep,) = (item for item in items if isinstance(item, pg.InfiniteLine))
    assert keep.value() == 95, "the default, since the run keeps no share"
    assert part.line.text() == "alpha 0.5 gains most while it retains 90 %: gained 45.1 %, retained 90.0 %"
    write_whole(run.folder / PATH_FILE, json.dumps(path(step=10)).encode())
    part._read()
    settle(part)
    assert part.line.text().startswith("path of step 10, not of the best, 20: alpha 0.5 gains most")
    chosen: list[ModelChoice] = []
    part.search_requested.connect(chosen.append)
    part.search.click()
    name = f"interpolated:{run.folder}@best@0.5"
    assert chosen == [ModelChoice(name, "", "adapted · run 1", run.id)]
    part = shown(panel, other, run)
    (keep,) = (item for item in part.plot.plot.plotItem.items if isinstance(item, pg.InfiniteLine))
    assert keep.value() == 80
    anchors = [part.plot._keep_line(QColor("grey"), middle).label.anchors[0][0] for middle in (75.0, 90.0)]
    assert (anchors[0] > 1, anchors[1] < 0) == (True, True), "the label is on the side with room"
    assert (part.line.text(), part.search.isVisible(), part.evaluate.isEnabled()) == ("", False, True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not JSON"),
        (json.dumps(path()).replace("0.451", "1e999"), "not finite"),
        (json.dumps(path()).replace("0.451", "7"), "no mean_recall from 0 to 1 on gain"),
        ("[" * 100_000, "nested"),
        ("x" * (9 << 20), "larger than 8 MB"),
    ],
)
def test_a_damaged_or_hostile_path_is_a_sentence_and_the_validations_stay(
    content: str, words: str, panel: RunsPanel, services: Services
) -> None:
    run = add_run(services)
    report(services, run, INITIAL, LATER)
    (run.folder / PATH_FILE).write_text(content)
    part = shown(panel, run)
    assert PATH_FILE in part.line.text()
    assert words in part.line.text()
    assert lines(part) == [near([(100, 10), (90, 30)])]
    assert (part.evaluate.isEnabled(), part.search.isVisible()) == (True, False), "it can be evaluated again"


def test_names_of_data_sets_in_a_received_path_are_shown_as_plain_text(panel: RunsPanel, services: Services) -> None:
    name = "<img src=x>\n" + "a" * 5000
    run, content = add_run(services), path()
    for point in content["points"]:
        point["metrics"][name] = {"mean_recall": 0.1}
    report(services, run, INITIAL)
    write_whole(run.folder / PATH_FILE, json.dumps(content).encode())
    part = shown(panel, run)
    part.plot._on_mouse_moved(part.plot.plot.getViewBox().mapViewToScene(QPointF(50, 60)))
    text = part.plot.note.text()
    assert "100.0 % of <img src=x>\N{REPLACEMENT CHARACTER}aaa" in text
    assert len(text) < 200
    assert part.plot.note.textFormat() == Qt.TextFormat.PlainText
    assert "<img" not in part.plot.plot.toolTip()


@pytest.mark.parametrize(
    ("settings", "fields", "words"),
    [
        (SETTINGS, {}, ""),
        (DATA, {}, "This run was trained from scratch"),
        ((DATA[0], *SETTINGS[2:]), {}, "This run has no validation data"),
        ((*DATA[:2], SETTINGS[3]), {}, "This run has no retained data"),
        (SETTINGS, {"machine": "far"}, "This run is on far; evaluate its path there"),
        (SETTINGS, {"owner_host": "elsewhere"}, "The folder of this run is on elsewhere"),
    ],
)
def test_the_button_says_why_a_path_cannot_be_evaluated(
    settings: Sequence[str], fields: Mapping[str, str], words: str, services: Services
) -> None:
    run = add_run(services, settings=settings)
    for name, value in fields.items():
        object.__setattr__(run, name, value)
    refusal = read_run(run).refusal
    assert refusal.startswith(words)
    assert bool(refusal) == bool(words)


def test_a_run_without_checkpoint_or_config_has_no_path(services: Services) -> None:
    run = add_run(services)
    for file in run.dir.checkpoints.glob("*/*"):
        file.unlink()
    assert read_run(run).refusal == "This run has not saved a checkpoint yet."
    run.dir.config.unlink()
    assert "cannot read the config" in read_run(run).refusal


def test_the_path_is_evaluated_in_the_worker_of_the_run(
    panel: RunsPanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = Workers()
    monkeypatch.setattr(WorkerPool, "client", lambda _self, key, title="": workers.client(key, title))
    run = add_run(services, settings=[*SETTINGS, "checkpoint.keep_retained=0.9"])
    report(services, run, INITIAL, LATER)
    part = shown(panel, run)
    assert panel.progress == (part.strip,)
    messages: list[Message] = []
    panel.message_requested.connect(messages.append)
    assert part.evaluate.isEnabled()
    part.evaluate.click()
    worker = workers[f"{run.folder}@best"]
    assert worker.last("interpolate") == {"model": f"{run.folder}@best", "keep": 0.9}
    assert (part.evaluate.isEnabled(), part.line.text()) == (False, "The path of a run is being evaluated.")
    worker.progress.emit(1, "evaluating alpha 0.5", 5, 10)
    assert part.strip.text.startswith("Evaluating alpha 0.5 · 50 %")
    part.strip._cancel.click()
    assert worker.given_up == ["interpolate"]
    worker.fail("interpolate", Cancelled())
    assert [message.text for message in messages] == ["The evaluation of the path was cancelled."]
    assert (part.evaluate.isEnabled(), part.strip.isVisible()) == (True, False)
    part.evaluate.click()
    worker.fail("interpolate", Failure("The data /val.csv does not exist."))
    assert [message.text for message in messages[1:]] == ["The data /val.csv does not exist."]
    part.evaluate.click()
    write_whole(run.folder / PATH_FILE, json.dumps(path()).encode())
    worker.answer("interpolate", {"alpha": 0.5, "notes": ["1 row of /val.csv was skipped.", "line 7"]})
    settle(part)
    assert (messages[-1].text, messages[-1].details) == ("1 row of /val.csv was skipped.", "line 7")
    assert part.line.text().startswith("alpha 0.5 gains most while it retains 90 %")
    assert lines(part)[0] == near([(100, 10), (90, 45.1), (50, 60)])
    assert (part.evaluate.isEnabled(), part.search.isVisible(), part.strip.isVisible()) == (True, True, False)


def test_use_in_search_opens_search_with_the_chosen_weights(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window()
    run = add_run(window.services)
    window.reload()
    panel = window.show_panel("runs")
    assert isinstance(panel, RunsPanel)
    name = f"interpolated:{run.folder}@best@0.5"
    panel.tabs.view.retention.search_requested.emit(ModelChoice(name, "", "adapted · run 1", run.id))
    search = window.panels["search"]
    assert isinstance(search, SearchPanel)
    assert window.panel_name == "search"
    source = search.view.source
    choice = source.pickers[0].choice()
    assert choice is not None
    assert (choice.model, choice.run_id, source.comparing) == (name, run.id, False)
    assert source.interpolations[0].slider.value() == 50
