"""Draws figures with matplotlib in the size and font of a paper, as PDF, SVG or PNG.

Flow: ``PlotData`` of the chosen metrics and runs, ``FigureStyle`` -> ``render`` (in one thread at a time) -> bytes.
matplotlib is an optional dependency, loaded with the first figure.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from core.spec.installed import need
from sdgui.panels.runs.figures.curves import Curve, MetricPlot, PlotData, Range
from sdgui.panels.runs.plots.drawing.extents import Floats
from sdgui.shared.stored_json import read_stored
from sdgui.widgets.formats import tick

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Kind = Literal["pdf", "svg", "png"]
FONTS = ("DejaVu Sans", "DejaVu Serif", "STIXGeneral")  # fonts bundled with matplotlib
PNG_DPI = 300
_CM_PER_INCH = 2.54  # cm per inch
_LINE_STYLES: tuple[Any, ...] = ("-", ":", "-.", (0, (6, 2, 1, 2, 1, 2)))  # styles of the metrics in one panel
_MAX_DOTS = 40  # curves with more points are drawn without dots, as on screen


@dataclass(frozen=True)
class FigureStyle:
    """The style. ``width`` in cm, ``aspect``: width / height, ``font_size`` in pt, ``layout``: row of panels or one."""

    width: float = 8.5
    aspect: float = 1.6
    font: str = FONTS[0]
    font_size: float = 8.0
    legend: Literal["inside", "below", "none"] = "inside"
    layout: Literal["row", "panel"] = "row"
    kind: Kind = "pdf"

    def to_json(self) -> str:
        """Serialise for the settings."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the output of ``to_json``; the default style if the text is invalid."""
        return read_stored(text, cls)


def x_unit(data: PlotData) -> tuple[str, float]:
    """The label of the x axis, and the number of data units per unit of the label."""
    if data.x_mode == "step":
        return "Step", 1.0
    longest = max((curve.x[-1] for plot in data.plots for curve in plot.curves if len(curve.x)), default=0.0)
    return ("Time (h)", 3600.0) if longest > 7200 else ("Time (min)", 60.0) if longest > 120 else ("Time (s)", 1.0)


