"""Paths of the bundled files: prompts, architectures, models, general images and words, studies, icons."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from core.spec.children import SOURCE_FOLDER

Kind = Literal["architectures", "desktop", "general", "icons", "models", "pretrained", "prompts", "studies"]
GENERAL = "general"  # as a data set or as anchors: the included images with captions, or words


def resource_folder(kind: Kind) -> Path:
    """The folder of the bundled files of this ``kind``."""
    return resources_root() / kind


def resources_root(source: Path = SOURCE_FOLDER) -> Path:
    """The folder of all bundled files of the program in ``source``: inside ``sdgui`` (wheel) or next to it."""
    installed = source / "sdgui" / "resources"
    return installed if installed.is_dir() else source / "resources"


def pages_folder() -> Path:
    """The folder of the documentation: with the other resources (wheel), or ``docs`` (checkout)."""
    installed = resources_root() / "docs"
    return installed if installed.is_dir() else SOURCE_FOLDER / "docs"
