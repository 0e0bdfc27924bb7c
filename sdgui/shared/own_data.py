"""Creates an experiment from the user's folder of images, or table of pairs.

Flow: a folder chosen or dropped -> ``own_data_config`` -> an experiment, shown in Define with the contents of the data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from core.spec.config import RunConfig, parse_config
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.resources import GENERAL
from sdgui.runs.models import included_models
from sdgui.shared.pickers.splits import SPLIT_NAMES

PRESET: Final = "sd-coca-adapt"  # fine-tunes the included model
SIZE: Final = "demo"  # trains in minutes without a GPU; Define offers the other sizes
_TABLES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json")


def own_data_config(source: Path) -> RunConfig:
    """A config that fine-tunes the included model on ``source``: a table of pairs, or a folder of images, classes,
    tables or splits.

    Tables or folders with the names of splits are used as training, validation and test data. Raises UserError if
    ``source`` does not exist, or is neither a table nor a folder.
    """
    if not source.is_dir() and source.suffix.lower() not in _TABLES:
        problem = "is not a table of pairs" if source.exists() else "does not exist"
        raise UserError(f"{source} {problem}: choose a folder of images, or a table such as CSV or JSON lines.")
    data = _splits(source) if source.is_dir() else {"train": source}
    values = preset_config(PRESET, SIZE).model_dump(mode="json")
    values["data"] |= {split: str(path) for split, path in data.items()}
    if models := included_models():
        values["towers"]["pretrained"] = str(models[0])
        values["data"]["retain"] = GENERAL
        values["objectives"]["distill_features"]["weight"] = 1.0
        values["objectives"]["image_anchors"] |= {"source": GENERAL, "weight": 1.0}
    values["name"] = source.name if source.is_dir() else source.stem
    return parse_config(json.dumps(values), str(source))


def _splits(folder: Path) -> dict[str, Path]:
    """The splits in ``folder`` by name; otherwise its only table, or the folder itself."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror or error}. Check its permissions.") from error
    usable = [entry for entry in entries if entry.suffix.lower() in _TABLES or entry.is_dir()]
    split_paths = {
        split: next((entry for entry in usable if entry.stem.lower() in names), None)
        for split, names in SPLIT_NAMES.items()
    }
    if split_paths["train"] is not None:
        return {split: path for split, path in split_paths.items() if path is not None}
    tables = [entry for entry in entries if entry.is_file() and entry.suffix.lower() in _TABLES]
    return {"train": tables[0] if len(tables) == 1 else folder}
