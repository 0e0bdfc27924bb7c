"""Statistics of a source: words per caption, captions per image, and each label's values with their counts.

Flow: ``RowsOpened`` -> bars and a list; choosing a value shows its images.
"""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from sdgui.panels.data.bars import Bar, Bars
from sdgui.panels.data.model import NONE
from sdgui.widgets.formats import count, percent
from sdgui.widgets.layouts.boxes import hbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.still_boxes import StillComboBox
from sdgui.widgets.style.theme import SPACE, set_role
from sdgui.worker.data_verbs import RowsOpened


class FiguresPage(QWidget):
    """``value_chosen``: a label and a value whose images are to be shown."""

    value_chosen = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._facts: RowsOpened | None = None
        self.summary = PlainLabel(self, wordWrap=True)
        self.words = Bars("Words per caption", self)
        self.captions = Bars("Captions per image", self)
        self.label = StillComboBox(self)
        self.label.setAccessibleName("Label")
        self.label.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.values = QTreeWidget(self)
        self.values.setAccessibleName("Values of the label")
        self.values.setHeaderLabels(["Value", "Images", "Share"])
        self.values.setRootIsDecorated(False)
        self.values.setUniformRowHeights(True)
        header = self.values.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.values.setToolTip("Enter or a double click shows the images with this value")
        self._no_label = PlainLabel("These data have no labels.", self, role="muted")
        left, right = QVBoxLayout(), QVBoxLayout()
        for column in (left, right):
            column.setSpacing(SPACE)
        left.addWidget(self.summary)
        for text, bars in (("Words per caption", self.words), ("Captions per image", self.captions)):
            heading = PlainLabel(text, self, role="title")
            left.addSpacing(SPACE)
            left.addWidget(heading)
            left.addWidget(bars)
        self._several = heading
        left.addStretch(1)
        head = QHBoxLayout()
        title = PlainLabel("&Label", self)
        title.setBuddy(self.label)
        set_role(title, "title")
        head.addWidget(title)
        head.addWidget(self.label)
        head.addStretch(1)
        right.addLayout(head)
        right.addWidget(self._no_label)
        right.addWidget(self.values, 1)
        hbox((left, 3), (right, 2), into=self, spacing=3 * SPACE, margins=(0, SPACE, 0, 0))
        self.label.currentTextChanged.connect(self._show_values)
        self.values.itemActivated.connect(self._choose)

    def show_facts(self, facts: RowsOpened | None) -> None:
        """Show these figures; None for none."""
        self._facts = facts
        self.label.clear()
        if facts is None:
            self.summary.setText("")
            self.words.set_bars([])
            self.captions.set_bars([])
            self.values.clear()
            return
        self.summary.setText(summary(facts))
        self.words.set_bars(word_bars(facts["words"]))
        several = len(facts["captions"]) > 1
        self.captions.set_bars(caption_bars(facts["captions"]) if several else [])
        for widget in (self.captions, self._several):
            widget.setVisible(several)
        self.label.addItems(list(facts["labels"]))
        if facts["split"]:
            self.label.setCurrentText(facts["split"])
        has_labels = bool(facts["labels"])
        self.label.setEnabled(has_labels)
        self._no_label.setVisible(not has_labels)
        self.values.setVisible(has_labels)

    def _show_values(self, name: str) -> None:
        self.values.clear()
        if self._facts is None or name not in self._facts["labels"]:
            return
        total = max(1, self._facts["listed"])
        items = []
        for label_count in self._facts["labels"][name]:
            value, images = label_count["value"], label_count["images"]
            item = QTreeWidgetItem([value or NONE, count(images), percent(images / total)])
            item.setToolTip(0, plain_tip(value or NONE))
            for column in (1, 2):
                item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            items.append(item)
        self.values.addTopLevelItems(items)

    def _choose(self, item: QTreeWidgetItem) -> None:
        self.value_chosen.emit(self.label.currentText(), item.text(0))


def summary(facts: RowsOpened) -> str:
    """What the figures say in a sentence or two."""
    pairs, distinct, images = facts["pairs"], facts["distinct"], facts["listed"]
    if not pairs:
        return f"{count(images)} images without captions."
    text = f"{count(pairs)} captions of {count(images)} images; the median has {facts['median_words']:g} words."
    if len(facts["captions"]) == 1 and (number := facts["captions"][0][0]) > 1:
        text += f" Every image has {number}."
    if distinct < pairs:
        text += f" {count(distinct)} captions are different."
    return text


def word_bars(words: list[int]) -> list[Bar]:
    """A bar for each number of words up to the longest caption; the last holds all that are longer."""
    longest = max((number for number, captions in enumerate(words) if captions), default=0)
    bars = []
    for number in range(1, longest + 1):
        open_end = "+" if number == len(words) - 1 else ""
        every = 1 if longest <= 20 else 10
        label = f"{number}{open_end}" if number % every == 0 or number in (1, longest) else ""
        bars.append(Bar(label, words[number], f"{number}{open_end} words: {count(words[number])} captions"))
    return bars


def caption_bars(captions: list[list[int]]) -> list[Bar]:
    """A bar for each number of captions that images have."""
    tip = "{} captions: {} images"
    return [Bar(str(number), images, tip.format(number, count(images))) for number, images in captions]
