"""The data picker: choose a data source, and see its summary or its data card.

Flow: a known source, or a file or folder chosen or dropped -> ``changed(str)`` -> ``DataFacts`` -> figures and
``described``. A newer request cancels the previous one; the window never waits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QShowEvent
from PySide6.QtWidgets import QComboBox, QFrame, QInputDialog, QMenu, QSizePolicy, QWidget

from core.spec.shards import may_exist, names_shards
from sdgui.shared.pickers.data_card import DataCard, figures_text, reasons_text
from sdgui.shared.pickers.data_facts import DataFacts, failure_lines
from sdgui.shared.pickers.splits import splits_beside
from sdgui.shared.services import Services
from sdgui.shared.stored_json import parse_stored
from sdgui.store.records import StoreError
from sdgui.widgets.drop_target import accept_file, dropped_file
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.file_dialogs import ask_folder, ask_open
from sdgui.widgets.formats import capitalize, count
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.input_boxes import ListOnlyComboBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.popovers.placing import move_within
from sdgui.widgets.style.theme import SPACE, set_role
from sdgui.worker.replies import Cancelled, Failure
from sdgui.worker.verbs import SourceFacts

_RECENT = "data/recent"
_REMEMBERED = 8
_MIN_CARD_PX = 64 * SPACE
_SPLITS = (("val", "validation"), ("test", "test"), ("train", "training"))
SHARDS_HINT = "WebDataset tars, such as /data/shards/{00000..00099}.tar or /data/*.tar; several with ::"
_TABLES = "Pairs (*.csv *.tsv *.tab *.jsonl *.ndjson *.json *.tar);;All files (*)"


class DataPicker(QWidget):
    """A box of sources, buttons to browse and to open the data card, and a line of statistics below."""

    changed = Signal(str)  # the source
    described = Signal(object)  # SourceFacts
    refused = Signal(str)  # why the source cannot be used
    held_out = Signal(str, str)  # paths of the training and held-out manifests

    def __init__(
        self, services: Services, images_only: bool = False, compact: bool = False, parent: QWidget | None = None
    ) -> None:
        """``images_only``: also accept a folder of images without captions or classes.

        ``compact``: the counts are in the tooltip of the box; the line below shows errors only.
        """
        super().__init__(parent)
        self._services, self._is_compact = services, compact
        self._data_facts = DataFacts(services, images_only, self)
        self.setAcceptDrops(True)
        self.box = ListOnlyComboBox(self)
        self.figures = ElidedLabel("", self)
        self._browse_button = IconButton("ph.folder-open", "Choose a file or folder of pairs", parent=self)
        self._card_button = IconButton("ph.identification-card", "Show the data card", parent=self)
        self._popup: QFrame | None = None
        self.card: DataCard | None = None
        self._listed = False
        self._offered: list[tuple[str, str]] = []
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
        row = hbox((self.box, 1), self._browse_button, self._card_button, spacing=SPACE // 2)
        vbox(row, self.figures, into=self, spacing=SPACE // 2)
        self.box.activated.connect(lambda row: self.set_source(str(self.box.itemData(row))))
        self._browse_button.clicked.connect(self._ask)
        self._card_button.clicked.connect(self.show_card)
        self._card_button.setEnabled(False)
        self._data_facts.progress.connect(self._on_progress)
        self._data_facts.described.connect(self._on_described)
        self._data_facts.refused.connect(self._on_failed)
        self._data_facts.held_out.connect(self._use_held_out)

    # Selection
    def source(self) -> str:
        """The chosen path, "" for none."""
        return self._data_facts.source

    def facts(self) -> SourceFacts | None:
        """The facts last emitted by ``described``; None if unknown."""
        return self._data_facts.facts

    def set_source(self, source: str) -> None:
        """Choose a file or folder, and add it to the list; "" chooses nothing."""
        self._show_source(source)
        if source == self._data_facts.source:
            return
        self._describe(source)
        if source:
            self._remember(source)
            self.changed.emit(source)

    def offer(self, sources: Sequence[tuple[str, str]]) -> None:
        """List the selected model's data, as (title, source), first."""
        self._offered = list(sources)
        if self._listed:
            self.refresh()

    def showEvent(self, event: QShowEvent) -> None:
        """Read the list from the store only when the picker is shown."""
        super().showEvent(event)
        if not self._listed:
            QTimer.singleShot(0, self, self.refresh)

    def refresh(self) -> None:
        """Read the known sources again: offered, recent, then those of the experiments."""
        self._listed = True
        self.box.clear()
        recent = [(_short(source), source) for source in self._recent()]
        for title, source in (*self._offered, *recent, *self._known_sources()):
            if self.box.findData(source) < 0:
                self._insert(self.box.count(), title, source)
        self._show_source(self._data_facts.source)

    def _show_source(self, source: str) -> None:
        if source and self.box.findData(source) < 0:
            self._insert(0, Path(source).name, source)
        self.box.setCurrentIndex(self.box.findData(source) if source else -1)

    def _insert(self, row: int, title: str, source: str) -> None:
        self.box.insertItem(row, title, source)
        self.box.setItemData(row, plain_tip(source), Qt.ItemDataRole.ToolTipRole)

    def _known_sources(self) -> list[tuple[str, str]]:
        try:
            experiments = self._services.store.experiments()
        except StoreError:
            return []
        titles: dict[str, str] = {}
        for experiment in reversed(experiments):
            for field, name in _SPLITS:
                source = str(getattr(experiment.config.data, field)) if experiment.config is not None else ""
                if source:
                    titles.setdefault(source, f"{experiment.name} · {name} data")
        return [(title, source) for source, title in titles.items()]

    def _recent(self) -> list[str]:
        raw = parse_stored(self._services.settings.value(_RECENT), list)
        return [source for source in raw if isinstance(source, str) and may_exist(source)]

    def _remember(self, source: str) -> None:
        other_sources = [recent for recent in self._recent() if recent != source]
        self._services.settings.setValue(_RECENT, json.dumps([source, *other_sources][:_REMEMBERED]))

    # Counting
    def _describe(self, source: str) -> None:
        self.figures.setVisible(bool(source) and not self._is_compact)
        self._card_button.setEnabled(bool(source))
        self._data_facts.set_source(source)
        if source:
            self._show_text("Counting…")
        if self.card is not None:
            self.card.show_facts()

    def _on_progress(self, activity: str, done: int) -> None:
        if done and self._data_facts.facts is None:
            self._show_text(f"{capitalize(activity)} … {count(done)}")

    def _on_described(self, result: SourceFacts) -> None:
        self._show_text(figures_text(result), reasons_text(result))
        self.described.emit(result)

    def _on_failed(self, failure: Failure) -> None:
        if isinstance(failure, Cancelled):
            self._show_text("Counting was cancelled.")
            return
        self._show_text(*failure_lines(failure), is_error=True)
        self.refused.emit(failure.text)

    def _show_text(self, text: str, tip: str = "", is_error: bool = False) -> None:
        self.figures.setText(text)
        self.figures.setToolTip(plain_tip(tip or text))
        set_role(self.figures, "error" if is_error else "small")
        if self._is_compact:
            self.figures.setVisible(is_error)
            self.box.setToolTip(plain_tip("\n".join(line for line in (self._data_facts.source, text, tip) if line)))
        self.figures.setAccessibleName(f"Data contents: {text}")
        self.box.setAccessibleDescription(text)

    # The card
    def show_card(self) -> None:
        """Open the data card below the box; it compares the source with its other splits."""
        if self._popup is None:
            self._popup = QFrame(self, Qt.WindowType.Popup)
            self.card = DataCard(self._data_facts, self._popup)
            vbox(self.card, into=self._popup)
        assert self.card is not None
        self.card.show_facts()
        self.card.set_other_splits(splits_beside(self._services.store, self._data_facts.source))
        self._popup.setFixedWidth(max(_MIN_CARD_PX, self.width()))
        self._popup.adjustSize()
        move_within(self._popup, self.box.mapToGlobal(self.box.rect().bottomLeft()))
        self._popup.show()
        self.card.hold_out.setFocus()

    def hold_out(self) -> None:
        """Write a tenth of the source, and the rest, as two manifests, emitted by ``held_out``."""
        self.show_card()
        if self.card is not None:
            self.card.hold_out.click()

    def _use_held_out(self, train: str, held_out: str) -> None:
        for source in (held_out, train):
            self._remember(source)
        self.refresh()
        self.held_out.emit(train, held_out)

    # Choosing another
    def _ask(self) -> None:
        self.menu().popup(self._browse_button.mapToGlobal(self._browse_button.rect().bottomLeft()))

    def menu(self) -> QMenu:
        """The menu for choosing other data; deleted when it closes."""
        menu = QMenu(self)
        menu.addAction("&File…").triggered.connect(lambda: self._ask_for(folder=False))
        menu.addAction("F&older…").triggered.connect(lambda: self._ask_for(folder=True))
        menu.addAction("&Shards…").triggered.connect(self._ask_for_shards)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        return menu

    def _ask_for(self, folder: bool) -> None:
        start = str(Path(self.source()).parent) if self.source() else ""
        if folder:
            selected = ask_folder(self, "Choose a folder of images", start)
        else:
            selected = ask_open(self, "Choose a table of pairs", _TABLES, start)
        if selected is not None:
            self.set_source(str(selected))

    def _ask_for_shards(self) -> None:
        start = self.source() if names_shards(self.source()) else ""
        typed, accepted = QInputDialog.getText(self, "Choose shards", SHARDS_HINT, text=start)
        if accepted and typed.strip():
            self.set_source(typed.strip())

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        accept_file(event)

    def dropEvent(self, event: QDropEvent) -> None:
        self.set_source(dropped_file(event))


def _short(source: str) -> str:
    """A short title such as ``demo-data/val.csv``, with the folder, since many tables have the same name."""
    path = Path(source)
    return f"{path.parent.name}/{path.name}" if path.parent.name else path.name
