"""Titles and values of fields as text."""

from __future__ import annotations

from typing import Any

from core.spec.config import RunConfig


def field_title(field: str) -> str:
    """``views.student.mix`` as the form calls it: the titles on the way, the first and the last."""
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
    """A setting as the form shows it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if value != "" else "–"


def differences_text(number: int) -> str:
    """How many settings are not the preset's, in the one word for it."""
    return {0: "No differences", 1: "1 difference"}.get(number, f"{number} differences")
