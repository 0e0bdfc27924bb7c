"""The entries of a plot's context menu: combine with other metrics, set the y range."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from PySide6.QtWidgets import QInputDialog, QMenu

from sdgui.panels.runs.plots.arrangement import Arrangement
from sdgui.panels.runs.plots.charts import Chart
from sdgui.widgets.message import error
from sdgui.widgets.message_bar import MessageBar

Apply = Callable[[Arrangement], object]


def add_arrangement_entries(
    menu: QMenu, chart: Chart, others: Sequence[Chart], current: Arrangement, apply: Apply, message: MessageBar
) -> None:
    """Add entries to combine the plot with one of ``others`` (same unit), to separate it, and to set its y range.

    Each entry passes a changed copy of the arrangement ``current`` to ``apply``.
    """
    combinable = [other for other in others if other.kind == chart.kind and other.id != chart.id]
    combine = menu.addMenu("Combine with")
    combine.setEnabled(bool(combinable))
    for other in combinable:
        action = combine.addAction(other.title.replace("&", "&&"))
        action.triggered.connect(lambda _=False, guest=other.id: apply(current.combine(guest, chart.id)))
    if current.guests(chart.id):
        menu.addAction("Separate").triggered.connect(lambda: apply(current.separate(chart.id)))
    menu.addAction("Axis range…").triggered.connect(lambda: _ask_range(chart, current, apply, message))
    menu.addSeparator()


def _ask_range(chart: Chart, current: Arrangement, apply: Apply, message: MessageBar) -> None:
    """Ask for the y range in the unit of the axis; empty text follows the data again."""
    scale, unit = (100.0, " in %") if chart.kind == "share" else (1.0, "")
    old = current.ranges.get(chart.id)
    text = f"{old[0] * scale:g} to {old[1] * scale:g}" if old else ""
    label = f"Range of the y axis{unit}, such as 0 to 50. Leave empty to follow the data."
    typed, accepted = QInputDialog.getText(message.window(), "Axis range", label, text=text)
    if not accepted:
        return
    y_range = _parse_range(typed, scale)
    if typed.strip() and y_range is None:
        message.show_message(error(f"“{typed}” is not a range. Type two numbers, such as 0 to 50."))
    else:
        apply(current.with_range(chart.id, y_range))


def _parse_range(typed: str, scale: float) -> tuple[float, float] | None:
    """The typed numbers divided by ``scale``; None unless they are finite and ascend."""
    try:
        low, high = (float(part) / scale for part in typed.split("to"))
    except ValueError:
        return None
    return (low, high) if low < high and math.isfinite(high - low) else None
