"""Titles and values of fields as text."""

from __future__ import annotations

from typing import Any

from core.spec.config import RunConfig


def field_title(field: str) -> str:
    """The title of a field such as ``views.student.mix`` in the form, with the title of its group."""
    model: Any = RunConfig
    titles: list[str] = []
    for part in field.split("."):
        info = model.model_fields.get(part)
        if info is None:
            return field
        titles.append(info.title or part)
        model = info.annotation
    return " · ".join(titles[-2:]) if len(titles) > 1 else titles[0]


def value_text(value: Any) -> str:
    """The text of a value, as in the form."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if value != "" else "–"


def differences_text(number: int) -> str:
    """The text for the number of settings that differ from the preset."""
    return {0: "No differences", 1: "1 difference"}.get(number, f"{number} differences")
