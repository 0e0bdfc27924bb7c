"""Parses and checks a worker's replies, so that no output can harm or hang the window.

Flow: a line of stdout -> ``read_reply`` -> ``WorkerClient``. ``read_reply`` returns None for any other line,
such as output that a library prints.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.spec.reading import excerpt

_MAX_COUNT = (1 << 31) - 1  # Qt's signals carry 32 bits
_MAX_MESSAGE = 4000  # characters of a message
_MAX_DETAILS = 64_000  # characters; the end is kept, as in a traceback
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CANCELLED = "cancelled"  # the worker's message for a cancelled request


@dataclass(frozen=True)
class Failure:
    """Why a request failed: a message with a remedy, and details (a traceback, the end of stderr)."""

    text: str
    details: str = ""


@dataclass(frozen=True)
class Cancelled(Failure):
    """The user cancelled the request."""

    text: str = "Cancelled."


@dataclass(frozen=True)
class Lost(Failure):
    """No process answered: it exited, or cannot be started. The request itself may be valid."""


@dataclass(frozen=True)
class CodeNeeded(Failure):
    """The model needs custom code from its run folder that the user has not allowed."""

    files: Mapping[str, Path] = field(default_factory=dict)  # digest -> path of the copy of that code in the run folder


@dataclass(frozen=True)
class Ready:
    """The process has started."""


@dataclass(frozen=True)
class Alive:
    """A heartbeat: the process is working on an answer."""


@dataclass(frozen=True)
class Progress:
    """Progress of a request."""

    number: int
    doing: str
    done: int
    total: int


@dataclass(frozen=True)
class Partial:
    """A part of a long answer."""

    number: int
    result: dict[str, Any]


@dataclass(frozen=True)
class Done:
    """The answer."""

    number: int
    result: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """The request failed, and why."""

    number: int
    failure: Failure


Reply = Ready | Alive | Progress | Partial | Done | Failed


def read_reply(line: bytes) -> Reply | None:
    """Parse a reply; None if ``line`` is not one. Never raises."""
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(raw, dict):
        return None
    event, number, result = raw.get("event"), raw.get("id"), raw.get("result")
    if event == "ready":
        return Ready()
    if event == "alive":
        return Alive()
    if type(number) is not int:
        return None
    if event == "progress":
        return Progress(number, excerpt(raw.get("doing", "")), _count(raw.get("done")), _count(raw.get("total")))
    if event == "failed":
        return Failed(number, _failure(raw))
    if event not in ("partial", "done"):
        return None
    if not isinstance(result, dict):
        return Failed(number, unusable(f"it is {excerpt(result)}, not an object"))
    return Partial(number, result) if event == "partial" else Done(number, result)


def unusable(reason: str) -> Failure:
    """The failure for an answer in the wrong format."""
    return Failure("The worker's answer cannot be read. Try again, and restart the window if it persists.", reason)


def _failure(raw: dict[str, Any]) -> Failure:
    message, details = raw.get("message"), raw.get("details")
    if message == _CANCELLED:
        return Cancelled()
    text = (
        message[:_MAX_MESSAGE] if isinstance(message, str) and message else "The worker failed without giving a reason."
    )
    if files := _files(raw.get("code")):
        return CodeNeeded(text, files=files)
    return Failure(text, details[-_MAX_DETAILS:] if isinstance(details, str) else "")


def _files(raw: object) -> dict[str, Path]:
    """Parse digests and paths of code; {} for anything else."""
    if not isinstance(raw, dict) or not all(
        _DIGEST.fullmatch(digest) and isinstance(path, str) and len(path) < _MAX_MESSAGE and "\0" not in path
        for digest, path in raw.items()
    ):
        return {}
    return {digest: Path(path) for digest, path in raw.items()}


def _count(raw: object) -> int:
    """Parse a non-negative number; 0 for anything else."""
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or raw != raw:  # nan differs from itself
        return 0
    return int(min(max(raw, 0), _MAX_COUNT))
