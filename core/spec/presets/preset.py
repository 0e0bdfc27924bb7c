"""A preset: a published system as the settings that differ from the defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Size = Literal["tiny", "demo", "base", "large"]
SIZES: tuple[Size, ...] = ("tiny", "demo", "base", "large")


def settings_size(size: Size) -> Size:
    """The size of a preset's settings for ``size``: ``large`` is ``base`` with larger towers."""
    return "base" if size == "large" else size


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """``below`` with the values of ``above``, section by section."""
    common = {key: merge(below[key], above[key]) for key in below.keys() & above.keys() if isinstance(above[key], dict)}
    return below | above | common


@dataclass(frozen=True)
class Preset:
    """A named system: description, publication, and settings that differ from the defaults."""

    name: str
    title: str
    description: str
    paper: str
    settings: Callable[[Size], dict[str, Any]]
