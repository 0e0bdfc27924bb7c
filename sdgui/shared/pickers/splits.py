"""The other splits of a source: used together in experiments, or with the usual names in its folder. No Qt."""

from __future__ import annotations

from core.spec.config import expand_user
from core.spec.paths import is_file
from sdgui.store.records import StoreError
from sdgui.store.store import Store

# split -> usual names of its file or folder
SPLIT_NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation", "dev"), "test": ("test",)}


def splits_beside(store: Store, source: str) -> dict[str, str]:
    """The other splits that belong to ``source``, by split name."""
    try:
        experiments = store.experiments()
    except StoreError:
        experiments = []
    for experiment in reversed(experiments):
        if experiment.config is None:
            continue
        sources = {split: str(getattr(experiment.config.data, split)) for split in SPLIT_NAMES}
        if source in sources.values():
            return {split: path for split, path in sources.items() if path and path != source}
    return _sibling_files(source)


def _sibling_files(source: str) -> dict[str, str]:
    """Files next to ``source`` with the names of splits, such as ``val.csv`` and ``test.csv`` for ``train.csv``."""
    path = expand_user(source)
    own_split = next((split for split, names in SPLIT_NAMES.items() if path.stem.lower() in names), "")
    if not own_split:
        return {}
    neighbours = {}
    for split, names in SPLIT_NAMES.items():
        candidates = (path.with_name(name + path.suffix) for name in names if split != own_split)
        if (existing := next(filter(is_file, candidates), None)) is not None:
            neighbours[split] = str(existing)
    return neighbours
