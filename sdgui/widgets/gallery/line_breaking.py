"""Breaks a caption into the lines that fit a cell; delegates cache the result.

Flow: text and width -> lines, each painted at its base line.
"""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QFont, QFontMetrics, QTextLayout, QTextOption


def break_lines(text: str, font: QFont, metrics: QFontMetrics, width: int, max_lines: int) -> list[str]:
    """``text`` on at most ``max_lines`` lines of ``width`` px, the last elided."""
    text = " ".join(text[:2000].split())
    if metrics.horizontalAdvance(text) <= width:
        return [text]
    layout = QTextLayout(text)
    layout.setFont(font)
    option = QTextOption()
    option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
    layout.setTextOption(option)
    layout.beginLayout()
    units = text.encode("utf-16-le", "surrogatepass")  # Qt counts UTF-16 units, of which an emoji has two
    lines: list[str] = []
    next_start = 0
    while len(lines) < max_lines - 1:
        line = layout.createLine()
        if not line.isValid():
            break
        line.setLineWidth(width)
        start, next_start = next_start, line.textStart() + line.textLength()
        lines.append(_decode_units(units[2 * start : 2 * next_start]).rstrip())
    layout.endLayout()
    remainder = _decode_units(units[2 * next_start :]).lstrip()
    return [*lines, metrics.elidedText(remainder, Qt.TextElideMode.ElideRight, width)] if remainder else lines


def _decode_units(units: bytes) -> str:
    return units.decode("utf-16-le", "surrogatepass")
