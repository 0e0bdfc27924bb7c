"""Look: held-out captions searched over held-out pictures, student beside teacher.

Flow: choice of run, checkpoint and data -> worker ``open`` (progress, cancel) -> captions and ranks; a caption or
typed words -> worker ``search`` -> two linked galleries. Answers to questions that are no longer asked are dropped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from core.rundir import RunState
from sdgui.panels.caption_table import NETWORKS, CaptionTable
from sdgui.panels.look_source import LookSource, LookSourceBar
from sdgui.panels.network_side import NetworkSide
from sdgui.panels.place import Place, Selection, Services
from sdgui.panels.thumbnail import Thumbnail
from sdgui.store.records import Run, StoreError
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.widgets.theme import SPACE, set_role

_HITS = 24
_TYPING = 180  # ms without a key before typed words are searched
_SETTLE = 250  # ms before a newly chosen run is opened, so that walking through the tree opens none


class LookPanel(Place):
    """Captions on the left; query, student and teacher on the right."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._run: Run | None = None
        self._wanted: LookSource | None = None  # what is being opened
        self._opened: LookSource | None = None
        self._worker_lost = False
        self._opening: int | None = None
        self._searching: int | None = None
        self._captions: list[dict[str, Any]] = []
        self._pictures = 0
        self.source = LookSourceBar(self)
        self.facts = QLabel(self)
        set_role(self.facts, "muted")
        self.strip = ProgressStrip(self)
        self.bar = MessageBar(self)
        self.captions = CaptionTable(self)
        self.query = QLineEdit(self)
        self.query.setPlaceholderText("Search the pictures by your own words")
        self.query.setAccessibleName("Search the pictures by your own words")
        self.query.setClearButtonEnabled(True)
        self.thumbnail = Thumbnail(5 * SPACE, self)
        self.asked = QLabel(self, wordWrap=True)
        cache = services.store.home / "thumbnails"
        self.sides = {network: NetworkSide(network, cache, self) for network in NETWORKS}
        self.sides["student"].gallery.link(self.sides["teacher"].gallery)
        self.empty = EmptyState("ph.image-square", "Nothing to look at yet", "")
        self._stack = QStackedWidget(self)
        self._stack.addWidget(self.empty)
        self._stack.addWidget(self._body())
        self._layout()
        self._typing = QTimer(self, singleShot=True, interval=_TYPING)
        self._typing.timeout.connect(self._search_words)
        self._settle = QTimer(self, singleShot=True, interval=_SETTLE)
        self._settle.timeout.connect(self._open)
        self._connect()

    def _layout(self) -> None:
        top = QHBoxLayout()
        top.setSpacing(2 * SPACE)
        top.addWidget(self.source)
        top.addWidget(self.facts, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2 * SPACE, SPACE, 2 * SPACE, SPACE)
        layout.setSpacing(SPACE)
        layout.addLayout(top)
        layout.addWidget(self.strip)
        layout.addWidget(self.bar)
        layout.addWidget(self._stack, 1)

    def _body(self) -> QWidget:
        right = QWidget(self)
        asked = QHBoxLayout()
        asked.setSpacing(SPACE)
        asked.addWidget(self.thumbnail)
        asked.addWidget(self.asked, 1)
        sides = QHBoxLayout()
        sides.setSpacing(2 * SPACE)
        for side in self.sides.values():
            sides.addWidget(side, 1)
        column = QVBoxLayout(right)
        column.setContentsMargins(SPACE, 0, 0, 0)
        column.setSpacing(SPACE)
        column.addWidget(self.query)
        column.addLayout(asked)
        column.addLayout(sides, 1)
        self.split = QSplitter(Qt.Orientation.Horizontal, self)
        self.split.addWidget(self.captions)
        self.split.addWidget(right)
        self.split.setStretchFactor(0, 1)
        self.split.setStretchFactor(1, 2)
        self.split.setSizes([344, 552])
        state = self._services.settings.value("look/split")
        if state is not None:
            self.split.restoreState(state)
        return self.split

    def _connect(self) -> None:
        worker = self._services.worker
        worker.progress.connect(self._progress)
        worker.done.connect(self._done)
        worker.failed.connect(self._failed)
        worker.state_changed.connect(self._worker_changed)
        self.strip.cancelled.connect(self._cancel)
        self.source.changed.connect(self._open)
        self.bar.action_triggered.connect(self._open_again)
        self.captions.chosen.connect(self._search_caption)
        self.query.textChanged.connect(lambda _text: self._typing.start())
        self.query.returnPressed.connect(self._search_words)
        self._services.tailer.state_changed.connect(self._state_changed)

    # What is shown
    def select(self, selection: Selection) -> None:
        """Look at the current run."""
        run_id = selection.current_run
        if self._run is not None and self._run.id == run_id:
            return
        try:
            self._run = self._services.store.run(run_id) if run_id is not None else None
        except StoreError as error:
            self._run = None
            self.said.emit("error", str(error), "")
        if self.isVisible():
            self._show_run()

    def entered(self) -> None:
        self._show_run()

    def focus_search(self) -> None:
        self.query.setFocus()
        self.query.selectAll()

    def left(self) -> None:
        self._services.settings.setValue("look/split", self.split.saveState())

    def _show_run(self) -> None:
        has_checkpoint = self.source.show_run(self._run)
        self.source.setVisible(has_checkpoint)
        if not has_checkpoint:
            self.facts.clear()
            self._say_empty()
            return
        source = self.source.source()
        if source is None:
            self._show_empty("No held-out pictures", "The run has no validation data; choose a table or folder above.")
        elif source != self._opened or (self._run is not None and self._run.state.alive):
            self._settle.start()
        else:
            self._stack.setCurrentIndex(1)

    def _say_empty(self) -> None:
        if self._run is None:
            text = "Launch a run; when it has saved its first checkpoint, what it learnt can be searched here."
        elif (self._services.tailer.state(self._run.id) or self._run.state).alive:
            text = "The run has saved no checkpoint yet. It will soon; this place then opens it by itself."
        else:
            text = "This run ended before its first checkpoint. Choose another run, or resume it."
        self._show_empty("Nothing to look at yet", text)

    def _show_empty(self, title: str, text: str) -> None:
        self.empty.set_content(title, text)
        self._stack.setCurrentIndex(0)

    def _state_changed(self, run_id: int, state: RunState) -> None:
        if self._run is None or run_id != self._run.id:
            return
        try:
            self._run = self._services.store.run(run_id)
        except StoreError:  # removed for good meanwhile
            self._run = None
        if self.isVisible() and (self._opened is None or not state.alive):
            self._opened = None
            self._show_run()

    # Asking the worker
    def _open(self) -> None:
        source = self.source.source()
        if source is None or (source == self._wanted and self._opening is not None):
            return
        if self._opening is not None:
            self._services.worker.cancel(self._opening)
        self.bar.clear()
        self._wanted, self._worker_lost = source, False
        self.strip.start("Opening the checkpoint")
        self._opening = self._services.worker.request(
            "open", run=str(source.run), checkpoint=source.checkpoint, data=source.data
        )
        if self._opened is None or self._opened.run != source.run:
            self._opened = None
            self._show_empty("Encoding the held-out pictures", "Student and teacher each see every picture once.")

    def _worker_changed(self, state: str) -> None:
        self._worker_lost = self._worker_lost or state == "off"

    def _open_again(self) -> None:
        self._opened = self._wanted = None
        self._open()

    def _cancel(self) -> None:
        if self._opening is not None:
            self._services.worker.cancel(self._opening)

    def _search_caption(self, caption: int) -> None:
        if caption < 0 or self._opened is None:
            return
        if self.query.text():
            self.query.blockSignals(True)
            self.query.clear()
            self.query.blockSignals(False)
        entry = self._captions[caption]
        self.asked.setText(f"“{entry['caption']}”\nthe picture it belongs to")
        self.thumbnail.show_picture(Path(str(entry["image"])))
        self.thumbnail.show()
        self._search(caption=caption)

    def _search_words(self) -> None:
        self._typing.stop()
        words = self.query.text().strip()
        if self._opened is None:
            return
        if not words:
            self._search_caption(self.captions.current())
            return
        self.thumbnail.hide()
        self.asked.setText(f"“{words}”")
        self._search(text=words)

    def _search(self, **question: Any) -> None:
        if self._worker_lost:  # a new worker has opened nothing yet
            self._open_again()
            return
        if self._searching is not None:
            self._services.worker.cancel(self._searching)
        self._searching = self._services.worker.request("search", k=_HITS, **question)

    # Answers
    def _progress(self, number: int, doing: str, done: int, total: int) -> None:
        if number == self._opening:
            what = doing[:1].upper() + doing[1:]
            self.strip.advance(done, total, what)

    def _done(self, number: int, result: dict[str, Any]) -> None:
        if number == self._opening:
            self._opening = None
            self.strip.finish()
            self._opened = self._wanted
            self._show_opened(result)
        elif number == self._searching:
            self._searching = None
            for network, side in self.sides.items():
                side.show_hits(result.get(network, []), result["true_rank"].get(network), self._pictures)

    def _failed(self, number: int, sentence: str, details: str) -> None:
        if number == self._searching:
            self._searching = None
            if sentence != "cancelled":
                self.bar.show_message("error", sentence, details)
            return
        if number != self._opening:
            return
        self._opening = None
        self.strip.finish()
        if self._opened is None:
            self._show_empty("Nothing opened", "Choose a checkpoint above, or try again.")
        if sentence == "cancelled":
            self.bar.show_message("info", "Opening was cancelled.", action="Open")
        else:
            self.bar.show_message("error", sentence, details, action="Try again")

    def _show_opened(self, result: dict[str, Any]) -> None:
        """Fill everything; over the same captions the chosen one stays, so that checkpoints can be compared by it."""
        chosen = self.captions.current() if self._captions == result["captions"] else -1
        self._captions, self._pictures = list(result["captions"]), int(result["pictures"])
        networks = [network for network in NETWORKS if network in result["weights"]]
        self.facts.setText(f"step {int(result['step']):,} · {self._pictures:,} pictures".replace(",", "\u2009"))
        for network, side in self.sides.items():
            side.setVisible(network in networks)
            side.show_recall(result["recall"].get(network, {}))
        self._stack.setCurrentIndex(1)
        self.captions.set_captions([str(entry["caption"]) for entry in self._captions], result["ranks"])
        if self.query.text().strip():
            self._search_words()
        elif chosen >= 0:
            self.captions.choose(chosen)
        else:
            self.captions.choose_first()
