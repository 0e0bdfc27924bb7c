"""Shapes of an SVG image as text."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2", "#9d755d", "#bab0ac")


def image(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    """The file: a white sheet with a title and ``parts``."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">'
    )
    sheet = f'<rect width="{width}" height="{height}" fill="white"/>'
    return "\n".join([head, sheet, text(10, 20, title, size=14), *parts, "</svg>"]) + "\n"


def line(x1: float, y1: float, x2: float, y2: float, colour: str = "black", width: float = 1.2) -> str:
    """A straight line."""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width:g}"/>'


def text(x: float, y: float, content: str, size: int = 12, anchor: str = "start") -> str:
    """Escaped text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(content)}</text>'


def dot(x: float, y: float, colour: str = "black", opacity: float = 1.0, radius: float = 2.5) -> str:
    """A filled circle."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}" fill-opacity="{opacity:g}"/>'


def path(points: Sequence[tuple[float, float]], colour: str) -> str:
    """A polyline."""
    coordinates = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{coordinates}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
