"""Statistics of a source: words per caption, captions per image, and each label's values with their counts.

Flow: ``RowsOpened`` -> bars and a list; choosing a value shows its images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QModelIndex, QPoint, QRect, QSize, Signal
from PySide6.QtGui import QHelpEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractItemView, QComboBox, QHeaderView, QSizePolicy, QToolTip, QWidget

from sdgui.panels.data.model import NO_VALUE
from sdgui.shared.tables import Column, CopyingTable, RowsModel
from sdgui.widgets.formats import count, count_with_unit, percent
from sdgui.widgets.input_boxes import NoWheelComboBox
from sdgui.widgets.layouts.boxes import STYLE_SPACING, hbox, vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, theme
from sdgui.worker.data_verbs import RowsOpened


class FiguresPage(QWidget):
    """The page of statistics. ``value_chosen``: show the images with this value of a label."""

    value_chosen = Signal(str, str)  # label, value

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._facts: RowsOpened | None = None
        self._total = 1  # listed images, of which values have a share
        self.summary = PlainLabel(self, wordWrap=True)
        self.words = Bars("Words per caption", self)
        self.captions = Bars("Captions per image", self)
        self.label = NoWheelComboBox(self)
        self.label.setAccessibleName("Label")
        self.label.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        columns = [
            Column("Value", lambda row: row["value"] or NO_VALUE),
            Column("Images", lambda row: count(row["images"]), lambda row: row["images"]),
            Column("Share", lambda row: percent(row["images"] / self._total), lambda row: row["images"]),
        ]
        self.value_rows = RowsModel(columns, self)
        self.values = CopyingTable("Label values", self)
        self.values.setModel(self.value_rows)
        self.values.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.values.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.values.setToolTip("Press Enter or double-click to show the images with this value")
        self._no_label = PlainLabel("This data has no labels.", self, role="muted")
        words_heading = PlainLabel("Words per caption", self, role="title")
        self._captions_heading = PlainLabel("Captions per image", self, role="title")
        left = vbox(self.summary)
        for heading, bars in ((words_heading, self.words), (self._captions_heading, self.captions)):
            left.addSpacing(SPACE)
            left.addWidget(heading)
            left.addWidget(bars)
        left.addStretch(1)
        head = hbox(PlainLabel("&Label", self, role="title", buddy=self.label), self.label, None, spacing=STYLE_SPACING)
        right = vbox(head, self._no_label, (self.values, 1))
        hbox((left, 3), (right, 2), into=self, spacing=3 * SPACE, margins=(0, SPACE, 0, 0))
        self.label.currentTextChanged.connect(self._show_values)
        self.values.activated.connect(self._choose)

    def show_facts(self, facts: RowsOpened | None) -> None:
        """Show the statistics of a source; None clears the page."""
        self._facts = facts
        self.label.clear()
        if facts is None:
            self.summary.setText("")
            self.words.set_bars([])
            self.captions.set_bars([])
            self.value_rows.set_rows([])
            return
        self.summary.setText(summary(facts))
        self.words.set_bars(word_bars(facts["words"]))
        has_several = len(facts["captions"]) > 1
        self.captions.set_bars(caption_bars(facts["captions"]) if has_several else [])
        for widget in (self.captions, self._captions_heading):
            widget.setVisible(has_several)
        self.label.addItems(list(facts["labels"]))
        if facts["split"]:
            self.label.setCurrentText(facts["split"])
        has_labels = bool(facts["labels"])
        self.label.setEnabled(has_labels)
        self._no_label.setVisible(not has_labels)
        self.values.setVisible(has_labels)

    def _show_values(self, name: str) -> None:
        labels = self._facts["labels"] if self._facts is not None else {}
        self._total = max(1, self._facts["listed"]) if self._facts is not None else 1
        self.value_rows.set_rows(labels.get(name, []))

    def _choose(self, index: QModelIndex) -> None:
        self.value_chosen.emit(self.label.currentText(), self.value_rows.row_at(index)["value"] or NO_VALUE)


def summary(facts: RowsOpened) -> str:
    """A summary of the statistics in a few sentences."""
    pairs, distinct, images = facts["pairs"], facts["distinct"], facts["listed"]
    if not pairs:
        return f"{count_with_unit(images, 'image')} without captions."
    text = f"{count_with_unit(images, 'image')} with {count_with_unit(pairs, 'caption')}"
    text += f"; the median length is {facts['median_words']:g} words."
    if len(facts["captions"]) == 1 and (number := facts["captions"][0][0]) > 1:
        text += f" Every image has {number}."
    if distinct < pairs:
        text += f" {count(distinct)} captions are distinct."
    return text


def word_bars(words: list[int]) -> list[Bar]:
    """One bar per caption length in words; the last bar counts all longer captions too."""
    longest = max((number for number, captions in enumerate(words) if captions), default=0)
    bars = []
    for number in range(1, longest + 1):
        open_end = "+" if number == len(words) - 1 else ""
        every = 1 if longest <= 20 else 10
        label = f"{number}{open_end}" if number % every == 0 or number in (1, longest) else ""
        unit = "word" if number == 1 and not open_end else "words"
        tip = f"{number}{open_end} {unit}: {count_with_unit(words[number], 'caption')}"
        bars.append(Bar(label, words[number], tip))
    return bars


def caption_bars(captions: list[list[int]]) -> list[Bar]:
    """One bar per number of captions of an image."""
    unit_counts = ((number, images, count_with_unit(number, "caption")) for number, images in captions)
    return [
        Bar(str(number), images, f"{text}: {count_with_unit(images, 'image')}") for number, images, text in unit_counts
    ]


_HEIGHT = 18 * SPACE  # of a bar chart, in px


@dataclass(frozen=True)
class Bar:
    """One bar: its label, height and tooltip."""

    label: str
    value: int
    tip: str


class Bars(QWidget):
    """A bar chart; the highest bar is labelled with its value."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bars: list[Bar] = []
        self.setAccessibleName(name)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme().changed.connect(self.update)

    def set_bars(self, bars: Sequence[Bar]) -> None:
        """Replace all bars."""
        self._bars = list(bars)
        highest = max(self._bars, key=lambda bar: bar.value, default=None)
        self.setAccessibleDescription(f"highest: {highest.tip}" if highest is not None else "")
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(50 * SPACE, _HEIGHT)

    def _slot(self, index: int) -> QRect:
        """The area of bar ``index``, without its label."""
        width = self.width() / max(1, len(self._bars))
        left, right = round(index * width), round((index + 1) * width)
        return QRect(left, 0, max(1, right - left), self.height() - self.fontMetrics().height() - SPACE // 2)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(theme().font("small"))
        metrics = painter.fontMetrics()
        max_value = max((bar.value for bar in self._bars), default=0)
        value_height, labels_end = metrics.height() + SPACE // 2, -SPACE  # the labels drawn so far end at this x
        for index, bar in enumerate(self._bars):
            slot = self._slot(index)
            height = round((slot.height() - value_height) * bar.value / max_value) if max_value else 0
            if bar.value:
                gap = 1 if slot.width() > 3 else 0
                box = QRect(slot.left(), slot.bottom() - max(1, height), slot.width() - gap, max(1, height))
                painter.fillRect(box, theme().color("accent"))
            painter.setPen(theme().color("muted"))
            width = metrics.horizontalAdvance(bar.label)
            left = min(max(0, slot.center().x() - width // 2), self.width() - width)
            if bar.label and left > labels_end:
                painter.drawText(QPoint(left, self.height() - metrics.descent() - 1), bar.label)
                labels_end = left + width + SPACE
        if max_value:
            self._paint_highest_value(painter, max_value)
        painter.setPen(theme().color("border"))
        bottom = self._slot(0).bottom() if self._bars else self.height() - 1
        painter.drawLine(0, bottom, self.width(), bottom)
        painter.end()

    def _paint_highest_value(self, painter: QPainter, max_value: int) -> None:
        index = next(number for number, bar in enumerate(self._bars) if bar.value == max_value)
        text, metrics = count(max_value), painter.fontMetrics()
        width = metrics.horizontalAdvance(text)
        left = min(max(0, self._slot(index).center().x() - width // 2), self.width() - width)
        painter.setPen(theme().color("text"))
        painter.drawText(QPoint(left, metrics.ascent()), text)

    def _bar_at(self, point: QPoint) -> int:
        """The index of the bar above or below ``point``; -1 if there is none."""
        slots = map(self._slot, range(len(self._bars)))
        return next((i for i, slot in enumerate(slots) if slot.left() <= point.x() <= slot.right()), -1)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            index = self._bar_at(event.pos())
            QToolTip.showText(event.globalPos(), plain_tip(self._bars[index].tip) if index >= 0 else "", self)
            return True
        return super().event(event)
