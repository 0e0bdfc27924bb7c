"""Rows as gallery items, and the default path of a new source."""

from __future__ import annotations

from pathlib import Path

from core.spec.config import expand_user
from core.spec.shards import is_shards
from sdgui.panels.data.model import SourceRows
from sdgui.shared.export.formats import free_path
from sdgui.widgets.gallery.gallery import GalleryItem

_MAX_TIP_CAPTIONS = 10  # captions in a tooltip


def item_of(rows: SourceRows, row: int) -> GalleryItem:
    """The item of ``row``: the first caption below, other captions and labels in the tooltip; dimmed if excluded."""
    captions, is_excluded = rows.captions[row], row in rows.excluded
    other_captions = list(captions[1:_MAX_TIP_CAPTIONS])
    labels = [f"{name}: {values[row]}" for name, values in rows.labels.items() if values[row]]
    return GalleryItem(
        Path(rows.paths[row]),
        captions[0] if captions else "",
        detail="\n".join([*other_captions, *labels]),
        badge="excluded" if is_excluded else f"{len(captions)} captions" if len(captions) > 1 else "",
        faint=is_excluded,
    )


def suggested_path(source: str, name: str) -> Path:
    """An unused path next to ``source``, named after the source and ``name``."""
    path = Path(source) if is_shards(source) else expand_user(source).absolute()
    return free_path(path.parent / f"{path.stem or 'shards'}-{name}.csv")