def render(data: PlotData, style: FigureStyle, kind: Kind, dpi: float = PNG_DPI) -> bytes:
    """The content of the file. Raises NotInstalled if matplotlib is missing."""
    need("figures")
    from matplotlib import rc_context  # noqa: PLC0415  an extra

    rc: dict[Any, Any] = {
        "font.family": [style.font, FONTS[0]],
        "font.size": style.font_size,
        **dict.fromkeys(("axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), style.font_size),
        "axes.linewidth": 0.6,
        "pdf.fonttype": 42,  # TrueType: journals reject Type 3 fonts
        "svg.fonttype": "none",  # keep text as text
    }
    with rc_context(rc):
        content = io.BytesIO()
        _draw(data, style).savefig(content, format=kind, dpi=dpi)
    return content.getvalue()


def _draw(data: PlotData, style: FigureStyle) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415  an extra

    width = style.width / _CM_PER_INCH
    figure = Figure(figsize=(width, width / style.aspect), layout="constrained")
    panels = [[plot] for plot in data.plots] if style.layout == "row" else [list(data.plots)] if data.plots else []
    if not panels:
        return figure
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(row, panels, strict=True):
        _fill(axes, panel, data)
    _add_legend(figure, row[0], panels, data, style)
    return figure


def _curves(panel: Sequence[MetricPlot], data: PlotData) -> list[Curve]:
    return [curve for plot in panel for curve in plot.curves if curve.entry in data.entries]


def _metrics(curves: Sequence[Curve]) -> list[str]:
    return list(dict.fromkeys(curve.metric for curve in curves))


def _fill(axes: Axes, panel: Sequence[MetricPlot], data: PlotData) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: PLC0415  an extra

    in_percent = all(plot.is_share for plot in panel)
    scale = 100.0 if in_percent else 1.0
    x_label, unit = x_unit(data)
    if data.log:
        axes.set_yscale("log", nonpositive="mask")
    curves = _curves(panel, data)
    metrics = _metrics(curves)
    for curve in curves:
        _add_curve(axes, curve, metrics.index(curve.metric), data.log, unit, scale)
    x_ranges = [plot.x_range for plot in panel if plot.x_range is not None]
    if x_ranges:
        low, high = min(low for low, _ in x_ranges), max(high for _, high in x_ranges)
        axes.set_xlim(low / unit, high / unit)
    left, right = axes.get_xlim()
    y_ranges = [plot.y_range or _y_range_within(left * unit, right * unit, plot, data) for plot in panel]
    known = [y_range for y_range in y_ranges if y_range is not None]
    if known:
        axes.set_ylim(scale * min(low for low, _ in known), scale * max(high for _, high in known))
    title = panel[0].title if len(panel) == 1 else ""
    axes.set_ylabel(f"{title} (%)".strip() if in_percent else title, parse_math=False)
    axes.set_xlabel(x_label)
    if data.x_mode == "step":
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.grid(color="#e4e4e4", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _add_curve(axes: Axes, curve: Curve, metric_index: int, log: bool, unit: float, scale: float) -> None:
    """Draw a curve of the metric ``metric_index`` of the panel. ``unit``: as in `x_unit`; ``scale`` multiplies y."""
    x = curve.x / unit
    if curve.band is not None:
        low, high = curve.band
        drawable = (low > 0) | (not log)
        axes.fill_between(x, low * scale, high * scale, where=drawable, color=curve.color, alpha=0.18, linewidth=0)
    if curve.raw is not None:
        axes.plot(x, curve.raw * scale, color=curve.color, alpha=0.35, linewidth=0.6)
    line: Any = (0, (4 + 3 * metric_index, 2)) if curve.dashed else _LINE_STYLES[metric_index % len(_LINE_STYLES)]
    few = len(x) <= _MAX_DOTS and curve.band is None
    marker: dict[str, Any] = {"marker": "o", "markersize": 2.2} if few or len(x) == 1 else {}
    axes.plot(x, curve.y * scale, color=curve.color, linestyle=line, linewidth=1.2, **marker)


def _y_range_within(low: float, high: float, plot: MetricPlot, data: PlotData) -> Range | None:
    """The y range of the points with x in [low, high], with the same margin as on screen."""
    parts: list[Floats] = []
    for curve in _curves([plot], data):
        inside = (curve.x >= low) & (curve.x <= high)
        parts += [values[inside] for values in (curve.y, curve.raw, *(curve.band or ())) if values is not None]
    values = np.concatenate(parts) if parts else np.empty(0)
    values = values[np.isfinite(values) & ((values > 0) | (not data.log))]
    if not len(values):
        return None
    bottom, top = float(values.min()), float(values.max())
    if data.log:
        room = (top / bottom) ** 0.06 if top > bottom else 2.0
        return bottom / room, top * room
    room = 0.06 * (top - bottom) or 0.05 * abs(top) or 0.5
    return bottom - room, top + room


def _add_legend(
    figure: Figure, axes: Axes, panels: Sequence[Sequence[MetricPlot]], data: PlotData, style: FigureStyle
) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415  an extra

    curves = [curve for panel in panels for curve in _curves(panel, data)]
    colors = {curve.entry: curve.color for curve in curves}
    lines = [(name, colors[key], _LINE_STYLES[0]) for key, name in data.entries.items() if key in colors]
    if any(curve.dashed for curve in curves):
        lines += [("student", "#59636e", "-"), ("teacher", "#59636e", (0, (4, 2)))]
    metrics = max((_metrics(_curves(panel, data)) for panel in panels), key=len)
    if len(metrics) > 1:
        lines += [
            (metric, "#59636e", _LINE_STYLES[number % len(_LINE_STYLES)]) for number, metric in enumerate(metrics)
        ]
    if style.legend == "none" or not lines:
        return
    handles = [Line2D([], [], color=color, linestyle=line, linewidth=1.2) for _, color, line in lines]
    letters = style.width / _CM_PER_INCH * 72 / (0.6 * style.font_size)  # letters that fit into the width of the figure
    # A legend below may be as wide as the figure; one inside, as its panel without 6 letters for the axis labels.
    room = letters if style.legend == "below" else letters / len(panels) - 6
    names = [_elided(name, math.floor(room) - 8) for name, _, _ in lines]  # sample line and gaps: 8 letters
    if style.legend == "below":
        columns = max(1, math.floor(letters / (max(map(len, names)) + 8)))
        legend = figure.legend(
            handles, names, loc="outside lower center", ncols=min(columns, len(names)), frameon=False
        )
    else:
        legend = axes.legend(handles, names, loc="best", framealpha=0.8, edgecolor="none")
        legend.set_in_layout(False)  # otherwise a wide legend would shrink its panel
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)


def _elided(name: str, max_length: int) -> str:
    """``name`` shortened in the middle, since names often share their beginning; to 9 characters at the least."""
    max_length = max(max_length, 9)
    half = (max_length - 1) // 2
    return name if len(name) <= max_length else f"{name[:half]}…{name[-half:]}"
