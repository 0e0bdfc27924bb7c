"""The other splits of a source: what experiments name beside it, else what lies beside it under usual names. No Qt."""

from __future__ import annotations

from core.spec.config import expand_user
from core.spec.paths import is_file
from sdgui.store.records import StoreError
from sdgui.store.store import Store

SPLITS = ("train", "val", "test")
_USUAL = {"train": ("train", "training"), "val": ("val", "valid", "validation", "dev"), "test": ("test",)}


def splits_beside(store: Store, source: str) -> dict[str, str]:
    """Split -> source, of the splits that belong with ``source`` and are not it."""
    try:
        experiments = store.experiments()
    except StoreError:
        experiments = []
    for experiment in reversed(experiments):
        if experiment.config is None:
            continue
        named = {split: str(getattr(experiment.config.data, split)) for split in SPLITS}
        if source in named.values():
            return {split: other for split, other in named.items() if other and other != source}
    return _beside(source)


def _beside(source: str) -> dict[str, str]:
    """``val.csv`` and ``test.csv`` beside ``train.csv``."""
    path = expand_user(source)
    own = next((split for split, names in _USUAL.items() if path.stem.lower() in names), "")
    if not own:
        return {}
    found = {}
    for split, names in _USUAL.items():
        there = (path.with_name(name + path.suffix) for name in names if split != own)
        if (other := next(filter(is_file, there), None)) is not None:
            found[split] = str(other)
    return found
