"""The stylesheet: flat controls with rounded corners over Fusion, in the colours of one scheme.

Flow: ``theme`` sets the text that ``stylesheet`` returns on the application whenever the scheme changes. Sizes are
multiples of one spacing unit; text sizes depend on the system's font.
"""

from __future__ import annotations

from string import Template

from core.spec.resources import resource_folder
from sdgui.widgets.style.colors import Colors

ICONS = resource_folder("icons")

_LABELS = Template("""
QLabel[role="heading"] { font-size: ${heading}pt; font-weight: 600; }
QLabel[role="title"] { font-weight: 600; }
QLabel[role="muted"] { color: $muted; }
QLabel[role="small"] { color: $muted; font-size: ${small}pt; }
QLabel[role="accent"] { color: $accent_text; }
QLabel[role="error"] { color: $error; }
QLabel[role="warning"] { color: $warning; }
QFrame[role="card"] { background: $surface; border: 1px solid $border; border-radius: 8px; }
QToolTip { background: $raised; color: $text; border: 1px solid $border; padding: 4px; }
""")

_BUTTONS = Template("""
QPushButton, QToolButton {
    background: $surface; color: $text; border: 1px solid $border; border-radius: 6px;
    padding: 4px 12px; min-height: 20px;
}
QToolButton { padding: 3px; min-width: 20px; }
QToolButton[hasText="true"] { padding: 3px 8px; min-height: 20px; max-height: 20px; }
QPushButton:hover, QToolButton:hover { background: $raised; border-color: $strong_border; }
QPushButton:pressed, QToolButton:pressed, QToolButton:checked { background: $selection; border-color: $accent; }
QPushButton:focus, QToolButton:focus { border: 1px solid $accent; }
QPushButton:disabled, QToolButton:disabled { color: $strong_border; background: $window; border-color: $border; }
QPushButton[role="primary"] {
    background: $accent; color: $on_accent; border-color: $accent; font-weight: 600;
}
QPushButton[role="primary"]:hover { background: $accent_text; border-color: $accent_text; color: $surface; }
QPushButton[role="primary"]:focus { border: 2px solid $text; padding: 3px 11px; }
QPushButton[role="primary"]:disabled { background: $raised; color: $strong_border; border-color: $border; }
QPushButton[role="chip"] { border-radius: 15px; padding: 4px 12px; }
QPushButton[role="danger"] { color: $error; }
QPushButton[role="danger"]:hover { background: $error_fill; border-color: $error; }
QPushButton[role="flat"], QToolButton[role="flat"] { background: transparent; border-color: transparent; }
QPushButton[role="flat"] { color: $accent_text; padding: 4px 8px; }
QPushButton[align="left"] { text-align: left; padding: 4px 2px; color: $text; }
QPushButton[role="flat"]:hover, QToolButton[role="flat"]:hover { background: $raised; }
QPushButton[role="flat"]:focus, QToolButton[role="flat"]:focus { border-color: $accent; }
QPushButton[role="flat"]:disabled { color: $strong_border; }
QToolButton[role="flat"] { max-height: 20px; }
QToolButton[role="flat"]:checked { background: $selection; border-color: transparent; }
QToolButton[role="rail"] {
    background: transparent; border-color: transparent; padding: 2px 8px; min-height: 20px; max-height: 24px;
}
QToolButton[role="rail"]:hover { background: $raised; }
QToolButton[role="rail"]:focus { border-color: $accent; }
QToolButton[role="rail"]:checked { background: $selection; font-weight: 600; }
QToolButton::menu-indicator { image: none; }
""")

