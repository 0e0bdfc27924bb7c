"""Choose a data source, and see what it contains: pairs, labels, bad rows.

Flow: a known source, or a file or folder chosen or dropped -> ``changed(str)`` -> the pool's worker ``describe_source``
-> a line of figures and ``described``. A newer request cancels the previous one; the window never waits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QShowEvent
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QInputDialog,
    QMenu,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from core.spec.shards import may_be_there, names_shards
from sdgui.shared.services import Services
from sdgui.store.records import StoreError
from sdgui.widgets.drop_target import accept_file, dropped_file
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.formats import count
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.no_wheel_combo_box import NoWheelComboBox
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE, set_role
from sdgui.worker.calls import WorkerCalls
from sdgui.worker.pool import DATA
from sdgui.worker.replies import Cancelled, Failure
from sdgui.worker.verbs import DESCRIBE_SOURCE, SourceFacts

_RECENT = "data/recent"
_REMEMBERED = 8
_SPLITS = (("val", "validation"), ("test", "test"), ("train", "training"))
SHARDS_HINT = "Tars as WebDataset names them, such as /data/shards/{00000..00099}.tar or /data/*.tar; several with ::"
_TABLES = "Pairs (*.csv *.tsv *.tab *.jsonl *.ndjson *.json *.tar);;All files (*)"


class DataPicker(QWidget):
    """A box of sources, a button to choose another, and a line of figures under them."""

    changed = Signal(str)  # the source
    described = Signal(object)  # dict: source, format, pairs, pictures, labels, bad, reasons
    refused = Signal(str)  # why the source cannot be used

    def __init__(self, services: Services, pictures_only: bool = False, parent: QWidget | None = None) -> None:
        """``pictures_only``: a folder of bare pictures, without captions or classes, will do."""
        super().__init__(parent)
        self._services, self._pictures_only = services, pictures_only
        self._calls = WorkerCalls(services.pool.client(DATA, "data"), self)
        self._source = ""
        self._facts: SourceFacts | None = None
        self.setAcceptDrops(True)
        self.box = NoWheelComboBox(self)
        self.figures = ElidedLabel("", self)
        self._browse = IconButton("ph.folder-open", "Choose a file or folder of pairs", parent=self)
        self._listed = False
        self._build()

    def _build(self) -> None:
        self.box.setAccessibleName("Data")
        self.box.setPlaceholderText("Choose data, or drop a file or folder")
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setMinimumContentsLength(18)
        self.box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusProxy(self.box)
        set_role(self.figures, "small")
        self.figures.hide()
        row = QHBoxLayout()
        row.setSpacing(SPACE // 2)
        row.addWidget(self.box, 1)
        row.addWidget(self._browse)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACE // 2)
        column.addLayout(row)
        column.addWidget(self.figures)
        self.box.activated.connect(lambda row: self.set_source(str(self.box.itemData(row))))
        self._browse.clicked.connect(self._ask)
        self._calls.progress.connect(self._progress)

    # What is chosen
    def source(self) -> str:
        """The path that is chosen, "" for none."""
        return self._source

    def facts(self) -> SourceFacts | None:
        """The facts last given by ``described``; None while they are not known."""
        return self._facts

    def set_source(self, source: str, title: str = "") -> None:
        """Choose a file or folder; it is listed when it is not yet. "" chooses nothing."""
        if source and self.box.findData(source) < 0:
            self._insert(0, title or Path(source).name, source)
        self.box.setCurrentIndex(self.box.findData(source) if source else -1)
        if source == self._source:
            return
        self._source, self._facts = source, None
        self._describe()
        if source:
            self._remember(source)
            self.changed.emit(source)

    def showEvent(self, event: QShowEvent) -> None:
        """The list is read from the store; a panel is on screen before its pickers have theirs."""
        super().showEvent(event)
        if not self._listed:
            QTimer.singleShot(0, self, self.refresh)

    def refresh(self) -> None:
        """Read the known sources again: recent ones, then those of the experiments."""
        self._listed = True
        self.box.clear()
        for source in self._recent():
            self._insert(self.box.count(), _short(source), source)
        for title, source in self._known():
            if self.box.findData(source) < 0:
                self._insert(self.box.count(), title, source)
        if self._source and self.box.findData(self._source) < 0:
            self._insert(0, Path(self._source).name, self._source)
        self.box.setCurrentIndex(self.box.findData(self._source) if self._source else -1)

    def _insert(self, row: int, title: str, source: str) -> None:
        self.box.insertItem(row, title, source)
        self.box.setItemData(row, plain_tip(source), Qt.ItemDataRole.ToolTipRole)

    def _known(self) -> list[tuple[str, str]]:
        try:
            experiments = self._services.store.experiments()
        except StoreError:
            return []
        found: dict[str, str] = {}
        for experiment in reversed(experiments):
            for field, name in _SPLITS:
                source = str(getattr(experiment.config.data, field)) if experiment.config is not None else ""
                if source:
                    found.setdefault(source, f"{experiment.name} · {name} data")
        return [(title, source) for source, title in found.items()]

    def _recent(self) -> list[str]:
        try:
            raw = json.loads(str(self._services.settings.value(_RECENT) or "[]"))
        except ValueError:
            return []
        return [one for one in raw if isinstance(one, str) and may_be_there(one)] if isinstance(raw, list) else []

    def _remember(self, source: str) -> None:
        others = [one for one in self._recent() if one != source]
        self._services.settings.setValue(_RECENT, json.dumps([source, *others][:_REMEMBERED]))

    # Counting
    def _describe(self) -> None:
        self._calls.drop("describe")
        self.figures.setVisible(bool(self._source))
        if self._source:
            self._say("Counting …")
            arguments = {"source": self._source, "pictures_only": self._pictures_only}
            self._calls.ask("describe", DESCRIBE_SOURCE, self._done, self._failed, None, **arguments)

    def _progress(self, _purpose: str, doing: str, done: int, _total: int) -> None:
        if done:
            self._say(f"{doing[:1].upper()}{doing[1:]} … {count(done)}")

    def _done(self, result: SourceFacts) -> None:
        self._facts = result
        self._say(figures_text(result), reasons_text(result), "small")
        self.described.emit(result)

    def _failed(self, failure: Failure) -> None:
        if isinstance(failure, Cancelled):
            self._say("Counting was cancelled.")
            return
        first = (failure.text.splitlines() or ["The data cannot be read."])[0]
        self._say(first, "\n".join(part for part in (failure.text, failure.details) if part), "error")
        self.refused.emit(failure.text)

    def _say(self, text: str, tip: str = "", role: str = "small") -> None:
        self.figures.setText(text)
        self.figures.setToolTip(plain_tip(tip or text))
        set_role(self.figures, "error" if role == "error" else "small")
        self.figures.setAccessibleName(f"Contents of the data: {text}")
        self.box.setAccessibleDescription(text)

    # Choosing another
    def _ask(self) -> None:
        menu = QMenu(self)
        menu.addAction("&File …").triggered.connect(lambda: self._ask_for(folder=False))
        menu.addAction("F&older …").triggered.connect(lambda: self._ask_for(folder=True))
        menu.addAction("&Shards …").triggered.connect(self._ask_for_shards)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self._browse.mapToGlobal(self._browse.rect().bottomLeft()))

    def _ask_for(self, folder: bool) -> None:
        start = str(Path(self._source).parent) if self._source else ""
        if folder:
            found = QFileDialog.getExistingDirectory(self, "Choose a folder of pictures", start)
        else:
            found, _ = QFileDialog.getOpenFileName(self, "Choose a table of pairs", start, _TABLES)
        if found:
            self.set_source(found)

    def _ask_for_shards(self) -> None:
        start = self._source if names_shards(self._source) else ""
        found, chosen = QInputDialog.getText(self, "Choose shards", SHARDS_HINT, text=start)
        if chosen and found.strip():
            self.set_source(found.strip())

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        accept_file(event)

    def dropEvent(self, event: QDropEvent) -> None:
        self.set_source(dropped_file(event))


def _short(source: str) -> str:
    """``demo-data/val.csv``: the name with its folder, since many tables are called the same."""
    path = Path(source)
    return f"{path.parent.name}/{path.name}" if path.parent.name else path.name


def figures_text(facts: Mapping[str, Any]) -> str:
    """``4 100 pairs · 1 320 pictures · concept: 55 classes · 3 bad rows · CSV``."""
    pairs, pictures, bad = int(facts["pairs"]), int(facts["pictures"]), int(facts["bad"])
    parts = [f"{count(pairs)} {'pair' if pairs == 1 else 'pairs'}"] if pairs else []
    parts.append(f"{count(pictures)} {'picture' if pictures == 1 else 'pictures'}")
    parts += [f"{name}: {count(classes)} classes" for name, classes in facts["labels"].items()]
    if bad:
        parts.append(f"{count(bad)} bad {'row' if bad == 1 else 'rows'}")
    return " · ".join([*parts, str(facts["format"])])


def reasons_text(facts: Mapping[str, Any]) -> str:
    """The first bad rows with their reasons, one a line; "" when there is none."""
    reasons, bad = list(facts["reasons"]), int(facts["bad"])
    more = [f"and {count(bad - len(reasons))} more"] if bad > len(reasons) else []
    return "\n".join([figures_text(facts), "", "Skipped:", *reasons, *more]) if reasons else ""
