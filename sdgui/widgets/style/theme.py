"""The theme of the whole window: spacing, text sizes, colours, icons of run states; dark and light follow the system.

Flow: ``sdgui.__main__`` calls ``apply_theme(app)`` once; every widget asks ``theme()`` for colours and icons and
connects to ``theme().changed`` to repaint what it draws itself. Palette and stylesheet update other widgets.

Roles of labels are dynamic properties that the stylesheet knows: ``set_role(label, "heading" | "title" | "muted" |
"small" | "error" | "warning" | "accent")``; of buttons: ``"primary"`` (one per panel), ``"flat"``, ``"danger"``,
``"chip"``; of frames: ``"card"``.
"""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QIcon, QPalette
from PySide6.QtWidgets import QAbstractSpinBox, QApplication, QStyleFactory, QWidget

from sdgui.widgets.style.colors import DARK, LIGHT, Colors
from sdgui.widgets.style.icons import icon
from sdgui.widgets.style.stylesheet import stylesheet

SPACE = 8  # px, device independent; every margin and gap is a multiple of it or its half

Scheme = Literal["system", "light", "dark"]
Role = Literal[
    "",
    "heading",
    "title",
    "muted",
    "small",
    "error",
    "warning",
    "accent",
    "primary",
    "flat",
    "danger",
    "card",
    "chip",
    "rail",
]

# state -> icon, colour field of Colors, the text for screen readers. Shapes differ, so colour is never needed.
_STATES: dict[str, tuple[str, str, str]] = {
    "queued": ("ph.clock", "muted", "queued"),
    "starting": ("ph.hourglass", "accent_text", "starting"),
    "running": ("ph.play-circle-fill", "accent_text", "running"),
    "lost contact": ("ph.wifi-slash-fill", "warning", "lost contact, no heartbeat"),
    "paused": ("ph.pause-circle-fill", "warning", "paused"),
    "stopped": ("ph.stop-circle-fill", "muted", "stopped by you"),
    "done": ("ph.check-circle-fill", "good", "done"),
    "failed": ("ph.x-circle-fill", "error", "failed"),
    "interrupted": ("ph.lightning-slash-fill", "error", "interrupted, process no longer running"),
}

# Shades of a run's colour: a field of Colors to mix it with, and the share of the run's colour.
_SHADES = (("surface", 1.0), ("text", 0.45), ("surface", 0.6), ("text", 0.72), ("surface", 0.8))
_SHADES_NEAR_TEXT = tuple(("surface", share) for share in (1.0, 0.5, 0.76, 0.62, 0.88))  # of a colour like the text's
_NEAR = 0.25  # largest difference of a channel


class Theme(QObject):
    """The current theme. ``changed`` fires after palette, stylesheet and ``colors`` have switched."""

    changed = Signal()

    def __init__(self, app: QApplication) -> None:
        super().__init__(app)
        self._app = app
        self._scheme: Scheme = "system"
        self._system_dark = False
        self._text_points = max(app.font().pointSizeF(), 9.0)
        self.colors: Colors = LIGHT
        self._icons: dict[tuple[str, str, float], QIcon] = {}  # cached for the current scheme
        app.styleHints().colorSchemeChanged.connect(self._on_system_changed)
        self._apply()

    @property
    def dark(self) -> bool:
        return self.colors is DARK

    @property
    def scheme(self) -> Scheme:
        """The requested scheme: system, light or dark."""
        return self._scheme

    @property
    def system_dark(self) -> bool:
        """Whether the system was dark when its scheme was last followed; Qt does not report it under another scheme."""
        return self._system_dark

    def set_scheme(self, scheme: Scheme) -> None:
        """Follow the system, or always be light or dark."""
        self._scheme = scheme
        qt_scheme = {
            "system": Qt.ColorScheme.Unknown,
            "light": Qt.ColorScheme.Light,
            "dark": Qt.ColorScheme.Dark,
        }[scheme]
        self._app.styleHints().setColorScheme(qt_scheme)  # title bars and native dialogs follow too
        self._apply()

    def color(self, role: str) -> QColor:
        """A field of ``Colors`` as QColor. Raises AttributeError for an unknown one."""
        return QColor(getattr(self.colors, role))

    def run_color(self, index: int) -> QColor:
        """The colour of a run with this palette index; after twenty, the colours repeat in other shades."""
        return shade(self.colors, index)

    def state_icon(self, state: str) -> QIcon:
        """Icon of a run state: both shape and colour show it."""
        name, role, _ = _STATES[state]
        return self.icon(name, role)

    def state_text(self, state: str) -> str:
        """The name of a run state, for accessible names and tooltips."""
        return _STATES[state][2]

    def icon(self, name: str, role: str = "text", scale: float = 1.0) -> QIcon:
        """A Phosphor icon in a colour of the theme, grey when disabled; ask again after ``changed``."""
        key = (name, role, scale)
        if key not in self._icons:
            colors = {"color": self.color(role), "color_disabled": self.color("strong_border")}
            self._icons[key] = icon(name, scale_factor=scale, **colors)
        return self._icons[key]

    def font(self, role: Literal["text", "small", "title", "heading"] = "text") -> QFont:
        """The font of a text role; small for captions, title for sections, headings of panels. Figures are tabular."""
        font = QFont(self._app.font())
        scale, weight = {
            "text": (1.0, QFont.Weight.Normal),
            "small": (0.9, QFont.Weight.Normal),
            "title": (1.0, QFont.Weight.DemiBold),
            "heading": (1.45, QFont.Weight.DemiBold),
        }[role]
        font.setPointSizeF(self._text_points * scale)
        font.setWeight(weight)
        font.setFeature(QFont.Tag("tnum"), 1)
        return font

    def _on_system_changed(self, _scheme: Qt.ColorScheme) -> None:
        if self._scheme == "system":
            self._apply()

    def _apply(self) -> None:
        if self._scheme == "system":
            self._system_dark = self._app.styleHints().colorScheme() == Qt.ColorScheme.Dark
        dark = self._scheme == "dark" or (self._scheme == "system" and self._system_dark)
        self.colors = DARK if dark else LIGHT
        self._icons.clear()
        # Replacing a stylesheet restyles each widget once per ancestor; removing it first restyles each widget only
        # twice, which takes a fifth of the time in a window with all panels.
        self._app.setStyleSheet("")
        self._app.setPalette(_palette(self.colors))
        self._app.setStyleSheet(stylesheet(self.colors, dark, self._text_points))
        self.changed.emit()