_INPUTS = Template("""
QLineEdit, QComboBox, QPlainTextEdit, QTextEdit, QSpinBox, QDoubleSpinBox {
    background: $surface; color: $text; border: 1px solid $border; border-radius: 6px;
    padding: 3px 8px; min-height: 20px; selection-background-color: $accent; selection-color: $on_accent;
}
QTableView > QWidget > QLineEdit { padding: 0 3px; min-height: 0; border-radius: 0; }
QLineEdit:hover, QComboBox:hover { border-color: $strong_border; }
QLineEdit:focus, QComboBox:focus, QPlainTextEdit:focus, QTextEdit:focus { border: 1px solid $accent; }
QLineEdit:disabled, QComboBox:disabled, QLineEdit:read-only { background: $window; color: $muted; }
QLineEdit[invalid="true"], QComboBox[invalid="true"] { border: 1px solid $error; background: $error_fill; }
QLineEdit > QToolButton, QLineEdit > QToolButton:hover, QLineEdit > QToolButton:pressed {
    background: transparent; border: none; padding: 0; min-width: 0; min-height: 0;
}
QComboBox::drop-down { border: none; width: 24px; }
QComboBox::down-arrow { image: url("$icons/chevron-down-$scheme.svg"); width: 12px; height: 12px; }
QComboBox QAbstractItemView {
    background: $surface; border: 1px solid $border; padding: 4px; outline: none;
    selection-background-color: $selection; selection-color: $text;
}
QCheckBox, QRadioButton { spacing: 8px; min-height: 24px; }
QCheckBox::indicator, QListWidget::indicator {
    width: 14px; height: 14px; border: 1px solid $strong_border; border-radius: 4px; background: $surface;
}
QCheckBox::indicator:hover, QCheckBox::indicator:focus { border-color: $accent; }
QCheckBox:focus { color: $accent_text; }
QCheckBox::indicator:checked, QListWidget::indicator:checked {
    background: $accent; border-color: $accent; image: url("$icons/check.svg");
}
QCheckBox::indicator:indeterminate { background: $accent; border-color: $accent; image: url("$icons/dash.svg"); }
QCheckBox::indicator:disabled { background: $raised; border-color: $border; }
QRadioButton::indicator {
    width: 14px; height: 14px; border: 1px solid $strong_border; border-radius: 8px; background: $surface;
}
QRadioButton::indicator:hover, QRadioButton::indicator:focus { border-color: $accent; }
QRadioButton::indicator:checked { width: 6px; height: 6px; border: 5px solid $accent; background: $on_accent; }
QRadioButton:focus { color: $accent_text; }
QSlider { min-height: 20px; }
QSlider::groove:horizontal { height: 4px; border-radius: 2px; background: $border; }
QSlider::sub-page:horizontal { background: $accent; border-radius: 2px; }
QSlider::handle:horizontal {
    width: 14px; height: 14px; margin: -6px 0; border-radius: 8px;
    background: $surface; border: 1px solid $strong_border;
}
QSlider::handle:horizontal:hover, QSlider::handle:horizontal:focus { border: 2px solid $accent; }
QProgressBar { background: $border; border: none; border-radius: 3px; max-height: 6px; min-height: 6px; }
QProgressBar::chunk { background: $accent; border-radius: 3px; }
""")

_VIEWS = Template("""
QScrollArea, QScrollArea > QWidget > QWidget[role="page"] { background: transparent; border: none; }
QAbstractItemView {
    background: $surface; alternate-background-color: $window; border: 1px solid $border; border-radius: 8px;
    outline: none; selection-background-color: $selection; selection-color: $text;
}
QAbstractItemView[role="plain"] { background: transparent; border: none; border-radius: 0; }
QTreeView::item, QTableView::item { padding: 3px 4px; }
QListWidget::item { padding: 4px 8px; border-radius: 6px; }
QListWidget::item:selected { background: $selection; color: $text; }
QHeaderView { border: none; border-radius: 0; }
QHeaderView::section {
    background: $surface; color: $muted; border: none; border-bottom: 1px solid $border; padding: 4px 8px;
}
QTabWidget::pane { border: none; border-top: 1px solid $border; }
QTabBar::tab { padding: 6px 12px; color: $muted; border-bottom: 2px solid transparent; background: transparent; }
QTabBar::tab:selected { color: $text; border-bottom-color: $accent; }
QTabBar::tab:hover { color: $text; }
QMenu { background: $surface; border: 1px solid $border; padding: 4px; }
QMenu::item { padding: 5px 24px 5px 12px; border-radius: 4px; }
QMenu::item:selected { background: $selection; }
QMenu::item:disabled { color: $strong_border; }
QMenu::separator { height: 1px; background: $border; margin: 4px 8px; }
QSplitter::handle { background: $border; }
QSplitter::handle:horizontal { width: 1px; }
QSplitter::handle:vertical { height: 1px; }
QStatusBar { background: $window; border-top: 1px solid $border; }
QStatusBar QToolButton { min-height: 16px; max-height: 16px; padding: 1px 6px; }
QScrollBar { background: transparent; border: none; }
QAbstractScrollArea::corner { background: transparent; border: none; }
QScrollBar:vertical { width: 10px; }
QScrollBar:horizontal { height: 10px; }
QScrollBar::handle { background: $border; border-radius: 3px; margin: 2px; }
QScrollBar::handle:hover { background: $strong_border; }
QScrollBar::handle:vertical { min-height: 32px; }
QScrollBar::handle:horizontal { min-width: 32px; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }
""")


def stylesheet(colors: Colors, dark: bool, text_points: float) -> str:
    """The application's stylesheet for ``colors``; ``text_points`` is the size of ordinary text."""
    values = {name: getattr(colors, name) for name in colors.__dataclass_fields__ if name != "runs"}
    values |= {
        "heading": f"{text_points * 1.45:.1f}",
        "small": f"{text_points * 0.9:.1f}",
        "scheme": "dark" if dark else "light",
        "icons": ICONS.as_posix(),
    }
    return "".join(part.substitute(values) for part in (_LABELS, _BUTTONS, _INPUTS, _VIEWS))
