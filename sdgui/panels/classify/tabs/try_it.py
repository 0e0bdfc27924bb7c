"""The Try it tab: classifies dropped or pasted images with the probe and, zero-shot, among typed class names.

Flow: ``DropTarget`` -> gallery; the current image -> ``predictions_requested`` -> the panel asks the worker ->
``show_answer``. After a pause in typing, the current image is classified again, then the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSettings, Qt, QTimer, Signal
from PySide6.QtWidgets import QPlainTextEdit, QPushButton, QSplitter, QWidget

from sdgui.panels.classify.tabs.share_bar import SHARE_ROLE, Share
from sdgui.panels.classify.tabs.table import ClassTable
from sdgui.shared.tables import Column
from sdgui.widgets.drop_target import DropTarget
from sdgui.widgets.dropped_files import IMAGE_FILTER
from sdgui.widgets.file_dialogs import ask_open_several
from sdgui.widgets.formats import count, percent
from sdgui.widgets.gallery.gallery import Gallery, GalleryItem
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.layouts.splits import remember_sizes
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, set_role

_TYPING_PAUSE_MS = 60
_IMAGES_PER_REQUEST = 16  # the current image has a request of its own
_MAX_NAMES = 200
_NAMES = "classify/names"


def _columns() -> list[Column]:
    return [
        Column("Class", lambda row: str(row["class"])),
        Column(
            "Probability",
            lambda row: percent(row["probability"]),
            lambda row: row["probability"],
            roles={SHARE_ROLE: lambda row: Share(row["probability"])},
        ),
    ]


class TryTab(QWidget):
    """Images on the left; class names and the predictions of probe and zero-shot on the right."""

    predictions_requested = Signal(list, list, bool)  # images, typed names, whether this is the current image
    refused = Signal(list)  # (file, reason)

    def __init__(self, home: Path, settings: QSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        self._classifier: object = None  # the probe or model that classifies
        self._names: list[str] | None = None  # the typed names of the last request
        self._answers: dict[str, Mapping[str, Any]] = {}  # image -> its answer to ``question``
        self._shown_image = ""  # the image whose classes are shown
        self._waiting: list[str] = []
        self._class_names: list[str] = []
        self.drop = DropTarget(home / "pasted", "Classify these images", self)
        self.gallery = Gallery(home / "thumbnails", "Drop or paste images here (Ctrl+V), or choose image files.", self)
        self.names = QPlainTextEdit(self)
        self.by_probe = ClassTable("Probe predictions", _columns(), "", self)
        self.by_names = ClassTable("Zero-shot predictions", _columns(), "", self)
        self.probe_title = PlainLabel(self, wordWrap=True, role="title")
        self.error_label = PlainLabel(self, wordWrap=True, role="error")
        self.names_from_data = QPushButton("From the data", self)
        self.choose_button = QPushButton("Choose ima&ges…", self)
        self.clear_button = QPushButton("Remove all", self)
        self._build()
        self._typing = QTimer(self, singleShot=True, interval=_TYPING_PAUSE_MS)
        self._typing.timeout.connect(self.ask)
        self._connect()

    def _build(self) -> None:
        self.names.setPlaceholderText("Class names, one per line or separated by commas: a cat, a dog, ein Apfel")
        self.names.setAccessibleName("Class names for zero-shot classification")
        self.names.setToolTip("Zero-shot classification among these names; updates as you type")
        self.names.setTabChangesFocus(True)
        self.names.setFixedHeight(9 * SPACE)
        self.names.setPlainText(str(self._settings.value(_NAMES) or ""))
        self.error_label.hide()
        left, right = QWidget(self), QWidget(self)
        self.choose_button.setToolTip("Choose image files")
        self.clear_button.setToolTip("Remove all images")
        vbox((self.gallery, 1), hbox(self.choose_button, self.clear_button, None), into=left, spacing=SPACE // 2)
        self.drop.set_content(left)
        set_role(self.names_from_data, "flat")
        names = hbox((PlainLabel("Zero-shot with typed class names", self, role="title"), 1), self.names_from_data)
        probe = (self.error_label, self.probe_title, (self.by_probe, 1))
        margins = (SPACE, 0, 0, 0)
        vbox(*probe, names, self.names, (self.by_names, 1), into=right, spacing=SPACE // 2, margins=margins)
        self.split = QSplitter(Qt.Orientation.Horizontal, self, childrenCollapsible=False)
        self.split.addWidget(self.drop)
        self.split.addWidget(right)
        self.split.setSizes([380, 380])
        remember_sizes(self.split, self._settings, "classify/try")
        vbox(self.split, into=self, margins=(SPACE, SPACE, 0, 0))
        for table in (self.by_probe, self.by_names):
            table.sort_by(1, descending=True)
        self.set_class_names([])
        self.show_probe("")

    def set_class_names(self, names: Sequence[str]) -> None:
        """Set the names that *From the data* fills in, at most ``_MAX_NAMES``."""
        self._class_names = list(names)[:_MAX_NAMES]
        only = f", only the first {_MAX_NAMES} of {count(len(names))}" if len(names) > _MAX_NAMES else ""
        self.names_from_data.setToolTip(plain_tip(f"Use the class names of the current result{only}"))
        self.names_from_data.setEnabled(bool(names))

    def _connect(self) -> None:
        self.drop.dropped.connect(self.add)
        self.drop.refused.connect(self.refused)
        self.choose_button.clicked.connect(self._choose_files)
        self.names_from_data.clicked.connect(lambda: self.names.setPlainText("\n".join(self._class_names)))
        self.clear_button.clicked.connect(lambda: self._remove(list(range(self.gallery.model.rowCount()))))
        self.gallery.current_changed.connect(lambda _row: self._show_current())
        self.gallery.remove_requested.connect(self._remove)
        self.names.textChanged.connect(self._typing.start)

    def save(self) -> None:
        """Save the typed names."""
        self._settings.setValue(_NAMES, self.names.toPlainText())

    # Images and names
    def add(self, paths: Sequence[str]) -> None:
        """Add images that are not listed yet; the first of them becomes the current image."""
        existing = {str(item.path) for item in self.gallery.model.items()}
        new = [path for path in dict.fromkeys(paths) if path not in existing]
        first = self.gallery.model.rowCount()
        self.gallery.model.append([GalleryItem(Path(path), "") for path in new])
        if new:
            self.gallery.set_current(first)
            self._waiting += new
            self._show_current()
            self.ask()

    def typed_names(self) -> list[str]:
        """The typed names: one per line, or in a single line separated by commas."""
        text = self.names.toPlainText()
        # with one name per line, names may contain commas
        parts = text.split("\n") if "\n" in text.strip() else text.split(",")
        return [name.strip() for name in parts if name.strip()]

    def current(self) -> str:
        """The path of the current image; "" if there is none."""
        row = self.gallery.current()
        return str(self.gallery.model.item(row).path) if row >= 0 else ""

    @property
    def question(self) -> tuple[object, tuple[str, ...]]:
        """What the answers depend on: the probe or model, and the typed names."""
        return self._classifier, tuple(self._names or ())

    def show_probe(self, title: str, classifier: object = None) -> None:
        """Show the probe's title, "" if there is none. A new ``classifier`` discards the answers."""
        text = f"Probe: {title}" if title else "No probe yet: fit a linear or fused probe, or load a saved probe"
        self.probe_title.setText(text)
        if classifier != self._classifier:
            self._classifier = classifier
            self._discard_answers()
            self._show_classes("", None)

    def _discard_answers(self) -> None:
        """Discard all answers after a change of names or probe."""
        self._answers = {}
        self._waiting = [str(item.path) for item in self.gallery.model.items()]

    def ask(self) -> None:
        """Request the current image's answer if it is unknown; ``ask_more`` requests the others."""
        self._typing.stop()
        names = self.typed_names()
        if names != self._names:
            self._names = names
            self._discard_answers()
        current = self.current()
        if current and current not in self._answers:
            self.predictions_requested.emit([current], names, True)

    def ask_more(self) -> None:
        """Request answers for some of the remaining images."""
        self._waiting = [path for path in self._waiting if path not in self._answers]
        if self._waiting:
            self.predictions_requested.emit(self._waiting[:_IMAGES_PER_REQUEST], self.typed_names(), False)

    # Answers
    def show_answer(self, answer: Mapping[str, Any]) -> None:
        """Show predictions; ``answer``: the answer of ``classify_try``."""
        rows = {str(item.path): row for row, item in enumerate(self.gallery.model.items())}
        for prediction in answer["images"]:
            path = str(prediction["image"])
            self._answers[path] = prediction
            if path in rows:
                self.gallery.model.replace(rows[path], _item(prediction))
        self._show_current()

    def _show_current(self) -> None:
        current = self.current()
        answer = self._answers.get(current)
        # while typing, the old predictions stay until new ones arrive
        if answer is not None or current != self._shown_image:
            self._show_classes(current, answer)
        if current and answer is None:
            self._typing.start()

    def _show_classes(self, image: str, answer: Mapping[str, Any] | None) -> None:
        """Show the predictions for ``image``; empty until there is an answer."""
        self._shown_image = image
        for table, key in ((self.by_probe, "probe"), (self.by_names, "zero_shot")):
            table.set_rows((answer[key] if answer is not None else None) or [])
        error = str(answer["error"]) if answer is not None else ""
        self.error_label.setText(error)
        self.error_label.setVisible(bool(error))

    # User actions
    def _remove(self, rows: list[int]) -> None:
        for row in rows:
            self._answers.pop(str(self.gallery.model.item(row).path), None)
        self.gallery.model.remove(rows)
        if not self.gallery.model.rowCount():
            self._show_classes("", None)

    def _choose_files(self) -> None:
        if paths := ask_open_several(self, "Images to classify", IMAGE_FILTER):
            self.drop.accept_paths(paths)


def _item(answer: Mapping[str, Any]) -> GalleryItem:
    """The gallery item of an image with its most likely class, by the probe if there is one."""
    best = (answer["probe"] or answer["zero_shot"] or [None])[0]
    if best is None:
        return GalleryItem(Path(answer["image"]), detail=str(answer["error"]))
    lines = [f"{guess['class']} {percent(guess['probability'])}" for guess in (answer["probe"] or answer["zero_shot"])]
    return GalleryItem(Path(answer["image"]), str(best["class"]), float(best["probability"]), detail="\n".join(lines))