_current: Theme | None = None


def apply_theme(app: QApplication) -> Theme:
    """Apply the Fusion style, palette and stylesheet to ``app``, now and whenever the system's scheme changes."""
    global _current
    if _current is None or _current.parent() is not app:
        app.setStyle(QStyleFactory.create("Fusion"))
        _current = Theme(app)
        app.setFont(_current.font())
    return _current


def theme() -> Theme:
    """The current theme, applied if needed. Raises RuntimeError without a QApplication."""
    app = QApplication.instance()
    if not isinstance(app, QApplication):
        raise RuntimeError("theme() needs a QApplication")
    return apply_theme(app)


def shade(colors: Colors, index: int) -> QColor:
    """See `Theme.run_color`."""
    repeat, hue = divmod(index, len(colors.runs))
    color, text = QColor(colors.runs[hue]), QColor(colors.text)
    differences = (color.redF() - text.redF(), color.greenF() - text.greenF(), color.blueF() - text.blueF())
    shades = _SHADES_NEAR_TEXT if max(map(abs, differences)) < _NEAR else _SHADES
    ground, share = shades[repeat % len(shades)]
    return mix(color, QColor(getattr(colors, ground)), share)


def mix(color: QColor, ground: QColor, share: float) -> QColor:
    """``share`` (0 to 1) of ``color``, the rest of ``ground``."""
    return QColor.fromRgbF(
        share * color.redF() + (1 - share) * ground.redF(),
        share * color.greenF() + (1 - share) * ground.greenF(),
        share * color.blueF() + (1 - share) * ground.blueF(),
    )


def set_role(widget: QWidget, role: Role) -> None:
    """Set the stylesheet role of a label, button or frame, "" for none; can be changed while shown."""
    widget.setProperty("role", role)
    if widget.testAttribute(Qt.WidgetAttribute.WA_WState_Polished):  # otherwise it is styled when first shown
        widget.style().unpolish(widget)
        widget.style().polish(widget)


def hide_spin_buttons(box: QAbstractSpinBox) -> None:
    """Hide the buttons of a spin box, where they would cover the number; arrow keys and the wheel still work."""
    box.setStyleSheet("QAbstractSpinBox::up-button, QAbstractSpinBox::down-button { width: 0; border: none; }")
    box.lineEdit().setTextMargins(SPACE, 0, 0, 0)  # as wide as the padding of other boxes, which has no effect here


def _palette(colors: Colors) -> QPalette:
    role, group = QPalette.ColorRole, QPalette.ColorGroup
    palette = QPalette()
    for part, value in {
        role.Window: colors.window,
        role.WindowText: colors.text,
        role.Base: colors.surface,
        role.AlternateBase: colors.window,
        role.Text: colors.text,
        role.Button: colors.surface,
        role.ButtonText: colors.text,
        role.BrightText: colors.error,
        role.ToolTipBase: colors.raised,
        role.ToolTipText: colors.text,
        role.PlaceholderText: colors.muted,
        role.Highlight: colors.selection,
        role.HighlightedText: colors.text,
        role.Accent: colors.accent,
        role.Link: colors.accent_text,
        role.LinkVisited: colors.accent_text,
        role.Light: colors.surface,
        role.Midlight: colors.raised,
        role.Mid: colors.border,
        role.Dark: colors.border,
        role.Shadow: colors.border,
    }.items():
        palette.setColor(part, QColor(value))
    for part in (role.Text, role.WindowText, role.ButtonText, role.HighlightedText):
        palette.setColor(group.Disabled, part, QColor(colors.strong_border))
    return palette
