"""Messages for the user: what happened, details, and remedies. Plain data; a ``MessageBar`` shows them.

Flow: panel or background task -> ``Message`` -> ``show_message`` of the owner of a message bar.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class Remedy:
    """A remedy that the user can choose: the label of a button, and its effect."""

    label: str
    do: Callable[[], object]


@dataclass(frozen=True)
class Message:
    """A one-sentence message; ``details`` (a traceback, the end of stderr) are collapsed."""

    level: Level
    text: str
    details: str = ""
    remedy: Remedy | None = None
    second_remedy: Remedy | None = None  # if the user has a choice


ShowMessage = Callable[[Message], None]


def info(text: str, details: str = "", remedy: Remedy | None = None) -> Message:
    """Make a message that only informs."""
    return Message("info", text, details, remedy)


def warning(text: str, details: str = "", remedy: Remedy | None = None, second_remedy: Remedy | None = None) -> Message:
    """Make a message about a problem that the user should look into."""
    return Message("warning", text, details, remedy, second_remedy)


def error(text: str, details: str = "", remedy: Remedy | None = None) -> Message:
    """Make a message about a failure."""
    return Message("error", text, details, remedy)
