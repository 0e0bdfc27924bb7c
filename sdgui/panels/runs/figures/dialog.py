"""The dialog *Figure for a paper*: metrics and runs on the left, a live preview of figure and table on the right.

Flow: ``PlotData`` of the grid -> the chosen metrics and runs -> ``render`` in a thread -> preview or saved file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from PySide6.QtCore import QLocale, QSettings, Qt, QTimer
from PySide6.QtGui import QDoubleValidator, QFontDatabase, QGuiApplication, QPixmap, QResizeEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDoubleSpinBox,
    QFormLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPlainTextEdit,
    QPushButton,
    QTabWidget,
    QWidget,
)

from core.spec.files import write_whole
from sdgui.panels.runs.figures.curves import MetricPlot, PlotData, Range
from sdgui.panels.runs.figures.figure import FONTS, FigureStyle, Kind, render, x_unit
from sdgui.panels.runs.figures.table import latex, markdown, paper_table
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.widgets.file_dialogs import ask_save
from sdgui.widgets.input_boxes import NoWheelComboBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.message import error, info
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, hide_spin_buttons, set_role

_SETTING = "runs/figure"
_OTHER_FONTS = ("Arial", "Helvetica", "Times New Roman", "Liberation Sans", "Liberation Serif", "TeX Gyre Termes")
_KINDS: Mapping[str, str] = {"pdf": "PDF", "svg": "SVG", "png": "PNG, 300 dpi"}
_PREVIEW_DPI = 150
_PREVIEW_DELAY_MS = 150  # delay between the last change and drawing
_KEY_ROLE = Qt.ItemDataRole.UserRole


class PaperDialog(QDialog):
    """The dialog, built from the current view each time. The style of the figure is saved."""

    def __init__(self, data: PlotData, settings: QSettings, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Figure for a paper")
        self._data, self._settings = data, settings
        self._tasks = BackgroundTasks(self)
        self._y_bounds: dict[str, tuple[str, str]] = {}  # metric -> typed bounds
        self._rendering = self._stale = False  # stale: something changed while the preview was rendered
        self._preview_image = QPixmap()
        self._timer = QTimer(self, singleShot=True, interval=_PREVIEW_DELAY_MS)
        self._timer.timeout.connect(self._draw_preview)
        self._build(FigureStyle.from_json(str(settings.value(_SETTING, "{}"))))
        self._arrange()
        self._connect()
        self._show_y()
        self._on_changed()

    def _build(self, style: FigureStyle) -> None:
        on_screen = any(plot.is_on_screen for plot in self._data.plots)
        self.metrics = _checklist(
            "Metrics", [(plot.id, plot.title, plot.is_on_screen or not on_screen) for plot in self._data.plots], self
        )
        self.runs = _checklist("Runs", [(key, name, True) for key, name in self._data.entries.items()], self)
        self.width_cm = _number("Width", 3, 40, style.width, " cm", self)
        self.width_cm.setToolTip("Typically 8.5 cm for one column, 17.5 cm for two")
        self.aspect = _number("Aspect ratio (width : height)", 0.3, 8, style.aspect, "", self)
        installed = [font for font in _OTHER_FONTS if font in QFontDatabase.families()]
        self.font_name = _choice("Font", {name: name for name in (*FONTS, *installed)}, style.font, self)
        self.font_size = _number("Font size", 4, 24, style.font_size, " pt", self)
        self.legend = _choice("Legend", {"inside": "Inside", "below": "Below", "none": "None"}, style.legend, self)
        self.layouts = _choice("Layout", {"row": "Panels in a row", "panel": "One panel"}, style.layout, self)
        self.kind = _choice("Format", _KINDS, style.kind, self)
        self.log = QCheckBox("Logarithmic &y axis", self)
        self.log.setChecked(self._data.log)
        self.x_from, self.x_to, self.y_from, self.y_to = (
            _bound_box(name, self) for name in ("x axis from", "x axis to", "y axis from", "y axis to")
        )
        self.y_label = PlainLabel("", self)
        self.preview = PlainLabel("", self)
        self.preview.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.preview.setMinimumSize(56 * SPACE, 40 * SPACE)
        self.preview.setAccessibleName("Figure preview")
        self.save = QPushButton("&Save figure…", self)
        set_role(self.save, "primary")
        self.text = QPlainTextEdit(self)
        self.text.setReadOnly(True)
        self.text.setAccessibleName("Table as text")
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.markup = _choice("Table as", {"tex": "LaTeX (booktabs)", "md": "Markdown"}, "tex", self)
        self.copy = QPushButton("&Copy table", self)
        self.save_table = QPushButton("Save &table…", self)
        self.bar = MessageBar(self)
        self.tabs = QTabWidget(self)

    def _arrange(self) -> None:
        form = QFormLayout()
        form.addRow("Width", self.width_cm)
        form.addRow("Aspect ratio", self.aspect)
        form.addRow("Font", hbox((self.font_name, 1), self.font_size))
        form.addRow("Legend", self.legend)
        form.addRow("Layout", self.layouts)
        form.addRow("", self.log)
        form.addRow("x axis", hbox((self.x_from, 1), PlainLabel("to", self), (self.x_to, 1)))
        form.addRow(self.y_label, hbox((self.y_from, 1), PlainLabel("to", self), (self.y_to, 1)))
        figure, table = QWidget(self), QWidget(self)
        vbox((self.preview, 1), form, hbox(None, self.kind, self.save), into=figure, margins=SPACE)
        vbox((self.text, 1), hbox(self.markup, None, self.copy, self.save_table), into=table, margins=SPACE)
        self.tabs.addTab(figure, "&Figure")
        self.tabs.addTab(table, "T&able")
        lists = vbox(PlainLabel("Metrics", self), (self.metrics, 1), PlainLabel("Runs", self), (self.runs, 1))
        vbox(hbox((lists, 1), (self.tabs, 2)), self.bar, into=self, margins=2 * SPACE)

    def _connect(self) -> None:
        for box in (self.width_cm, self.aspect, self.font_size):
            box.valueChanged.connect(self._on_changed)
        for choice in (self.font_name, self.legend, self.layouts, self.kind, self.markup):
            choice.currentIndexChanged.connect(self._on_changed)
        for entries in (self.metrics, self.runs):
            entries.itemChanged.connect(self._on_changed)
        self.log.toggled.connect(self._on_changed)
        self.metrics.currentItemChanged.connect(self._show_y)
        self.layouts.currentIndexChanged.connect(self._show_y)
        for bound in (self.x_from, self.x_to, self.y_from, self.y_to):
            bound.textEdited.connect(self._on_range_typed)
        self.save.clicked.connect(self._save_figure)
        self.copy.clicked.connect(self._copy_table)
        self.save_table.clicked.connect(self._save_table)

    # Selection
    def style_of_figure(self) -> FigureStyle:
        """The style set in the dialog."""
        return FigureStyle(
            self.width_cm.value(),
            self.aspect.value(),
            self.font_name.currentData(),
            self.font_size.value(),
            self.legend.currentData(),
            self.layouts.currentData(),
            self.kind.currentData(),
        )

    def chosen(self) -> PlotData:
        """The data of the ticked metrics (with their ranges) and runs."""
        metrics, runs = _checked_keys(self.metrics), _checked_keys(self.runs)
        entries = {key: name for key, name in self._data.entries.items() if key in runs}
        plots = [plot for plot in self._data.plots if plot.id in metrics]
        chosen = replace(self._data, plots=plots, entries=entries, log=self.log.isChecked())
        _, unit = x_unit(chosen)
        return replace(chosen, plots=[self._with_ranges(plot, unit) for plot in plots])

    def _with_ranges(self, plot: MetricPlot, unit: float) -> MetricPlot:
        log = self.log.isChecked()
        shown = plot.y_range if log == self._data.log else None
        y_range = _typed_range(self._y_bounds.get(self._y_key(plot), ("", "")), shown, 0.01 if plot.is_share else 1.0)
        x_range = _typed_range((self.x_from.text(), self.x_to.text()), plot.x_range, unit)
        return replace(plot, x_range=x_range, y_range=None if log and y_range and y_range[0] <= 0 else y_range)

    def _y_key(self, plot: MetricPlot) -> str:
        """The key of a metric in ``_y_bounds``; metrics in one panel share an axis."""
        return plot.id if self.layouts.currentData() == "row" else ""

    def _current_plot(self) -> MetricPlot | None:
        item = self.metrics.currentItem()
        return next((plot for plot in self._data.plots if item is not None and plot.id == item.data(_KEY_ROLE)), None)

    def _on_range_typed(self, _text: str) -> None:
        plot = self._current_plot()
        if plot is not None:
            self._y_bounds[self._y_key(plot)] = (self.y_from.text(), self.y_to.text())
        self._on_changed()

    def _show_y(self, *_: object) -> None:
        """Show the y range of the metric in the current row."""
        plot = self._current_plot()
        self.y_label.setText(f"y axis{', %' if plot is not None and plot.is_share else ''}")
        tip = "Range of the metric selected in the list" if plot is None else f"Range of {plot.title}"
        self.y_label.setToolTip(plain_tip(tip))
        low, high = self._y_bounds.get(self._y_key(plot), ("", "")) if plot is not None else ("", "")
        self.y_from.setText(low)
        self.y_to.setText(high)

    # Preview and table
    def _on_changed(self, *_: object) -> None:
        self._settings.setValue(_SETTING, self.style_of_figure().to_json())
        chosen = self.chosen()
        any_chosen = bool(chosen.plots and chosen.entries)
        for button in (self.save, self.copy, self.save_table):
            button.setEnabled(any_chosen)
        write = latex if self.markup.currentData() == "tex" else markdown
        self.text.setPlainText(write(paper_table(chosen)) if any_chosen else "")
        self._timer.start()

    def _draw_preview(self) -> None:
        """Draw the preview in a thread; draw again if something changes in the meantime."""
        if self._rendering:
            self._stale = True
            return
        data, style = self.chosen(), self.style_of_figure()
        if not data.plots or not data.entries:
            self.preview.setText("Tick at least one metric and one run.")
            return
        self._rendering = True
        self._tasks.run(lambda: render(data, style, "png", _PREVIEW_DPI), self._on_rendered, self._on_render_failed)

    def _on_rendered(self, content: bytes) -> None:
        self._preview_image.loadFromData(content)
        self._show_preview_image()
        self._on_render_ended()

    def _on_render_failed(self, sentence: str) -> None:
        self.preview.setText(sentence)
        self.save.setEnabled(False)
        self._on_render_ended()

    def _on_render_ended(self) -> None:
        self._rendering = False
        if self._stale:
            self._stale = False
            self._timer.start()

    def _show_preview_image(self) -> None:
        ratio = self.devicePixelRatioF()
        room = (self.preview.size() * ratio).boundedTo(self._preview_image.size())
        mode = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        scaled = self._preview_image.scaled(room, *mode)
        scaled.setDevicePixelRatio(ratio)
        self.preview.setPixmap(scaled)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if not self._preview_image.isNull():
            self._show_preview_image()

    # Files
    def _save_figure(self) -> None:
        kind: Kind = self.kind.currentData()
        data, style = self.chosen(), self.style_of_figure()
        self._ask_and_write("figure", kind.upper(), f".{kind}", lambda: render(data, style, kind))

    def _save_table(self) -> None:
        text = self.text.toPlainText()
        self._ask_and_write("table", self.markup.currentText(), f".{self.markup.currentData()}", text.encode)

    def _ask_and_write(self, what: str, file_type: str, suffix: str, content: Callable[[], bytes]) -> None:
        target = ask_save(self, "Save", what + suffix, f"{file_type} (*{suffix})", suffix)
        if target is not None and target.problem:
            self.bar.show_message(error(target.problem))
        elif target is not None:
            self._tasks.run(
                lambda: write_whole(target.path, content()),
                lambda _: self.bar.show_message(info(f"Saved to {target.path}")),
                lambda sentence: self.bar.show_message(error(f"The {what} was not saved. {sentence}")),
            )

    def _copy_table(self) -> None:
        QGuiApplication.clipboard().setText(self.text.toPlainText())
        self.bar.show_message(info("Copied the table to the clipboard."))


def _checklist(name: str, entries: Sequence[tuple[str, str, bool]], parent: QWidget) -> QListWidget:
    box = QListWidget(parent)
    box.setAccessibleName(name)
    for key, title, checked in entries:
        item = QListWidgetItem(title, box)
        item.setData(_KEY_ROLE, key)
        item.setCheckState(Qt.CheckState.Checked if checked else Qt.CheckState.Unchecked)
    box.setCurrentRow(next((row for row, (_, _, checked) in enumerate(entries) if checked), -1))
    return box


def _checked_keys(box: QListWidget) -> set[str]:
    items = [box.item(row) for row in range(box.count())]
    return {item.data(_KEY_ROLE) for item in items if item.checkState() == Qt.CheckState.Checked}


def _number(name: str, low: float, high: float, value: float, unit: str, parent: QWidget) -> QDoubleSpinBox:
    box = QDoubleSpinBox(parent, minimum=low, maximum=high, value=value, decimals=1, singleStep=0.5, suffix=unit)
    box.setAccessibleName(name)
    hide_spin_buttons(box)
    return box


def _choice(name: str, titles: Mapping[str, str], current: str, parent: QWidget) -> QComboBox:
    box = NoWheelComboBox(parent)
    box.setAccessibleName(name)
    for key, title in titles.items():
        box.addItem(title, key)
    box.setCurrentIndex(max(0, box.findData(current)))
    return box


def _bound_box(name: str, parent: QWidget) -> QLineEdit:
    box = QLineEdit(parent)
    box.setAccessibleName(name)
    box.setPlaceholderText("as shown")
    validator = QDoubleValidator(box)
    validator.setLocale(QLocale.c())
    box.setValidator(validator)
    return box


def _typed_range(texts: tuple[str, str], shown: Range | None, unit: float) -> Range | None:
    """The plot's range, overridden by typed bounds in ``unit``; invalid bounds are ignored."""
    bounds: list[float | None] = []
    for text, bound in zip(texts, shown or (None, None), strict=True):
        try:
            bounds.append(float(text) * unit)
        except ValueError:
            bounds.append(bound)
    low, high = bounds
    return (low, high) if low is not None and high is not None and low < high else shown
