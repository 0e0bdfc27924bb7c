"""Finds architectures: open_clip's, this package's (``resources/architectures``), or a JSON file in that format.

Flow: ``RunConfig.towers.architecture`` -> ``resolve_architecture`` -> ``core.model.towers.towers.build_towers``.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import open_clip
from open_clip.pretrained import get_pretrained_cfg

from core.model.errors import ModelError
from core.model.towers.formats.description import check_description
from core.model.towers.formats.huggingface import read_clip_config
from core.spec.config import expand_user
from core.spec.paths import is_file, is_folder
from core.spec.reading import MAX_EXCERPT_LENGTH, MEGABYTE, excerpt, read_json
from core.spec.resources import resource_folder
from core.spec.run.model_names import OPEN_CLIP_CONFIG, is_saved_model

OWN_FOLDER = resource_folder("architectures")  # folder of the architectures that this package provides
REQUIRED_KEYS = ("embed_dim", "vision_cfg", "text_cfg")


def list_architectures() -> list[str]:
    """The names of all known architectures, starting with this package's own."""
    ours = sorted(path.stem for path in OWN_FOLDER.glob("*.json"))
    return [*ours, *(name for name in open_clip.list_models() if name not in ours)]


def resolve_architecture(name_or_path: str, pretrained: str = "") -> dict[str, Any]:
    """The open_clip model configuration with this name, or in this JSON file.

    For a published architecture, the configuration includes the activation and preprocessing of the ``pretrained``
    weights: OpenAI's weights need QuickGELU, for which open_clip has separate names (``ViT-B-32-quickgelu``).

    Raises ModelError for an unknown name (with close matches), or a file with missing keys.
    """
    ours = OWN_FOLDER / f"{name_or_path}.json"
    if ours.parent == OWN_FOLDER and is_file(ours):
        return _read(ours)
    path = expand_user(name_or_path)
    if path.suffix == ".json" or is_file(path):
        return _read(path)
    if is_folder(path):
        is_hugging_face = is_saved_model(path) and not is_file(path / OPEN_CLIP_CONFIG)
        return read_clip_config(path) if is_hugging_face else _read(path / OPEN_CLIP_CONFIG)
    if is_published(name_or_path):
        config: dict[str, Any] = open_clip.get_model_config(name_or_path)
        tag = get_pretrained_cfg(name_or_path, pretrained) if pretrained else {}
        preprocessing = {name: tag[name] for name in ("mean", "std", "interpolation", "resize_mode") if name in tag}
        return (
            config
            | ({"quick_gelu": True} if tag.get("quick_gelu") else {})
            | ({"preprocess_cfg": preprocessing} if preprocessing else {})
        )
    names = list_architectures()
    folded = {name.lower(): name for name in names}
    lowered = name_or_path[:MAX_EXCERPT_LENGTH].lower()
    close = [folded[name] for name in difflib.get_close_matches(lowered, folded, n=3, cutoff=0.4)]
    hint = f"did you mean {' or '.join(close)}?" if close else f"available: {', '.join(names[:8])}, ..."
    raise ModelError(f"there is no architecture '{excerpt(name_or_path)}'; {hint}")


def is_published(name: str) -> bool:
    """Whether ``name`` is one of open_clip's architectures, not a local file or folder."""
    return name in open_clip.list_models() and not expand_user(name).exists()


def _read(path: Path) -> dict[str, Any]:
    """The configuration in ``path``, at the top level or under ``model_cfg`` (open_clip's folders)."""
    try:
        raw = read_json(path, 4 * MEGABYTE, error=ModelError)
    except FileNotFoundError as error:
        raise ModelError(
            f"cannot read the architecture {excerpt(str(path))}: {error.strerror}; use a name or a readable file."
        ) from error
    config = raw.get("model_cfg", raw) if isinstance(raw, dict) else raw
    missing = [key for key in REQUIRED_KEYS if not isinstance(config, dict) or key not in config]
    if missing:
        example = OWN_FOLDER / "sd-tiny.json"
        raise ModelError(f"the architecture {excerpt(str(path))} has no {', '.join(missing)}; see {example}.")
    if "preprocess_cfg" in raw:
        config["preprocess_cfg"] = raw["preprocess_cfg"]
    check_description(config, f"the architecture {excerpt(str(path))}")
    return dict(config)
