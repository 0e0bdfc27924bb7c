"""What a preset is: a published system as the settings in which it departs from the defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Size = Literal["tiny", "demo", "base"]
SIZES: tuple[Size, ...] = ("tiny", "demo", "base")


@dataclass(frozen=True)
class Preset:
    """A named system: what it is, where it was published, and how it departs from the defaults."""

    name: str
    title: str
    description: str
    paper: str
    settings: Callable[[Size], dict[str, Any]]
