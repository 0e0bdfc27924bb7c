"""open_clip's pretrained weights in the model chip: their size, and whether they are downloaded.

Flow: open_clip's list of weights, the caches on disk and a table of parameters -> ``Pretrained`` -> lines of the list.
Nothing is downloaded here: the worker does that when the model is opened.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.spec.resources import resource_folder
from sdgui.runs.models import architectures, pretrained_weights

_PARAMETER_BYTES = 4  # fp32, as in most published weights
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # open_clip's file names on the hub
_STUDIES = ("commonpool_", "datacomp_s_", "datacomp_m_")  # DataComp's comparisons of filters, which are weak models
_FOR_CAPTIONS = "mscoco_finetuned"  # CoCa tuned for captioning: 0.8 % zero-shot on ImageNet according to open_clip


@dataclass(frozen=True)
class Pretrained:
    """A set of pretrained weights. ``size``: bytes of the local file or, roughly, of the download; 0 if unknown."""

    architecture: str
    tag: str
    captions: bool
    is_downloaded: bool
    size: int

    @property
    def name(self) -> str:
        """The name after ``open_clip:`` in a model name."""
        return f"{self.architecture},{self.tag}"

    @property
    def only_captions(self) -> bool:
        """Whether the model was tuned for captioning and is poor for search."""
        return self.tag.startswith(_FOR_CAPTIONS)


def pretrained_models() -> list[Pretrained]:
    """All pretrained weights: downloaded ones first, then by size; weights from data-set studies last.

    Reads the caches on disk: not for the window's thread.
    """
    sizes, captioners = _parameters(), architectures()
    cache = hub_cache()
    models = []
    for architecture, tags in pretrained_weights().items():
        expected = round(1e6 * _PARAMETER_BYTES * sizes.get(architecture, 0.0))
        for tag, hub in tags.items():
            downloaded_bytes = _downloaded_size(hub, cache)
            captions = captioners.get(architecture, False)
            models.append(Pretrained(architecture, tag, captions, downloaded_bytes > 0, downloaded_bytes or expected))
    return sorted(models, key=_rank)


def _rank(model: Pretrained) -> tuple[bool, bool, bool, int, str]:
    return not model.is_downloaded, model.tag.startswith(_STUDIES), not model.size, model.size, model.name


def hub_cache() -> Path:
    """The cache folder of huggingface_hub, from its environment variables."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    configured = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(configured or Path(home) / "hub").expanduser()


def _downloaded_size(hub: str, cache: Path) -> int:
    """Size of the file of ``hub`` (``owner/name/[file]``) in ``cache``, in bytes; 0 if it is not cached."""
    owner, _, rest = hub.partition("/")
    repository, _, file = rest.partition("/")
    snapshots = cache / f"models--{owner}--{repository}" / "snapshots"
    names = (file, f"{Path(file).stem}.safetensors") if file else _WEIGHTS
    return max((_size(path) for name in names for path in snapshots.glob(f"*/{name}")), default=0)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


@functools.cache
def _parameters() -> Mapping[str, float]:
    """Millions of parameters by architecture, counted on the meta device or from open_clip's ``model_profile.csv``."""
    table: dict[str, float] = json.loads((resource_folder("pretrained") / "parameters.json").read_text("utf-8"))
    return table


def size_text(size: int) -> str:
    """A size as text: ``605 MB``, ``4.0 GB``; "" if unknown."""
    if not size:
        return ""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"
