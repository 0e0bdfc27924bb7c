"""Formats numbers and metric names for display: durations, SI prefixes, values, ticks. Independent of the locale."""

from __future__ import annotations

import math
from collections.abc import Collection

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def duration(seconds: float) -> str:
    """Format a duration: ``9 s``, ``1 min 10 s``, ``2 h 5 min``, ``3 d 4 h``; ``–`` if unknown."""
    if not math.isfinite(seconds) or seconds < 0:
        return "–"
    total = round(seconds)
    for size, name, small_size, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if total >= size:
            small_part = total % size // small_size
            return f"{total // size} {name}" + (f" {small_part} {small_name}" if small_part else "")
    return f"{total} s"


def clock(seconds: float) -> str:
    """Format a time on an axis: ``0:09``, ``1:10``, ``2:05:00``."""
    sign, total = ("-" if seconds < 0 else ""), round(abs(seconds))
    hours, minutes, rest = total // 3600, total % 3600 // 60, total % 60
    return f"{sign}{hours}:{minutes:02}:{rest:02}" if hours else f"{sign}{minutes}:{rest:02}"


def count(number: float) -> str:
    """Format a whole number with commas, ``12,345``; from ten million on, ``12.3 M``."""
    if abs(number) >= 1e7:
        for size, prefix in _PREFIXES:
            if abs(number) >= 0.9995 * size:  # rounded to 1 of this prefix, not to 1000 of the next smaller one
                return f"{number / size:.3g} {prefix}"
    return f"{round(number):,}"


def capitalize(text: str) -> str:
    """``text`` with a capital first letter; the other letters stay, unlike with ``str.capitalize``."""
    return text[:1].upper() + text[1:]


def count_with_unit(number: int, noun: str) -> str:
    """Format a count with its noun: ``1 GPU``, ``2 GPUs``, ``1,200 images``."""
    return f"{count(number)} {noun}" + "s" * (number != 1)


def metric_title(name: str) -> str:
    """The title of a metric: ``Student image → text R@1`` for ``val/student/image_to_text_R@1``."""
    words = name.removeprefix("val/").removeprefix("train/").removeprefix("diag/").replace("/", " ")
    words = words.replace("image_to_text", "image → text").replace("text_to_image", "text → image").replace("_", " ")
    return capitalize(words)


def free_name(name: str, used_names: Collection[str], separator: str = " ") -> str:
    """Make ``name`` unique by appending a number from 2."""
    number, free = 2, name
    while free in used_names:
        free, number = f"{name}{separator}{number}", number + 1
    return free


def value(number: float, unit: str = "") -> str:
    """Format a value with four significant digits and its unit: ``0.03125``, ``1.5e-05``, ``12.3 k``, ``nan``.

    With ``unit="%"``, a share from 0 to 1 is shown in per cent.
    """
    if math.isnan(number):
        return "nan"
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    if unit == "%":
        return percent(number)
    text = _plain(number)
    return f"{text} {unit}" if unit else text


def fixed(number: float) -> str:
    """Format with three decimals, so that numbers in a column are aligned: ``−0.886``."""
    return f"{number:.3f}".replace("-", "\N{MINUS SIGN}") if math.isfinite(number) else value(number)


def percent(share: float) -> str:
    """Format a share from 0 to 1 in per cent: ``87.3 %``."""
    return f"{100 * share:.1f} %"


def _plain(number: float) -> str:
    size = abs(number)
    if size == 0:
        return "0"
    if size < 1e-3:
        return f"{number:.3e}".replace("e-0", "e-")
    if size >= 1e5:
        for scale, prefix in _PREFIXES:
            if size >= scale and size < scale * 1e3:
                return f"{number / scale:.4g} {prefix}"
        return f"{number:.3e}".replace("e+", "e")
    return f"{number:.4g}" if size < 1e4 else f"{number:.0f}"


def tick(number: float, spacing: float = 0.0) -> str:
    """Format a tick of an axis with tick ``spacing``, with only the digits needed to distinguish neighbours."""
    size = max(abs(number), abs(spacing))
    if number == 0 or size == 0:
        return "0"
    for scale, prefix in _PREFIXES:
        if size >= scale * (10 if scale == 1e3 else 1) and size < scale * 1e3:
            return f"{_digits(number / scale, spacing / scale)}{prefix}"
    if size < 1e-3 or size >= 1e15:
        mantissa, exponent = f"{number:.2e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return _digits(number, spacing)


def _digits(number: float, spacing: float) -> str:
    if spacing <= 0:
        return f"{number:.6g}"
    decimals = max(0, -math.floor(math.log10(spacing) + 1e-9))
    return f"{number:.{decimals}f}"


def percent_done(step: int, total: int) -> int:
    """The share of finished steps, in per cent; 100 only at the end."""
    if total <= 0:
        return 0
    return 100 if step >= total else min(99, round(100 * step / total))
