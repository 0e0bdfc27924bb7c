"""What a preset is: a published system as the settings in which it departs from the defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Size = Literal["tiny", "demo", "base", "large"]
SIZES: tuple[Size, ...] = ("tiny", "demo", "base", "large")


def published(size: Size) -> Size:
    """The size whose settings a preset gives for ``size``: ``large`` is ``base`` with larger towers."""
    return "base" if size == "large" else size


@dataclass(frozen=True)
class Preset:
    """A named system: what it is, where it was published, and how it departs from the defaults."""

    name: str
    title: str
    description: str
    paper: str
    settings: Callable[[Size], dict[str, Any]]
