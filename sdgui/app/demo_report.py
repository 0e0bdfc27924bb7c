"""The demo in the window: progress of rendering the demo data, then a search in it.

Flow: ``DemoData`` -> strip and ``message_requested`` -> the window's message bar; ``ready`` -> ``search_demo``.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from sdgui.actions.tour import offer_tour
from sdgui.actions.window import Window
from sdgui.runs.demo import DEMO_QUERY, DemoData
from sdgui.runs.models import included_models
from sdgui.widgets.message import Remedy, error, info
from sdgui.widgets.progress_strip import ProgressStrip


def show_demo(window: Window, experiment_id: int, panel: str) -> None:
    """Select the demo's main experiment and show ``panel``; Define instead of Search after the first run."""
    window.refresh()
    window.experiments.select_experiment(experiment_id)
    window.show_panel("define" if panel == "search" and not _is_new(window) else panel)
    if window.services.demo.complete:
        search_demo(window)


def search_demo(window: Window) -> None:
    """Search the demo's images and offer the tour, unless the user has switched to another panel."""
    if window.panel_name == "search" and _is_new(window):
        window.panels["search"].show_source(str(window.services.demo.search_table), DEMO_QUERY)
        offer_tour(window)


def _is_new(window: Window) -> bool:
    """Whether nothing has been trained yet, and an included model can search the demo's images."""
    return bool(included_models()) and not window.experiments.model.runs()


class DemoReport(QObject):
    """Reports the progress of the demo data. ``message_requested``: a message for the window's bar."""

    message_requested = Signal(object)  # Message

    def __init__(self, demo: DemoData, strip: ProgressStrip, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._demo, self._strip = demo, strip
        strip.cancelled.connect(self._cancel)
        demo.progress.connect(self._progress)
        demo.ready.connect(strip.finish)
        demo.failed.connect(self._on_failed)

    def _progress(self, finished: int, total: int, activity: str) -> None:
        if self._strip.isHidden():
            self._strip.start(activity, total, "images")
        self._strip.advance(finished, total, activity)

    def _on_failed(self, sentence: str, details: str) -> None:
        self._strip.finish()
        self.message_requested.emit(error(sentence, details, Remedy("Try again", self._demo.make)))

    def _cancel(self) -> None:
        self._demo.cancel()
        self._strip.finish()
        sentence = "The demo data has not been created yet. The demo experiments cannot train without it."
        self.message_requested.emit(info(sentence, remedy=Remedy("Create it", self._demo.make)))
