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

_BYTES = 4  # a parameter in fp32, as most weights are published
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # open_clip's names for them on the hub
_STUDIES = ("commonpool_", "datacomp_s_", "datacomp_m_")  # DataComp's comparisons of filters, weak on purpose
_FOR_CAPTIONS = "mscoco_finetuned"  # CoCa tuned to caption: 0.8 % zero-shot on ImageNet by open_clip's own figures


@dataclass(frozen=True)
class Pretrained:
    """One set of weights. ``size`` in bytes: of the file that is here, else about that of the download; 0: unknown."""

    architecture: str
    tag: str
    captions: bool
    is_downloaded: bool
    size: int

    @property
    def name(self) -> str:
        """As a worker takes it after ``open_clip:``."""
        return f"{self.architecture},{self.tag}"

    @property
    def only_captions(self) -> bool:
        """Whether tuning for captions has left little of its search."""
        return self.tag.startswith(_FOR_CAPTIONS)


def pretrained_models() -> list[Pretrained]:
    """Downloaded weights first, then the smallest; weights from dataset studies last.

    Looks into the caches: not for the window's own thread.
    """
    sizes, captioners = _parameters(), architectures()
    cache = hub_cache()
    models = []
    for architecture, tags in pretrained_weights().items():
        expected = round(1e6 * _BYTES * sizes.get(architecture, 0.0))
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
    """Bytes of the file of ``hub`` (``owner/name/[file]``) in the hub's ``cache``; 0 if it is not there."""
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
    """Architecture -> millions of parameters, as counted on the meta device or by open_clip's ``model_profile.csv``."""
    table: dict[str, float] = json.loads((resource_folder("pretrained") / "parameters.json").read_text("utf-8"))
    return table


def size_text(size: int) -> str:
    """``605 MB``, ``4.0 GB``; "" when it is not known."""
    if not size:
        return ""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"
