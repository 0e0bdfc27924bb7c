"""Indexes that somebody else wrote: manifests with good checksums that claim what is not so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.search.index import manifest as module


def manifest_of(folder: Path) -> dict[str, Any]:
    """The content of the manifest, without its checksum."""
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    content.pop("checksum")
    return content


def write_signed(folder: Path, content: Any) -> None:
    """``content`` as the manifest and its copy, with the checksum that it has."""
    text = json.dumps({"checksum": module._checksum(content), **content})
    for name in ("manifest.json", "manifest.copy.json"):
        (folder / name).write_text(text, encoding="utf-8")


def claim(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest, and sign it anew."""
    content = manifest_of(folder)
    change(content)
    write_signed(folder, content)
