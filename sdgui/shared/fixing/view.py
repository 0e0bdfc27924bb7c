"""The widgets of the basket's dialog: entries as images, their sources, and the available actions."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QComboBox, QPushButton, QStackedWidget, QWidget

from sdgui.shared.services import Services
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.gallery.gallery import Gallery
from sdgui.widgets.input_boxes import ListOnlyComboBox, NoWheelSpinBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.widgets.style.theme import SPACE, hide_spin_buttons, set_role

_EMPTY = (
    "Mark mismatched captions in Clean, mistakes in Classify, images in Data, or edit captions in Caption, and add "
    "them to the basket. All fixes are applied together, to a copy of the data."
)
MAX_SEEDS = 10


class BasketView(QWidget):
    """The widgets, from the top: data, images, actions, and pairs of runs to compare."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bar, self.strip = MessageBar(self), ProgressStrip(self)
        reserved = self.strip.sizePolicy()
        reserved.setRetainSizeWhenHidden(True)  # nothing moves when the progress appears
        self.strip.setSizePolicy(reserved)
        self.sources, self.counts = _box("Data to fix", self), ElidedLabel("", self)
        self.gallery = Gallery(services.store.home / "thumbnails", "", self)
        self.gallery.view.setAccessibleName("Fixes as images")
        self.empty = EmptyState("ph.shopping-bag", "The basket is empty", _EMPTY, parent=self)
        self.stack = QStackedWidget(self)
        self.stack.addWidget(self.empty)
        self.stack.addWidget(self.gallery)
        self.remove = _button("&Remove", "Remove the selected entries from the basket (Delete)", self)
        self.undo = _button("&Undo", "Undo the last change in the basket (Ctrl+Z)", self, "Ctrl+Z")
        self.clear_all = _button("&Clear all", "Remove all entries for this data", self)
        self.save = _button("&Save as new data…", "Save a copy of the data with these fixes (Ctrl+S)", self, "Ctrl+S")
        self.runs = _box("Run to repeat", self)
        self.runs.setToolTip("The run whose config is trained again, on the data before and after the fixes")
        self.seeds = NoWheelSpinBox(self)
        self.seeds.setRange(1, MAX_SEEDS)
        self.seeds.setAccessibleName("Number of seeds")
        self.seeds.setFixedWidth(7 * SPACE)
        hide_spin_buttons(self.seeds)
        self.seeds.setToolTip("Number of seeds (3 or more for intervals)")
        tip = "Save the fixed data and train the run's config before and after the fixes, with the same seeds"
        self.retrain = _button("&Retrain with these fixes", tip, self)
        set_role(self.retrain, "primary")
        self.pairs = _box("Retrained runs", self)
        self.pairs.setPlaceholderText("Retrained runs are listed here, each with its original")
        self.page = _button("&Before and after…", "Save a page, for sharing, that compares the two runs", self)
        self._arrange()

    def _arrange(self) -> None:
        number = _label("Number &of seeds", self.seeds)
        number.setFixedWidth(number.sizeHint().width())
        vbox(
            self.bar,
            self.strip,
            hbox(_label("&Data", self.sources), (self.sources, 1), (self.counts, 1)),
            (self.stack, 1),
            hbox(self.remove, self.undo, self.clear_all, None, self.save),
            hbox(_label("Re&peat", self.runs), (self.runs, 1), number, self.seeds, self.retrain),
            hbox(_label("&Compare", self.pairs), (self.pairs, 1), self.page),
            into=self,
            margins=2 * SPACE,
        )


def _box(name: str, parent: QWidget) -> ListOnlyComboBox:
    box = ListOnlyComboBox(parent)
    box.setAccessibleName(name)
    box.setToolTip(plain_tip(name))
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(18)
    return box


def _label(text: str, box: QWidget) -> PlainLabel:
    label = PlainLabel(text, box.parentWidget(), role="muted")
    label.setBuddy(box)
    label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    label.setFixedWidth(9 * SPACE)
    return label


def _button(text: str, tip: str, parent: QWidget, shortcut: str = "") -> QPushButton:
    button = QPushButton(text, parent)
    button.setToolTip(plain_tip(tip))
    button.setAutoDefault(False)
    if shortcut:
        button.setShortcut(QKeySequence(shortcut))
    return button
