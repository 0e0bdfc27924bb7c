"""The entries of the basket as text, as gallery items, and by data source. No Qt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from core.spec.data.fixes import Fix, Kind
from sdgui.store.local.fixes import StoredFix
from sdgui.widgets.formats import count_with_unit
from sdgui.widgets.gallery.items import GalleryItem

ANY_DATA = "any data with the image"
_BADGES: dict[Kind, str] = {
    "wrong": "wrong",
    "excluded": "left out",
    "recaptioned": "new caption",
    "relabelled": "new label",
    "added": "added",
}


def change_text(fix: Fix) -> str:
    """A change as text, such as ``a cat → a dog`` or ``label concept: dog``."""
    if fix.kind == "relabelled":
        return f"{fix.label}: {fix.value}"
    if fix.kind == "recaptioned":
        return f"{fix.caption or 'all captions'} → {fix.value}"
    return fix.value if fix.kind == "added" else fix.caption or "the whole image"


def item(entry: StoredFix, number: int) -> GalleryItem:
    """The gallery item of an entry; the tooltip shows its origin."""
    fix = entry.fix
    when = datetime.fromtimestamp(fix.found).strftime("%Y-%m-%d %H:%M") if fix.found else ""
    origin = [fix.panel, Path(fix.run).name if fix.run else "", when]
    lines = [" · ".join(part for part in origin if part), f"data: {entry.source or ANY_DATA}"]
    if entry.unknown_kind:
        lines.append(f"Added by a later version, as {entry.unknown_kind!r}; this version keeps it in the basket.")
    return GalleryItem(
        Path(fix.path),
        change_text(fix),
        rank=number,
        detail="\n".join(line for line in lines if line),
        badge=_badge(entry),
        badge_spoken=_badge(entry),
    )


def _badge(entry: StoredFix) -> str:
    return "of a later version" if entry.unknown_kind else _BADGES[entry.fix.kind]


def sources_of(entries: Sequence[StoredFix]) -> list[tuple[str, int]]:
    """The data sources of the entries with their number of fixes, largest first; fixes of any data count for each.

    Only ("", n) if no entry has a source.
    """
    counts = Counter(entry.source for entry in entries)
    without_source = counts.pop("", 0)
    source_counts = [(source, number + without_source) for source, number in counts.most_common()]
    return source_counts or ([("", without_source)] if without_source else [])


def entries_for(entries: Sequence[StoredFix], source: str) -> list[StoredFix]:
    """The entries that apply to the data ``source``."""
    return [entry for entry in entries if entry.source in ("", source)]


def counts_line(entries: Sequence[StoredFix]) -> str:
    """A summary such as ``12 changes: 9 wrong · 3 new caption``."""
    kinds = Counter(map(_badge, entries))
    total = count_with_unit(len(entries), "change")
    return f"{total}: {' · '.join(f'{number} {kind}' for kind, number in kinds.items())}" if entries else "no changes"
