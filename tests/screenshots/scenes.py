"""What is photographed: each panel brought into a state that shows what it is for.

Flow: ``SCENES`` by panel -> ``__main__`` calls the scene and grabs the window when it is still, light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from core.spec.machines.answers import Facts
from core.spec.machines.machine import LOCAL
from sdgui.app.main_window import MainWindow
from sdgui.panels.caption.model import Entry
from sdgui.panels.caption.panel import CaptionsPanel
from sdgui.panels.classify.panel import ClassifyPanel
from sdgui.panels.clean.panel import CleanPanel
from sdgui.panels.data.panel import DataPanel
from sdgui.panels.runs.panel import RunsPanel
from sdgui.panels.search.panel import SearchPanel
from sdgui.panels.study.panel import StudyPanel
from sdgui.shared.pickers.model_chip import ModelChip
from tests.screenshots.home import TrainedStudy, list_study
from tests.screenshots.waiting import settle, until

QUERIES = ("vehicle", "fruit")
_CAPTIONED, _EVERY = 24, 29  # images, and how far they lie apart in their table


@dataclass(frozen=True)
class Stage:
    """The window, the home of its studies, and the one that is listed: a comparison of presets."""

    window: MainWindow
    home: Path
    study: TrainedStudy

    @classmethod
    def of(cls, window: MainWindow, home: Path) -> Stage:
        """With the studies in ``home``."""
        return cls(window, home, list_study(window, home, "wrong-captions"))

    def run(self, arm: str) -> int:
        """The id of the first run of ``arm``."""
        folder = self.study.run_folder(arm)
        return next(run.id for run in self.window.services.store.runs() if run.folder == folder)

    def select_run(self, arm: str) -> None:
        self.window.experiments.select_run(self.run(arm))

    def select_experiment(self, arm: str) -> None:
        record = self.window.services.store.run(self.run(arm))
        self.window.experiments.select_experiment(record.experiment_id)

    def select_study(self, study: TrainedStudy) -> None:
        self.window.experiments.select(self.window.experiments.model.study_index(study.id))


def choose_included(picker: ModelChip) -> None:
    """Choose the included model."""
    picker.choose_included()
    until(lambda: picker.choice() is not None, "the included model")


def home(stage: Stage) -> None:
    """What was trained, with its curves and images."""
    stage.window.show_panel("home")
    settle(4.0)  # events are read, thumbnails come


def define(stage: Stage) -> None:
    """The config of a self-distilling experiment: what it says of its teacher."""
    panel = stage.window.show_panel("define")
    stage.select_experiment("sd-clip")
    settle(1.0)
    panel.focus_search()
    line = QApplication.focusWidget()
    assert line is not None
    QTest.keyClicks(line, "teacher")
    settle(0.5)


def runs(stage: Stage) -> None:
    """The curves of all runs of the study."""
    panel = stage.window.show_panel("runs")
    assert isinstance(panel, RunsPanel)
    stage.select_study(stage.study)
    listed = [str(run.id) for run in stage.window.services.store.runs()]
    metric = "val/student/mean_recall"
    until(lambda: all(len(panel.tabs.view.grid.points(run, metric)[0]) for run in listed), "the curves")


def classify(stage: Stage) -> None:
    """Held-out images by their group: zero-shot, and a linear probe in its confusion matrix, with a cell's images."""
    panel = stage.window.show_panel("classify")
    assert isinstance(panel, ClassifyPanel)
    source = panel.view.source
    choose_included(source.model)
    source.set_label("group")
    source.data.set_source(str(stage.study.data("unseen")))
    source.set_training(str(stage.study.data("train")))
    until(lambda: source.data.facts() is not None and source.train_label.count() > 1, "the data's contents")
    for number, method in enumerate(("zero-shot", "probe"), start=1):
        source.set_method(method)
        source.classify_button.click()
        until(lambda number=number: len(panel.view.results.results()) == number, f"the result of {method}")  # type: ignore[misc]
    panel.view.tabs.setCurrentWidget(panel.view.matrix)
    panel.view.matrix.pairs.row_activated.emit(0)
    until(lambda: bool(panel.view.matrix.gallery.model.rowCount()), "the images of the most confused pair")
    until(lambda: not panel.view.matrix.gallery.thumbnails.pending(), "thumbnails")
    settle(1.0)


def search(stage: Stage) -> None:
    """The last of ``QUERIES``, on the training data."""
    for _ in searches(stage):
        pass


def searches(stage: Stage) -> Iterator[str]:
    """Each of ``QUERIES``, once its results are shown."""
    panel = stage.window.show_panel("search")
    assert isinstance(panel, SearchPanel)
    choose_included(panel.view.source.pickers[0])
    session = panel.sessions[0]
    for query in QUERIES:
        before = panel.queries.number
        if query == QUERIES[0]:
            panel.show_source(str(stage.study.data("train")), query)
        else:
            panel.view.query.line.selectAll()
            QTest.keyClicks(panel.view.query.line, query)
        until(lambda before=before: panel.queries.number > before and panel.queries.answered, "the results")  # type: ignore[misc]
        until(lambda: session.facts is not None and not session.opening and panel.queries.answered, "all images")
        until(lambda: not any(side.gallery.thumbnails.pending() for side in panel.view.sides), "thumbnails")
        yield query


def caption(stage: Stage) -> None:
    """Held-out images with their captions."""
    panel = stage.window.show_panel("caption")
    assert isinstance(panel, CaptionsPanel)
    choose_included(panel.view.tools.pickers["a"])
    chosen = [str(path) for path in stage.study.images[5::_EVERY][:_CAPTIONED]]
    panel.add_paths(chosen)
    until(lambda: len(panel.model.entries()) == len(chosen), "the list")
    until(lambda: all("a" in entry.captions for entry in panel.model.entries()), "the captions")
    panel.view.list.choose(max(panel.model.entries(), key=_score).path)
    settle(1.0)


def _score(entry: Entry) -> float:
    found = entry.candidate()
    return -math.inf if found is None or found.score is None else found.score


def clean(stage: Stage) -> None:
    """Training pairs with the lowest match scores."""
    panel = stage.window.show_panel("clean")
    assert isinstance(panel, CleanPanel)
    source = panel.view.source
    source.model.choose_run(stage.run("sd-clip"))
    until(lambda: source.model.choice() is not None, "the run")
    source.model.set_network("teacher")
    source.data.set_source(str(stage.study.data("noisy")))
    until(source.rank_button.isEnabled, "the data")
    panel.rank()
    until(lambda: panel.ranked is not None, "the ranking")
    panel.view.filter_box.setText("person")
    until(lambda: not panel.view.gallery.thumbnails.pending(), "thumbnails")
    settle(1.0)


def study(stage: Stage) -> None:
    """The comparison of the arms."""
    panel = stage.window.show_panel("study")
    assert isinstance(panel, StudyPanel)
    study = list_study(stage.window, stage.home, "noisy-draws")
    panel.show_study(study.id)
    stage.select_study(study)
    settle(1.0)


def data(stage: Stage) -> None:
    """Held-out images with their captions and labels."""
    panel = stage.window.show_panel("data")
    assert isinstance(panel, DataPanel)
    panel.show_source(str(stage.study.data("unseen")))
    until(lambda: panel.facts is not None, "the figures of the data")
    settle(3.0)  # rows and thumbnails


def machines(stage: Stage) -> None:
    """The queue and this computer, as if it were always the same."""
    stage.window.show_panel("machines")
    hosts = stage.window.services.hosts
    until(lambda: hosts.facts(LOCAL) is not None, "what this computer has")
    hosts.probed.emit(LOCAL, Facts(host="here", cores=2))


SCENES: dict[str, Callable[[Stage], None]] = {
    "home": home,
    "runs": runs,
    "define": define,
    "study": study,
    "machines": machines,
    "data": data,
    "search": search,
    "classify": classify,
    "caption": caption,
    "clean": clean,
}
